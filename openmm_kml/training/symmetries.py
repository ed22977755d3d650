"""Recovery of a molecule's permutation symmetries from its geometries alone.

Chmiela, Sauceda, Poltavsky, Müller and Tkatchenko, Comput. Phys. Commun. 240, 38 (2019), section 2.2: each pair of
geometries is matched by comparing the eigenvectors of their distance matrices (Umeyama 1988) with atoms of different
elements kept apart; of all those matchings only the ones along a minimum spanning tree over the costs are believed,
which synchronizes them; the permutations found are closed into a group.

A matching of two hot geometries can be wrong. So each permutation is put to a test before it may enter the group:
it must leave the molecule's bonds in place, and frames it is applied to must stay as near to the other frames as
those are to each other.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from openmm_kml.bonds import BOND_FACTOR, covalent_sums
from openmm_kml.errors import TrainingError
from openmm_kml.training.permutations import MAX_GROUP, atom_names, close_group, cycle_notation
from openmm_kml.training.progress import progress_bar

MAX_FRAMES = 200  # 20 000 matchings, about a second; more frames did not change any group found
MAX_COST_RATIO = 1.5


def find_symmetries(positions, numbers, max_size=MAX_GROUP, progress=False):
    """Return the permutation symmetries that geometries of one molecule show.

    Parameters
    ----------
    positions : ndarray of shape (M, n_atoms, 3), Å
        At most `MAX_FRAMES` of them, evenly chosen, are looked at.
    numbers : ndarray of int, shape (n_atoms,)
        Atomic numbers; only atoms of one element exchange.
    max_size : int
        Largest group accepted.
    progress : bool

    Returns
    -------
    group : ndarray of int, shape (P, n_atoms)
        Closed; the identity first. A permutation π moves atom π[i] into place i.
    notes : list of str
        Permutations that were found but rejected, and why.

    Raises
    ------
    TrainingError
        If the group is larger than `max_size`.
    """
    numbers = np.asarray(numbers)
    frames = np.unique(np.linspace(0, len(positions) - 1, min(len(positions), MAX_FRAMES)).round().astype(int))
    distances = _distance_matrices(np.asarray(positions, dtype=float)[frames])
    candidates = _matched_permutations(distances, numbers, progress)
    accepted, notes = reject_spurious(candidates, distances, numbers)
    try:
        return close_group(accepted, max_size), notes
    except TrainingError as error:
        raise TrainingError(f"symmetries found in the training set: {error}") from None


def _distance_matrices(positions):
    return np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)


def _matched_permutations(distances, numbers, progress):
    """Return the distinct permutations along the minimum spanning tree of pairwise matchings, best matches first."""
    n_frames = len(distances)
    if n_frames < 2:
        return np.arange(len(numbers))[None]
    # Signs of eigenvectors are arbitrary, hence the magnitudes; their order is that of the eigenvalues.
    vectors = np.abs(np.linalg.eigh(distances)[1])
    other_element = numbers[:, None] != numbers
    cost = np.zeros((n_frames, n_frames))
    found = {}
    with progress_bar(n_frames * (n_frames - 1) // 2, "symmetries", progress, " pairs") as bar:
        for i in range(n_frames - 1):
            similarity = np.matmul(vectors[i], vectors[i + 1 :].transpose(0, 2, 1))
            # Any assignment that keeps the elements apart is better than any that does not: |similarity| <= 1.
            penalty = np.where(other_element, float(len(numbers) + 1), 0.0)
            before = np.linalg.norm(distances[i] - distances[i + 1 :], axis=(1, 2))
            for j, (score, unmatched) in enumerate(zip(similarity, before, strict=True), start=i + 1):
                # place b of frame j takes atom match[b] of frame i
                match = linear_sum_assignment((penalty - score).T)[1]
                after = np.linalg.norm(distances[i][np.ix_(match, match)] - distances[j])
                if after < unmatched * (1 - 1e-6):
                    found[i, j] = match
                cost[i, j] = min(after, unmatched)
            bar.update(n_frames - 1 - i)
    # Zero means "no edge" to the sparse tree, so that equal frames need a cost above it.
    tree = minimum_spanning_tree(np.triu(cost + 1e-12, 1)).tocoo()
    edges = sorted(zip(tree.data, tree.row, tree.col, strict=True))
    rows = [found[i, j] for _, i, j in edges if (i, j) in found]
    unique = dict.fromkeys(tuple(row.tolist()) for row in rows)
    return np.array(list(unique) or [tuple(range(len(numbers)))], dtype=np.intp)


def reject_spurious(candidates, distances, numbers):
    """Return the identity and the candidates that pass both tests, and notes on the others.

    Parameters
    ----------
    candidates : ndarray of int, shape (n_candidates, n_atoms)
        Permutations that keep the elements.
    distances : ndarray of shape (M, n_atoms, n_atoms), Å
        Distance matrices of the frames.
    numbers : ndarray of int, shape (n_atoms,)

    Returns
    -------
    accepted : ndarray of int, shape (n_accepted, n_atoms)
    notes : list of str
    """
    names = atom_names(numbers)
    bonded = _bonds(distances, numbers)
    nearest = _mean_nearest(distances, distances, skip_self=True)
    accepted, notes = [np.arange(len(numbers))], []
    for row in candidates:
        if np.array_equal(row, accepted[0]):
            continue
        moved = np.ix_(row, row)
        if not np.array_equal(bonded[moved], bonded):
            notes.append(f"{cycle_notation(row, names)} was found but rejected: it does not keep the bonds")
            continue
        ratio = _mean_nearest(distances[:, row][:, :, row], distances) / nearest if nearest > 0 else 1.0
        if ratio > MAX_COST_RATIO:
            notes.append(
                f"{cycle_notation(row, names)} was found but rejected: permuted frames lie {ratio:.2f} times as far "
                f"from the others as frames lie apart (at most {MAX_COST_RATIO} is accepted)"
            )
            continue
        accepted.append(row)
    return np.array(accepted), notes


def _bonds(distances, numbers):
    """Return which atoms are ever bonded: a proton that moves between two partners is bonded to both."""
    short = np.quantile(distances, 0.05, axis=0)
    return (short < BOND_FACTOR * covalent_sums(numbers)) & ~np.eye(len(numbers), dtype=bool)


def _mean_nearest(moved, distances, skip_self=False):
    """Return the mean over frames of the distance to the nearest other frame."""
    n_frames, n_atoms = distances.shape[:2]
    lower = np.tril_indices(n_atoms, -1)
    a, b = moved[:, lower[0], lower[1]], distances[:, lower[0], lower[1]]
    apart = cdist(a, b)
    if skip_self or n_frames > 1:
        apart[np.diag_indices(n_frames)] = np.inf
    return float(np.mean(apart.min(axis=1)))
