"""Checkpoints of the iterative solver: plain arrays, written under a temporary name and renamed."""

import time
from pathlib import Path

import numpy as np

from openmm_kml.errors import TrainingError
from openmm_kml.files import write_atomically
from openmm_kml.training.array_file import DAMAGED, array_bytes, load_arrays

SECONDS_BETWEEN = 30.0
_VECTORS = ("solution", "residual", "direction")


class Checkpoint:
    """The file that an interrupted solution goes on from.

    Parameters
    ----------
    path : path or None
        No file at all when None.
    digest : str
        Of data and hyperparameters: a file with another one is refused.
    """

    def __init__(self, path, digest):
        self.path = None if path is None else Path(path)
        self.digest = digest
        self.written = time.monotonic()

    def read(self, size):
        """Return the state in the file, None without a file.

        Parameters
        ----------
        size : int
            Number of unknowns.

        Raises
        ------
        TrainingError
            If the file is damaged or belongs to another training.
        """
        if self.path is None or not self.path.exists():
            return None
        try:
            state = load_arrays(self.path, ["digest", *_VECTORS, "iteration", "product", "columns"])
            digest = str(state.pop("digest"))
            for name, kind in (("iteration", int), ("product", float), ("columns", int)):
                state[name] = kind(state[name])
        except DAMAGED as error:
            raise TrainingError(
                f"{self.path} is not a checkpoint of the iterative solver ({error}); delete it or name another file"
            ) from None
        if digest != self.digest or any(state[name].shape != (size,) for name in _VECTORS):
            raise TrainingError(
                f"the checkpoint {self.path} belongs to other data or hyperparameters; delete it or name another file"
            )
        return state

    def write(self, state):
        """Write the state; an older file is replaced only when the new one is complete."""
        if self.path is None:
            return
        arrays = {name: np.asarray(value) for name, value in state.items()}
        write_atomically(self.path, array_bytes({"digest": np.array(self.digest)} | arrays))
        self.written = time.monotonic()

    def write_now_and_then(self, state):
        """Write the state if the last writing is `SECONDS_BETWEEN` ago."""
        if time.monotonic() - self.written >= SECONDS_BETWEEN:
            self.write(state)
