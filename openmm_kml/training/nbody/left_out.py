"""Errors on training frames by fits that have not seen them, from the one fit to all frames.

A fit that is linear in its labels needs no refits for that. Of the rows A of a frame in units of their noises let
H = A Σ Aᵀ, where Σ is the posterior covariance of the coefficients over the square of the noise scale, and e the errors
of the fit to all frames. Then the fit to all others has on this frame

    errors (1 - H)⁻¹ e        covariance (1 - H)⁻¹ H

(Allen, Technometrics 16, 125 (1974); of whole blocks: Ginsbourger and Schärer, arXiv:2101.03108). Members P, of shape
(S, rows), whose covariance is H, become P (1 - H)^(-1/2), whose covariance is that. Hyperparameters, noise scale, grids
and sparse points stay what all frames made them.
"""

import numpy as np
from scipy.linalg import solve_triangular

from openmm_kml.training.nbody.rows import weighted_rows
from openmm_kml.training.uncertainty import Predictions, removable

ALL_BUT_ONE = "training frames, each left out of a fit of the same hyperparameters"
_MOST_FRAMES, _FEW_FRAMES = 200, 50  # left out; so many at least, even if their rows must be made once more
KEPT = 250e6  # bytes of rows
_OTHER_ROWS = 7  # beside forces: energy and virial
_LEAST_GAP = 1e-12  # of 1 - H: what rounding leaves of frames that alone determine a direction


def without_frame(rows, half, coefficients, members):
    """Return errors and members of the rows of a frame by the fit to all others, in units of their noises.

    Parameters
    ----------
    rows : ndarray of shape (m, n_columns + 1)
        All weighted rows of the frame that were fitted, with the labels as the last column.
    half : ndarray of shape (m, k)
        Its Gram matrix is H.
    coefficients : ndarray of shape (n_columns,)
    members : ndarray of shape (S, n_columns)

    Returns
    -------
    errors : ndarray of shape (m,)
    members : ndarray of shape (S, m)
    """
    values, vectors = np.linalg.eigh(half @ half.T)
    gap = np.maximum(1 - values, _LEAST_GAP)
    design, labels = rows[:, :-1], rows[:, -1]
    errors = vectors @ (vectors.T @ (design @ coefficients - labels) / gap)
    return errors, ((members @ design.T) @ vectors / np.sqrt(gap)) @ vectors.T


class Halves:
    """Makes rows whose Gram matrix is the posterior covariance over the square of the noise scale.

    Parameters
    ----------
    posterior : openmm_kml.training.nbody.solve.Posterior
    """

    def __init__(self, posterior):
        self.posterior = posterior
        if posterior.triangle is None:
            self.vectors, lengths, _ = np.linalg.svd(posterior.explained, full_matrices=False)
            self.shrink = 1 - np.sqrt(np.maximum(0.0, 1 - lengths**2))

    def __call__(self, design):
        """Return the rows, shape (m, k), that belong to those of a design matrix, (m, n_columns)."""
        projected = self.posterior.prior.right_multiply(design)
        if self.posterior.triangle is None:
            return projected - ((projected @ self.vectors) * self.shrink) @ self.vectors.T
        return solve_triangular(self.posterior.triangle, projected.T, trans="T", check_finite=False).T


class FramesLeftOut:
    """Training frames that are left out one at a time, and their rows: kept from the fit, or made once more.

    Frames of one atom, and the only frame of an element, always stay in the fit.

    Parameters
    ----------
    train : StructureSet
    make_rows : callable
        Of a basis and a frame: its `Rows`.
    n_columns : int
    keep : bool
        Whether this object makes the rows of the fit, and so can keep them.
    seed : int
        Frames are drawn at random where they are too many.
    """

    def __init__(self, train, make_rows, n_columns, keep=True, seed=0):
        self.train, self.make_rows = train, make_rows
        drawn = np.random.default_rng((seed, 68)).permutation(removable(train))[:_MOST_FRAMES]
        sizes = 8 * n_columns * np.cumsum([3 * len(train.frames[place]) + _OTHER_ROWS for place in drawn])
        n_kept = int(np.sum(sizes <= KEPT)) if keep else 0
        self.places = np.sort(drawn[: max(n_kept, _FEW_FRAMES)])
        self._kept = {id(train.frames[place]): None for place in drawn[:n_kept]}

    def __call__(self, basis, frame):
        """Return the rows of a frame, and keep them if they are wanted again."""
        rows = self.make_rows(basis, frame)
        if id(frame) in self._kept:
            self._kept[id(frame)] = rows
        return rows

    def predictions(self, basis, known, posterior, coefficients, members, whiten=None, unexplained=None):
        """Return the `Predictions` of the frames, each by the fit to all others.

        Parameters
        ----------
        basis : SplineBasis or SoapBasis
        known : KnownPart
        posterior : Posterior
        coefficients : ndarray of shape (n_columns,)
        members : ndarray of shape (S, n_columns)
        whiten : callable, optional
            Turns rows (m, n_columns + 1) into those whose coefficients the posterior is of.
        unexplained : callable, optional
            Variance in eV² of the energy of a frame that members do not hold.
        """
        found, halves = Predictions(), Halves(posterior)
        fixed = np.flatnonzero(np.isin(basis.elements, list(known.atom_energies)))
        for place in self.places:
            frame, labels = self.train.frames[place], known.train_labels[place]
            made = self._kept.pop(id(frame), None) or self.make_rows(basis, frame)
            made.energy[fixed] = 0.0
            noises = known.options.noises(frame.group)
            parts = weighted_rows(made, labels, noises, len(frame))
            if not parts:
                continue
            rows = np.concatenate(list(parts.values()))
            half = halves((rows if whiten is None else whiten(rows))[:, :-1])
            errors, spread = without_frame(rows, half, coefficients, members)
            ends = np.cumsum([len(part) for part in parts.values()])[:-1]
            errors = dict(zip(parts, np.split(errors, ends), strict=True))
            variances = dict(zip(parts, np.split(np.sum(spread**2, axis=0), ends), strict=True))
            if "energy" in parts:
                unit = len(frame) * noises[0]
                variance = float(variances["energy"][0]) * unit**2
                found.energy.append((float(errors["energy"][0]) * unit, variance, len(frame)))
                found.unexplained.append(0.0 if unexplained is None else unexplained(frame))
            if "force" in parts:
                found.forces.append((errors["force"] * noises[1], variances["force"] * noises[1] ** 2))
        return found
