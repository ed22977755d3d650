"""The walls that keep a molecule whole where the data say nothing: bounds of its distances, from the data."""

from statistics import NormalDist

import numpy as np

from openmm_kml.bonds import BOND_FACTOR, covalent_sums
from openmm_kml.descriptors.inverse_distances import pair_indices, permuted_pairs
from openmm_kml.term_checks import MAX_CUTOFF
from openmm_kml.walls_term import WallsTerm

STIFFNESS, ONSET = 120.0, 0.2  # eV/Å², some three times that of a C–H bond, and Å; all five by docs/guard.md
MARGIN = 0.3  # at least, of the range that a distance had in the data, on both sides of it
WIDTH = 7.4  # standard deviations between the bounds at least; some 60 frames reach it with the least margin
ROOM = 0.15  # of the mean distance, on both sides of it, at least: heat moves bonds and angles by so much
CONTACT = 0.9  # of the shortest distance of two elements among all other atoms
LEAST_CONTACT = 0.7  # the same for few frames


def molecule_walls(numbers, positions, permutations):
    """Return the `WallsTerm` of a molecule; it is zero for all frames given.

    Bonded atoms, and those with a bonded neighbor in common, keep to the range of their distance in the frames, with a
    margin, and never to less than `ROOM` around its mean. All others have a lower bound alone, one for each pair of
    elements, so that nothing hinders torsions. Pairs that a permutation of the model exchanges have the same bounds.

    Parameters
    ----------
    numbers : ndarray of int, shape (n,)
    positions : ndarray of shape (M, n, 3), Å
    permutations : ndarray of int, shape (P, n)
        The symmetry group of the model.
    """
    i, j = pair_indices(len(numbers))
    shortest, longest, mean = _ranges(positions, i, j)
    orbits = permuted_pairs(permutations)
    shortest, longest = shortest[orbits].min(axis=0), longest[orbits].max(axis=0)
    mean = mean[orbits].mean(axis=0)
    near = _near(len(numbers), i, j, mean < BOND_FACTOR * covalent_sums(numbers)[i, j])
    part = margin_of(len(positions))
    margin = part * (longest - shortest)
    lower = np.maximum(np.minimum(shortest - margin, (1 - ROOM) * mean), 0.0)
    upper = np.maximum(longest + margin, (1 + ROOM) * mean)
    contact = max(LEAST_CONTACT, 1 - (1 - CONTACT) * part / MARGIN)
    elements = np.sort(np.stack([numbers[i], numbers[j]]), axis=0)
    for pair in np.unique(elements[:, ~near], axis=1).T:
        alike = ~near & (elements == pair[:, None]).all(axis=0)
        lower[alike] = contact * shortest[alike].min()
    return WallsTerm(STIFFNESS, ONSET, np.stack([lower, np.where(near & (upper <= MAX_CUTOFF), upper, 0.0)], axis=1))


def margin_of(n_frames):
    """Return the margin on each side in units of the range: few frames have not shown all of it.

    N normal values span 2 Φ⁻¹((N - 3/8)/(N + 1/4)) standard deviations (Blom, Statistical Estimates and Transformed
    Beta-Variables, 1958); the bounds are `WIDTH` of them apart, or more.
    """
    n = max(n_frames, 2)
    span = 2 * NormalDist().inv_cdf((n - 0.375) / (n + 0.25))
    return max(MARGIN, (WIDTH - span) / (2 * span))


def _ranges(positions, i, j):
    """Return the shortest, longest and mean distance of each pair of atoms over frames, shape (D,), Å."""
    shortest, longest, total = np.full(len(i), np.inf), np.zeros(len(i)), np.zeros(len(i))
    for r in positions:
        distances = np.linalg.norm(r[i] - r[j], axis=1)
        shortest, longest = np.minimum(shortest, distances), np.maximum(longest, distances)
        total += distances
    return shortest, longest, total / len(positions)


def _near(n_atoms, i, j, bonded):
    """Return which pairs are bonded or have a bonded neighbor in common, shape (D,)."""
    graph = np.zeros((n_atoms, n_atoms), dtype=int)
    graph[i[bonded], j[bonded]] = graph[j[bonded], i[bonded]] = 1
    return (graph + graph @ graph)[i, j] > 0
