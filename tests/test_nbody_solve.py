"""The prior and the solver: against dense algebra and against a plain Gaussian process with explicit kernels."""

from dataclasses import replace

import numpy as np
import pytest
from checks import four_point_difference
from nbody_cases import TRICLINIC, frames, random_model, small_basis

from openmm_kml.kernels.radial import KERNELS
from openmm_kml.neighbors import neighbor_list
from openmm_kml.training.nbody import NBodyOptions, selection
from openmm_kml.training.nbody.basis import Grid, SplineBasis
from openmm_kml.training.nbody.design import design_rows
from openmm_kml.training.nbody.prior import amplitude, axis_covariance, three_body_factor, two_body_factor
from openmm_kml.training.nbody.selection import (
    Hyperparameters,
    climb,
    first_guess,
    likelihood_gradient,
    likelihood_loss,
    search,
)
from openmm_kml.training.nbody.solve import BlockPrior, StackedQR, solve


def test_stacked_qr_is_the_qr_of_all_rows():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((9000, 20)) * 10.0 ** -(np.arange(20)[None] ** 0.5)
    stacked = StackedQR(20)
    for piece in np.array_split(matrix, 37):
        stacked.add(piece)
    factor = stacked.factor()
    assert factor.shape == (20, 20)
    assert stacked.n_rows == 9000
    dense = np.linalg.qr(matrix)[1]
    np.testing.assert_allclose(np.abs(factor), np.abs(dense), atol=1e-11 * np.abs(dense).max())


def test_columns_without_entries_stay_empty():
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((5000, 12))
    matrix[:, [0, 3, 7]] = 0.0
    stacked = StackedQR(12)
    stacked.add(matrix[:4500])
    stacked.add(matrix[4500:])
    factor = stacked.factor()
    assert factor.shape == (9, 12)
    np.testing.assert_allclose(factor.T @ factor, matrix.T @ matrix, atol=1e-9)


def test_few_rows_are_kept_as_they_are():
    rows = np.arange(6.0).reshape(2, 3)
    stacked = StackedQR(3)
    stacked.add(rows)
    np.testing.assert_array_equal(stacked.factor(), rows)


def dense_problem(n_rows=60, n=12, seed=1):
    rng = np.random.default_rng(seed)
    A, y = rng.standard_normal((n_rows, n)), rng.standard_normal(n_rows)
    L = rng.standard_normal((n - 2, n - 4))
    prior = BlockPrior(2, 3.0, [(slice(2, n), L)])
    full = np.zeros((n, n - 2))
    full[:2, :2] = 3.0 * np.eye(2)
    full[2:, 2:] = L
    return A, y, prior, full


@pytest.mark.parametrize("n_rows", [60, 6], ids=["many rows", "few rows"])
def test_solution_is_that_of_dense_least_squares(n_rows):
    A, y, prior, L = dense_problem(n_rows)
    stacked = np.vstack([A @ L, np.eye(L.shape[1])])
    z = np.linalg.lstsq(stacked, np.append(y, np.zeros(L.shape[1])), rcond=None)[0]
    posterior = solve(np.column_stack([A, y]), len(y), prior)
    np.testing.assert_allclose(posterior.coefficients, L @ z, atol=1e-12)


@pytest.mark.parametrize("n_rows", [60, 6], ids=["many rows", "few rows"])
def test_marginal_likelihood_and_variance_are_those_of_the_gaussian_process(n_rows):
    A, y, prior, L = dense_problem(n_rows)
    posterior = solve(np.column_stack([A, y]), len(y), prior)
    C = posterior.scale**2 * (A @ L @ L.T @ A.T + np.eye(len(y)))
    expected = -0.5 * y @ np.linalg.solve(C, y) - 0.5 * np.linalg.slogdet(C)[1]
    # The scale makes the quadratic form equal to the number of rows; `log_likelihood` leaves that constant out.
    assert posterior.log_likelihood - 0.5 * len(y) == pytest.approx(expected, abs=1e-9)
    for other in (0.98, 1.02):
        C = (other * posterior.scale) ** 2 * (A @ L @ L.T @ A.T + np.eye(len(y)))
        assert -0.5 * y @ np.linalg.solve(C, y) - 0.5 * np.linalg.slogdet(C)[1] < expected
    new = np.random.default_rng(5).standard_normal((4, A.shape[1]))
    S = L @ L.T
    explained = S @ A.T @ np.linalg.solve(A @ S @ A.T + np.eye(len(y)), A @ S)
    expected = posterior.scale**2 * np.diag(new @ (S - explained) @ new.T)
    np.testing.assert_allclose(posterior.variance(new), expected, atol=1e-10)


def likelihood_case(kernel, elements, n_frames):
    """Return basis, options, triangular factor and number of rows of some frames with random labels."""
    rng = np.random.default_rng(6)
    basis = small_basis(elements)
    options = NBodyOptions(kernel=kernel, cutoff3=3.4, progress=False)
    stacked = StackedQR(basis.n_columns + 1)
    for frame in frames(2, n_frames, (*elements, *elements, 14, 14)):
        design = design_rows(basis, frame)
        rows = np.vstack([design.energy, design.forces, design.virial])
        labels = rows @ random_model(basis, 1, 0.5, 0.1) + 0.1 * rng.standard_normal(len(rows))
        stacked.add(np.column_stack([rows, labels]) / 0.1)
    return basis, options, stacked.factor(), stacked.n_rows


@pytest.mark.parametrize(
    ("kernel", "elements", "n_frames"),
    [("squared_exponential", (14,), 12), ("matern52", (14,), 1), ("matern92", (8, 14), 3)],
    ids=["many rows", "few rows", "two elements"],
)
def test_gradient_of_the_likelihood_is_its_derivative(kernel, elements, n_frames, monkeypatch):
    # Directions of the prior that come and go along the way of a difference must be too small to be seen.
    monkeypatch.setattr(selection, "_SEARCH_ROUNDING", 1e-12)
    basis, options, factor, n_rows = likelihood_case(kernel, elements, n_frames)
    loss = likelihood_gradient(basis, options, factor, n_rows)
    point = Hyperparameters(0.8, 0.9, 2.0, 0.6)
    names = list(vars(point))
    value, gradient = loss(point, names)
    assert value == pytest.approx(n_rows * likelihood_loss(basis, options, factor, n_rows)(point), rel=1e-12)
    for name, slope in zip(names, gradient, strict=True):

        def along(t, name=name):
            return loss(replace(point, **{name: getattr(point, name) * np.exp(t)}), [])[0]

        assert four_point_difference(along) == pytest.approx(slope, rel=1e-6, abs=1e-5)
    assert np.abs(gradient).min() > 1e-2


def test_the_climb_ends_where_the_likelihood_is_largest():
    basis, options, factor, n_rows = likelihood_case("squared_exponential", (14,), 12)
    start, free = first_guess(options)
    searched, _ = search(start, free, likelihood_loss(basis, options, factor, n_rows))
    climbed, log = climb(start, free, likelihood_gradient(basis, options, factor, n_rows))
    loss = likelihood_loss(basis, options, factor, n_rows)
    assert loss(climbed) < loss(start)
    assert loss(climbed) < loss(searched) + 1e-3 * abs(loss(searched))
    assert min(entry["loss"] for entry in log) == pytest.approx(n_rows * loss(climbed))
    fixed, _ = climb(start, ["amplitude2"], likelihood_gradient(basis, options, factor, n_rows))
    assert fixed == replace(start, amplitude2=fixed.amplitude2)


@pytest.mark.parametrize("symmetric", [False, True])
def test_factor_of_three_bodies_is_the_product_covariance(symmetric):
    basis = small_basis((8, 14))
    factor = three_body_factor(basis, symmetric, "matern52", 0.9, 1.0)
    C = axis_covariance(basis.grid3, "matern52", 0.9, 1.0)
    F = axis_covariance(basis.grid_far, "matern52", 0.9, 1.0)
    i, j, k = next(block for block in basis.blocks3 if block.symmetric == symmetric).entries
    far = F[np.ix_(k, k)]
    expected = C[np.ix_(i, i)] * C[np.ix_(j, j)] * far
    if symmetric:
        expected = 0.5 * (expected + C[np.ix_(i, j)] * C[np.ix_(j, i)] * far)
    np.testing.assert_allclose(factor @ factor.T, expected, atol=1e-9 * expected.max())


def test_two_body_factor_reproduces_the_kernel_between_distances():
    """B C Bᵀ, the covariance of the spline, is the kernel itself up to h⁴."""
    r = np.linspace(1.7, 5.7, 60)
    fall = amplitude(r, 6.0, 1.0)
    exact = KERNELS["squared_exponential"].functions((r[:, None] - r) / 0.8)[0] * fall[:, None] * fall
    gaps = []
    for n_intervals in (16, 32, 64):
        basis = SplineBasis((14,), Grid(1.5, 6.0, n_intervals))
        L = two_body_factor(basis, "squared_exponential", 0.8, 1.0)
        values = np.stack([_pair_row(basis, distance) for distance in r])
        gaps.append(np.abs(values @ L @ L.T @ values.T - exact).max())
    assert gaps[0] < 0.1
    assert gaps[1] < gaps[0] / 10
    assert gaps[2] < gaps[1] / 10


def _pair_row(basis, distance):
    from openmm_kml.descriptors.splines import bspline_values

    grid = basis.grid2
    index, values, _ = bspline_values(np.array([distance]), grid.start, grid.spacing, grid.n_intervals)
    row = np.zeros(grid.n_intervals + 3)
    row[index[0] + np.arange(4)] = values[0]
    return row[: grid.n_coefficients]


class PlainProcess:
    """Energies of structures under GP priors on f2 and f3, with explicit kernels and no splines at all.

    k2(r, r') = a(r) k(r - r') a(r'); k3 = the mean over the exchange of the two sides of products of k2's and of k for
    the distance between the neighbors, times the tapers. The covariance of two structures is the sum over their pairs
    and triples; forces would only add derivatives.
    """

    def __init__(self, grid2, grid3, taper, length_scale, amplitudes, width=1.0):
        self.cutoff2, self.cutoff3, self.taper = grid2.end, grid3.end, taper
        self.length_scale, self.amplitudes, self.width = length_scale, amplitudes, width

    def _kernel(self, r, s):
        return np.exp(-0.5 * ((r[:, None] - s) / self.length_scale) ** 2)

    def _inside(self, r):
        s = np.clip((r - self.taper[0]) / self.taper[1], 0, 1)
        return s**3 * (10 - 15 * s + 6 * s * s)

    def parts(self, structure):
        """Return pair distances, and the sides and weights of centered triples."""
        reach = max(self.cutoff2, self.cutoff3)
        i, _, _, vector, distance = neighbor_list(structure.positions, structure.cell, structure.pbc, reach)
        pairs = distance[distance < self.cutoff2]
        triples = []
        for atom in range(len(structure)):
            near = np.flatnonzero((i == atom) & (distance < self.cutoff3))
            for first, p in enumerate(near):
                for q in near[first + 1 :]:
                    triples.append((distance[p], distance[q], np.linalg.norm(vector[p] - vector[q])))
        a, b, c = np.array(triples).T
        weight = self._inside(a) * self._inside(b) * self._inside(c)
        return pairs, (
            a,
            b,
            c,
            weight * amplitude(a, self.cutoff3, self.width) * amplitude(b, self.cutoff3, self.width),
        )

    def covariance(self, one, other):
        r, (a, b, c, w) = one
        s, (d, e, f, v) = other
        pair = amplitude(r, self.cutoff2, self.width) @ self._kernel(r, s) @ amplitude(s, self.cutoff2, self.width)
        sides = self._kernel(a, d) * self._kernel(b, e) + self._kernel(a, e) * self._kernel(b, d)
        triple = w @ (0.5 * sides * self._kernel(c, f)) @ v
        # The list has every pair from both sides: a quarter of the sum over its entries.
        return self.amplitudes[0] ** 2 * pair / 4 + self.amplitudes[1] ** 2 * triple


def test_splines_converge_to_the_plain_gaussian_process():
    """Predictions of energies agree to spline resolution, and the gap shrinks as h⁴."""
    structures = frames(7, 14, (14,) * 4, cell=0.75 * TRICLINIC)
    coarse = [(12, 6, 16), (24, 12, 32), (48, 24, 64)]
    rng = np.random.default_rng(3)
    energies = rng.standard_normal(10)
    noise, length_scale, amplitudes = 0.05, 1.1, (1.0, 0.7)

    def basis_of(n2, n3, far):
        return SplineBasis((14,), Grid(1.6, 4.6, n2), Grid(1.6, 3.4, n3), Grid(1.6, 6.8, far, False), 1.6, 0.3)

    basis = basis_of(*coarse[0])
    plain = PlainProcess(basis.grid2, basis.grid3, (1.6, 0.3), length_scale, amplitudes, 0.9)
    parts = [plain.parts(frame) for frame in structures]
    K = np.array([[plain.covariance(one, other) for other in parts] for one in parts])
    expected = K[10:, :10] @ np.linalg.solve(K[:10, :10] + noise**2 * np.eye(10), energies)
    variance = np.diag(K[10:, 10:] - K[10:, :10] @ np.linalg.solve(K[:10, :10] + noise**2 * np.eye(10), K[:10, 10:]))
    assert np.abs(expected).max() > 0.1
    gaps, variance_gaps = [], []
    for sizes in coarse:
        basis = basis_of(*sizes)
        two = amplitudes[0] * two_body_factor(basis, "squared_exponential", length_scale, 0.9)
        three = amplitudes[1] * three_body_factor(basis, True, "squared_exponential", length_scale, 0.9)
        blocks = [(basis.blocks2[0].columns, two), (basis.blocks3[0].columns, three)]
        prior = BlockPrior(1, 1e-9, blocks)  # no one-body energy
        rows = np.array([design_rows(basis, frame).energy for frame in structures])
        posterior = solve(np.column_stack([rows[:10], energies]) / noise, 10, prior)
        gaps.append(np.abs(rows[10:] @ posterior.coefficients - expected).max())
        spread = posterior.variance(rows[10:]) * (1 / posterior.scale) ** 2
        variance_gaps.append(np.abs(spread - variance).max())
    assert gaps[2] < 1e-3 * np.abs(expected).max()
    assert gaps[1] < gaps[0] / 6
    assert gaps[2] < gaps[1] / 10
    assert variance_gaps[2] < 1e-3 * variance.max()


def test_random_models_of_the_basis_are_symmetric():
    basis = small_basis((8, 14))
    three = basis.coefficients(random_model(basis, 0))[2]
    for pair in (0, 2):
        np.testing.assert_array_equal(three[:, pair], three[:, pair].swapaxes(1, 2))
    assert not np.array_equal(three[:, 1], three[:, 1].swapaxes(1, 2))
