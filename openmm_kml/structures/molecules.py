"""Geometries of one molecule with their reference energies and forces."""

import hashlib
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from openmm_kml.errors import DataError
from openmm_kml.structures.arrays import checked_numbers, locked_array

SHORTEST_DISTANCE = 0.1  # Å; atoms closer than this are one atom written twice, or the unit is wrong
_BLOCK_ENTRIES = 1 << 20  # distances held at a time while the set is checked


def formula(numbers):
    """Return atomic numbers as text in their order, runs joined: ``C2OH6`` for 6 6 8 1 1 1 1 1 1."""
    parts = []
    for number in numbers:
        symbol = chemical_symbols[number] if 0 < number < len(chemical_symbols) else f"[{number}]"
        if parts and parts[-1][0] == symbol:
            parts[-1][1] += 1
        else:
            parts.append([symbol, 1])
    return "".join(symbol + (str(count) if count > 1 else "") for symbol, count in parts)


def atom_name(numbers, atom):
    """Return the name of an atom in messages: its symbol and its place counted from 1 (``C1``, ``H9``)."""
    return f"{chemical_symbols[numbers[atom]]}{atom + 1}"


@dataclass(frozen=True, eq=False)
class MoleculeSet:
    """M geometries of one molecule: the same atoms in the same order in every frame.

    Parameters
    ----------
    numbers : array of shape (n,)
        Atomic numbers, 1 to 118.
    positions : array of shape (M, n, 3), Å
    energies : array of shape (M,), eV, optional
    forces : array of shape (M, n, 3), eV/Å, optional
        Minus the derivative of the energy by the positions.
    name : str
        Where the set comes from; not part of the digest.

    Raises
    ------
    DataError
        If a shape is wrong, a number is not finite, or two atoms of a frame coincide; the message names the frame
        (counted from 1) and the atom.

    Notes
    -----
    The arrays are copied to float64 and cannot be written to, so a set never changes after its checks.
    """

    numbers: np.ndarray
    positions: np.ndarray
    energies: np.ndarray | None = None
    forces: np.ndarray | None = None
    name: str = ""

    def __post_init__(self):
        numbers = checked_numbers(self.numbers)
        positions = locked_array(self.positions, np.float64, "positions")
        n = len(numbers)
        if positions.ndim != 3 or positions.shape[1:] != (n, 3):
            raise DataError(f"positions must have shape (frames, {n}, 3) for {n} atoms; {positions.shape} came")
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "positions", positions)
        _check_finite(positions, "position", numbers)
        if self.energies is not None:
            object.__setattr__(self, "energies", _checked_energies(self.energies, len(positions)))
        if self.forces is not None:
            forces = locked_array(self.forces, np.float64, "forces")
            if forces.shape != positions.shape:
                raise DataError(f"forces must have the shape of the positions, {positions.shape}; {forces.shape} came")
            _check_finite(forces, "force", numbers)
            object.__setattr__(self, "forces", forces)
        _check_distinct(positions, numbers)

    def __len__(self):
        return len(self.positions)

    def __getitem__(self, indices):
        """Return the frames of an index array, a slice, a mask or a single index as a new set."""
        if isinstance(indices, (int, np.integer)):
            indices = [indices]
        if not isinstance(indices, slice):
            indices = np.asarray(indices)
            indices = indices.astype(np.intp) if indices.size == 0 else indices
        return MoleculeSet(
            self.numbers,
            self.positions[indices],
            None if self.energies is None else self.energies[indices],
            None if self.forces is None else self.forces[indices],
            self.name,
        )

    @property
    def n_atoms(self):
        """Number of atoms of the molecule."""
        return len(self.numbers)

    @property
    def formula(self):
        """The atoms in their order, such as ``C2OH6``."""
        return formula(self.numbers)

    @property
    def digest(self):
        """``sha256:`` and the hexadecimal digest of atoms, positions, energies and forces (not of the name)."""
        digest = hashlib.sha256(b"openmm_kml MoleculeSet 1")
        for array, dtype in (
            (self.numbers, "<i8"),
            (self.positions, "<f8"),
            (self.energies, "<f8"),
            (self.forces, "<f8"),
        ):
            shape = "absent" if array is None else str(array.shape)
            digest.update(f"|{shape}|".encode())
            if array is not None:
                # Adding zero turns -0.0 into 0.0: equal sets get equal digests.
                digest.update(np.ascontiguousarray(array + 0, dtype=dtype).tobytes())
        return f"sha256:{digest.hexdigest()}"


def _checked_energies(energies, n_frames):
    energies = locked_array(energies, np.float64, "energies")
    if energies.shape != (n_frames,):
        raise DataError(f"energies must have shape ({n_frames},), one for each frame; {energies.shape} came")
    bad = np.flatnonzero(~np.isfinite(energies))
    if bad.size:
        raise DataError(f"frame {bad[0] + 1}: the energy is {energies[bad[0]]}, not a finite number; remove the frame")
    return energies


def _check_finite(array, what, numbers):
    if np.isfinite(array).all():
        return
    frame, atom, axis = np.argwhere(~np.isfinite(array))[0]
    raise DataError(
        f"frame {frame + 1}, atom {atom_name(numbers, atom)}: the {what} is {array[frame, atom, axis]} along "
        f"{'xyz'[axis]}, not a finite number; remove the frame"
    )


def _check_distinct(positions, numbers):
    """Raise `DataError` if two atoms of a frame are closer than ``SHORTEST_DISTANCE``."""
    i, j = np.tril_indices(len(numbers), -1)
    if i.size == 0:
        return
    step = max(1, _BLOCK_ENTRIES // i.size)
    for start in range(0, len(positions), step):
        block = positions[start : start + step]
        distances = np.linalg.norm(block[:, i] - block[:, j], axis=-1)
        if distances.min() < SHORTEST_DISTANCE:
            frame, pair = np.unravel_index(distances.argmin(), distances.shape)
            raise DataError(
                f"frame {start + frame + 1}: atoms {atom_name(numbers, j[pair])} and {atom_name(numbers, i[pair])} are "
                f"{distances[frame, pair]:.3g} Å apart; remove the frame, or name the unit of length if it is not Å"
            )
