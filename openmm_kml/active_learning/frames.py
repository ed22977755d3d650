"""Frames on the disk: one file each, whole or not there, every digit kept."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np

from openmm_kml.errors import DataError
from openmm_kml.files import write_atomically
from openmm_kml.structures import MoleculeSet, StructureSet, read_structures
from openmm_kml.structures.extended_xyz import frame_text


class LabeledFrames:
    """The reference calls of a campaign: call k left a frame, or the reason why there is none.

    A file appears under its name when it is on the disk; a kill leaves nothing half-written that counts.
    """

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(exist_ok=True)
        self._known = {}
        for partial in self.directory.glob(".*.partial"):  # what a kill left behind
            with suppress(FileNotFoundError):
                partial.unlink()

    def __contains__(self, call):
        return self._frame(call).exists() or self._failure(call).exists()

    def add(self, call, frame, info):
        """Write the labeled frame of a call."""
        write_atomically(self._frame(call), frame_text(frame, {"call": call} | info).encode())

    def add_failure(self, call, reason):
        """Write why a call gave no frame."""
        write_atomically(self._failure(call), (json.dumps({"call": call, "reason": reason}) + "\n").encode())

    def get(self, call):
        """Return the labeled frame of a call, None if it failed."""
        if call not in self._known:
            path = self._frame(call)
            self._known[call] = read_structures(path).frames[0] if path.exists() else None
        return self._known[call]

    def reason(self, call):
        """Return why a call failed."""
        return json.loads(self._failure(call).read_text())["reason"]

    def _frame(self, call):
        return self.directory / f"{call:06d}.xyz"

    def _failure(self, call):
        return self.directory / f"{call:06d}.failed.json"


def as_molecules(frames, name=""):
    """Return structures of one free molecule as a `MoleculeSet`.

    Raises
    ------
    DataError
        If a frame is periodic, or its atoms differ from those of the first.
    """
    first = frames[0]
    for number, frame in enumerate(frames, 1):
        if not np.array_equal(frame.numbers, first.numbers):
            raise DataError(
                f"frame {number} is {frame.formula}, frame 1 {first.formula}, or the order of atoms differs; a gdml "
                "model is for one molecule: give frames of the same atoms in the same order, or --kind nbody or soap"
            )
        if frame.pbc.any():
            raise DataError(f"frame {number} is periodic, but a gdml model is for one molecule; choose nbody or soap")
    labels = [(frame.energy, frame.forces) for frame in frames]
    complete = all(energy is not None and forces is not None for energy, forces in labels)
    return MoleculeSet(
        first.numbers,
        np.array([frame.positions for frame in frames]),
        np.array([energy for energy, _ in labels]) if complete else None,
        np.array([forces for _, forces in labels]) if complete else None,
        name,
    )


def as_set(frames, name="labeled"):
    """Return structures as a `StructureSet`."""
    return StructureSet(frames, name)
