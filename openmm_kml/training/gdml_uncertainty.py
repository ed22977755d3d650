"""Uncertainty of `gdml` models: what training points explain of the prior, in few rows, and its calibration.

With K the kernel matrix of gradients and energies and λ the regularization, the variance of a Gaussian process at x is
σ² (k(x, x) - k(x, X) (K + λ)⁻¹ k(X, x)) with σ² = yᵀ (K + λ)⁻¹ y / n, the likeliest (Rasmussen and Williams, Gaussian
Processes for Machine Learning, 2006, chapter 5). The sum over leading eigenvectors alone is smaller, and the variance
larger.
"""

from dataclasses import replace

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh, solve_triangular

from openmm_kml.calibration import Calibration, fit_calibration
from openmm_kml.errors import TrainingError
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.training.assembly import kernel_columns, kernel_matrix
from openmm_kml.training.geometry import build_geometry
from openmm_kml.training.uncertainty import calibrated
from openmm_kml.uncertainty import SCALARS

ALL = "all"
_BYTES = 10e6  # of the rows in the weight file, by default
_PART = 3  # the file is used best where the rows are a third of all eigenvectors of the points that they stand for
_MOST_UNKNOWNS = 6000  # of the matrix that is factorized
_JITTER, _ATTEMPTS = 1e-12, 6  # relative to the mean diagonal, and how often
_MOST_ENERGIES, _MOST_FORCES = 400, 40  # validation frames


def choose_sizes(n_train, n_atoms, rank=None):
    """Return how many training points N' and rows R there are.

    Parameters
    ----------
    n_train, n_atoms : int
    rank : int or "all", optional
        R; by default what some 10 MB hold. ``all`` takes all points and all eigenvectors: the exact variance.
    """
    per_point = 3 * n_atoms + 1
    if rank == ALL:
        return n_train, n_train * per_point
    n_pairs = n_atoms * (n_atoms - 1) // 2
    budget = max(1.0, _BYTES / (8 * (n_pairs + 1)))  # N' R
    wanted = np.sqrt(_PART * budget / per_point) if rank is None else np.ceil(_PART * rank / per_point)
    n_points = max(1, min(n_train, round(wanted), _MOST_UNKNOWNS // per_point))
    rows = round(budget / n_points) if rank is None else rank
    return n_points, max(1, min(rows, n_points * per_point))


class Explained:
    """What some training points explain of the prior of a model.

    Parameters
    ----------
    model : openmm_kml.training.model.Model
    places : ndarray of int
        Of the training points.
    n_rows : int
        Eigenvectors that are kept.
    n_threads : int
    """

    def __init__(self, model, places, n_rows, n_threads=1):
        problem, chosen = model.problem, model.hyperparameters
        self.model, self.places, self.kernel = model, places, KERNELS[chosen.kernel]
        molecules = problem.molecules[places]
        self.positions, self.energies = molecules.positions, chosen.energies
        self.geometry = self._geometry(self.positions)
        m, n = self.geometry.n_components, len(places)
        K = kernel_matrix(self.geometry, self.kernel, chosen.length_scale, 1.0, True, n_threads)
        K = np.tril(K) + np.tril(K, -1).T
        # Forces leave the zero of energies open; the offset of the model closes it: their mean is known.
        self.mixing = np.eye(n) if self.energies else np.full((1, n), 1 / n)
        K = self._mixed(self._mixed(K, m * n).T, m * n)
        K[np.diag_indices_from(K)] += chosen.regularization / problem.amplitude(model.geometry, chosen)
        energies = np.zeros(n) if molecules.energies is None else molecules.energies - problem.mean_energy
        targets = np.concatenate([-molecules.forces.ravel(), self.mixing @ energies])
        self.factor = _factorized(K)
        self.variance = float(targets @ cho_solve(self.factor, targets) / len(targets))
        first = max(0, len(K) - n_rows)
        values, vectors = eigh(K, subset_by_index=[first, len(K) - 1], overwrite_a=True)
        self.rows = vectors.T / np.sqrt(values)[:, None]

    def _geometry(self, positions):
        chosen = self.model.hyperparameters
        return build_geometry(positions, self.model.problem.permutations, chosen.power, chosen.descriptor_weights)

    def _mixed(self, matrix, first):
        """Return a matrix whose energy rows are mixed to those that are known."""
        return np.concatenate([matrix[:first], self.mixing @ matrix[first:]])

    def columns(self, positions, forces):
        """Return covariances with energies, or with gradients, of other structures, and their prior, over σ²."""
        n, m, count = len(self.positions), self.geometry.n_components, len(positions)
        geometry = self._geometry(np.concatenate([self.positions, positions]))
        ends = (n + count) * m
        wanted = np.arange(n * m, ends) if forces else ends + n + np.arange(count)
        columns = kernel_columns(geometry, self.kernel, self.model.hyperparameters.length_scale, wanted, 1.0, True)
        prior = columns[wanted, np.arange(len(wanted))]
        return self._mixed(np.concatenate([columns[: n * m], columns[ends : ends + n]]), n * m), prior

    def variances(self, positions, forces=False):
        """Return raw variances of the energies, or of the force components, by the rows and by all eigenvectors."""
        columns, prior = self.columns(positions, forces)
        few = np.sum((self.rows @ columns) ** 2, axis=0)
        full = np.sum(solve_triangular(self.factor[0], columns, lower=True) ** 2, axis=0)
        return tuple(self.variance * np.maximum(0.0, prior - explained) for explained in (few, full))

    def term(self):
        """Return the term of the model with the explained rows; its first points are those that they stand for."""
        n, m = len(self.positions), self.geometry.n_components
        term, rows = self.model.term(), np.sqrt(self.variance) * self.rows
        order = np.concatenate([self.places, np.setdiff1d(np.arange(len(self.model.geometry)), self.places)])
        descriptors = np.stack([self.geometry.push(row[: n * m].reshape(n, m)) for row in rows])
        beta = term.energy_coefficients
        return replace(
            term,
            training_descriptors=term.training_descriptors[order],
            descriptor_coefficients=term.descriptor_coefficients[order],
            energy_coefficients=None if beta is None else beta[order],
            explained_descriptor_coefficients=descriptors,
            explained_energy_coefficients=rows[:, n * m :] @ self.mixing,
            prior_variance=self.variance,
        )


def _factorized(K):
    """Return the Cholesky factor of K, to whose diagonal is added what rounding takes."""
    for attempt in range(_ATTEMPTS):
        try:
            return cho_factor(K, lower=True)
        except LinAlgError:
            K[np.diag_indices_from(K)] += 10**attempt * _JITTER * K.diagonal().mean()
    raise TrainingError(
        "the kernel matrix of the uncertainty is not positive definite: raise the regularization, or do without "
        "(uncertainty=False, --no-uncertainty)"
    )


def add_uncertainty(model, validation, rank=None, n_threads=1):
    """Return the term of a model with uncertainty, its calibration, what a report says of it, and notes.

    Parameters
    ----------
    model : openmm_kml.training.model.Model
    validation : MoleculeSet
        Frames that the linear system has not seen.
    rank : int or "all", optional
    n_threads : int
    """
    n_train, n_atoms = model.problem.molecules.positions.shape[:2]
    n_points, n_rows = choose_sizes(n_train, n_atoms, rank)
    places = np.unique(np.linspace(0, n_train - 1, n_points).round().astype(int))
    explained = Explained(model, places, n_rows, n_threads)
    known = validation[: min(len(validation), _MOST_ENERGIES)]
    energies, forces = model.predict(known.positions)
    few, full = explained.variances(known.positions)
    some = slice(0, _MOST_FORCES)
    variances, _ = explained.variances(known.positions[some], forces=True)
    force = fit_calibration(forces[some] - known.forces[some], variances)
    energy = Calibration()
    if known.energies is not None and model.problem.molecules.energies is not None:
        near = force.scale if force.n_errors else None
        energy = fit_calibration(energies - known.energies, few, n_atoms, near)
    uncertainty, notes = calibrated(energy, force, members=0)
    ratio = np.sqrt(few / np.maximum(full, np.finfo(float).tiny))
    report = {
        "rows": len(explained.rows),
        "n_points": len(places),
        "exact": n_points == n_train and len(explained.rows) == len(explained.factor[0]),
        "std_over_all_rows": {
            "median": float(np.median(ratio)),
            "least": float(ratio.min()),
            "most": float(ratio.max()),
        },
        **{name: getattr(uncertainty, name) for name in SCALARS if not name.startswith(("members", "atom"))},
        "calibrated_on": "validation frames",
        "n_energies": energy.n_errors,
        "n_force_components": force.n_errors,
    }
    return explained.term(), uncertainty, report, notes
