"""The repulsion that keeps the atoms of a molecule apart where the data say nothing."""

import numpy as np

from openmm_kml.bonds import radii_of
from openmm_kml.descriptors.inverse_distances import pair_indices
from openmm_kml.local_terms import RepulsionTerm, n_pairs, pair_number

# Of the shortest distance seen: the repulsion is zero on the data and on what vibrates a little beyond them.
OUTER, INNER = 0.95, 0.65


def molecule_repulsion(numbers, positions):
    """Return the `RepulsionTerm` of a molecule; it is zero for all frames given.

    For each pair of elements the switch begins at `INNER` and ends at `OUTER` times the shortest distance of the
    frames, or times the sum of the covalent radii where the molecule has no such pair.

    Parameters
    ----------
    numbers : ndarray of int, shape (n,)
    positions : ndarray of shape (M, n, 3), Å
    """
    elements, places = np.unique(numbers, return_inverse=True)
    i, j = pair_indices(len(numbers))
    shortest = np.full(n_pairs(len(elements)), np.inf)
    for r in positions:
        distances = np.linalg.norm(r[i] - r[j], axis=1)
        np.minimum.at(shortest, pair_number(places[i], places[j], len(elements)), distances)
    a, b = np.triu_indices(len(elements))
    radii = radii_of(elements)
    shortest = np.where(np.isfinite(shortest), shortest, radii[a] + radii[b])
    return RepulsionTerm(np.stack([INNER * shortest, OUTER * shortest], axis=1))
