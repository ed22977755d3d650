"""Farthest points: each frame the one farthest from all that were chosen before.

Eldar, Lindenbaum, Porat and Zeevi, IEEE Trans. Image Process. 6, 1305 (1997).
"""

import numpy as np

from openmm_kml.selection.distances import frame_distances
from openmm_kml.selection.frames import NamedFrames

SAME = 1e-9  # of the largest norm of the features: nearer frames are one


def farthest_frames(pool, count, start=None, weights=None, progress=False):
    """Return the places of `count` frames of a pool, in the order of their choice.

    Parameters
    ----------
    pool : openmm_kml.structures.StructureSet
    count : int
    start : openmm_kml.structures.StructureSet, optional
        Frames that are there already; without them, the first is the frame nearest to the middle of the pool.
    weights : openmm_kml.weights.Weights, optional
        Of a model whose symmetries or descriptors measure the distances.
    progress : bool

    Returns
    -------
    chosen : ndarray of int, shape (count,)
        Fewer where the other frames repeat chosen ones or the start.
    radii : ndarray of the same shape
        How far each was from all before it; infinite for the first without start frames.

    Raises
    ------
    DataError
        If the model is for other atoms or elements, or atoms of a frame coincide.
    """
    frames = NamedFrames(pool, start)
    metric = frame_distances(frames, weights, progress)
    nearest = np.full(len(pool), np.inf)
    for k in range(len(pool), len(frames)):
        np.minimum(nearest, metric.to(k), out=nearest)
    chosen, radii = [], []
    while len(chosen) < count:
        first = not chosen and len(frames) == len(pool)
        place = metric.middle() if first else int(nearest.argmax())
        if nearest[place] <= SAME * metric.size:
            break
        chosen.append(place)
        radii.append(float(nearest[place]))
        np.minimum(nearest, metric.to(place), out=nearest)
        nearest[place] = 0.0
    return np.array(chosen, dtype=np.intp), np.array(radii)
