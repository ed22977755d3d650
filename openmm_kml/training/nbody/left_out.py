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

from openmm_kml.training.nbody.design import Rows
from openmm_kml.training.nbody.rows import weighted_rows
from openmm_kml.training.uncertainty import Predictions, removable

ALL_BUT_ONE = "training frames, each left out of a fit of the same hyperparameters"
_MOST_FRAMES, _FEW_FRAMES = 200, 50  # left out; so many at least, even if their rows must be made once more
KEPT = 250e6  # bytes of rows
_LEAST_GAP = 1e-12  # of 1 - H: what rounding leaves of frames that alone determine a direction


def leverage(posterior, design):
    """Return H = A Σ Aᵀ, shape (m, m), of rows A of a design matrix, (m, n_columns), in units of their noises."""
    projected = posterior.prior.right_multiply(design)
    if posterior.triangle is None:
        explained = projected @ posterior.explained
        return projected @ projected.T - explained @ explained.T
    half = solve_triangular(posterior.triangle, projected.T, trans="T", check_finite=False)
    return half.T @ half


def without_frame(rows, H, coefficients, members):
    """Return errors and members of the rows of a frame by the fit to all others, in units of their noises.

    Parameters
    ----------
    rows : ndarray of shape (m, n_columns + 1)
        All weighted rows of the frame that were fitted, with the labels as the last column.
    H : ndarray of shape (m, m)
        Their `leverage`.
    coefficients : ndarray of shape (n_columns,)
    members : ndarray of shape (S, n_columns)

    Returns
    -------
    errors : ndarray of shape (m,)
    members : ndarray of shape (S, m)
    """
    values, vectors = np.linalg.eigh(H)
    gap = np.maximum(1 - values, _LEAST_GAP)
    design, labels = rows[:, :-1], rows[:, -1]
    errors = vectors @ (vectors.T @ (design @ coefficients - labels) / gap)
    return errors, ((members @ design.T) @ vectors / np.sqrt(gap)) @ vectors.T


class _Packed:
    """The `Rows` of a frame without the columns that are zero: with several elements, most are."""

    def __init__(self, rows):
        parts = (rows.energy[None], rows.forces, rows.virial)
        self.n_columns, self.n_triples = len(rows.energy), rows.n_triples
        self.used = np.flatnonzero(np.any([part.any(axis=0) for part in parts], axis=0))
        self.parts = [part[:, self.used] for part in parts]
        self.size = sum(part.nbytes for part in self.parts)

    def rows(self):
        """Return the `Rows`."""
        full = [np.zeros((len(part), self.n_columns)) for part in self.parts]
        for whole, part in zip(full, self.parts, strict=True):
            whole[:, self.used] = part
        return Rows(full[0][0], full[1], full[2], self.n_triples)


class FramesLeftOut:
    """Training frames that are left out one at a time, and their rows: kept from the fit, or made once more.

    Frames of one atom, and the only frame of an element, always stay in the fit.

    Parameters
    ----------
    train : StructureSet
    make_rows : callable
        Of a basis and a frame: its `Rows`.
    keep : bool
        Whether this object makes the rows of the fit, and so can keep them.
    seed : int
        Frames are drawn at random where they are too many.
    """

    def __init__(self, train, make_rows, keep=True, seed=0):
        self.train, self.make_rows = train, make_rows
        self._drawn = np.random.default_rng((seed, 68)).permutation(removable(train))[:_MOST_FRAMES]
        self._ranks = {id(train.frames[place]): rank for rank, place in enumerate(self._drawn)}
        self._kept, self._most = {}, len(self._drawn) if keep else 0  # frames of lower rank are kept

    def __call__(self, basis, frame):
        """Return the rows of a frame, and keep them if they are wanted again."""
        rows = self.make_rows(basis, frame)
        rank = self._ranks.get(id(frame), self._most)
        if rank < self._most:
            self._kept[rank] = _Packed(rows)
            while sum(packed.size for packed in self._kept.values()) > KEPT:
                self._most //= 2
                self._kept = {rank: packed for rank, packed in self._kept.items() if rank < self._most}
        return rows

    @property
    def places(self):
        """Places of the frames that are left out."""
        return np.sort(self._drawn[: max(self._most, _FEW_FRAMES)])

    def _rows(self, basis, frame):
        """Return the rows of a frame, and keep them no longer."""
        packed = self._kept.pop(self._ranks[id(frame)], None)
        return self.make_rows(basis, frame) if packed is None else packed.rows()

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
        found = Predictions()
        fixed = np.flatnonzero(np.isin(basis.elements, list(known.atom_energies)))
        for place in self.places:
            frame, labels = self.train.frames[place], known.train_labels[place]
            made = self._rows(basis, frame)
            made.energy[fixed] = 0.0
            noises = known.options.noises(frame.group)
            parts = weighted_rows(made, labels, noises, len(frame))
            if not parts:
                continue
            rows = np.concatenate(list(parts.values()))
            H = leverage(posterior, (rows if whiten is None else whiten(rows))[:, :-1])
            errors, spread = without_frame(rows, H, coefficients, members)
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
