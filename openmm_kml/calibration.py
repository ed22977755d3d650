"""Predicted standard deviations held against errors: the calibration of a model, and measures of how good it is.

Scale, floor and tail are those that make the errors most likely under Student's t of `openmm_kml.predictive` with
σ² = scale² (raw variance + floor²).
"""

import math
from typing import NamedTuple

import numpy as np

from openmm_kml.predictive import LARGEST_TAIL, half_width, log_density

SMALL = 1e-6  # raw variances below, relative to their mean, vanish by symmetry: so do the errors, to rounding
LEVELS = (0.68, 0.95)
LEAST_ERRORS = 5  # from fewer errors nothing is learned
_MOST_ERRORS = 5_000  # of more, some are drawn: the scale of so many has a sampling error of 1 %
_LARGEST_FLOOR = 100.0  # relative to the root of the mean variance
_NEAR = math.log(2)  # deviation of the logarithm of a scale that is likely beforehand
_USUAL_TAIL = 0.1  # mean of the exponential prior: some fifty errors weigh as much
_WIDEST = 10.0  # how far the logarithm of a scale is searched


class Calibration(NamedTuple):
    """The scale, the floor and the tail of one quantity, and how many errors there were to learn them from."""

    scale: float = 1.0
    floor: float = 0.0
    tail: float = 0.0
    n_errors: int = 0


def fit_calibration(errors, variances, counts=1, near=None):
    """Return the `Calibration` that makes the errors most likely; the default one from fewer than `LEAST_ERRORS`.

    Parameters
    ----------
    errors : ndarray of shape (n,)
    variances : ndarray of shape (n,)
        Raw.
    counts : ndarray of shape (n,) or int
        What the square of the floor is multiplied with: atoms, for energies.
    near : float, optional
        A scale that is likely beforehand, to a factor of two or so: that of forces, for energies. A few energies that
        all have about the same raw variance could else be explained by a floor alone, and nothing would be left to grow
        outside the data.
    """
    from scipy.optimize import minimize

    errors, variances = (np.ravel(np.asarray(values, dtype=float)) for values in (errors, variances))
    counts = np.broadcast_to(np.asarray(counts, dtype=float), errors.shape)
    kept = np.flatnonzero(is_open(variances))
    n_errors = len(kept)
    if n_errors > _MOST_ERRORS:  # not each so many, which could be components of one axis
        kept = np.sort(np.random.default_rng(0).choice(kept, _MOST_ERRORS, replace=False))
    errors, variances, counts = errors[kept], variances[kept], counts[kept]
    if len(errors) < LEAST_ERRORS or not errors.any():
        return Calibration()
    unit = float(np.mean(variances / counts))

    def loss(point):
        """Return minus the logarithm of the posterior density, by error; floor² = unit (e^y - 1)."""
        x, y, tail = point
        total = variances + counts * unit * math.expm1(y)
        value = x + 0.5 * np.mean(np.log(total)) - np.mean(log_density(errors / np.sqrt(total) * math.exp(-x), tail))
        strength = 0.0 if near is None else 0.5 * ((x - math.log(near)) / _NEAR) ** 2
        return value + (strength + tail / _USUAL_TAIL) / len(errors)

    most = math.log1p(_LARGEST_FLOOR**2)
    found = []
    for y in (0.0, math.log(2), 0.5 * most):
        x = 0.5 * math.log(np.mean(errors**2 / (variances + counts * unit * math.expm1(y))))
        bounds = [(x - _WIDEST, x + _WIDEST), (0.0, most), (0.0, LARGEST_TAIL)]
        found.append(minimize(loss, [x, y, _USUAL_TAIL], method="L-BFGS-B", bounds=bounds))
    x, y, tail = min(found, key=lambda one: one.fun).x
    return Calibration(math.exp(x), math.sqrt(unit * math.expm1(y)), float(tail), n_errors)


def is_open(variances):
    """Return a mask of the raw variances that do not vanish by symmetry."""
    variances = np.asarray(variances)
    return variances > SMALL * np.mean(variances) if variances.size else np.zeros(variances.shape, bool)


def measure(errors, deviations, tail=0.0):
    """Return how well standard deviations foretell errors, as a dictionary that JSON can write.

    Parameters
    ----------
    errors, deviations : ndarray of shape (n,)
        The latter above zero.
    tail : float
        Of the distribution of errors (`openmm_kml.predictive`).

    Returns
    -------
    dict
        ``n``; ``coverage_68`` and ``coverage_95``, the shares of errors within the central intervals; ``ratio``, the
        root mean square of errors in units of their deviations; ``sharpness``, the root mean square deviation, and
        ``rmse`` to compare it with; ``nll``, the mean negative log-likelihood; ``rank_correlation``, Spearman's, of
        deviations and absolute errors (None where one of them does not vary); ``tail``.
    """
    errors, deviations = (np.ravel(np.asarray(values, dtype=float)) for values in (errors, deviations))
    if not len(errors):
        return {"n": 0}
    z = np.abs(errors) / deviations
    shares = {f"coverage_{100 * level:.0f}": float(np.mean(z < half_width(level, tail))) for level in LEVELS}
    return {
        "n": len(errors),
        **shares,
        "ratio": _rms(z),
        "rmse": _rms(errors),
        "sharpness": _rms(deviations),
        "nll": float(np.mean(np.log(deviations) - log_density(z, tail))),
        "rank_correlation": rank_correlation(np.abs(errors), deviations),
        "tail": float(tail),
    }


def reliability(errors, deviations, bins=10):
    """Return the root mean square deviation and error of equally filled bins of growing deviation.

    Parameters
    ----------
    errors, deviations : ndarray of shape (n,)
    bins : int
        At most; each has ten errors or more, but there is one bin at least.

    Returns
    -------
    predicted, found : ndarray of shape (k,)
    """
    errors, deviations = (np.ravel(np.asarray(values, dtype=float)) for values in (errors, deviations))
    order = np.argsort(deviations, kind="stable")
    parts = np.array_split(order, max(1, min(bins, len(order) // 10)))
    return tuple(np.array([_rms(values[part]) for part in parts]) for values in (deviations, errors))


def rank_correlation(first, second):
    """Return Spearman's rank correlation; None for fewer than three values, or where one of the two does not vary."""
    if len(first) < 3:
        return None
    a, b = (_ranks(values) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else None


def _ranks(values):
    """Return ranks from zero, equal values sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - 0.5 * (counts + 1))[inverse]


def _rms(values):
    return float(np.sqrt(np.mean(np.square(values))))
