"""Least squares by QR of stacked rows: the rows stream through, only a triangle stays.

Demmel, Grigori, Hoemmen and Langou, Communication-optimal parallel and sequential QR and LU factorizations (2012).
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, solve_triangular

from openmm_kml.errors import TrainingError

_BLOCK = 4096  # rows gathered before a factorization; twice the columns if that is more


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
        self._block = max(_BLOCK, 2 * n_columns)
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
        if len(stacked) > self.n_columns:
            stacked = qr(stacked, mode="r", overwrite_a=True, check_finite=False)[0][: self.n_columns]
        self._pieces, self._waiting = [stacked], len(stacked)


class BlockPrior:
    """The prior factor L: one-body energies, then blocks of columns.

    Parameters
    ----------
    n_free : int
        Leading columns with independent priors.
    width : float
        Their prior standard deviation.
    blocks : list of (slice, ndarray)
        Columns, and their L.
    """

    def __init__(self, n_free, width, blocks):
        self.n_free, self.width, self.blocks = n_free, width, blocks

    def right_multiply(self, matrix):
        """Return matrix @ L; the columns of the matrix are the coefficients."""
        return np.hstack(
            [self.width * matrix[:, : self.n_free], *(matrix[:, columns] @ L for columns, L in self.blocks)]
        )

    def coefficients(self, z):
        """Return c = L z."""
        parts, start = [self.width * z[: self.n_free]], self.n_free
        for _, L in self.blocks:
            parts.append(L @ z[start : start + L.shape[1]])
            start += L.shape[1]
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
    triangle : ndarray of shape (k, k)
        T, upper, with TᵀT = I + (A L)ᵀ A L: the covariance of c is s² L T⁻¹ T⁻ᵀ Lᵀ.
    prior : BlockPrior
    """

    coefficients: np.ndarray
    scale: float
    log_likelihood: float
    triangle: np.ndarray
    prior: BlockPrior

    def variance(self, rows):
        """Return the variance of predictions whose design rows have shape (m, n_columns)."""
        half = solve_triangular(self.triangle, self.prior.right_multiply(rows).T, trans="T")
        return self.scale**2 * (half**2).sum(axis=0)


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
    projected = prior.right_multiply(factor[:, :-1])
    k = projected.shape[1]
    stacked = np.zeros((len(factor) + k, k + 1))
    stacked[: len(factor), :k] = projected
    stacked[: len(factor), k] = factor[:, -1]
    stacked[len(factor) + np.arange(k), np.arange(k)] = 1.0
    triangle = qr(stacked, mode="r", overwrite_a=True, check_finite=False)[0][: k + 1]
    if not np.isfinite(triangle).all():
        raise TrainingError("the solution is not finite; look for absurd energies or forces in the data")
    # Labels beyond what float64 resolves of their size are no residual: a perfect fit has no smaller scale.
    floor = np.finfo(float).eps * np.linalg.norm(factor[:, -1])
    residual = max(np.abs(triangle[k, k]) if len(triangle) > k else 0.0, floor, np.finfo(float).tiny)
    scale = residual / np.sqrt(n_rows)
    log_likelihood = -n_rows * np.log(scale) - np.log(np.abs(np.diag(triangle)[:k])).sum()
    coefficients = prior.coefficients(solve_triangular(triangle[:k, :k], triangle[:k, k], check_finite=False))
    return Posterior(coefficients, float(scale), float(log_likelihood), triangle[:k, :k], prior)
