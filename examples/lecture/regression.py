"""One-dimensional Gaussian-process regression, small enough to read in one go, and a landscape to learn."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from openmm_kml.kernels.radial import KERNELS

REACH = 0.7  # Å; the landscape is looked at between -REACH and REACH


def landscape(s):
    """Return the energy in eV of a proton between two places, s in Å from the middle.

    The lower state of two harmonic ones that are coupled: V = (V1 + V2)/2 - √((V1 - V2)²/4 + c²).
    """
    left, right = (3.0 * (np.asarray(s) - place) ** 2 for place in (-0.4, 0.4))
    right = right + 0.1
    return (left + right) / 2 - np.sqrt((left - right) ** 2 / 4 + 0.2**2)


def noisy(rng, s, noise):
    """Return energies at s with Gaussian noise, eV."""
    return landscape(s) + noise * rng.standard_normal(np.shape(s))


@dataclass(frozen=True)
class GaussianProcess:
    """Energies at points x with noise, and the prior that functions are about their mean with this covariance.

    Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), algorithm 2.1.

    Attributes
    ----------
    x, y : ndarray of shape (n,)
    noise, amplitude : float
        Standard deviations of the points and of the functions.
    length_scale : float
    """

    x: np.ndarray
    y: np.ndarray
    noise: float
    amplitude: float
    length_scale: float

    @classmethod
    def most_likely(cls, x, y, noise):
        """Return the process whose amplitude and length scale make the points most likely."""
        start = np.log([np.std(y), (x.max() - x.min()) / 4])
        best = minimize(lambda z: -cls(x, y, noise, *np.exp(z)).log_likelihood(), start, method="Nelder-Mead")
        return cls(x, y, noise, *map(float, np.exp(best.x)))

    def kernel(self, a, b):
        """Return the prior covariance between points, shape (len(a), len(b))."""
        radial = KERNELS["squared_exponential"]
        scaled = radial.scale(self.length_scale) * np.abs(np.subtract.outer(a, b))
        return self.amplitude**2 * radial.functions(scaled)[0]

    @property
    def factor(self):
        """Lower Cholesky factor of K + noise²."""
        return cholesky(self.kernel(self.x, self.x) + self.noise**2 * np.eye(len(self.x)), lower=True)

    @property
    def coefficients(self):
        """α of the sum f(x) = mean + Σ α_i k(x, x_i): those of kernel ridge regression."""
        return cho_solve((self.factor, True), self.y - self.y.mean())

    def log_likelihood(self):
        """Return the logarithm of the marginal likelihood without its constant."""
        residual = self.y - self.y.mean()
        return -0.5 * residual @ self.coefficients - np.log(np.diag(self.factor)).sum()

    def predict(self, x):
        """Return the mean and the covariance of the function at points x."""
        across = self.kernel(x, self.x)
        half = solve_triangular(self.factor, across.T, lower=True)
        return self.y.mean() + across @ self.coefficients, self.kernel(x, x) - half.T @ half
