"""Uniform cubic B-splines: values and slopes of the four that are not zero at a distance (docs/theory.md)."""

import numpy as np


def bspline_values(r, start, spacing, n_intervals):
    """Return the cubic B-splines that are not zero at some distances.

    With u = (r - start)/spacing, b = floor(u) and t = u - b the four splines b … b + 3 have the values (1 - t)³/6,
    (3t³ - 6t² + 4)/6, (-3t³ + 3t² + 3t + 1)/6 and t³/6 (de Boor, A Practical Guide to Splines, 1978). Below the start
    they continue along their tangents there; beyond the end the last interval's polynomials continue.

    Parameters
    ----------
    r : ndarray, Å
    start, spacing : float, Å
    n_intervals : int

    Returns
    -------
    index : ndarray of int, shape of r
        b, between 0 and n_intervals - 1: the number of the first of the four coefficients.
    values : ndarray of shape (…, 4)
    slopes : ndarray of shape (…, 4), 1/Å
        Derivatives of the values by r.
    """
    u = (np.asarray(r, dtype=float) - start) / spacing
    below = np.minimum(u, 0.0)
    u = np.maximum(u, 0.0)
    index = np.minimum(u.astype(np.intp), n_intervals - 1)
    t = u - index
    s = 1.0 - t
    values = np.stack([s**3, (3 * t - 6) * t**2 + 4, ((-3 * t + 3) * t + 3) * t + 1, t**3], axis=-1) / 6
    slopes = np.stack([-s * s, (3 * t - 4) * t, (-3 * t + 2) * t + 1, t * t], axis=-1) / 2
    values += below[..., None] * slopes
    return index, values, slopes / spacing


def smooth_step(s):
    """Return the fifth-order smooth step s³(10 - 15 s + 6 s²), 0 below s = 0 and 1 above s = 1, and its slope."""
    s = np.clip(s, 0.0, 1.0)
    return s**3 * (10 - 15 * s + 6 * s * s), 30 * (s * (1 - s)) ** 2
