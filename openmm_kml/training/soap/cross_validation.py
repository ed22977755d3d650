"""Cross-validation over parts of the training frames, without a factorization of all rows for each trial.

With the sparse columns first, the triangular factor of the frames that stay stays triangular under the prior, but for
the few columns of splines; stacked on the identity it costs a fifth of a factorization of full rows.
"""

from dataclasses import replace

import numpy as np
from scipy.linalg import qr, solve_triangular
from scipy.linalg.lapack import dtpqrt

from openmm_kml.training.nbody.solve import BlockPrior, solve

_PANEL = 64  # columns that a factorization works on at a time
_TOLERANCE = 0.005  # of squared errors; 0.02 cost silicon a tenth of its accuracy in energies
_LEAST = 1e-3  # eV, of an amplitude
_ROUNDING = 1e-6  # relative eigenvalue of the pairs' prior below which a search leaves directions out


def cross_validation_loss(basis, options, folds):
    """Return the error of labels left out as a function of hyperparameters.

    It is the geometric mean of the mean squared errors of energies, forces and virials: where a model cannot describe
    one of them to its noise, that one does not drown the others, and units do not matter.

    Parameters
    ----------
    basis : SoapBasis
    options : SoapOptions
    folds : list of dict
        Of each part of the frames: kind of labels -> triangular factor, its sparse columns whitened, and the rows it
        stands for.
    """
    kinds = sorted({kind for fold in folds for kind in fold})
    counts = np.array([sum(fold[kind][1] for fold in folds if kind in fold) for kind in kinds])
    staying = []
    for left_out in range(len(folds)):
        rest = [part for k, fold in enumerate(folds) if k != left_out for part in fold.values()]
        rows = np.concatenate([factor for factor, _ in rest])
        staying.append(StayingRows(rows, sum(count for _, count in rest), basis.n_splines))

    def loss(point):
        prior = point.prior(basis, options, _ROUNDING)
        errors = np.zeros(len(kinds))
        for rows, fold in zip(staying, folds, strict=True):
            c = np.append(rows.coefficients(prior, point.amplitude), -1.0)
            errors += [np.sum((fold[kind][0] @ c) ** 2) if kind in fold else 0.0 for kind in kinds]
        return float(np.exp(np.mean(np.log(np.maximum(errors, np.finfo(float).tiny) / counts))))

    return loss


def smallest_amplitude(point, loss, log):
    """Return the hyperparameters with the many-body amplitude halved as long as the error grows by little in all.

    Where sparse points are few for the data, errors hardly depend on a large amplitude, but a smaller one extrapolates
    better: trained on dynamics of nickel, the energies of a test set of all kinds are off by 5 meV an atom with an
    amplitude of 2 eV, by 13 with one of 64 eV, all else alike.

    Parameters
    ----------
    point : SoapHyperparameters
        Of least loss.
    loss : callable
        Of `SoapHyperparameters`.
    log : list of dict
        Of trials; those made here are added.
    """
    allowed = (1 + _TOLERANCE) * loss(point)
    while True:
        smaller = replace(point, amplitude=point.amplitude / 2)
        value = loss(smaller)
        log.append({**vars(smaller), "loss": value})
        if not value <= allowed or smaller.amplitude < _LEAST:
            return point
        point = smaller


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
            self.triangle = _triangle(self.triangle)

    def coefficients(self, prior, amplitude):
        """Return the coefficients of all columns under a `BlockPrior` with one amplitude of the sparse columns."""
        if not self.full:  # too few rows for a triangle
            return solve(self.triangle[:, self.back], self.n_rows, prior).coefficients
        m = self.n_sparse
        splines = BlockPrior(prior.n_free, prior.width, [block for block in prior.blocks if np.ndim(block[1])])
        spline_columns = splines.right_multiply(self.triangle[:, m:-1])
        q = spline_columns.shape[1]
        corner = _triangle(np.column_stack([spline_columns[m:], self.triangle[m:, -1]]))
        k = m + q
        rows = np.zeros((k + 1, k + 1))
        rows[:m, :m] = amplitude * self.triangle[:m, :m]
        rows[:m, m:k] = spline_columns[:m]
        rows[:m, k] = self.triangle[:m, -1]
        rows[m:, m:] = corner
        z = _ridge(rows)
        return np.concatenate([splines.coefficients(z[m:]), amplitude * z[:m]])


def _triangle(rows):
    """Return R, upper triangular and square, with RᵀR equal to that of no fewer rows than columns."""
    return qr(rows, mode="r", overwrite_a=True, check_finite=False)[0][: rows.shape[1]]


def _ridge(rows):
    """Return z that minimizes |y - T z|² + |z|², for an upper triangular matrix (T, y)."""
    k = len(rows) - 1
    identity = np.eye(k + 1)
    identity[k, k] = 0.0
    triangle = dtpqrt(k + 1, min(_PANEL, k + 1), identity, rows)[0]
    return solve_triangular(triangle[:k, :k], triangle[:k, k], check_finite=False)
