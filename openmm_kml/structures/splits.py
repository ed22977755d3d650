"""Seeded splits into training, validation and test sets."""

import numpy as np

from openmm_kml.errors import DataError
from openmm_kml.structures.duplicates import duplicate_of


def split(molecules, n_train, n_validation, n_test=None, seed=0):
    """Return disjoint training, validation and test sets, drawn at random and stratified over the energy.

    Each set in turn is drawn from the frames left over: they are sorted by energy (by the norm of the forces where
    there are no energies), cut into as many runs of equal length as frames are wanted, and one frame of each run is
    chosen. Frames that repeat an earlier geometry are left out, so that none is trained on and tested on.

    Parameters
    ----------
    molecules : MoleculeSet
    n_train, n_validation : int
    n_test : int, optional
        All the rest if not given.
    seed : int
        The same set, counts and seed give the same split.

    Returns
    -------
    train, validation, test : MoleculeSet
        In random order, so that the first k frames of a set are themselves a random choice.

    Raises
    ------
    DataError
        If a count is negative, no training frame is wanted, or there are not enough different frames.
    """
    check_counts(n_train, n_validation, n_test)
    distinct = np.flatnonzero(duplicate_of(molecules) == np.arange(len(molecules)))
    ordered = distinct[np.argsort(_stratum_key(molecules)[distinct], kind="stable")]
    parts = draw_parts(ordered, n_train, n_validation, n_test, seed, repeated=len(molecules) - len(distinct))
    return tuple(molecules[part] for part in parts)


def check_counts(n_train, n_validation, n_test):
    """Raise `DataError` if a count is negative, or no training frame is wanted."""
    counts = {"n_train": n_train, "n_validation": n_validation, "n_test": n_test or 0}
    if n_train < 1 or min(counts.values()) < 0:
        raise DataError(f"a split needs n_train of at least 1 and no negative count; {counts} came")


def draw_parts(ordered, n_train, n_validation, n_test, seed, repeated=0):
    """Return the frames of the training, validation and test sets, each drawn evenly along an order.

    Parameters
    ----------
    ordered : ndarray of int
        Different frames, neighbors in the order alike.
    n_train, n_validation : int
    n_test : int or None
        None takes all the rest.
    seed : int
    repeated : int
        How many frames were left out because they repeat another; for the message.

    Returns
    -------
    list of three ndarrays of int
        Disjoint, each in random order.

    Raises
    ------
    DataError
        If there are too few frames.
    """
    wanted = n_train + n_validation + (n_test or 0)
    if wanted > len(ordered):
        raise DataError(
            f"{n_train} frames for training, {n_validation} for validation and {n_test or 0} for the test are "
            f"{wanted} in all, but the set has {len(ordered)} different frames"
            + (f" ({repeated} more repeat one of them)" if repeated else "")
            + "; ask for fewer"
        )
    rng = np.random.default_rng(seed)
    rest, parts = ordered, []
    for count in (n_train, n_validation, len(rest) if n_test is None else n_test):
        chosen = one_of_each_run(len(rest), min(count, len(rest)), rng)
        parts.append(rng.permutation(rest[chosen]))
        rest = np.delete(rest, chosen)
    return parts


def _stratum_key(molecules):
    """Return the number by which frames are sorted before they are cut into strata."""
    if molecules.energies is not None:
        return molecules.energies
    if molecules.forces is not None:
        return np.linalg.norm(molecules.forces, axis=(1, 2))
    return np.zeros(len(molecules))


def one_of_each_run(length, count, rng):
    """Return ``count`` increasing indices below ``length``, one drawn from each of ``count`` equal runs."""
    edges = (np.arange(count + 1) * length) // max(count, 1)
    return rng.integers(edges[:-1], edges[1:]) if count else np.zeros(0, dtype=np.intp)
