"""Iterative solution: conjugate gradients with products that never form the kernel matrix.

The preconditioner is a Nyström approximation K ≈ L Lᵀ whose columns are drawn block by block with probabilities
proportional to what is left of the diagonal (randomly pivoted Cholesky: Chen, Epperly, Tropp and Webber, Commun. Pure
Appl. Math. 78, 995 (2025)); conjugate gradients on (K + λ) x = y with (L Lᵀ + λ)⁻¹ then see the few directions that
the approximation has missed. For GDML models the idea is that of Chmiela et al., Sci. Adv. 9, eadf0873 (2023).
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from openmm_kml.errors import TrainingError
from openmm_kml.training.assembly import kernel_columns
from openmm_kml.training.checkpoint import Checkpoint
from openmm_kml.training.prediction import Coefficients, predict
from openmm_kml.training.progress import progress_bar
from openmm_kml.training.threads import pieces, workers

MAX_ITERATIONS = 20_000
_PIVOT_BLOCK = 200


@dataclass
class IterativeSystem:
    """The linear system of one set of hyperparameters, known through its products.

    Attributes
    ----------
    geometry : Geometry
    kernel : RadialKernel
    length_scale, amplitude : float
    energies : bool
    n_threads : int
    progress : bool
    """

    geometry: object
    kernel: object
    length_scale: float
    amplitude: float
    energies: bool
    n_threads: int = 1
    progress: bool = False

    @property
    def size(self):
        """Number of unknowns."""
        return len(self.geometry) * (self.geometry.n_components + bool(self.energies))

    def product(self, vector):
        """Return K x: the model with coefficients x, evaluated at its own training points.

        Parameters
        ----------
        vector : ndarray of shape (size,)
        """
        geometry = self.geometry
        n_train, n_forces = len(geometry), len(geometry) * geometry.n_components
        coefficients = Coefficients(
            geometry.push(vector[:n_forces].reshape(n_train, -1)),
            vector[n_forces:] if self.energies else None,
        )

        def evaluate(part):
            return predict(geometry[part], geometry, self.kernel, self.length_scale, coefficients)

        with workers(self.n_threads) as run:
            results = list(run(evaluate, pieces(n_train, max(1, -(-n_train // 16)))))
        image = [gradients.ravel() for _, gradients in results]
        if self.energies:
            image += [energies for energies, _ in results]
        return self.amplitude * np.concatenate(image)

    def diagonal(self):
        """Return the diagonal of K."""
        geometry, m = self.geometry, self.geometry.n_components
        n_train = len(geometry)
        result = np.empty(self.size)
        for j in range(n_train):
            own = np.arange(m + bool(self.energies))
            block = kernel_columns(
                geometry[j : j + 1], self.kernel, self.length_scale, own, self.amplitude, self.energies
            )
            result[j * m : (j + 1) * m] = block.diagonal()[:m]
            if self.energies:
                result[n_train * m + j] = block[m, m]
        return result

    def preconditioner(self, regularization, n_columns, seed):
        """Return the function r -> (L Lᵀ + λ)⁻¹ r.

        Parameters
        ----------
        regularization : float
        n_columns : int
            Rank of the approximation; it needs 8 · size · n_columns bytes, and half as much again while it is made.
        seed : int
        """
        L = self._nystrom(n_columns, np.random.default_rng(seed))
        small = L.T @ L
        small[np.diag_indices_from(small)] += regularization
        try:
            factor = cholesky(small, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            raise TrainingError(
                f"the preconditioner of the {self.kernel.name} kernel matrix is not positive definite with "
                f"regularization {regularization:.3g}: raise the regularization"
            ) from None

        def apply(residual):
            inner = solve_triangular(factor, L.T @ residual, lower=True, check_finite=False)
            inner = solve_triangular(factor, inner, lower=True, trans=1, check_finite=False)
            return (residual - L @ inner) / regularization

        return apply

    def _nystrom(self, n_columns, rng):
        """Return L of shape (size, up to n_columns) with K ≈ L Lᵀ."""
        rest = self.diagonal()
        start_trace = rest.sum()
        L = np.empty((self.size, n_columns), order="F")
        done = 0
        with progress_bar(n_columns, "preconditioner", self.progress, unit=" columns") as bar:
            while done < n_columns and rest.sum() > 1e-14 * start_trace:
                n_left = min(_PIVOT_BLOCK, n_columns - done, np.count_nonzero(rest > 0))
                pivots = np.sort(rng.choice(self.size, n_left, replace=False, p=rest / rest.sum()))
                columns = kernel_columns(
                    self.geometry, self.kernel, self.length_scale, pivots, self.amplitude, self.energies
                )
                columns -= L[:, :done] @ L[pivots, :done].T
                corner = columns[pivots]
                corner[np.diag_indices_from(corner)] += 1e-13 * max(corner.trace(), 1e-300)
                try:
                    factor = cholesky(corner, lower=True, check_finite=False)
                except np.linalg.LinAlgError:
                    break  # what is left is rounding
                L[:, done : done + n_left] = solve_triangular(factor, columns.T, lower=True, check_finite=False).T
                rest -= np.einsum("nk,nk->n", L[:, done : done + n_left], L[:, done : done + n_left])
                np.maximum(rest, 0.0, out=rest)
                rest[pivots] = 0.0
                done += n_left
                bar.update(n_left)
        return L[:, :done]


def default_columns(size, memory=None):
    """Return the rank of the preconditioner: a quarter of the unknowns, at most 6000, within the memory given."""
    columns = int(np.clip(size // 4, min(size, 300), 6000))
    if memory is not None:
        columns = max(1, min(columns, int(memory / (1.5 * 8 * size))))
    return columns


def solve_iterative(system, regularization, targets, tolerance, n_columns, seed=0, checkpoint=None, digest=""):
    """Return the solution of (K + λ) x = y and how it was reached.

    Parameters
    ----------
    system : IterativeSystem
    regularization : float
        λ > 0.
    targets : ndarray of shape (size,)
    tolerance : float
        Conjugate gradients stop at |y - (K + λ) x| <= tolerance |y|.
    n_columns : int
        Rank of the preconditioner.
    seed : int
    checkpoint : path, optional
        Written every half minute, when interrupted and at the end; read again if its digest is the same. A state that
        is read keeps the rank of the preconditioner that it was made with.
    digest : str
        What makes this linear system distinct.

    Returns
    -------
    solution : ndarray of shape (size,)
    info : dict
        ``iterations``, ``residual`` (relative), ``preconditioner_columns``.

    Raises
    ------
    TrainingError
        If λ is zero, the iterations do not converge, or the checkpoint belongs to other data.
    """
    if regularization <= 0:
        raise TrainingError("the iterative solver needs a regularization above zero; 0 was given")
    file = Checkpoint(checkpoint, digest)
    norm = np.linalg.norm(targets)
    state = file.read(system.size)
    n_columns = n_columns if state is None else state["columns"]
    solved = state is not None and np.linalg.norm(state["residual"]) <= tolerance * norm
    precondition = None if solved else system.preconditioner(regularization, n_columns, seed)
    if state is None:
        z = precondition(targets)
        state = {
            "iteration": 0,
            "solution": np.zeros(system.size),
            "residual": targets.copy(),
            "direction": z,
            "product": float(targets @ z),
            "columns": n_columns,
        }
    with progress_bar(None, "conjugate gradients", system.progress, " iterations") as bar:
        try:
            while np.linalg.norm(state["residual"]) > tolerance * norm:
                if state["iteration"] >= MAX_ITERATIONS:
                    raise TrainingError(
                        f"conjugate gradients with the {system.kernel.name} kernel did not reach a relative residual "
                        f"of {tolerance:.1e} in {MAX_ITERATIONS} iterations: raise the regularization "
                        f"({regularization:.3g})"
                    )
                state = _step(system, regularization, precondition, state)
                bar.update()
                bar.set_postfix_str(f"residual {np.linalg.norm(state['residual']) / norm:.1e}", refresh=False)
                file.write_now_and_then(state)
        except (KeyboardInterrupt, SystemExit, TrainingError):
            file.write(state)
            raise
    file.write(state)
    info = {
        "iterations": int(state["iteration"]),
        "residual": float(np.linalg.norm(state["residual"]) / norm) if norm > 0 else 0.0,
        "preconditioner_columns": int(n_columns),
    }
    return state["solution"], info


def _step(system, regularization, precondition, state):
    """Return the state after one iteration; the given one is left as it was, so that an interrupt finds it whole."""
    direction = state["direction"]
    image = system.product(direction) + regularization * direction
    curvature = float(direction @ image)
    if not curvature > 0:
        raise TrainingError(
            f"the {system.kernel.name} kernel matrix is not positive definite with regularization "
            f"{regularization:.3g}: raise the regularization"
        )
    length = state["product"] / curvature
    residual = state["residual"] - length * image
    z = precondition(residual)
    product = float(residual @ z)
    return {
        "iteration": state["iteration"] + 1,
        "solution": state["solution"] + length * direction,
        "residual": residual,
        "direction": z + (product / state["product"]) * direction,
        "product": product,
        "columns": state["columns"],
    }
