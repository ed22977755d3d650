"""Reference data from extended XYZ and every other format that ASE reads."""

import warnings

import numpy as np

from openmm_kml import units
from openmm_kml.errors import DataError
from openmm_kml.structures.molecules import MoleculeSet, atom_name, formula

# An energy is any number whose name contains "energy", unless the name says that it is another energy.
_OTHER_ENERGIES = ("kinetic", "free", "per_atom", "std", "var", "uncert", "error", "weight", "gap", "sigma", "zero")
_OTHER_FORCES = ("std", "var", "uncert", "error", "weight", "mask", "sigma", "max", "norm")


def read(path, energy_unit=None, length_unit=None, energy_key=None, forces_key=None, progress=False):
    """Return the `MoleculeSet` of a file that ASE reads; see `openmm_kml.structures.read_molecules`."""
    energy = units.energy_factor(energy_unit or "eV")
    length = units.length_factor(length_unit or "Angstrom")
    frames = read_frames(path, progress)
    first = frames[0].numbers
    for index, atoms in enumerate(frames):
        _check_atoms(path, index, atoms, first)
    energies = Choice("energy", energy_key, [energy_candidates(atoms) for atoms in frames]).values(path)
    forces = Choice("forces", forces_key, [forces_candidates(atoms) for atoms in frames]).values(path)
    return MoleculeSet(
        first,
        np.array([atoms.positions for atoms in frames]) * length,
        None if energies is None else np.array(energies) * energy,
        None if forces is None else np.array(forces) * (energy / length),
        path.stem,
    )


def read_frames(path, progress):
    from ase.io import iread
    from tqdm import tqdm

    frames = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bar = {"disable": not progress, "delay": 2.0, "leave": False, "unit": " frames", "dynamic_ncols": True}
            frames.extend(tqdm(iread(path, index=":", do_not_split_by_at_sign=True), f"reading {path.name}", **bar))
    # ASE's readers raise errors of every kind on files they do not understand, OSError without a number among them.
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        if type(error).__name__ == "UnknownFileTypeError":
            text = "it is of no format that it knows"
        where = f" after frame {len(frames)}" if frames else ""
        raise DataError(f"{path} cannot be read by ASE{where}: {text}") from None
    if not frames:
        raise DataError(f"{path} has no frames; name a file with at least one")
    return frames


def _check_atoms(path, index, atoms, numbers):
    """Raise `DataError` if a frame is empty, has other atoms than the first, or is cut by its periodic cell."""
    if len(atoms) == 0:
        raise DataError(f"{path}: frame {index + 1} has no atoms")
    if not np.array_equal(atoms.numbers, numbers):
        raise DataError(
            f"{path}: frame {index + 1} has the atoms {formula(atoms.numbers)}, but frame 1 has {formula(numbers)}; "
            "all frames must be the same molecule with its atoms in the same order"
        )
    if not atoms.pbc.any() or atoms.cell.rank < 3:
        return
    i, j = np.tril_indices(len(atoms), -1)
    direct = atoms.positions[i] - atoms.positions[j]
    fractional = direct @ np.linalg.inv(atoms.cell.array)
    shift = np.where(atoms.pbc, np.round(fractional), 0) @ atoms.cell.array
    cut = np.flatnonzero(np.linalg.norm(direct - shift, axis=1) < np.linalg.norm(direct, axis=1) - 1e-6)
    if cut.size:
        first, second = (atom_name(numbers, k[cut[0]]) for k in (j, i))
        raise DataError(
            f"{path}: frame {index + 1} is periodic, and {first} and {second} are nearer across the cell's border "
            "than inside it; make the molecule whole and give it a cell of twice its size or none"
        )


def energy_candidates(atoms):
    """Return the energies of a frame by name."""
    found = {}
    results = atoms.calc.results if atoms.calc is not None else {}
    if "energy" in results:
        found["energy"] = results["energy"]
    elif "free_energy" in results:
        found["free_energy"] = results["free_energy"]
    for name, value in atoms.info.items():
        key = str(name).lower()
        if "energy" not in key or any(other in key for other in _OTHER_ENERGIES):
            continue
        if isinstance(value, (int, float, np.number, np.ndarray)) and np.size(value) == 1:
            found[str(name)] = value
    return {name: float(np.reshape(value, ())) for name, value in found.items()}


def forces_candidates(atoms):
    """Return the forces of a frame by name."""
    found = {}
    results = atoms.calc.results if atoms.calc is not None else {}
    if "forces" in results:
        found["forces"] = np.asarray(results["forces"], dtype=float)
    for name, value in atoms.arrays.items():
        key = name.lower()
        if "force" in key and value.shape == (len(atoms), 3) and not any(other in key for other in _OTHER_FORCES):
            found[name] = value.astype(float)
    return found


class Choice:
    """The one quantity of all frames that is meant, out of those found by name."""

    def __init__(self, what, key, candidates, partial=False):
        self.what = what
        self.key = key
        self.candidates = candidates
        self.partial = partial  # whether frames may lack the quantity

    def values(self, path):
        """Return one value for each frame, or None if no frame has any."""
        names = sorted({name for found in self.candidates for name in found})
        key = self.key
        if key is None:
            if not names:
                return None
            key = self._only_one(path, names)
        if self.partial and any(key in found for found in self.candidates):
            return [found.get(key) for found in self.candidates]
        for index, found in enumerate(self.candidates):
            if key not in found:
                raise DataError(
                    f"{path}: frame {index + 1} has no {self.what} {key!r}"
                    + (f"; names found are {', '.join(names)}" if names else "")
                    + (f", chosen with --{self.what}-key" if self.key is None and len(names) > 1 else "")
                )
        return [found[key] for found in self.candidates]

    def _only_one(self, path, names):
        """Return the only name, or the first of several that hold equal numbers in every frame."""
        for found in self.candidates:
            values = list(found.values())
            if any(not np.array_equal(values[0], value, equal_nan=True) for value in values[1:]):
                raise DataError(
                    f"{path} has several candidates for the {self.what} with different numbers: {', '.join(names)}; "
                    f"choose one with --{self.what}-key"
                )
        return max(names, key=lambda name: sum(name in found for found in self.candidates))
