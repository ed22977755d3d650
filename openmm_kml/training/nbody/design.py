"""Rows of the design matrix: energies, forces and virials of structures, linear in the spline coefficients.

The energy of a structure is E = Σ_b B_b c_b over all columns b (docs/theory.md); its rows are the sums B of splines
over atoms, pairs and centered triples, and minus their derivatives by positions (forces) and by strain (virial).
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from openmm_kml.descriptors.splines import bspline_values, smooth_step
from openmm_kml.local_terms import pair_number
from openmm_kml.neighbors import neighbor_list

VIRIAL_ROWS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_FIRST, _SECOND = np.array(VIRIAL_ROWS).T
_CHUNK = 20_000  # triples at a time: 64 splines each, some 100 MB


@dataclass
class Rows:
    """The rows of one structure.

    Attributes
    ----------
    energy : ndarray of shape (n_columns,)
    forces : ndarray of shape (3 n_atoms, n_columns), 1/Å
    virial : ndarray of shape (6, n_columns)
        Components xx yy zz yz xz xy.
    n_triples : int
    """

    energy: np.ndarray
    forces: np.ndarray
    virial: np.ndarray
    n_triples: int


def design_rows(basis, structure):
    """Return the `Rows` of a structure.

    Parameters
    ----------
    basis : SplineBasis
    structure : openmm_kml.structures.Structure
        Its elements must all be in the basis.
    """
    n, width = len(structure), basis.n_columns + 1  # the last column takes what has no coefficient
    species = np.searchsorted(basis.elements, structure.numbers)
    rows = Rows(np.zeros(width), np.zeros((3 * n, width)), np.zeros((6, width)), 0)
    rows.energy[: basis.n_elements] = np.bincount(species, minlength=basis.n_elements)
    neighbors = neighbor_list(structure.positions, structure.cell, structure.pbc, basis.reach)
    _add_pairs(basis, species, neighbors, rows)
    if basis.grid3 is not None:
        _add_triples(basis, species, neighbors, rows)
    rows.energy, rows.forces, rows.virial = rows.energy[:-1], rows.forces[:, :-1], rows.virial[:, :-1]
    return rows


def _add_pairs(basis, species, neighbors, rows):
    i, j, _, vector, distance = neighbors
    grid = basis.grid2
    once = (distance < grid.end) & _first_of_two(neighbors)
    i, j, vector, distance = i[once], j[once], vector[once], distance[once]
    index, values, slopes = bspline_values(distance, grid.start, grid.spacing, grid.n_intervals)
    pair = pair_number(species[i], species[j], basis.n_elements)
    columns = basis.columns2[pair[:, None], index[:, None] + np.arange(4)]
    rows.energy += np.bincount(columns.ravel(), values.ravel(), len(rows.energy))
    _add_edges(rows, i, j, vector, distance, columns, slopes)


def _first_of_two(neighbors):
    """Return a mask that keeps one of the two entries of each pair of a full list."""
    i, j, shift, _, _ = neighbors
    sign = np.sign(shift) @ np.array([9, 3, 1])  # that of the first component that is not zero
    return (i < j) | ((i == j) & (sign > 0))


def _add_triples(basis, species, neighbors, rows):
    i, j, _, vector, distance = neighbors
    inside = (distance < basis.grid3.end) & (distance > basis.taper_start)
    i, j, vector, distance = i[inside], j[inside], vector[inside], distance[inside]
    last = np.searchsorted(i, i, side="right")
    partners = last - np.arange(len(i)) - 1
    ends = np.cumsum(partners)
    start = 0
    while start < len(i):  # so many entries at a time that their triples fill a chunk
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _CHUNK, side="right")))
        count = partners[start:stop]
        p = np.repeat(np.arange(start, stop), count)
        q = np.arange(len(p)) - np.repeat(np.cumsum(count) - count, count) + p + 1
        _add_triple_chunk(basis, species, (i, j, vector, distance), p, q, rows)
        start = stop


def _add_triple_chunk(basis, species, neighbors, p, q, rows):
    """Add the triples of entries p and q of a list of neighbors that have the same center."""
    i, j, vector, distance = neighbors
    swap = species[j[p]] > species[j[q]]  # the first argument belongs to the first element of the pair
    p, q = np.where(swap, q, p), np.where(swap, p, q)
    far = vector[q] - vector[p]
    far_distance = np.linalg.norm(far, axis=1)
    keep = (far_distance < basis.grid_far.end) & (far_distance > basis.taper_start)
    p, q, far, far_distance = p[keep], q[keep], far[keep], far_distance[keep]
    rows.n_triples += len(p)
    sides = [
        (i[p], j[p], vector[p], distance[p], basis.grid3),
        (i[p], j[q], vector[q], distance[q], basis.grid3),
        (j[p], j[q], far, far_distance, basis.grid_far),
    ]
    index, values, slopes = zip(*(_tapered_splines(basis, side[3], side[4]) for side in sides), strict=True)
    four = [entry[:, None] + np.arange(4) for entry in index]
    columns = basis.columns3[
        species[i[p]][:, None, None, None],
        pair_number(species[j[p]], species[j[q]], basis.n_elements)[:, None, None, None],
        four[0][:, :, None, None],
        four[1][:, None, :, None],
        four[2][:, None, None, :],
    ].reshape(-1, 64)
    rows.energy += np.bincount(columns.ravel(), _product(*values).ravel(), len(rows.energy))
    for side, (a, b, vectors, distances, _) in enumerate(sides):
        factors = [slopes[k] if k == side else values[k] for k in range(3)]
        _add_edges(rows, a, b, vectors, distances, columns, _product(*factors))


def _tapered_splines(basis, distance, grid):
    """Return the splines of one side of a triple times the taper, and their slopes."""
    index, values, slopes = bspline_values(distance, grid.start, grid.spacing, grid.n_intervals)
    taper, slope = smooth_step((distance - basis.taper_start) / basis.taper_width)
    slope = slope / basis.taper_width
    return index, taper[:, None] * values, slope[:, None] * values + taper[:, None] * slopes


def _product(a, b, c):
    return (a[:, :, None, None] * b[:, None, :, None] * c[:, None, None, :]).reshape(len(a), 64)


def _add_edges(rows, i, j, vector, distance, columns, slopes):
    """Add forces and virials of edges i -> j: `slopes` (edges, splines) are derivatives by their length."""
    if len(i) == 0:
        return
    count, per_edge = columns.shape
    width = rows.forces.shape[1]
    pointers = np.arange(0, count * per_edge + 1, per_edge)
    derivative = csr_array((slopes.ravel(), columns.ravel(), pointers), (count, width))
    unit = vector / distance[:, None]
    # dE/dr_j = slope · unit: the force on i is +unit, that on j is -unit.
    place = np.concatenate([i, j])[:, None] * 3 + np.arange(3)
    edge = np.repeat(np.tile(np.arange(count), 2), 3)
    signed = np.concatenate([unit, -unit])
    scatter = csr_array((signed.ravel(), (place.ravel(), edge)), (len(rows.forces), count))
    rows.forces += (scatter @ derivative).toarray()
    rows.virial -= (derivative.T @ (unit[:, _FIRST] * vector[:, _SECOND])).T
