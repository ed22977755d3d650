"""The repulsion that keeps atoms apart where the data say nothing, and whether they stay apart there."""

import numpy as np

from openmm_kml.bonds import radii_of
from openmm_kml.descriptors.inverse_distances import pair_indices
from openmm_kml.dimers import dimer_energies
from openmm_kml.elements import symbol
from openmm_kml.local_terms import RepulsionTerm, n_pairs, pair_number

# Of the shortest distance seen: zero on the data and where a kernel model still extrapolates well, a wall further in.
OUTER, INNER = 0.8, 0.5
FULL = 0.7  # the same of a local model, whose switch ends where the data begin


def local_repulsion(elements, shortest):
    """Return the `RepulsionTerm` of a model of local terms; it is zero for all data.

    It is full below 0.7 of the shorter of the sum of covalent radii and the shortest distance seen, and off from the
    shortest distance seen on (from the sum of covalent radii where two elements were never seen near each other): what
    the data determine is left to the functions. A switch that reaches among the data is a sharp function that the
    regression would have to undo.

    Parameters
    ----------
    elements : sequence of int, ascending
    shortest : ndarray of shape (pairs,), Å
        Infinite where two elements never come near each other.
    """
    bonds = _bonds(elements)
    end = np.where(np.isfinite(shortest), shortest, bonds)
    return RepulsionTerm(np.stack([FULL * np.minimum(bonds, end), end], axis=1))


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
    shortest = np.where(np.isfinite(shortest), shortest, _bonds(elements))
    return RepulsionTerm(np.stack([INNER * shortest, OUTER * shortest], axis=1))


def wall_notes(weights, start):
    """Return a sentence for each pair of elements that attract each other below a distance without data.

    Parameters
    ----------
    weights : openmm_kml.weights.Weights
        Of local terms.
    start : float, Å
        Looked at are two atoms alone from 0.3 of this distance on.
    """
    remedy = "" if any(term.kind == "repulsion" for term in weights.terms) else " or the repulsion"
    distances = np.linspace(0.3 * start, start, 40)
    elements = [int(z) for z in weights.elements]
    return [
        f"{symbol(first)} and {symbol(second)} attract each other somewhere below {start:.2f} Å, where there are no "
        f"data; add frames with short distances{remedy}"
        for a, first in enumerate(elements)
        for second in elements[a:]
        if np.any(np.diff(dimer_energies(weights, first, second, distances)[0]) > 0)
    ]


def _bonds(elements):
    """Return the sums of covalent radii of all pairs of elements, shape (pairs,), Å."""
    radii = radii_of(elements)
    a, b = np.triu_indices(len(elements))
    return radii[a] + radii[b]
