"""The frames that a model is least sure of, given those chosen before: pivoted Cholesky of their covariance.

With a covariance C of what is predicted for the frames, the variance that is left after a frame was measured is the
diagonal of the Schur complement, which each step of a Cholesky factorization with the largest pivot updates
(Harbrecht, Peters and Schneider, Appl. Numer. Math. 62, 428 (2012)).
"""

import numpy as np

from openmm_kml.selection.covariances import MemberCovariance, MoleculeCovariance
from openmm_kml.selection.frames import NamedFrames

_NOTHING = 1e-10  # of the largest variance: what is left is rounding


def most_uncertain_frames(pool, count, potential, start=None, progress=False):
    """Return the places of `count` frames of a pool, in the order of their choice.

    What is compared is the variance of the energy per atom without the floor of the calibration: that is what the model
    cannot describe, and no label takes it away.

    Parameters
    ----------
    pool : openmm_kml.structures.StructureSet
    count : int
    potential : openmm_kml.potential.KernelPotential
        With predictive uncertainty.
    start : openmm_kml.structures.StructureSet, optional
        Frames that will be labeled anyway, beyond those the model knows.
    progress : bool

    Returns
    -------
    chosen : ndarray of int, shape (count,)
        Fewer where the other frames repeat chosen ones or the start.
    deviations : ndarray of the same shape
        Standard deviation of the energy per atom (eV) that each had when it was chosen, the floor included.

    Raises
    ------
    WeightFileError
        If the model carries no uncertainty.
    DataError
        If it is for other atoms or elements, or atoms of a frame coincide.
    """
    potential.check_uncertainty()
    frames = NamedFrames(pool, start)
    frames.check(potential.weights)
    kind = MemberCovariance if potential.species is None else MoleculeCovariance
    covariance = kind(potential, frames, progress)
    places, left = pivoted_choice(covariance, count, range(len(pool), len(frames)))
    return places, np.sqrt(left + covariance.floors[places])


def pivoted_choice(covariance, count, first=()):
    """Return places by the largest variance that is left after all before, and these variances.

    Where nothing is left of any variance, the factorization begins anew among the other places. Those that repeat a
    chosen one are never chosen.

    Parameters
    ----------
    covariance : object
        With `variances` of shape (n,); `column(place)`, the covariances of a place with all; `same(place)`, a mask of
        the places that repeat it.
    count : int
    first : iterable of int
        Places that count as chosen and are not returned; they are the last ones.

    Returns
    -------
    places : ndarray of int
    left : ndarray
    """
    first = list(first)
    n = len(covariance.variances)
    remainder = _Remainder(covariance)
    free = np.arange(n) < n - len(first)
    for place in first:
        remainder.know(place)
        free &= ~covariance.same(place)
    chosen, left = [], []
    while len(chosen) < count and free.any():
        place = int(np.where(free, remainder.left, -np.inf).argmax())
        if remainder.is_used_up(place) and remainder.columns:
            remainder = _Remainder(covariance)
            continue
        chosen.append(place)
        left.append(float(remainder.left[place]))
        remainder.know(place)
        free &= ~covariance.same(place)
    return np.array(chosen, dtype=np.intp), np.array(left)


class _Remainder:
    """The variances that are left when some places are known, and the columns of the factorization so far."""

    def __init__(self, covariance):
        self._covariance = covariance
        self.left, self.columns = np.array(covariance.variances, dtype=float), []

    def is_used_up(self, place):
        return self.left[place] <= _NOTHING * self._covariance.variances.max()

    def know(self, place):
        """Take out what a place explains."""
        if self.is_used_up(place):
            return
        column = np.array(self._covariance.column(place), dtype=float)
        for earlier in self.columns:
            column -= earlier[place] * earlier
        column /= np.sqrt(self.left[place])
        self.columns.append(column)
        self.left = np.maximum(self.left - column**2, 0.0)
