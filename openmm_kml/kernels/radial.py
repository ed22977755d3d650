"""Radial kernels f(|x - x'|) and the derivatives that a gradient-domain model needs.

Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), eqs. 4.9 and 4.16. Derivatives are taken by
the squared scaled distance a²: they are smooth at a = 0, and for the Matérn kernels they are the numerators of the
next rougher members (docs/theory.md).
"""

from dataclasses import dataclass

import numpy as np

# Polynomials of the numerators g_k(a) = poly_k(a) exp(-a), coefficients from the constant upwards.
_MATERN = {
    1: (1.0,),
    3: (1.0, 1.0),
    5: (3.0, 3.0, 1.0),
    7: (15.0, 15.0, 6.0, 1.0),
    9: (105.0, 105.0, 45.0, 10.0, 1.0),
}


def _numerator(order, a):
    return np.polynomial.polynomial.polyval(a, _MATERN[order]) * np.exp(-a)


@dataclass(frozen=True)
class RadialKernel:
    """A radial kernel with f(0) = 1.

    Attributes
    ----------
    name : str
    smoothness : float
        ν of the Matérn family, infinity for the squared exponential.
    """

    name: str
    smoothness: float

    def scale(self, length_scale):
        """Return s with a = s |x - x'|: √(2ν)/ℓ, or 1/ℓ for the squared exponential."""
        return (1.0 if np.isinf(self.smoothness) else np.sqrt(2 * self.smoothness)) / length_scale

    def functions(self, a):
        """Return f, -2 df/d(a²) and 4 d²f/d(a²)² at the scaled distance a ≥ 0.

        Parameters
        ----------
        a : ndarray

        Returns
        -------
        value, first, second : ndarrays of the shape of a
        """
        if np.isinf(self.smoothness):
            value = np.exp(-0.5 * np.square(a))
            return value, value, value
        order = round(2 * self.smoothness)
        norm = _MATERN[order][0]
        return tuple(_numerator(k, a) / norm for k in (order, order - 2, order - 4))


KERNELS = {
    kernel.name: kernel
    for kernel in (
        RadialKernel("matern52", 2.5),
        RadialKernel("matern72", 3.5),
        RadialKernel("matern92", 4.5),
        RadialKernel("squared_exponential", np.inf),
    )
}
