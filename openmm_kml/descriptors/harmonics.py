"""Real spherical harmonics and their gradients by recursion, without angles."""

from math import factorial, pi, sqrt

import numpy as np


def place(degree, order):
    """Return the place of Y_lm in the order l = 0, 1, …; m = -l … l, the sines at negative m."""
    return degree * (degree + 1) + order


def real_harmonics(l_max, directions):
    """Return orthonormal real spherical harmonics and the gradients of their solid forms.

    Y_lm at m > 0 goes with cos(m φ), at m < 0 with sin(|m| φ), without Condon and Shortley's sign. The solid form
    r^l Y_lm(u) is a homogeneous polynomial; its recursions in l and m, and its gradient from the polynomials of one
    degree less, are those of Helgaker, Jørgensen and Olsen (Molecular Electronic-Structure Theory, 2000, section 6.4)
    in the scaling P_l^m/(l + m)!.

    Parameters
    ----------
    l_max : int
        Largest l, inclusive.
    directions : ndarray of shape (..., 3)
        Unit vectors u.

    Returns
    -------
    values : ndarray of shape (..., (l_max + 1)²)
    gradients : ndarray of shape (..., (l_max + 1)², 3)
        Of the solid form, at r = 1. On the sphere only their part perpendicular to u counts.
    """
    solid = _solid_harmonics(l_max, *np.moveaxis(np.asarray(directions, dtype=float), -1, 0))
    values = np.empty((*np.shape(directions)[:-1], (l_max + 1) ** 2))
    gradients = np.empty((*values.shape, 3))
    for degree in range(l_max + 1):
        for order in range(-degree, degree + 1):
            norm = _norm(degree, abs(order))
            values[..., place(degree, order)] = norm * solid[degree, order]
            for axis, slope in enumerate(_gradient(solid, degree, order)):
                gradients[..., place(degree, order), axis] = norm * slope
    return values, gradients


def _solid_harmonics(l_max, x, y, z):
    """Return (l, m) -> Re (m >= 0) or Im (m < 0) of r^l P_l^m(z/r) e^(i |m| φ)/(l + |m|)!, at r = 1."""
    solid = {(0, 0): np.ones_like(x)}
    for m in range(1, l_max + 1):
        cosine, sine = solid[m - 1, m - 1], solid.get((m - 1, 1 - m), 0.0) if m > 1 else 0.0
        solid[m, m] = (x * cosine - y * sine) / (2 * m)
        solid[m, -m] = (y * cosine + x * sine) / (2 * m)
    for order in range(-l_max, l_max + 1):
        m = abs(order)
        for degree in range(m + 1, l_max + 1):
            below = solid.get((degree - 2, order), 0.0) if degree - 2 >= m else 0.0
            solid[degree, order] = ((2 * degree - 1) * z * solid[degree - 1, order] - below) / (degree**2 - m**2)
    return solid


def _gradient(solid, degree, order):
    """Return the three derivatives of one solid harmonic by those of the degree below."""

    def at(m, sine):
        if sine and m == 0:
            return 0.0
        return solid.get((degree - 1, -m if sine else m), 0.0)

    sine, m = order < 0, abs(order)
    if m == 0:
        return -at(1, False), -at(1, True), at(0, False)
    lower, upper = at(m - 1, sine), at(m + 1, sine)
    lower_other, upper_other = at(m - 1, not sine), at(m + 1, not sine)
    sign = 1 if sine else -1
    return (lower - upper) / 2, sign * (lower_other + upper_other) / 2, at(m, sine)


def _norm(degree, m):
    """Return the factor that makes a solid harmonic orthonormal on the sphere."""
    norm = sqrt((2 * degree + 1) / (4 * pi) * factorial(degree - m) * factorial(degree + m))
    return norm * sqrt(2) if m else norm
