"""Reference data from files, in eV and Å."""

from openmm_kml.structures import ase_files, npz_files
from openmm_kml.structures.arrays import data_file


def read_molecules(path, energy_unit=None, length_unit=None, *, energy_key=None, forces_key=None, progress=False):
    """Return the frames of a file as a `MoleculeSet`.

    Parameters
    ----------
    path : path-like
        ``.npz`` in sGDML's layout (``z``, ``R``, ``E``, ``F``), or extended XYZ and whatever else ASE reads.
    energy_unit, length_unit : str, optional
        Units of the numbers in the file, such as ``kcal/mol`` and ``Bohr``; forces are in energy unit per length
        unit. Left out, an ``.npz`` file must name its energy unit (``e_unit``) itself and is in Å if it names no
        length unit (``r_unit``); all other files are in eV and Å, as ASE defines.
    energy_key, forces_key : str, optional
        Names of the energy and the forces in the file, where it holds more than one of them.
    progress : bool
        Show a progress bar if reading takes longer than two seconds.

    Returns
    -------
    MoleculeSet
        With energies and forces where the file has them.

    Raises
    ------
    DataError
        If the file is empty or unreadable, frames differ in their atoms, numbers are not finite, atoms coincide, a
        unit is missing or contradicts the file, or it is not clear which numbers are the energies or forces.
    OSError
        If the file cannot be opened.
    """
    path, is_npz = data_file(path)
    if is_npz:
        return npz_files.read(path, energy_unit, length_unit, energy_key, forces_key)
    return ase_files.read(path, energy_unit, length_unit, energy_key, forces_key, progress)
