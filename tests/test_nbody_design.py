"""Rows of the design matrix, against the NumPy evaluation of weight files and against differences."""

import numpy as np
import pytest
from checks import four_point_difference
from nbody_cases import TRICLINIC, frames, random_model, small_basis, weights_of

from openmm_kml.descriptors.splines import bspline_values, smooth_step
from openmm_kml.reference import evaluate_structure
from openmm_kml.structures import Structure
from openmm_kml.training.nbody import design
from openmm_kml.training.nbody.design import VIRIAL_ROWS, design_rows

CASES = {
    "one element, triclinic": (small_basis(), frames(1, 1).frames[0]),
    "three elements, triclinic": (
        small_basis((1, 8, 14)),
        frames(2, 1, (8, 14, 1, 8, 14, 1, 1)).frames[0],
    ),
    "compact triangles": (small_basis((8, 14), True), frames(3, 1, (8, 14, 14, 8, 8)).frames[0]),
    "cell smaller than the cutoff": (small_basis(), Structure([14], [[0, 0, 0]], 0.42 * TRICLINIC)),
    "periodic in one direction": (small_basis(), frames(4, 1, pbc=(False, True, False)).frames[0]),
    "free cluster": (small_basis((8, 14)), frames(5, 1, (8, 14, 14, 8), pbc=(False,) * 3).frames[0]),
    "closer than the grid": (small_basis(), frames(6, 1, (14,) * 5, least=1.2, cell=0.6 * TRICLINIC).frames[0]),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_times_coefficients_are_the_model(name):
    basis, structure = CASES[name]
    rows = design_rows(basis, structure)
    assert rows.n_triples > 0
    for seed in range(3):
        solution = random_model(basis, seed)
        weights = weights_of(basis, solution)
        energy, forces, virial, _ = evaluate_structure(
            weights, structure.positions, structure.numbers, structure.cell, structure.pbc
        )
        scale = np.abs(rows.energy) @ np.abs(solution)
        assert abs(rows.energy @ solution - energy) < 1e-13 * scale
        np.testing.assert_allclose(rows.forces @ solution, forces.ravel(), atol=1e-12 * scale)
        np.testing.assert_allclose(rows.virial @ solution, [virial[a, b] for a, b in VIRIAL_ROWS], atol=1e-12 * scale)


@pytest.mark.parametrize("name", ["three elements, triclinic", "closer than the grid", "compact triangles"])
def test_forces_and_virials_are_differences_of_energies_in_every_column(name):
    basis, structure = CASES[name]
    rows = design_rows(basis, structure)
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(structure.positions.shape)
    strain = rng.standard_normal((3, 3))

    def moved(t):
        return design_rows(basis, Structure(structure.numbers, structure.positions + t * direction, structure.cell))

    def strained(t):
        deformation = np.eye(3) + t * (strain + strain.T) / 2
        return design_rows(
            basis, Structure(structure.numbers, structure.positions @ deformation, structure.cell @ deformation)
        )

    difference = -four_point_difference(lambda t: moved(t).energy, 1e-4)
    # Third derivatives jump at the knots: the difference is of second order there, some 1e-8.
    np.testing.assert_allclose(direction.ravel() @ rows.forces, difference, atol=1e-6 * np.abs(difference).max())
    difference = -four_point_difference(lambda t: strained(t).energy, 1e-5)
    weights = [(strain[a, b] + strain[b, a]) / 2 * (1 if a == b else 2) for a, b in VIRIAL_ROWS]
    assert np.abs(difference).max() > 0.1
    np.testing.assert_allclose(np.array(weights) @ rows.virial, difference, atol=1e-6 * np.abs(difference).max())


def test_chunks_of_triples_change_nothing(monkeypatch):
    basis, structure = CASES["three elements, triclinic"]
    whole = design_rows(basis, structure)
    monkeypatch.setattr(design, "_CHUNK", 7)
    pieces = design_rows(basis, structure)
    assert pieces.n_triples == whole.n_triples
    np.testing.assert_allclose(pieces.forces, whole.forces, atol=1e-13)
    np.testing.assert_allclose(pieces.energy, whole.energy, atol=1e-13)


def test_columns_left_out_never_matter():
    """Coefficients without a column belong to splines that vanish on all triangles."""
    basis = small_basis()
    near = basis.grid3
    i, j, k = np.nonzero(basis.columns3[0, 0] == basis.n_columns)
    inside = (i < near.n_coefficients) & (j < near.n_coefficients) & (k < basis.grid_far.n_coefficients)
    assert inside.sum() > 0
    rng = np.random.default_rng(0)
    a, b = rng.uniform(near.start, near.end, (2, 100_000))
    angle = rng.uniform(0, np.pi, len(a))
    c = np.sqrt(a * a + b * b - 2 * a * b * np.cos(angle))
    keep = c > basis.taper_start
    places = [
        bspline_values(r[keep], grid.start, grid.spacing, grid.n_intervals)[0]
        for r, grid in ((a, near), (b, near), (c, basis.grid_far))
    ]
    used = np.zeros(basis.columns3.shape[2:], bool)
    for shift in np.ndindex(4, 4, 4):
        used[tuple(place + s for place, s in zip(places, shift, strict=True))] = True
    assert not used[i[inside], j[inside], k[inside]].any()


def test_splines_sum_to_one_and_continue_along_tangents():
    r = np.linspace(0.5, 3.0, 251)
    index, values, slopes = bspline_values(r, 1.0, 0.25, 8)
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-14)
    np.testing.assert_allclose(slopes.sum(axis=1), 0, atol=1e-13)
    assert index.min() == 0
    assert index.max() == 7
    # Σ_b c_b B_b with c_b = site_b is r itself, below the start, too.
    np.testing.assert_allclose((values * (1.0 + 0.25 * (index[:, None] + np.arange(4) - 1))).sum(axis=1), r, atol=1e-13)


def test_smooth_step_is_flat_at_both_ends():
    value, slope = smooth_step(np.array([-1.0, 0.0, 0.5, 1.0, 2.0]))
    np.testing.assert_allclose(value, [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(slope, [0, 0, 1.875, 0, 0])
