"""Least squares by QR of stacked rows: the rows stream through, only a triangle stays.

Demmel, Grigori, Hoemmen and Langou, Communication-optimal parallel and sequential QR and LU factorizations (2012).
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, solve_triangular

from openmm_kml.errors import TrainingError

_BLOCK = 4096  # rows gathered before a factorization; as many as columns if that is more


def block_rows(n_columns):
    """Return the number of rows that are gathered before a factorization."""
    return max(_BLOCK, n_columns)


def memory(n_columns):
    """Return the peak memory in bytes of a least-squares problem: gathered rows, their stack, and its factor."""
    return 8 * n_columns * (3 * block_rows(n_columns) + 3 * n_columns)


class StackedQR:
    """The triangular factor of a matrix whose rows come in pieces.

    Parameters
    ----------
    n_columns : int
        With the right-hand side as the last one.
    """

    def __init__(self, n_columns):
        self.n_columns = n_columns
        self.n_rows = 0
        self._block = block_rows(n_columns)
        self._pieces, self._waiting = [], 0

    def add(self, rows):
        """Add rows of shape (m, n_columns)."""
        self.n_rows += len(rows)
        self._pieces.append(rows)
        self._waiting += len(rows)
        if self._waiting >= self._block:
            self._reduce()

    def factor(self):
        """Return R of shape (min(n_rows, n_columns), n_columns) with RᵀR equal to that of all rows."""
        if len(self._pieces) != 1 or self._waiting > self.n_columns:
            self._reduce()
        return self._pieces[0]

    def _reduce(self):
        stacked = np.concatenate(self._pieces) if self._pieces else np.zeros((0, self.n_columns))
        stacked = triangular_factor(stacked)
        self._pieces, self._waiting = [stacked], len(stacked)


def triangular_factor(rows):
    """Return R of shape (min(n_rows, n_columns), n_columns) with RᵀR equal to that of the rows."""
    if len(rows) <= rows.shape[1]:
        return rows
    # Splines at distances that the data lack have no entries; with several elements, these are most of them.
    used = np.flatnonzero(rows.any(axis=0))
    triangle = qr(rows[:, used], mode="r", overwrite_a=True, check_finite=False)[0][: len(used)]
    result = np.zeros((len(triangle), rows.shape[1]))
    result[:, used] = triangle
    return result


class BlockPrior:
    """The prior factor L: one-body energies, then blocks of columns.

    Parameters
    ----------
    n_free : int
        Leading columns with independent priors.
    width : float
        Their prior standard deviation.
    blocks : list of (slice, ndarray or float)
        Columns, and their L; a number stands for independent coefficients of that standard deviation.
    """

    def __init__(self, n_free, width, blocks):
        self.n_free, self.width, self.blocks = n_free, width, blocks

    def right_multiply(self, matrix):
        """Return matrix @ L; the columns of the matrix are the coefficients."""
        parts = [self.width * matrix[:, : self.n_free]]
        for columns, L in self.blocks:
            if np.ndim(L) == 0:
                parts.append(L * matrix[:, columns])
                continue
            used = np.flatnonzero(matrix[:, columns].any(axis=0))
            parts.append(matrix[:, columns][:, used] @ L[used])
        return np.hstack(parts)

    def coefficients(self, z):
        """Return c = L z."""
        parts, start = [self.width * z[: self.n_free]], self.n_free
        for columns, L in self.blocks:
            size = columns.stop - columns.start if np.ndim(L) == 0 else L.shape[1]
            part = z[start : start + size]
            parts.append(L * part if np.ndim(L) == 0 else L @ part)
            start += size
        return np.concatenate(parts)


@dataclass
class Posterior:
    """Solution of |y - A L z|² + |z|² -> min (rows in units of their noise), and its covariance.

    Attributes
    ----------
    coefficients : ndarray of shape (n_columns,)
        c = L z.
    scale : float
        The common noise scale s that makes the data most likely; noises and prior amplitudes are both multiplied by it.
    log_likelihood : float
        Logarithm of the marginal likelihood at that scale, without the constants of the row noises.
    prior : BlockPrior
    triangle : ndarray of shape (k, k), optional
        T, upper, with TᵀT = I + (A L)ᵀ A L: the covariance of c is s² L T⁻¹ T⁻ᵀ Lᵀ.
    explained : ndarray of shape (k, m), optional
        V with V Vᵀ = I - (I + (A L)ᵀ A L)⁻¹, in place of T where the rows are fewer than the directions.
    """

    coefficients: np.ndarray
    scale: float
    log_likelihood: float
    prior: BlockPrior
    triangle: np.ndarray | None = None
    explained: np.ndarray | None = None

    def variance(self, rows):
        """Return the variance of predictions whose design rows have shape (m, n_columns)."""
        projected = self.prior.right_multiply(rows)
        if self.triangle is None:
            return self.scale**2 * ((projected**2).sum(axis=1) - ((projected @ self.explained) ** 2).sum(axis=1))
        half = solve_triangular(self.triangle, projected.T, trans="T", check_finite=False)
        return self.scale**2 * (half**2).sum(axis=0)

    def samples(self, count, rng):
        """Return deviations δ of shape (count, n_columns): Σ δ δᵀ estimates the covariance of the coefficients.

        They are samples of mean zero over the root of their number.

        Parameters
        ----------
        count : int
        rng : numpy.random.Generator
        """
        size = len(self.triangle) if self.triangle is not None else len(self.explained)
        z = rng.standard_normal((count, size)).T
        if self.triangle is not None:
            z = solve_triangular(self.triangle, z, check_finite=False)
        else:
            # The symmetric root of I - V Vᵀ: along its left singular vectors V has lengths below one.
            vectors, lengths, _ = np.linalg.svd(self.explained, full_matrices=False)
            shrink = 1 - np.sqrt(np.maximum(0.0, 1 - lengths**2))
            z = z - vectors @ (shrink[:, None] * (vectors.T @ z))
        return self.scale / np.sqrt(count) * np.stack([self.prior.coefficients(column) for column in z.T])


def solve(factor, n_rows, prior):
    """Return the `Posterior`.

    Parameters
    ----------
    factor : ndarray of shape (m, n_columns + 1)
        Triangular factor of the weighted rows with the weighted labels as the last column.
    n_rows : int
        Rows it stands for.
    prior : BlockPrior

    Raises
    ------
    TrainingError
        If a number is not finite.
    """
    M, y = prior.right_multiply(factor[:, :-1]), factor[:, -1]
    z, scale, triangle, covariance = _solved(M, y, n_rows)
    return Posterior(prior.coefficients(z), scale, _log_likelihood(n_rows, scale, triangle), prior, **covariance)


def likelihood_and_slopes(factor, n_rows, prior):
    """Return the logarithm of the marginal likelihood, as `solve`, and its derivatives by the factors L of the prior.

    With r = y - M z, M = A L, and ρ = |r|² + |z|², its differential is tr(Wᵀ dM), W = (n/ρ) r zᵀ - M (I + MᵀM)⁻¹; the
    inverse is applied by the triangle of the QR factorization.

    Parameters
    ----------
    factor : ndarray of shape (m, n_columns + 1)
    n_rows : int
    prior : BlockPrior

    Returns
    -------
    log_likelihood : float
    slopes : list of ndarray
        For each block of the prior an array of the shape of its L.
    """
    A, y = factor[:, :-1], factor[:, -1]
    M = prior.right_multiply(A)
    z, scale, triangle, _ = _solved(M, y, n_rows)
    if len(triangle) == M.shape[1]:
        W = -solve_triangular(triangle, solve_triangular(triangle, M.T, trans="T", check_finite=False)).T
    else:
        W = -solve_triangular(triangle, solve_triangular(triangle, M, trans="T", check_finite=False))
    if scale > _least_residual(y) / np.sqrt(n_rows):
        W += np.outer((y - M @ z) / scale**2, z)
    slopes, start = [], prior.n_free
    for columns, L in prior.blocks:
        used = np.flatnonzero(A[:, columns].any(axis=0))
        slope = np.zeros_like(L)
        slope[used] = A[:, columns][:, used].T @ W[:, start : start + L.shape[1]]
        slopes.append(slope)
        start += L.shape[1]
    return _log_likelihood(n_rows, scale, triangle), slopes


def _solved(M, y, n_rows):
    """Return z, the noise scale, the triangle of the QR factorization, and what `Posterior` keeps of it."""
    if not (np.isfinite(M).all() and np.isfinite(y).all()):
        raise TrainingError("the rows are not finite; look for absurd energies or forces in the data")
    z, residual, triangle, covariance = _solve_rows(M, y) if len(M) < M.shape[1] else _solve_directions(M, y)
    return z, float(max(residual, _least_residual(y)) / np.sqrt(n_rows)), triangle, covariance


def _least_residual(y):
    """Return what float64 resolves of labels: a perfect fit has no smaller residual."""
    return max(np.finfo(float).eps * np.linalg.norm(y), np.finfo(float).tiny)


def _log_likelihood(n_rows, scale, triangle):
    return float(-n_rows * np.log(scale) - np.log(np.abs(np.diag(triangle))).sum())


def _solve_directions(M, y):
    """Solve by QR of (M; I), whose triangle T has TᵀT = I + MᵀM; return z, residual, T, and what to keep."""
    k = M.shape[1]
    stacked = np.zeros((len(M) + k, k + 1))
    stacked[: len(M), :k] = M
    stacked[: len(M), k] = y
    stacked[len(M) + np.arange(k), np.arange(k)] = 1.0
    triangle = qr(stacked, mode="r", overwrite_a=True, check_finite=False)[0]
    z = solve_triangular(triangle[:k, :k], triangle[:k, k], check_finite=False)
    residual = abs(triangle[k, k]) if len(triangle) > k else 0.0
    T = triangle[:k, :k].copy()
    return z, residual, T, {"triangle": T}


def _solve_rows(M, y):
    """Solve by QR of (Mᵀ; I) = (V; W) T, cheaper for few rows: z = V T⁻ᵀ y, and the residual is |T⁻ᵀ y|.

    For then TᵀT = I + M Mᵀ, and z = Mᵀ (I + M Mᵀ)⁻¹ y.
    """
    m, k = M.shape
    Q, triangle = qr(np.vstack([M.T, np.eye(m)]), mode="economic", overwrite_a=True, check_finite=False)
    half = solve_triangular(triangle, y, trans="T", check_finite=False)
    return Q[:k] @ half, float(np.linalg.norm(half)), triangle, {"explained": Q[:k]}
