"""PySCF as an ASE calculator of a free molecule."""

from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.units import Bohr, Hartree
from pyscf import dft, gto


class PySCFCalculator(Calculator):
    """Kohn and Sham's density-functional theory of a molecule.

    Parameters
    ----------
    xc : str
        Functional, in PySCF's words.
    basis : str
    charge, spin : int
        Spin is the number of unpaired electrons.
    conv_tol : float, Hartree
    """

    implemented_properties = ("energy", "forces")

    def __init__(self, xc="pbe", basis="def2-svp", charge=0, spin=0, conv_tol=1e-9):
        super().__init__()
        self._method = {"charge": charge, "spin": spin, "basis": basis}
        self._xc, self._conv_tol = xc, conv_tol

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Fill `results` with the energy (eV) and the forces (eV/Å)."""
        super().calculate(atoms, properties, system_changes)
        if self.atoms.pbc.any():
            raise CalculationFailed("this reference is for free molecules, and the frame is periodic")
        places = list(zip(self.atoms.get_chemical_symbols(), self.atoms.positions.tolist(), strict=True))
        molecule = gto.M(atom=places, unit="Angstrom", verbose=0, **self._method)
        field = dft.KS(molecule, xc=self._xc)
        field.conv_tol = self._conv_tol
        energy = field.kernel()
        if not field.converged:
            raise CalculationFailed("the self-consistent field did not converge")
        gradient = field.nuc_grad_method().kernel()
        self.results = {"energy": energy * Hartree, "forces": -gradient * Hartree / Bohr}
