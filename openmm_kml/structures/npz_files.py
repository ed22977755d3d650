"""Reference data from ``.npz`` files in sGDML's layout."""

import numpy as np

from openmm_kml import units
from openmm_kml.errors import DataError
from openmm_kml.structures.molecules import MoleculeSet
from openmm_kml.structures.npz import NpzFile

# sGDML's name first, then those of other public sets (revised MD17 among them).
_NAMES = {
    "z": ("z", "nuclear_charges", "atomic_numbers", "numbers"),
    "R": ("R", "coords", "positions"),
    "E": ("E", "energies", "energy"),
    "F": ("F", "forces"),
}


def read(path, energy_unit=None, length_unit=None, energy_key=None, forces_key=None):
    """Return the `MoleculeSet` of an ``.npz`` file; see `openmm_kml.structures.read_molecules`."""
    with NpzFile(path) as file:
        numbers = _find(file, "z")
        positions = _find(file, "R")
        energies = _find(file, "E", energy_key, required=False)
        forces = _find(file, "F", forces_key, required=False)
        if "lattice" in file:
            raise DataError(f"{path} holds a periodic system (array 'lattice'); a molecule without a cell is needed")
        stated_length = file.text("r_unit")
        length = _unit(path, "length", stated_length, length_unit, units.length_unit) or "Angstrom"
        energy = _unit(path, "energy", file.text("e_unit"), energy_unit, units.energy_unit)
        name = path.stem
    if energy is None and (energies is not None or forces is not None):
        raise DataError(
            f"{path} does not name the unit of its energies (no 'e_unit'); say it with --energy-unit, "
            "for example --energy-unit kcal/mol"
        )
    positions = np.asarray(positions, dtype=float)
    if positions.ndim == 2:
        positions = positions[None]
    if positions.ndim != 3 or len(positions) == 0:
        raise DataError(f"{path}: positions must have shape (frames, atoms, 3); {positions.shape} came")
    positions = positions * units.LENGTH_UNITS[length]
    molecules = MoleculeSet(
        _one_molecule(path, numbers),
        positions,
        _energies(energies, energy),
        None
        if forces is None
        else _forces(forces, positions) * units.ENERGY_UNITS[energy] / units.LENGTH_UNITS[length],
        name,
    )
    if stated_length is None and length_unit is None:
        _check_plausible(path, molecules)
    return molecules


def _find(file, key, name=None, required=True):
    """Return the array with one of the known names, or with the name the user gave."""
    names = (name,) if name else _NAMES[key]
    for candidate in names:
        if candidate in file:
            array = file.read(candidate)
            if array.dtype.kind not in "fiu":
                raise DataError(f"{file.path}: array {candidate!r} must hold numbers; its type is {array.dtype}")
            return array
    if required or name:
        present = ", ".join(sorted(file.names)) or "none"
        raise DataError(f"{file.path} has no array {' or '.join(map(repr, names))}; it has {present}")
    return None


def _unit(path, quantity, stated, given, canonical):
    """Return the unit stated in the file or given by the user; both must agree."""
    try:
        stated = canonical(stated) if stated else None
    except ValueError as error:
        if given is None:
            raise DataError(f"{path}: {error}; say it with --{quantity}-unit") from None
        stated = None
    given = canonical(given) if given else None
    if stated and given and stated != given:
        raise DataError(f"{path} states {stated} as its unit of {quantity}, but {given} was asked for; leave one out")
    return given or stated


def _one_molecule(path, numbers):
    """Return atomic numbers of shape (n,), from shape (n,) or from equal rows of shape (frames, n)."""
    if numbers.ndim == 2:
        different = np.flatnonzero((numbers != numbers[0]).any(axis=1))
        if different.size:
            raise DataError(f"{path}: frame {different[0] + 1} has other atoms, or another order, than frame 1")
        numbers = numbers[0]
    return numbers


def _energies(energies, unit):
    """Return energies of shape (M,) in eV from shape (M,), (M, 1) or (1, M)."""
    if energies is None:
        return None
    if energies.ndim == 2 and 1 in energies.shape:
        energies = energies.ravel()
    return np.atleast_1d(energies) * units.ENERGY_UNITS[unit]


def _forces(forces, positions):
    """Return forces of shape (M, n, 3), with the leading axis that a single frame may lack."""
    forces = np.asarray(forces, dtype=float)
    return forces[None] if forces.ndim == 2 and len(positions) == 1 else forces


def _check_plausible(path, molecules):
    """Refuse positions that are in Bohr or nm without saying so: bonds have the length of the covalent radii."""
    from ase.data import covalent_radii

    if molecules.n_atoms < 2:
        return
    i, j = np.tril_indices(molecules.n_atoms, -1)
    sums = covalent_radii[molecules.numbers[i]] + covalent_radii[molecules.numbers[j]]
    ratio = float(np.min(np.linalg.norm(molecules.positions[0, i] - molecules.positions[0, j], axis=-1) / sums))
    if not 0.5 < ratio < 1.5:
        raise DataError(
            f"{path} does not name its unit of length, and in Å its shortest bond would be {ratio:.2g} times the sum "
            "of the covalent radii; say the unit with --length-unit, for example --length-unit bohr"
        )
