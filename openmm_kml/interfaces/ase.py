"""A calculator for ASE."""

import numpy as np

try:
    from ase.calculators.calculator import Calculator, all_changes
except ImportError as error:  # pragma: no cover
    raise ImportError("openmm_kml.interfaces.ase needs ASE: pip install ase") from error

from openmm_kml.potential import KernelPotential


class KMLCalculator(Calculator):
    """ASE calculator of a kernel potential: energy, forces, and stress in periodic cells.

    Parameters
    ----------
    potential : KernelPotential, str or Path
        The potential, or the path of its weight file.
    n_threads : int, optional
        OpenMP threads; all cores by default, and one where the work is small.

    Notes
    -----
    Energy in eV, forces in eV/Å, stress in eV/Å³ (`-virial / volume`, Voigt order). A model of one molecule takes the
    positions as they are: the molecule must be whole, not wrapped over the borders of a cell.
    """

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, potential, n_threads=None, **kwargs):
        super().__init__(**kwargs)
        self.potential = potential if isinstance(potential, KernelPotential) else KernelPotential.load(potential)
        self.n_threads = n_threads

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Fill `results`; raise ValueError when the elements differ from the model's."""
        super().calculate(atoms, properties, system_changes)
        periodic = self.atoms.pbc.all() and self.atoms.cell.rank == 3
        energy, forces, virial = self.potential.evaluate(
            self.atoms.positions,
            self.atoms.numbers,
            cell=np.asarray(self.atoms.cell) if periodic else None,
            n_threads=self.n_threads,
        )
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if periodic:
            stress = -virial / self.atoms.get_volume()
            self.results["stress"] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
