"""Direct solution: Cholesky factorization of the kernel matrix in place."""

import numpy as np
from scipy.linalg import lapack, solve_triangular
from threadpoolctl import threadpool_limits

from openmm_kml.errors import TrainingError
from openmm_kml.training.assembly import kernel_matrix
from openmm_kml.training.progress import progress_bar
from openmm_kml.training.threads import pieces, workers

_PANEL = 512
_ROWS = 2048
_BLOCKED_FROM = 3000  # below, LAPACK on one thread takes some 0.2 s


class DirectSystem:
    """The assembled kernel matrix of one set of hyperparameters, to be solved for any number of regularizations.

    The lower triangle is factorized; the upper one keeps the assembled values, so that one square array is all.

    Parameters
    ----------
    geometry : Geometry
    kernel : RadialKernel
    length_scale, amplitude : float
    energies : bool
    n_threads : int
    progress : bool
    buffer : ndarray, optional
        A matrix of the same size that is no longer needed: fresh pages of memory cost more than the assembly.
    """

    def __init__(self, geometry, kernel, length_scale, amplitude, energies, n_threads=1, progress=False, buffer=None):
        self.kernel, self.n_threads, self.progress = kernel, n_threads, progress
        self.K = kernel_matrix(geometry, kernel, length_scale, amplitude, energies, n_threads, buffer, progress)
        self.diagonal = self.K.diagonal().copy()
        self.used = False
        _mirror(self.K)

    def solve(self, regularization, targets):
        """Return the solution of (K + λ) x = y.

        Parameters
        ----------
        regularization : float
            λ, in units of K.
        targets : ndarray of shape (n,) or (n, k)

        Raises
        ------
        TrainingError
            If K + λ is not positive definite to rounding; the message names the kernel and what to raise.
        """
        if self.used:
            _mirror(self.K.T)
        self.used = True
        self.K[np.diag_indices_from(self.K)] = self.diagonal + regularization
        if not cholesky_in_place(self.K, self.n_threads, self.progress):
            raise TrainingError(
                f"the {self.kernel.name} kernel matrix is not positive definite with regularization "
                f"{regularization:.3g}: raise the regularization, or remove frames that repeat each other"
            )
        solution, info = lapack.dpotrs(self.K, np.asfortranarray(targets), lower=1)
        if info != 0:
            raise TrainingError(f"LAPACK's dpotrs refused its argument number {-info}")
        return solution


def cholesky_in_place(K, n_threads=1, progress=False):
    """Factorize the lower triangle K = L Lᵀ in place; what stands above the diagonal is neither read nor kept.

    Parameters
    ----------
    K : ndarray of shape (n, n), Fortran order
    n_threads : int
        The result does not depend on it.
    progress : bool

    Returns
    -------
    bool
        Whether K is positive definite; if not, its lower triangle is spoiled.
    """
    n = len(K)
    if not (K.flags.f_contiguous and K.dtype == np.float64):
        raise ValueError("the kernel matrix must be a contiguous float64 array in Fortran order")
    if n < _BLOCKED_FROM:
        with threadpool_limits(1):
            return lapack.dpotrf(K, lower=1, clean=0, overwrite_a=1)[1] == 0
    # By panels of columns, each updated with all panels before it: large products, progress to show, and an interrupt
    # is heard in between. Kᵀ is in C order, hence the transposed view.
    transposed = K.T
    with workers(n_threads) as run, progress_bar(n**3 // 3, "Cholesky", progress, unit=" flop") as bar:
        for panel in pieces(n, _PANEL):
            start, stop = panel.start, panel.stop
            left = K[panel, :start]
            corner = np.asfortranarray(K[panel, panel])
            corner -= left @ left.T
            corner, info = lapack.dpotrf(corner, lower=1, clean=1, overwrite_a=1)
            if info != 0:
                return False
            lower = np.tril_indices(stop - start)
            K[panel, panel][lower] = corner[lower]

            def update(rows, panel=panel, left=left, corner=corner):
                rows = slice(rows.start + panel.stop, rows.stop + panel.stop)
                block = transposed[panel, rows]
                rest = block - left @ transposed[: panel.start, rows] if panel.start else block
                block[...] = solve_triangular(corner, rest, lower=True, check_finite=False)

            for _ in run(update, pieces(n - stop, _ROWS)):
                pass
            bar.update((n - start) ** 3 // 3 - (n - stop) ** 3 // 3)
    return True


def _mirror(K, block=1024):
    """Copy the part below the diagonal to above it."""
    n = len(K)
    for start in range(0, n, block):
        stop = min(start + block, n)
        tile = K[start:stop, start:stop]
        upper = np.triu_indices(stop - start, 1)
        tile[upper] = tile.T[upper]
        for left in range(stop, n, block):
            right = min(left + block, n)
            K[start:stop, left:right] = K[left:right, start:stop].T
