"""A calculator for ASE."""

import numpy as np

try:
    from ase.calculators.calculator import Calculator, all_changes
except ImportError as error:  # pragma: no cover
    raise ImportError("openmm_kml.interfaces.ase needs ASE: pip install ase") from error

from openmm_kml.potential import KernelPotential


class KMLCalculator(Calculator):
    """ASE calculator of a kernel potential: energy, forces, and stress in periodic cells.

    A model of any structure also gives the energies of the single atoms.

    Parameters
    ----------
    potential : KernelPotential, str or Path
        The potential, or the path of its weight file.
    baseline : str, Path or object, optional
        What the potential is the difference to, which is added: an ASE calculator, a weight file, or whatever else
        `openmm_kml.interfaces.baselines.resolve_baseline` takes. Standard deviations are the potential's alone.
    n_threads : int, optional
        OpenMP threads; all cores by default, and one where the work is small.
    uncertainty : bool
        Whether every calculation also fills `energy_std`, and `energies_std` for a model of any structure: standard
        deviations of the energy and of the energies of the single atoms. Without it they are computed when asked for,
        as in ``atoms.calc.get_property("energy_std", atoms)``.

    Raises
    ------
    openmm_kml.errors.WeightFileError
        If `uncertainty` is wanted and the model has none; if the potential is the difference to a baseline and none or
        another one is given.
    openmm_kml.errors.DataError
        If the baseline is none, or cannot be evaluated on a structure.

    Notes
    -----
    Energy in eV, forces in eV/Å, stress in eV/Å³ (`-virial / volume`, Voigt order), where three lattice vectors span a
    cell; a model of one molecule has one only in structures that are periodic in all directions. Such a model takes the
    positions as they are: the molecule must be whole, not wrapped over the borders of a cell.
    """

    implemented_properties = ("energy", "free_energy", "forces", "stress", "energies", "energy_std", "energies_std")

    def __init__(self, potential, n_threads=None, uncertainty=False, baseline=None, **kwargs):
        super().__init__(**kwargs)
        self.potential = _loaded(potential, baseline)
        self.n_threads = n_threads
        self.uncertainty = uncertainty
        if uncertainty:
            self.potential.check_uncertainty()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Fill `results`; raise ValueError when the elements differ from the model's."""
        super().calculate(atoms, properties, system_changes)
        atoms, potential = self.atoms, self.potential
        local = potential.species is None
        whole_cell = atoms.cell.rank == 3 and (local or atoms.pbc.all())
        cell = np.asarray(atoms.cell) if whole_cell or (local and atoms.pbc.any()) else None
        structure = {"cell": cell, "pbc": atoms.pbc if cell is not None else None, "n_threads": self.n_threads}
        deviations = self.uncertainty or "energy_std" in properties or "energies_std" in properties
        if deviations:
            found = potential.evaluate_uncertainty(atoms.positions, atoms.numbers, **structure, prediction=True)
            energy, forces, virial = found.prediction
        else:
            energy, forces, virial = potential.evaluate(atoms.positions, atoms.numbers, **structure)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if local and "energies" in properties:
            self.results["energies"] = potential.evaluate_atomic(atoms.positions, atoms.numbers, **structure)
        if deviations:
            self.results["energy_std"] = found.energy_std
            if found.atomic_std is not None:
                self.results["energies_std"] = found.atomic_std
        if whole_cell and virial is not None:
            stress = -virial / atoms.get_volume()
            self.results["stress"] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def _loaded(potential, baseline):
    if baseline is not None:
        from openmm_kml.interfaces.baselines import SumPotential

        return SumPotential.load(potential, baseline)
    return potential if isinstance(potential, KernelPotential) else KernelPotential.load(potential)
