"""Farthest points: each frame the one farthest from all that were chosen before.

Eldar, Lindenbaum, Porat and Zeevi, IEEE Trans. Image Process. 6, 1305 (1997).
"""

import numpy as np

from openmm_kml.selection.distances import frame_distances

SAME = 1e-9  # of the largest distance: nearer frames are one


def farthest_frames(pool, count, start=None, weights=None, seed=0, progress=False):
    """Return the places of `count` frames of a pool, in the order of their choice.

    Parameters
    ----------
    pool : openmm_kml.structures.StructureSet
    count : int
    start : openmm_kml.structures.StructureSet, optional
        Frames that are there already; without them, the first is the frame nearest to the middle of the pool, or
        drawn at random where the metric has no middle.
    weights : openmm_kml.weights.Weights, optional
        Of a model whose symmetries or descriptors measure the distances.
    seed : int
    progress : bool

    Returns
    -------
    chosen : ndarray of int, shape (count,)
        Fewer where the other frames repeat chosen ones.
    radii : ndarray of the same shape
        How far each was from all before it; infinite for the first without start frames.
    """
    start = () if start is None else start
    metric = frame_distances(pool, start, weights, progress)
    nearest = np.full(len(pool), np.inf)
    for k in range(len(start)):
        np.minimum(nearest, metric.to_start(k), out=nearest)
    chosen, radii, largest = [], [], 0.0
    while len(chosen) < count:
        place = int(nearest.argmax()) if chosen or len(start) else metric.middle(seed)
        if nearest[place] <= SAME * largest:
            break
        chosen.append(place)
        radii.append(float(nearest[place]))
        distances = metric.to_pool(place)
        largest = max(largest, float(distances.max()))
        np.minimum(nearest, distances, out=nearest)
        nearest[place] = 0.0
    return np.array(chosen, dtype=np.intp), np.array(radii)
