"""Seeded splits of structures of any composition."""

import hashlib

import numpy as np

from openmm_kml.errors import DataError
from openmm_kml.structures.splits import one_of_each_run
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
    counts = {"n_train": n_train, "n_validation": n_validation, "n_test": n_test or 0}
    if n_train < 1 or min(counts.values()) < 0:
        raise DataError(f"a split needs n_train of at least 1 and no negative count; {counts} came")
    distinct = distinct_structures(structures)
    wanted = sum(counts.values())
    if wanted > len(distinct):
        raise DataError(
            f"{n_train} frames for training, {n_validation} for validation and {counts['n_test']} for the test are "
            f"{wanted} in all, but the set has {len(distinct)} different frames; ask for fewer"
        )
    rng = np.random.default_rng(seed)
    rest = np.array(sorted(distinct, key=lambda k: _stratum(structures.frames[k])), dtype=np.intp)
    parts = []
    for count in (n_train, n_validation, len(rest) if n_test is None else n_test):
        chosen = one_of_each_run(len(rest), min(count, len(rest)), rng)
        parts.append(StructureSet([structures.frames[k] for k in rng.permutation(rest[chosen])], structures.name))
        rest = np.delete(rest, chosen)
    return tuple(parts)


def _stratum(frame):
    """Return what frames are sorted by before they are cut into strata."""
    if frame.energy is not None:
        return frame.group, frame.formula, frame.energy / len(frame)
    return frame.group, frame.formula, 0.0 if frame.forces is None else float(np.linalg.norm(frame.forces))
