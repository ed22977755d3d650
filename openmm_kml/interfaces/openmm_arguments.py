"""Arguments of `KMLForce` against the model, the topology and the System that they are about."""

import operator
from dataclasses import replace

from openmm_kml.errors import WeightFileError
from openmm_kml.interfaces.baseline import check_digest
from openmm_kml.potential import KernelPotential


def as_potential(potential_or_path):
    """Return the `KernelPotential` of a model that is the whole energy."""
    if not isinstance(potential_or_path, KernelPotential):
        return KernelPotential.load(potential_or_path)
    if potential_or_path.baseline is not None:
        # Loaded as the difference that it is: that says nothing about the System this Force goes into.
        replace(potential_or_path.baseline, added=False).check_added()
    return potential_or_path


def as_difference(potential_or_path):
    """Return the `KernelPotential` of a Δ-model, for a caller who adds its baseline."""
    if not isinstance(potential_or_path, KernelPotential):
        return KernelPotential.load(potential_or_path, delta=True)
    return KernelPotential.from_bytes(potential_or_path.to_bytes(), delta=True)


def check_baseline(potential, system, models, particles, numbers, periodic, scale_parameter):
    """Raise WeightFileError unless a System holds the baseline of a model that is to act on these particles.

    Parameters
    ----------
    potential : KernelPotential
    system : openmm.System
    models : list of KMLForce
        Those of the System whose weight file is the baseline.
    particles, numbers, periodic, scale_parameter
        As `KMLForce` takes them.
    """
    if not models:
        n_atoms = system.getNumParticles() if potential.species is None else len(potential.species)
        if particles is not None and as_indices(particles) not in ([], list(range(n_atoms))):
            raise ValueError("with baseline_system the particles are in the order of the baseline: leave particles out")
        check_digest(potential.baseline, system)
        return
    name = potential.baseline.name
    if len(models) > 1:
        raise WeightFileError(f"the System holds the baseline {name!r} {len(models)} times; it belongs there once")
    there = models[0]
    mine = _atoms_of(particles, potential.species if numbers is None else numbers, system)
    numbers_there = there.getNumbers() or there.getPotential().species
    for what, same in {
        "particles": mine == _atoms_of(there.getParticles(), numbers_there, system),
        "periodicity": periodic is None or not there.getNumbers() or there.usesPeriodicBoundaryConditions() == periodic,
        "scale parameter": there.getScaleParameter() == (scale_parameter or ""),
        "output": there.getOutput() == "energy",
    }.items():
        if not same:
            raise WeightFileError(
                f"the KMLForce of the baseline {name!r} in the System has another {what} than that of the model would "
                "have; make both alike"
            )


def _atoms_of(particles, numbers, system):
    """Return particle -> atomic number of a Force; None or no particles stands for all of the System."""
    indices = as_indices(particles) if particles is not None and len(particles) else range(system.getNumParticles())
    return dict(zip(indices, map(int, numbers), strict=False))


def as_indices(particles, name="particles"):
    """Return a list of int, or raise TypeError."""
    try:
        return [operator.index(particle) for particle in particles]
    except TypeError:
        raise TypeError(f"{name} is a sequence of integers; {particles!r} was given") from None


def numbers_for(potential, topology, numbers, particles):
    """Return the atomic numbers of the particles of a model of any structure, or raise ValueError."""
    if numbers is None:
        if topology is None:
            raise ValueError("this model needs the elements of the particles: pass topology=... or numbers=[...]")
        atoms = list(topology.atoms())
        indices = range(len(atoms)) if particles is None or len(particles) == 0 else as_indices(particles)
        for index in indices:
            if not 0 <= index < len(atoms):
                raise ValueError(f"particle {index} does not exist; the topology has {len(atoms)} atoms")
            if atoms[index].element is None:
                raise ValueError(f"atom {index} of the topology has no element: pass numbers=[...]")
        numbers = [atoms[index].element.atomic_number for index in indices]
    numbers = as_indices(numbers, "numbers")
    if particles is not None and len(particles) > 0 and len(particles) != len(numbers):
        raise ValueError(f"{len(numbers)} atomic numbers are given for {len(particles)} particles")
    potential.check_numbers(numbers)
    return numbers


def is_periodic(topology, periodic):
    """Return whether a model of any structure sees the box, or raise ValueError if nobody has said so."""
    if periodic is not None:
        return bool(periodic)
    if topology is None:
        raise ValueError("is the box periodic? Pass periodic=True or periodic=False, or the topology")
    return topology.getPeriodicBoxVectors() is not None


def check_elements(potential, topology, particles):
    """Raise ValueError unless the particles of a topology are the atoms of a model of one molecule."""
    from openmm.app import Element

    if potential.species is None:
        return
    atoms = list(topology.atoms())
    indices = range(len(atoms)) if particles is None or len(particles) == 0 else as_indices(particles)
    if len(indices) != len(potential.species):
        raise ValueError(
            f"the model describes {len(potential.species)} atoms, "
            f"{'the topology has' if particles is None else 'particles names'} {len(indices)}: "
            "pass particles=[...] with the model's atoms in its order"
        )
    for k, (index, number) in enumerate(zip(indices, potential.species, strict=True)):
        if not 0 <= index < len(atoms):
            raise ValueError(f"particle {index} does not exist; the topology has {len(atoms)} atoms")
        element, expected = atoms[index].element, Element.getByAtomicNumber(int(number))
        if element is None or element.atomic_number != expected.atomic_number:
            found = "no element" if element is None else element.symbol
            raise ValueError(
                f"atom {index} of the topology is {found}, atom {k} of the model is {expected.symbol}: "
                "list the particles in the model's order of atoms"
            )
