"""Predicted standard deviations held against errors: the calibration of a model, and measures of how good it is.

Scale and floor are those that make the errors most likely under σ² = scale² (raw variance + floor²).
"""

import math
from typing import NamedTuple

import numpy as np

SMALL = 1e-6  # raw variances below, relative to their mean, vanish by symmetry: so do the errors, to rounding
LEVELS = (0.68, 0.95)
LEAST_ERRORS = 5  # from fewer errors nothing is learned
_FLOORS = 61  # tried on a grid, then refined
_NEAR = math.log(2)  # deviation of the logarithm of a scale that is likely beforehand
_NEWTON = 30
_QUANTILES = (0.9944578832, 1.9599639845)  # of |normal| at the levels


class Calibration(NamedTuple):
    """The scale and the floor of one quantity, and how many errors they were learned from."""

    scale: float = 1.0
    floor: float = 0.0
    n_errors: int = 0


def fit_scale(errors, variances, counts=1, near=None):
    """Return the `Calibration` that makes the errors most likely; scale 1 and floor 0 from fewer than `LEAST_ERRORS`.

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
    errors, variances = (np.ravel(np.asarray(values, dtype=float)) for values in (errors, variances))
    counts = np.broadcast_to(np.asarray(counts, dtype=float), errors.shape)
    kept = is_open(variances)
    errors, variances, counts = errors[kept], variances[kept], counts[kept]
    if len(errors) < LEAST_ERRORS or not errors.any():
        return Calibration()
    unit = math.sqrt(np.mean(variances / counts))

    def best(floor):
        """Return the loss at the best scale, and that scale."""
        total = variances + counts * floor**2
        return _best_scale(float(np.mean(np.log(total))), float(np.mean(errors**2 / total)), len(errors), near)

    floors = [0.0, *(unit * np.logspace(-3, 2, _FLOORS))]
    place = int(np.argmin([best(floor)[0] for floor in floors]))
    floor = _refined(lambda value: best(value)[0], floors, place) if place else 0.0
    return Calibration(best(floor)[1], float(floor), len(errors))


def _best_scale(mean_log, mean_square, n_errors, near):
    """Return the least loss, minus the logarithm of the likelihood by two errors, and its scale a.

    Without a scale beforehand a² is the mean square of errors in units of their raw deviations; with one, Newton's
    method finds ln a.
    """
    x = 0.5 * math.log(mean_square)
    strength = 0.0 if near is None else 1 / (n_errors * _NEAR**2)
    for _ in range(_NEWTON if strength else 0):
        square = mean_square * math.exp(-2 * x)
        slope = 2 - 2 * square + 2 * strength * (x - math.log(near))
        step = slope / (4 * square + 2 * strength)
        x -= math.copysign(min(abs(step), 1.0), step)
    loss = mean_log + 2 * x + mean_square * math.exp(-2 * x)
    if strength:
        loss += strength * (x - math.log(near)) ** 2
    return loss, math.exp(x)


def is_open(variances):
    """Return a mask of the raw variances that do not vanish by symmetry."""
    variances = np.asarray(variances)
    return variances > SMALL * np.mean(variances) if variances.size else np.zeros(variances.shape, bool)


def _refined(loss, floors, best):
    """Return the floor between the neighbors of the best one where the loss is least, by golden sections."""
    low, high = floors[best - 1], floors[min(best + 1, len(floors) - 1)]
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(30):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return 0.5 * (low + high)


def measure(errors, deviations):
    """Return how well standard deviations foretell errors, as a dictionary that JSON can write.

    Parameters
    ----------
    errors, deviations : ndarray of shape (n,)
        The latter above zero.

    Returns
    -------
    dict
        ``n``; ``coverage_68`` and ``coverage_95``, the shares of errors within the central intervals; ``ratio``, the
        root mean square of errors in units of their deviations; ``sharpness``, the root mean square deviation, and
        ``rmse`` to compare it with; ``nll``, the mean negative log-likelihood; ``rank_correlation``, Spearman's, of
        deviations and absolute errors (None where one of them does not vary).
    """
    errors, deviations = (np.ravel(np.asarray(values, dtype=float)) for values in (errors, deviations))
    if not len(errors):
        return {"n": 0}
    z = np.abs(errors) / deviations
    shares = {f"coverage_{100 * level:.0f}": float(np.mean(z < q)) for level, q in zip(LEVELS, _QUANTILES, strict=True)}
    nll = np.mean(0.5 * z**2 + np.log(deviations)) + 0.5 * math.log(2 * math.pi)
    return {
        "n": len(errors),
        **shares,
        "ratio": _rms(z),
        "rmse": _rms(errors),
        "sharpness": _rms(deviations),
        "nll": float(nll),
        "rank_correlation": rank_correlation(np.abs(errors), deviations),
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
