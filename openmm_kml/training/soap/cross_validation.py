"""Cross-validation over parts of the training frames, without a factorization of all rows for each trial.

With the sparse columns first, the triangular factor of the frames that stay stays triangular under the prior, but for
the few columns of splines; stacked on the identity it costs a fifth of a factorization of full rows.
"""

import numpy as np
from scipy.linalg import qr, solve_triangular
from scipy.linalg.lapack import dtpqrt

from openmm_kml.training.nbody.solve import BlockPrior, solve, triangular_factor

_PANEL = 64  # columns that a factorization works on at a time
_ROUNDING = 1e-6  # relative eigenvalue of the pairs' prior below which a search leaves directions out


def cross_validation_loss(basis, options, factors):
    """Return the mean squared error of labels left out, in units of their noises, as a function of hyperparameters.

    Parameters
    ----------
    basis : SoapBasis
    options : SoapOptions
    factors : list of (ndarray, int)
        Triangular factor of each part of the frames, its sparse columns whitened, and the rows it stands for.
    """
    n_rows = sum(count for _, count in factors)
    parts = []
    for left_out, (factor, count) in enumerate(factors):
        rest = np.concatenate([other for k, (other, _) in enumerate(factors) if k != left_out])
        parts.append((StayingRows(rest, n_rows - count, basis.n_splines), factor))

    def loss(point):
        prior = point.prior(basis, options, _ROUNDING)
        errors = 0.0
        for rest, factor in parts:
            c = np.append(rest.coefficients(prior, point.amplitude), -1.0)
            errors += np.sum((factor @ c) ** 2)
        return float(errors / n_rows)

    return loss


class StayingRows:
    """Rows of the frames that stay, reduced to a triangle with the sparse columns first.

    Parameters
    ----------
    rows : ndarray of shape (m, n_columns + 1)
        With the labels as the last column; its sparse columns are whitened.
    n_rows : int
        Rows they stand for.
    n_splines : int
        Leading columns, before the sparse ones.
    """

    def __init__(self, rows, n_rows, n_splines):
        self.n_rows, self.n_splines, self.n_sparse = n_rows, n_splines, rows.shape[1] - 1 - n_splines
        order = np.r_[n_splines : rows.shape[1] - 1, 0:n_splines, rows.shape[1] - 1]
        self.back = np.argsort(order)
        self.full = len(rows) >= len(order)
        self.triangle = rows[:, order]
        if self.full:
            self.triangle = qr(self.triangle, mode="r", overwrite_a=True, check_finite=False)[0][: len(order)]

    def coefficients(self, prior, amplitude):
        """Return the coefficients of all columns under a `BlockPrior` with one amplitude of the sparse columns."""
        if not self.full:  # too few rows for a triangle
            return solve(self.triangle[:, self.back], self.n_rows, prior).coefficients
        m = self.n_sparse
        splines = BlockPrior(prior.n_free, prior.width, [block for block in prior.blocks if np.ndim(block[1])])
        spline_columns = splines.right_multiply(self.triangle[:, m:-1])
        corner = triangular_factor(np.column_stack([spline_columns[m:], self.triangle[m:, -1]]))
        q = spline_columns.shape[1]
        k = m + q
        rows = np.zeros((k + 1, k + 1))
        rows[:m, :m] = amplitude * self.triangle[:m, :m]
        rows[:m, m:k] = spline_columns[:m]
        rows[:m, k] = self.triangle[:m, -1]
        rows[m : m + len(corner), m:] = np.triu(corner)
        z = _ridge(rows)
        return np.concatenate([splines.coefficients(z[m:]), amplitude * z[:m]])


def _ridge(rows):
    """Return z that minimizes |y - T z|² + |z|², for an upper triangular matrix (T, y)."""
    k = len(rows) - 1
    identity = np.eye(k + 1)
    identity[k, k] = 0.0
    triangle = dtpqrt(k + 1, min(_PANEL, k + 1), identity, rows)[0]
    return solve_triangular(triangle[:k, :k], triangle[:k, k], check_finite=False)
