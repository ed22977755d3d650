"""Kernel potentials in openmm-ml, alone or inside a classical system.

A model of one molecule gives a Force for each copy of the molecule, a model of any structure one Force on all atoms.
"""

try:
    from openmmml.embeddings.mechanicalembedding import MechanicalEmbedding
    from openmmml.mlpotential import MLPotentialImpl
except ImportError as error:  # pragma: no cover
    raise ImportError("openmm_kml.interfaces.openmmml_potential needs openmm-ml: pip install openmmml") from error

from openmm_kml.errors import DataError
from openmm_kml.interfaces.baseline import check_baseline
from openmm_kml.interfaces.baseline_forces import check_placeable, forces_on
from openmm_kml.interfaces.baseline_kinds import CalculatorBaseline, ModelBaseline, check_same_digest
from openmm_kml.interfaces.baselines import resolve_baseline
from openmm_kml.interfaces.checks import constraints_without_bonds
from openmm_kml.interfaces.matching import find_molecules
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.interfaces.openmm_arguments import as_difference
from openmm_kml.potential import KernelPotential

MECHANICAL = "mechanical"


class KMLPotentialImpl(MLPotentialImpl):
    """A kernel potential: of one molecule, for any number of copies of it, or of any structure.

    Parameters
    ----------
    model : str, path or KernelPotential
    positions : Quantity or array_like of shape (number of atoms in the Topology, 3), optional
        Positions of whole molecules, in nm without a unit, from which the labeling of the atoms is chosen where the
        bonds allow several that differ for the model.
    inModelOrder : bool
        True: the chosen atoms are the model's in its order, copy after copy; nothing is matched but the elements.
    nThreads : int, optional
        Threads of one evaluation.
    baseline : path, KernelPotential or openmm.System, optional
        For a model that is the difference to a baseline: that baseline, which is added for every molecule.

    Raises
    ------
    WeightFileError
        If the model is a difference and the baseline is missing or another one, or if the model is the whole energy
        and there is a baseline.
    DataError
        If the baseline is none, or one that cannot be moved to a molecule of a larger System.

    Notes
    -----
    A model of any structure needs neither `positions` nor `inModelOrder`. It is periodic where the topology has box
    vectors.

    All options but the model and its baseline may also be given to ``createSystem`` and ``createMixedSystem``, and win
    there.
    """

    def __init__(self, model, positions=None, inModelOrder=False, nThreads=None, baseline=None):
        if baseline is None:
            self.potential = model if isinstance(model, KernelPotential) else KernelPotential.load(model)
        else:
            self.potential = as_difference(model)
        self._baseline = None if baseline is None else _checked_baseline(self.potential, baseline)
        self._defaults = {"positions": positions, "inModelOrder": inModelOrder, "nThreads": nThreads}

    def addForces(self, topology, system, atoms, forceGroup, **args):
        """Add a KMLForce, and the baseline of a Δ-model, for each molecule among the atoms (all atoms when None).

        A model of any structure adds one for all of them.

        Raises
        ------
        ValueError
            If the atoms are not copies of the model's molecule, see `find_molecules`; or not of its elements.
        """
        options = self._options(args)
        for particles in self._molecules(topology, atoms, options):
            for force in self._forces(particles, topology, options["nThreads"]):
                force.setForceGroup(forceGroup)
                system.addForce(force)

    def getSupportedEmbeddings(self):
        """Return ``["mechanical"]``: openmm-ml's own, applied to one molecule after the other."""
        return [MECHANICAL]

    def createMixedSystem(self, topology, system, atoms, forceGroup, interpolate, embedding, returnInfo=False, **args):
        """Return the System in which the model describes each molecule, and the force field all that is between them.

        openmm-ml's mechanical embedding takes the atoms for one ML region and removes all classical interactions
        inside of it. For copies of a one-molecule model that would take the interactions between the molecules away.
        So each molecule is embedded by itself; with `interpolate`, all share ``lambda_interpolate``. A model of any
        structure describes what is between its atoms too: there openmm-ml's way is the right one.

        Raises
        ------
        ValueError
            If the atoms are not copies of the model's molecule, or if, with `interpolate`, their bonds would have no
            energy on the classical side.
        """
        if embedding != MECHANICAL:
            raise ValueError(f"the embedding of kml is '{MECHANICAL}'; '{embedding}' was given")
        options = self._options(args)
        molecules = self._molecules(topology, atoms, options)
        if interpolate:
            _check_classical_bonds(system, atoms)
        for particles in molecules:
            # The particles are in the model's order now.
            system = MechanicalEmbedding().createMixedSystem(
                self, topology, system, list(particles), forceGroup, interpolate, **args | {"inModelOrder": True}
            )
        if returnInfo:
            return {"system": system, "topology": topology, "oldToNew": list(range(topology.getNumAtoms()))}
        return system

    def getMLLongRange(self):
        """Return False: no model knows anything beyond its cutoff, so the force field's charges act there."""
        return False

    def _forces(self, particles, topology, n_threads):
        """Return the forces of one molecule."""
        added = self._baseline is not None
        model = KMLForce(self.potential, particles, topology=topology, n_threads=n_threads, baseline_added=added)
        return [model, *self._baseline_forces(particles, topology, n_threads)] if added else [model]

    def _baseline_forces(self, particles, topology, n_threads):
        """Return the forces of the baseline of one molecule, or of all atoms of a model of any structure."""
        if not isinstance(self._baseline, ModelBaseline):
            return forces_on(self._baseline.system, particles)
        species, potential = self.potential.species, self._baseline.potential
        atoms = {"topology": topology} if species is None else {"numbers": species, "periodic": False}
        return [KMLForce(potential, particles, n_threads=n_threads, **atoms)]

    def _options(self, args):
        return {name: args.get(name, default) for name, default in self._defaults.items()}

    def _molecules(self, topology, atoms, options):
        """Return the particles of each copy in the model's order; all in one for a model of any structure."""
        if self.potential.species is None:
            return [tuple(range(topology.getNumAtoms()) if atoms is None else atoms)]
        if not options["inModelOrder"]:
            return find_molecules(self.potential.weights, topology, atoms, options["positions"])
        chosen = list(range(topology.getNumAtoms())) if atoms is None else list(atoms)
        size = len(self.potential.species)
        if not chosen or len(chosen) % size:
            raise ValueError(
                f"the model describes {size} atoms, {len(chosen)} were chosen: a multiple of {size} is expected"
            )
        return [tuple(chosen[k : k + size]) for k in range(0, len(chosen), size)]


def _checked_baseline(potential, baseline):
    baseline = resolve_baseline(baseline)
    check_same_digest(potential.baseline, baseline.digest, baseline.what)
    if isinstance(baseline, CalculatorBaseline):
        raise DataError(f"OpenMM does not run the ASE calculator {baseline.name}: run the dynamics in ASE")
    if not isinstance(baseline, ModelBaseline):
        check_baseline(baseline.system, potential.species)
        check_placeable(baseline.system)
    return baseline


def _check_classical_bonds(system, atoms):
    """Raise ValueError if a bond is a constraint only: without it nothing holds the bond at lambda_interpolate = 0."""
    loose = constraints_without_bonds(system, atoms)
    if loose:
        raise ValueError(
            f"the bond of atoms {loose[0][0]} and {loose[0][1]} is a constraint without an energy in the classical "
            "System: with interpolate=True the constraint goes and nothing holds the bond at lambda_interpolate = 0; "
            "build the classical System with constraints=None"
        )
