"""The NumPy twin of the local terms: the formulas of docs/theory.md, written to be read."""

import numpy as np

from openmm_kml.atom_checks import check_elements
from openmm_kml.local_terms import RepulsionTerm, Spline2Term, pair_number
from openmm_kml.neighbors import neighbor_list
from openmm_kml.reference_soap import add_soap
from openmm_kml.soap_term import SoapTerm

COULOMB = 14.399645  # e²/4πε0, eV Å
SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))
SCREENING_LENGTH, SCREENING_POWER = 0.46850, 0.23  # Å


class Sums:
    """Atomic energies, forces and virial, gathered from derivatives by vectors between atoms."""

    def __init__(self, n_atoms):
        self.energies = np.zeros(n_atoms)  # eV
        self.forces = np.zeros((n_atoms, 3))  # eV/Å
        self.virial = np.zeros((3, 3))  # eV

    def add_distances(self, i, j, vector, distance, slope):
        """Add energies' dependence on distances: `slope` is dE/d|r_ij|, vectors point from i to j."""
        self.add_vectors(i, j, vector, (slope / distance)[:, None] * vector)

    def add_vectors(self, i, j, vector, gradient):
        """Add energies' dependence on vectors r_ij from i to j: `gradient` is dE/dr_ij."""
        np.add.at(self.forces, i, gradient)
        np.add.at(self.forces, j, -gradient)
        self.virial -= np.einsum("pa,pb->ab", vector, gradient)


def add_local_terms(weights, positions, numbers, cell, pbc, sums):
    """Add all local terms of a model to `sums`."""
    species = species_indices(weights.elements, numbers)
    for term in weights.terms:
        neighbors = neighbor_list(positions, cell, pbc, term.reach)
        if isinstance(term, Spline2Term):
            _add_spline2(term, species, len(weights.elements), neighbors, sums)
        elif isinstance(term, RepulsionTerm):
            add_repulsion(term, weights.elements, species, neighbors, sums)
        elif isinstance(term, SoapTerm):
            add_soap(term, species, neighbors, sums)
        else:
            _add_spline3(term, species, len(weights.elements), neighbors, sums)


def species_indices(elements, numbers):
    """Return each atom's place in the model's list of elements; ValueError names an element that it lacks."""
    check_elements(numbers, elements)
    return np.searchsorted(elements, numbers)


def bspline_weights(r, start, spacing, n_intervals):
    """Return the interval of each r, and the values and slopes of its four cubic B-splines, shape (..., 4)."""
    u = (r - start) / spacing
    b = np.clip(np.floor(u).astype(int), 0, n_intervals - 1)
    t = u - b
    values = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    slopes = [-3 * (1 - t) ** 2, 9 * t**2 - 12 * t, -9 * t**2 + 6 * t + 3, 3 * t**2]
    return b, np.stack(values, axis=-1) / 6, np.stack(slopes, axis=-1) / (6 * spacing)


def smooth_step(r, start, width):
    """Return 0 below start, 1 above start + width, the fifth-order step in between; and its derivative."""
    s = np.clip((r - start) / width, 0, 1)
    return s**3 * (10 - 15 * s + 6 * s**2), 30 * s**2 * (1 - s) ** 2 / width


def _add_spline2(term, species, n_elements, neighbors, sums):
    i, j, _, vector, r = neighbors
    c = np.pad(term.coefficients, ((0, 0), (0, 3)))
    b, values, slopes = bspline_weights(np.maximum(r, term.start), term.start, term.spacing, term.n_intervals)
    c = c[pair_number(species[i], species[j], n_elements)[:, None], b[:, None] + np.arange(4)]
    f, df = (values * c).sum(axis=1), (slopes * c).sum(axis=1)
    f += df * np.minimum(r - term.start, 0)  # the tangent below the grid
    # The full list has every pair twice: half of it each time.
    np.add.at(sums.energies, i, 0.5 * f)
    sums.add_distances(i, j, vector, r, 0.5 * df)


def add_repulsion(term, elements, species, neighbors, sums):
    """Add a `repulsion` term to `sums`; `species` are the atoms' places among the elements."""
    i, j, _, vector, r = neighbors
    r1, r2 = term.switch[pair_number(species[i], species[j], len(elements))].T
    inside = r < r2
    i, j, vector, r, r1, r2 = (values[inside] for values in (i, j, vector, r, r1, r2))
    zi, zj = (np.asarray(elements, dtype=float)[species[k]] for k in (i, j))
    a = SCREENING_LENGTH / (zi**SCREENING_POWER + zj**SCREENING_POWER)
    phi = sum(amplitude * np.exp(-rate * r / a) for amplitude, rate in SCREENING)
    dphi = sum(-rate / a * amplitude * np.exp(-rate * r / a) for amplitude, rate in SCREENING)
    coulomb = COULOMB * zi * zj / r
    step, dstep = smooth_step(r, r1, r2 - r1)
    f = (1 - step) * coulomb * phi
    df = (1 - step) * coulomb * (dphi - phi / r) - dstep * coulomb * phi
    np.add.at(sums.energies, i, 0.5 * f)
    sums.add_distances(i, j, vector, r, 0.5 * df)


def triples(i):
    """Return all pairs p < q of entries with the same center, of a list sorted by its centers `i`."""
    last = np.searchsorted(i, i, side="right")
    count = last - np.arange(len(i)) - 1  # partners that follow each entry
    p = np.repeat(np.arange(len(i)), count)
    q = np.arange(len(p)) - np.repeat(np.cumsum(count) - count, count) + p + 1
    return p, q


def _add_spline3(term, species, n_elements, neighbors, sums):
    i, j, _, vector, distance = neighbors
    p, q = triples(i)
    swap = species[j[p]] > species[j[q]]  # the first argument belongs to the first element of the pair
    p, q = np.where(swap, q, p), np.where(swap, p, q)
    far = vector[q] - vector[p]
    far_distance = np.linalg.norm(far, axis=1)
    keep = (far_distance < term.end_far) & (far_distance > term.taper_start)
    p, q, far, far_distance = p[keep], q[keep], far[keep], far_distance[keep]
    near = (term.start, term.spacing, term.n_intervals)
    sides = [
        (distance[p], near),
        (distance[q], near),
        (far_distance, (term.start_far, term.spacing_far, term.n_intervals_far)),
    ]
    b, values, slopes = zip(*(_tapered(term, r, grid) for r, grid in sides), strict=True)
    pad = ((0, 0), (0, 0), (0, 3), (0, 3), (0, 3 if term.compact else 0))
    c = np.pad(term.coefficients, pad)
    index = [b[k][:, None] + np.arange(4) for k in range(3)]
    c = c[
        species[i[p]][:, None, None, None],
        pair_number(species[j[p]], species[j[q]], n_elements)[:, None, None, None],
        index[0][:, :, None, None],
        index[1][:, None, :, None],
        index[2][:, None, None, :],
    ]
    contract = "tabc,ta,tb,tc->t"
    np.add.at(sums.energies, i[p], np.einsum(contract, c, *values))
    first = np.einsum(contract, c, slopes[0], values[1], values[2])
    second = np.einsum(contract, c, values[0], slopes[1], values[2])
    third = np.einsum(contract, c, values[0], values[1], slopes[2])
    sums.add_distances(i[p], j[p], vector[p], distance[p], first)
    sums.add_distances(i[q], j[q], vector[q], distance[q], second)
    sums.add_distances(j[p], j[q], far, far_distance, third)


def _tapered(term, r, grid):
    """Return the B-splines of one side of a triple, multiplied by the taper: T w, and T' w + T w'."""
    b, values, slopes = bspline_weights(r, *grid)
    taper, dtaper = smooth_step(r, term.taper_start, term.taper_width)
    return b, taper[:, None] * values, dtaper[:, None] * values + taper[:, None] * slopes
