"""Automatic relevance determination: one descriptor weight for each pair of elements and bond distance.

The weights are those that predict held-out forces best on random splits of the training data, new splits for each
sweep: on one split alone they overfit, and the marginal likelihood picks length scales that are too short (both were
tried on ethanol).
"""

import numpy as np

from openmm_kml.bonds import BOND_FACTOR, covalent_sums
from openmm_kml.descriptors.inverse_distances import pair_indices, permuted_pairs
from openmm_kml.errors import TrainingError
from openmm_kml.training.progress import progress_bar
from openmm_kml.training.trial import Workbench

MAX_HOPS = 4
STEPS = (1.6, 1.35, 1.2)  # factors by which a weight is tried up and down, one sweep each
N_SPLITS = 2
SPLIT_ROWS = 2000  # of the kernel matrix of one split
LEAST_GAIN = 0.999


def pair_classes(positions, numbers, permutations):
    """Return the class of each descriptor entry: its elements and the bonds between its atoms, at most four.

    Bonds come from the covalent radii and the median distances. Classes that the group exchanges are one.

    Parameters
    ----------
    positions : ndarray of shape (M, n_atoms, 3), Å
    numbers : ndarray of int, shape (n_atoms,)
    permutations : ndarray of int, shape (P, n_atoms)

    Returns
    -------
    classes : ndarray of int, shape (D,)
        Numbered from zero.
    """
    i, j = pair_indices(len(numbers))
    distance = np.median(np.linalg.norm(positions[:, i] - positions[:, j], axis=-1), axis=0)
    bonded = distance < BOND_FACTOR * covalent_sums(numbers)[i, j]
    hops = np.full((len(numbers), len(numbers)), MAX_HOPS)
    hops[i[bonded], j[bonded]] = hops[j[bonded], i[bonded]] = 1
    for through in range(len(numbers)):
        hops = np.minimum(hops, hops[:, through, None] + hops[through])
    low, high = np.sort([numbers[i], numbers[j]], axis=0)
    label = (low * 200 + high) * 10 + hops[i, j]
    index = permuted_pairs(permutations)
    while True:  # median distances of few frames may break the symmetry: merge until the group changes nothing
        merged = label[index].min(axis=0)
        if np.array_equal(merged, label):
            break
        label = merged
    return np.unique(label, return_inverse=True)[1].reshape(-1)


def fit_descriptor_weights(problem, hyperparameters, n_threads, seed=0, progress=False):
    """Return hyperparameters with descriptor weights fitted to the training data.

    Parameters
    ----------
    problem : Problem
    hyperparameters : Hyperparameters
        Where the search starts; all else stays.
    n_threads, seed : int
    progress : bool

    Returns
    -------
    hyperparameters : Hyperparameters
    log : list of dict
        Mean force error on the splits before and after each sweep.
    """
    molecules = problem.molecules
    classes = pair_classes(molecules.positions, molecules.numbers, problem.permutations)
    n_classes = int(classes.max()) + 1
    logarithms = np.zeros(n_classes)
    rng = np.random.default_rng(seed)
    log = []
    with progress_bar(len(STEPS) * n_classes, "descriptor weights", progress, " weights") as bar:
        for step in STEPS:
            splits = _splits(problem, n_threads, rng)

            def error(values, splits=splits):
                weights = tuple(np.exp(values)[classes].tolist())
                return _error(splits, hyperparameters.with_(descriptor_weights=weights))

            best = start = error(logarithms)
            for k in rng.permutation(n_classes):
                for direction in (np.log(step), -np.log(step)):
                    trial = logarithms.copy()
                    trial[k] += direction
                    value = error(trial)
                    if value < LEAST_GAIN * best:
                        best, logarithms = value, trial
                        break
                bar.update()
            log.append({"stage": "descriptor weights", "step": step, "before": start, "forces_mae": best})
    weights = np.exp(logarithms)[classes]
    return hyperparameters.with_(descriptor_weights=tuple(weights.tolist())), log


def _splits(problem, n_threads, rng):
    """Return (Workbench, held-out frames) of some random splits of the training data: two thirds are trained on."""
    n_points = min(2 * len(problem) // 3, max(10, SPLIT_ROWS // (problem.gradients.shape[1] + 1)))
    splits = []
    for _ in range(N_SPLITS):
        order = rng.permutation(len(problem))
        held_out = problem.molecules[np.sort(order[n_points : n_points + 100])]
        splits.append((Workbench(problem.subset(np.sort(order[:n_points])), n_threads), held_out))
    return splits


def _error(splits, hyperparameters):
    try:
        return float(np.mean([bench.fit(hyperparameters).errors(test)["forces_mae"] for bench, test in splits]))
    except TrainingError:
        return np.inf
