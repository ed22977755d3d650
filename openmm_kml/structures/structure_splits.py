"""Seeded splits of structures of any composition."""

import hashlib

import numpy as np

from openmm_kml.structures.splits import check_counts, draw_parts
from openmm_kml.structures.structure import StructureSet


def distinct_structures(structures):
    """Return the indices of the frames whose atoms, positions and cell no earlier frame has."""
    seen, kept = set(), []
    for index, frame in enumerate(structures):
        digest = hashlib.sha256()
        frame.update_digest(digest, labels=False)
        if digest.digest() not in seen:
            seen.add(digest.digest())
            kept.append(index)
    return np.array(kept, dtype=np.intp)


def split_structures(structures, n_train, n_validation, n_test=None, seed=0):
    """Return disjoint training, validation and test sets, drawn at random and stratified over groups and energies.

    Each set in turn is drawn from the frames left over: they are sorted by group, then by energy per atom, cut into
    as many runs of equal length as frames are wanted, and one frame of each run is chosen: groups are represented as
    they are in the whole set. Frames that repeat an earlier one are left out.

    Parameters
    ----------
    structures : StructureSet
    n_train, n_validation : int
    n_test : int, optional
        All the rest if not given.
    seed : int

    Returns
    -------
    train, validation, test : StructureSet
        In random order, so that the first k frames of a set are themselves a random choice.

    Raises
    ------
    DataError
        If a count is negative, no training frame is wanted, or there are not enough different frames.
    """
    check_counts(n_train, n_validation, n_test)
    distinct = distinct_structures(structures)
    ordered = np.array(sorted(distinct, key=lambda k: _stratum(structures.frames[k])), dtype=np.intp)
    parts = draw_parts(ordered, n_train, n_validation, n_test, seed, repeated=len(structures) - len(distinct))
    return tuple(StructureSet([structures.frames[k] for k in part], structures.name) for part in parts)


def _stratum(frame):
    """Return what frames are sorted by before they are cut into strata."""
    if frame.energy is not None:
        return frame.group, frame.formula, frame.energy / len(frame)
    return frame.group, frame.formula, 0.0 if frame.forces is None else float(np.linalg.norm(frame.forces))
