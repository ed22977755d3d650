"""Δ-learning: the classical System that a model is the difference to (docs/delta_learning.md).

E = E_baseline(System) + E_model        the model is trained on E_reference - E_baseline
"""

import hashlib
import re
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from openmm_kml import units
from openmm_kml.elements import symbol
from openmm_kml.errors import DataError
from openmm_kml.interfaces._openmm_library import load_library
from openmm_kml.interfaces.baseline_kinds import check_same_digest, free_virial
from openmm_kml.potential import Evaluation

MASS_TOLERANCE = 0.05  # dalton

# Forces without an energy, which a System may have or not.
_NO_ENERGY = (openmm.CMMotionRemover, openmm.AndersenThermostat, openmm.MonteCarloBarostat)


class SystemBaseline:
    """A System of one molecule that a model is the difference to, as `openmm_kml.interfaces.baseline_kinds` has others.

    Parameters
    ----------
    system : openmm.System
    name : str
        How it is called in messages and in the weight file of the difference.

    Raises
    ------
    DataError
        If the System cannot be a baseline.
    """

    what = "System"
    has_repulsion = True

    def __init__(self, system, name="a System"):
        check_baseline(system)
        self.system, self.name = system, name
        self.digest = digest(system)
        self._context, self._numbers = None, None

    @classmethod
    def load(cls, path):
        """Return the baseline of the XML file of a System; errors as in `load_baseline`."""
        return cls(load_baseline(path), Path(path).name)

    def evaluate(self, positions, numbers, cell=None, pbc=None):
        """Return the `Evaluation` of the molecule.

        Raises
        ------
        DataError
            If the structure is periodic, has other atoms than the System, or its energy or a force is not finite.
        """
        if np.any(cell is not None if pbc is None else pbc):
            raise DataError(
                f"the baseline {self.name} is the System of one molecule, and the structure is periodic: take a weight "
                "file or an ASE calculator"
            )
        numbers = np.asarray(numbers)
        if self._numbers is None or not np.array_equal(self._numbers, numbers):
            try:
                check_baseline(self.system, numbers)
            except DataError as error:
                raise DataError(f"{self.name}: {error}") from None
            self._numbers = numbers
        if self._context is None:
            self._context = _context(self.system)
        energy, forces = _energy_and_forces(self._context, positions)
        return Evaluation(energy, forces, free_virial(positions, forces))

    def evaluate_atomic(self, positions, numbers, cell=None, pbc=None):
        """Raise ValueError: a System has no energies of single atoms."""
        raise ValueError(f"the baseline {self.name} has no energies of single atoms")


def load_baseline(path, numbers=None):
    """Return the System of an XML file, checked for what a baseline must be.

    Parameters
    ----------
    path : path
        As ``openmm.XmlSerializer.serialize(system)`` writes it.
    numbers : ndarray of int, shape (n,), optional
        Atomic numbers that the particles must have, told from their masses.

    Raises
    ------
    DataError
        If the file is not a System, or one that cannot be a baseline; the message says what to change.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    try:
        system = openmm.XmlSerializer.deserialize(path.read_text(encoding="utf-8"))
    # The parser raises OpenMMException or plain ValueError, and returns whatever object the XML holds.
    except (openmm.OpenMMException, ValueError) as error:
        raise DataError(f"{path} is not a serialized OpenMM System: {' '.join(str(error).split())}") from None
    if not isinstance(system, openmm.System):
        raise DataError(f"{path} holds a {type(system).__name__}, not an OpenMM System")
    try:
        check_baseline(system, numbers)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return system


def check_baseline(system, numbers=None):
    """Raise DataError unless a System can be the baseline of a molecule with these atomic numbers, shape (n,)."""
    if system.getNumConstraints():
        raise DataError("the baseline has constraints, whose bonds have no energy: build it with constraints=None")
    if any(system.isVirtualSite(k) for k in range(system.getNumParticles())):
        raise DataError("the baseline has virtual sites; use a force field without them")
    if not energy_forces(system):
        raise DataError("the baseline has no force with an energy")
    periodic = [force.getName() for force in energy_forces(system) if force.usesPeriodicBoundaryConditions()]
    if periodic:
        raise DataError(f"{periodic[0]} of the baseline is periodic: build it with nonbondedMethod=NoCutoff")
    if numbers is None:
        return
    if system.getNumParticles() != len(numbers):
        raise DataError(f"the baseline has {system.getNumParticles()} particles, the molecule {len(numbers)} atoms")
    for k, number in enumerate(numbers):
        expected = app.Element.getByAtomicNumber(int(number)).mass._value
        found = system.getParticleMass(k)._value
        if abs(found - expected) > MASS_TOLERANCE:
            raise DataError(
                f"particle {k} of the baseline has the mass {found:g}, but atom {k + 1} of the molecule is "
                f"{symbol(number)} ({expected:g}): list the atoms in one order, without mass repartitioning"
            )


def digest(system):
    """Return ``sha256:`` and the digest of the energy of a System.

    Only what the energy depends on counts: neither masses, nor the order, groups and names of the forces, nor a
    barostat or the remover of the center's motion, nor any KMLForce.
    """
    parts = sorted(_canonical(force) for force in energy_forces(system))
    text = "\n".join([f"particles {system.getNumParticles()}", *parts])
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def check_digest(baseline, system):
    """Raise WeightFileError unless a System is the baseline of a model.

    Parameters
    ----------
    baseline : openmm_kml.weights.Baseline or None
        As the weight file records it.
    system : openmm.System
    """
    check_same_digest(baseline, digest(system), "System")


def evaluate_baseline(system, positions):
    """Return the energies and forces of a System for many geometries.

    Parameters
    ----------
    system : openmm.System
    positions : ndarray of shape (M, n, 3), Å

    Returns
    -------
    energies : ndarray of shape (M,), eV
    forces : ndarray of shape (M, n, 3), eV/Å

    Raises
    ------
    DataError
        If an energy or a force is not finite; the message names the frame.
    """
    context = _context(system)
    energies, forces = np.empty(len(positions)), np.empty(np.shape(positions))
    for m, frame in enumerate(positions):
        try:
            energies[m], forces[m] = _energy_and_forces(context, frame)
        except DataError as error:
            raise DataError(f"frame {m + 1}: {error}") from None
    return energies, forces


def _context(system):
    platform = openmm.Platform.getPlatformByName("Reference")  # double precision
    return openmm.Context(openmm.XmlSerializer.clone(system), openmm.VerletIntegrator(0.001), platform)


def _energy_and_forces(context, positions):
    """Return energy, eV, and forces, eV/Å, of positions in Å; DataError if they are not finite."""
    context.setPositions(np.asarray(positions) * 0.1)
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise DataError("the baseline's energy or a force is not finite")
    return energy * units.KJ_PER_MOL, np.array(forces) * units.KJ_PER_MOL


def energy_forces(system):
    """Return the forces of a System that have an energy and are no KMLForce."""
    is_model = load_library().is_kml_force
    return [
        force for force in system.getForces() if not isinstance(force, _NO_ENERGY) and not is_model(int(force.this))
    ]


def _canonical(force):
    """Return the XML of a Force without its group and name, which its energy does not depend on."""
    copy = openmm.XmlSerializer.clone(force)
    copy.setForceGroup(0)
    copy.setName("")
    return re.sub(r"\s+", " ", openmm.XmlSerializer.serialize(copy))
