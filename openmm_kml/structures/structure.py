"""Structures of any composition, with or without periodicity, and their reference energies, forces and virials."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from openmm_kml.elements import formula, symbol
from openmm_kml.errors import DataError
from openmm_kml.structures.arrays import checked_numbers, locked_array

SMALLEST_VOLUME = 1e-3  # Å³ for each atom; a cell below is flat


@dataclass(frozen=True, eq=False)
class Structure:
    """One frame of reference data.

    Parameters
    ----------
    numbers : array of shape (n,)
        Atomic numbers, 1 to 118.
    positions : array of shape (n, 3), Å
    cell : array of shape (3, 3), Å, optional
        Lattice vectors as rows.
    pbc : bool or three of them, optional
        Which lattice directions are periodic; all of them when a cell is given and nothing is said.
    energy : float, eV, optional
    forces : array of shape (n, 3), eV/Å, optional
    virial : array of shape (3, 3), eV, optional
        Minus the derivative of the energy by the strain (ASE's stress = -virial / volume).
    group : str
        Kind of configuration, such as ``config_type`` in extended XYZ.

    Raises
    ------
    DataError
        If a shape is wrong, a number is not finite, or a periodic cell has no volume.
    """

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray | None = None
    pbc: np.ndarray | None = None
    energy: float | None = None
    forces: np.ndarray | None = None
    virial: np.ndarray | None = None
    group: str = ""

    def __post_init__(self):
        numbers = checked_numbers(self.numbers)
        n = len(numbers)
        cell = None if self.cell is None else self._array("cell", (3, 3))
        pbc = np.zeros(3) if cell is None else np.ones(3)
        pbc = pbc if self.pbc is None else np.broadcast_to(np.asarray(self.pbc), 3)
        values = {
            "numbers": numbers,
            "positions": self._array("positions", (n, 3)),
            "cell": cell,
            "pbc": locked_array(pbc, bool, "pbc"),
            "energy": None if self.energy is None else float(self.energy),
            "forces": None if self.forces is None else self._array("forces", (n, 3)),
            "virial": None if self.virial is None else self._array("virial", (3, 3)),
            "group": str(self.group),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.energy is not None and not np.isfinite(self.energy):
            raise DataError(f"the energy is {self.energy}, not a finite number; remove the frame")
        self._check_cell()

    def _array(self, name, shape):
        array = locked_array(getattr(self, name), np.float64, name)
        if array.shape != shape:
            raise DataError(f"{name} must have shape {shape}; {array.shape} came")
        if not np.isfinite(array).all():
            raise DataError(f"{name} must be finite numbers; {array[~np.isfinite(array)][0]} came; remove the frame")
        return array

    def _check_cell(self):
        """Raise `DataError` if the structure is periodic in a direction along which its cell has no extent."""
        if not self.pbc.any():
            return
        if self.cell is None:
            raise DataError("the structure is periodic but has no cell; give the lattice vectors or pbc=False")
        vectors = self.cell[self.pbc]
        extent = np.sqrt(np.linalg.det(vectors @ vectors.T).clip(0))
        if extent < SMALLEST_VOLUME * (len(self) if len(vectors) == 3 else 1):
            raise DataError(
                f"the periodic directions of the cell span {extent:.3g} Å^{len(vectors)} for {len(self)} atoms; "
                "give lattice vectors in Å that span a volume, or pbc=False"
            )

    def __len__(self):
        return len(self.numbers)

    @property
    def volume(self):
        """Volume of the cell in Å³; None unless all directions are periodic."""
        return abs(np.linalg.det(self.cell)) if self.pbc.all() else None

    @property
    def formula(self):
        """Chemical formula in Hill's order."""
        return formula(self.numbers)

    def update_digest(self, digest, labels=True):
        """Feed the geometry, and the labels where wanted, to a hashlib object."""
        fields = [(self.numbers, "<i8"), (self.positions, "<f8"), (self.cell, "<f8"), (self.pbc, "<i8")]
        if labels:
            fields += [(self.energy, "<f8"), (self.forces, "<f8"), (self.virial, "<f8")]
        for value, dtype in fields:
            shape = "absent" if value is None else str(np.shape(value))
            digest.update(f"|{shape}|".encode())
            if value is not None:
                # Adding zero turns -0.0 into 0.0: equal structures get equal digests.
                digest.update(np.ascontiguousarray(np.asarray(value) + 0, dtype=dtype).tobytes())


@dataclass(frozen=True, eq=False)
class StructureSet:
    """Frames of varying composition.

    Parameters
    ----------
    frames : iterable of Structure
    name : str
        Where the set comes from; not part of the digest.
    """

    frames: tuple = field(default_factory=tuple)
    name: str = ""

    def __post_init__(self):
        object.__setattr__(self, "frames", tuple(self.frames))

    def __len__(self):
        return len(self.frames)

    def __iter__(self):
        return iter(self.frames)

    def __getitem__(self, indices):
        """Return the frames of an index array, a slice, a mask or a single index as a new set."""
        if isinstance(indices, (int, np.integer)):
            indices = [indices]
        places = np.arange(len(self))[indices if isinstance(indices, slice) else np.asarray(indices)]
        return StructureSet([self.frames[k] for k in places], self.name)

    @property
    def elements(self):
        """The atomic numbers that occur, ascending."""
        return np.unique(np.concatenate([frame.numbers for frame in self.frames] or [np.zeros(0, np.int64)]))

    @property
    def n_atoms(self):
        """Number of atoms in all frames."""
        return sum(len(frame) for frame in self.frames)

    @property
    def groups(self):
        """Name of each group -> number of its frames."""
        names = [frame.group for frame in self.frames]
        return {name: names.count(name) for name in sorted(set(names))}

    @property
    def digest(self):
        """``sha256:`` and the hexadecimal digest of all frames with their labels (not of names and groups)."""
        digest = hashlib.sha256(b"openmm_kml StructureSet 1")
        for frame in self.frames:
            frame.update_digest(digest)
        return f"sha256:{digest.hexdigest()}"

    def describe(self):
        """Return what the set holds in a few words, such as ``214 frames of Si, 12,345 atoms``."""
        names = " ".join(symbol(z) for z in self.elements)
        return f"{len(self)} frames of {names}, {self.n_atoms:,} atoms"
