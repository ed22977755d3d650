"""Hyperparameters of the SOAP trainer, and the prior of its coefficients.

A Gaussian process with covariance δ² (p · p')^ζ, projected on the sparse points, is E = Σ_s a_s (p · x_s)^ζ with
a ~ N(0, δ² K_MM⁻¹) (Quiñonero-Candela and Rasmussen, J. Mach. Learn. Res. 6, 1939 (2005): deterministic training
conditional). With K_MM = Uᵀ U the columns of the design matrix are taken in the basis U⁻¹, in which the coefficients
are independent: least squares of the rows stacked on the prior by QR, whose condition is the root of that of normal
equations (Foster et al., J. Mach. Learn. Res. 10, 857 (2009); Bartók and Csányi, Int. J. Quantum Chem. 115, 1051
(2015)).
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from openmm_kml.errors import TrainingError
from openmm_kml.training.nbody.prior import ROUNDING, two_body_factor
from openmm_kml.training.nbody.selection import FREE_WIDTH
from openmm_kml.training.nbody.solve import BlockPrior

_START = {"amplitude": 1.0, "length_scale2": 1.0, "amplitude2": 1.0}


@dataclass(frozen=True)
class SoapHyperparameters:
    """Length scale of pairs in Å; amplitudes of an atom's many-body energy and of pairs in eV, by the noise scale."""

    amplitude: float
    length_scale2: float
    amplitude2: float

    def prior(self, basis, options, rounding=ROUNDING):
        """Return the `BlockPrior` of a `SoapBasis` whose sparse columns are whitened."""
        blocks = []
        if basis.pairs:
            pairs = options.two_body
            two = two_body_factor(basis.splines, pairs.kernel, self.length_scale2, pairs.cutoff_width)
            blocks += [(block.columns, self.amplitude2 * two) for block in basis.splines.blocks2]
        blocks += [(part.columns, self.amplitude) for part in basis.parts]
        return BlockPrior(len(basis.elements), FREE_WIDTH, blocks)


def first_guess(options):
    """Return the hyperparameters to start from, and the names of those that are free."""
    given = {name: getattr(options, name) for name in _START}
    free = [name for name in _START if given[name] is None and (options.pairs or name == "amplitude")]
    start = {name: _START[name] if value is None else value for name, value in given.items()}
    return SoapHyperparameters(**start), free


class Whitening:
    """The basis in which the prior of the sparse columns is that of independent coefficients.

    Parameters
    ----------
    basis : SoapBasis
    jitter : float
        On the diagonal, relative to the largest row sum, which bounds the largest eigenvalue.

    Raises
    ------
    TrainingError
        If the covariance of the sparse points has no Cholesky factor.
    """

    def __init__(self, basis, jitter):
        self.factors = [(part.columns, _root(part.term, jitter)) for part in basis.parts]

    def apply_to_rows(self, matrix):
        """Return a matrix whose sparse columns A are replaced by A U⁻¹."""
        matrix = matrix.copy()
        for columns, U in self.factors:
            matrix[:, columns] = solve_triangular(U, matrix[:, columns].T, trans="T", check_finite=False).T
        return matrix

    def coefficients(self, solution):
        """Return coefficients of the columns themselves from those of the whitened ones."""
        solution = solution.copy()
        for columns, U in self.factors:
            solution[columns] = solve_triangular(U, solution[columns], check_finite=False)
        return solution


def _root(term, jitter):
    """Return U, upper triangular, with UᵀU = K_MM and the jitter on its diagonal."""
    K = jittered_kernel(term, jitter)
    try:
        return cholesky(K, overwrite_a=True, check_finite=False)
    except LinAlgError:
        raise TrainingError(
            f"the covariance (p · p')^{term.zeta:g} of {len(K)} sparse points has no Cholesky factor with a jitter of "
            f"{jitter:g}; raise the jitter or ask for fewer sparse points"
        ) from None


def jittered_kernel(term, jitter):
    """Return K_MM with the jitter on its diagonal, relative to the largest row sum."""
    K = kernel(term.sparse_points, term.sparse_points, term.zeta)
    K[np.diag_indices_from(K)] += jitter * K.sum(axis=1).max()
    return K


def kernel(p, x, zeta):
    """Return (p · x)^zeta of all rows of p and x; scalar products of power spectra are never negative."""
    return np.maximum(p @ x.T, 0.0) ** zeta
