"""Reference data of any composition from extended XYZ, what else ASE reads, and ``.npz``."""

import numpy as np

from openmm_kml import units
from openmm_kml.errors import DataError
from openmm_kml.structures import ase_files, npz_files
from openmm_kml.structures.arrays import data_file
from openmm_kml.structures.npz import NpzFile
from openmm_kml.structures.structure import Structure, StructureSet

GROUP_KEYS = ("config_type", "group")  # in this order
_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])  # ASE: xx yy zz yz xz xy
_AGREEMENT = 0.02  # of the largest component, between virial and stress of one frame


def read_structures(
    path,
    energy_unit=None,
    length_unit=None,
    *,
    energy_key=None,
    forces_key=None,
    virial_key=None,
    group_key=None,
    progress=False,
):
    """Return the frames of a file as a `StructureSet`.

    Parameters
    ----------
    path : path-like
        Extended XYZ and whatever else ASE reads; or ``.npz`` with ``z``, ``R``, ``E``, ``F`` and perhaps ``cell``.
    energy_unit, length_unit : str, optional
        Units of the numbers in the file; see `openmm_kml.structures.read_molecules`.
    energy_key, forces_key : str, optional
        Names of the energy and the forces in the file, where it holds more than one of them.
    virial_key : str, optional
        Name of the virial (minus the derivative of the energy by the strain, an energy). By default ``virial``, else
        the stress as ASE defines it: virial = -stress · volume.
    group_key : str, optional
        Name of the entry that tells kinds of configurations apart; by default ``config_type`` or ``group``.
    progress : bool
        Show a progress bar if reading takes longer than two seconds.

    Returns
    -------
    StructureSet
        A frame without a label has None there.

    Raises
    ------
    DataError
        If the file is empty or unreadable, numbers are not finite, a periodic cell is flat, or it is not clear which
        numbers are the energies or forces; the message names the frame.
    OSError
        If the file cannot be opened.
    """
    path, is_npz = data_file(path)
    if is_npz:
        return _read_npz(path, energy_unit, length_unit, energy_key, forces_key)
    energy = units.energy_factor(energy_unit or "eV")
    length = units.length_factor(length_unit or "Angstrom")
    frames = ase_files.read_frames(path, progress)
    choose = ase_files.Choice
    energies = choose("energy", energy_key, [ase_files.energy_candidates(a) for a in frames], partial=True)
    forces = choose("forces", forces_key, [ase_files.forces_candidates(a) for a in frames], partial=True)
    energies, forces = energies.values(path), forces.values(path)
    structures = []
    for index, atoms in enumerate(frames):
        try:
            periodic = atoms.pbc.any() or atoms.cell.rank > 0
            structures.append(
                Structure(
                    atoms.numbers,
                    atoms.positions * length,
                    atoms.cell.array * length if periodic else None,
                    atoms.pbc,
                    None if energies is None or energies[index] is None else energies[index] * energy,
                    None if forces is None or forces[index] is None else forces[index] * (energy / length),
                    _virial(atoms, virial_key, energy),
                    _group(atoms, group_key),
                )
            )
        except DataError as error:
            raise DataError(f"{path}: frame {index + 1}: {error}") from None
    return StructureSet(structures, path.stem)


def _group(atoms, key):
    for name in GROUP_KEYS if key is None else (key,):
        if name in atoms.info:
            return str(atoms.info[name])
    if key is not None:
        raise DataError(
            f"there is no entry {key!r} to group by; entries are {', '.join(map(str, atoms.info)) or 'none'}"
        )
    return ""


def _virial(atoms, key, factor):
    """Return the virial of a frame in eV, or None."""
    if key is not None and key not in atoms.info:
        return None
    named = atoms.info.get(key or "virial")
    results = atoms.calc.results if atoms.calc is not None else {}
    stress = results.get("stress", atoms.info.get("stress"))
    virial = None if named is None else _tensor(named, key or "virial") * factor
    if stress is None or not atoms.pbc.all() or key is not None:
        return virial
    from_stress = -_tensor(stress, "stress") * atoms.get_volume() * factor  # eV/Å³ · Å³: no length unit is left
    if virial is None:
        return from_stress
    scale = np.abs(virial).max() + 1e-3
    if np.abs(virial - from_stress).max() > _AGREEMENT * scale:
        raise DataError(
            "virial and -stress · volume disagree; name the virial, an energy, with --virial-key, or repair the stress "
            "(in eV/Å³, positive under tension)"
        )
    return virial


def _tensor(values, name):
    values = np.asarray(values, dtype=float)
    if values.size == 6:
        values = values.ravel()[_VOIGT]
    if values.size != 9:
        raise DataError(f"{name} must have 6 or 9 components; {values.size} came")
    values = values.reshape(3, 3)
    return (values + values.T) / 2


def _read_npz(path, energy_unit, length_unit, energy_key, forces_key):
    molecules = npz_files.read(path, energy_unit, length_unit, energy_key, forces_key)
    with NpzFile(path) as file:
        cell = file.read("cell")
        length = units.length_factor(length_unit or file.text("r_unit") or "Angstrom")
    if cell is not None:
        cell = np.asarray(cell, dtype=float)
        if cell.shape not in ((3, 3), (len(molecules), 3, 3)):
            raise DataError(f"{path}: cell must have shape (3, 3) or ({len(molecules)}, 3, 3); {cell.shape} came")
        cell = np.broadcast_to(cell * length, (len(molecules), 3, 3))
    return StructureSet(
        [
            Structure(
                molecules.numbers,
                molecules.positions[k],
                None if cell is None else cell[k],
                energy=None if molecules.energies is None else molecules.energies[k],
                forces=None if molecules.forces is None else molecules.forces[k],
            )
            for k in range(len(molecules))
        ],
        path.stem,
    )
