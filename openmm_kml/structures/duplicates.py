"""Frames that are the same geometry twice."""

import numpy as np

TOLERANCE = 1e-5  # Å


def duplicate_of(molecules):
    """Return, for each frame, the first frame with the same geometry (its own index if there is none before).

    Two geometries are the same when all their distances agree to some 1e-5 Å, so copies that were moved, turned or
    mirrored are found: a model of distances cannot tell them apart.

    Parameters
    ----------
    molecules : MoleculeSet

    Returns
    -------
    ndarray of shape (M,), int
        ``result[k] == k`` for every frame that is new.
    """
    i, j = np.tril_indices(molecules.n_atoms, -1)
    first = np.arange(len(molecules))
    # Distances are rounded twice, on grids shifted by half a step: noise far below the step that straddles a border
    # of one grid does not straddle one of the other.
    seen = ({}, {})
    for frame, positions in enumerate(molecules.positions):
        distances = np.linalg.norm(positions[i] - positions[j], axis=-1) / TOLERANCE
        keys = [np.floor(distances + shift).astype(np.int64).tobytes() for shift in (0.0, 0.5)]
        for table, key in zip(seen, keys, strict=True):
            first[frame] = min(first[frame], table.get(key, frame))
        for table, key in zip(seen, keys, strict=True):
            table.setdefault(key, first[frame])
    return first
