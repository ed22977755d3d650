"""Frames of a pool and of what is there already: their names in messages, and whether a model is for them."""

import numpy as np

from openmm_kml.elements import symbols
from openmm_kml.errors import DataError, EvaluationError


class NamedFrames:
    """The frames of a pool, and after them those that are there already.

    Parameters
    ----------
    pool : openmm_kml.structures.StructureSet
    start : openmm_kml.structures.StructureSet, optional

    Attributes
    ----------
    n_pool : int
    """

    def __init__(self, pool, start=None):
        self.n_pool = len(pool)
        self._frames = [*pool, *(() if start is None else start)]

    def __len__(self):
        return len(self._frames)

    def __iter__(self):
        return iter(self._frames)

    def each(self, work):
        """Yield what `work` makes of each frame.

        Raises
        ------
        DataError
            If it raises an error; the message names the frame.
        """
        for k, frame in enumerate(self._frames):
            try:
                result = work(frame)
            except (ValueError, EvaluationError) as error:
                raise DataError(f"{self._name(k)}: {error}; leave it out") from None
            yield result

    def check(self, weights):
        """Raise `DataError` unless a model is for all frames; the message names the first that it is not for."""
        for k, frame in enumerate(self._frames):
            if weights.species is None:
                unknown = sorted(set(frame.numbers.tolist()) - set(map(int, weights.elements)))
                if unknown:
                    raise DataError(
                        f"{self._name(k)} has {symbols(unknown)}, which the model does not know; leave such frames "
                        "out, or select without the model"
                    )
            elif not np.array_equal(frame.numbers, weights.species) or frame.pbc.any():
                raise DataError(
                    f"{self._name(k)} is not the free molecule of the model with its atoms in the model's order; give "
                    "such frames, or select without the model"
                )

    def _name(self, k):
        return f"frame {k + 1} of the pool" if k < self.n_pool else f"frame {k + 1 - self.n_pool} of the start"
