"""The frames that a model is least sure of, given those chosen before: pivoted Cholesky of their covariance.

With a covariance C of what is predicted for the frames, the variance that is left after a frame was measured is the
diagonal of the Schur complement, which each step of a Cholesky factorization with the largest pivot updates
(Harbrecht, Peters and Schneider, Appl. Numer. Math. 62, 428 (2012)).
"""

import numpy as np

from openmm_kml.descriptors.inverse_distances import descriptor, permuted_pairs
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.potential import KernelPotential
from openmm_kml.selection.frames import NamedFrames
from openmm_kml.selection.terms import member_weights
from openmm_kml.training.progress import progress_bar
from openmm_kml.weights import to_bytes

_NOTHING = 1e-10  # of the largest variance: what is left is rounding
_SAME = 1e-9  # of their variance: frames whose difference varies by less are one


def most_uncertain_frames(pool, count, potential, start=None, progress=False):
    """Return the places of `count` frames of a pool, in the order of their choice.

    What is compared is the variance of the energy per atom without the floor of the calibration: that is what the model
    cannot describe, and no label takes it away. Of a model of local terms the covariance comes from the members of its
    posterior. Of a model of one molecule it is the standard deviations of two energies times the correlation of its
    prior, whose kernel knows the symmetries.

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
    floors = _floors(potential.weights.uncertainty, frames)
    variances = np.maximum(_deviations(potential, frames, progress) ** 2 - floors**2, 0.0)
    if potential.species is None:
        covariance = member_covariance(potential, frames, variances, progress)
    else:
        covariance = prior_covariance(potential, frames, variances)
    first = range(len(pool), len(frames))
    places, left = pivoted_choice(variances, covariance, count, first)
    return places, np.sqrt(left + floors[places] ** 2)


def pivoted_choice(variances, covariance, count, first=()):
    """Return places by the largest variance that is left after all before, and these variances.

    Where nothing is left of any variance, the factorization begins anew among the other places. Those that repeat a
    chosen one, so that their difference has no variance, are never chosen.

    Parameters
    ----------
    variances : ndarray of shape (n,)
    covariance : callable
        Of a place: its covariances with all, shape (n,).
    count : int
    first : iterable of int
        Places that count as chosen and are not returned; they are the last ones.

    Returns
    -------
    places : ndarray of int
    left : ndarray
    """
    first = list(first)
    remainder = _Remainder(variances, covariance)
    open_ = np.arange(len(variances)) < len(variances) - len(first)
    for place in first:
        open_ &= ~remainder.know(place)
    chosen, left = [], []
    while len(chosen) < count and open_.any():
        place = int(np.where(open_, remainder.left, -np.inf).argmax())
        if remainder.is_used_up(place) and remainder.columns:
            remainder = _Remainder(variances, covariance)
            continue
        chosen.append(place)
        left.append(float(remainder.left[place]))
        open_ &= ~remainder.know(place)
        open_[place] = False
    return np.array(chosen, dtype=np.intp), np.array(left)


class _Remainder:
    """The variances that are left when some places are known, and the columns of the factorization so far."""

    def __init__(self, variances, covariance):
        self._variances, self._covariance = np.asarray(variances, dtype=float), covariance
        self.left, self.columns = self._variances.copy(), []

    def is_used_up(self, place):
        return self.left[place] <= _NOTHING * self._variances.max()

    def know(self, place):
        """Take out what a place explains; return which places repeat it, a mask of shape (n,)."""
        column = np.array(self._covariance(place), dtype=float)
        own = self._variances[place]
        repeats = self._variances + own - 2 * column < _SAME * np.maximum(self._variances, own)
        if not self.is_used_up(place):
            for earlier in self.columns:
                column -= earlier[place] * earlier
            column /= np.sqrt(self.left[place])
            self.columns.append(column)
            self.left = np.maximum(self.left - column**2, 0.0)
        return repeats


def member_covariance(potential, frames, variances, progress=False):
    """Return the covariance of energies per atom by the members of the posterior, as a function of a place.

    What the members do not explain (a sparse Gaussian process has such a part) is taken for independent, but of frames
    in which all members agree: they are one.
    """
    weights = potential.weights
    energies = np.empty((weights.uncertainty.members, len(frames)))
    with progress_bar(len(energies), "members of the posterior", progress, " members") as bar:
        for s, row in enumerate(energies):
            one = KernelPotential.from_bytes(to_bytes(member_weights(weights, s)))
            row[:] = [one.evaluate(*_arguments(frame)).energy / len(frame) for frame in frames]
            bar.update()
    energies *= weights.uncertainty.energy_scale
    explained = (energies**2).sum(axis=0)
    own = np.sqrt(np.maximum(variances - explained, 0.0))

    def covariance(place):
        apart = ((energies - energies[:, place, None]) ** 2).sum(axis=0)
        same = apart <= _SAME * explained[place]
        return energies[:, place] @ energies + same * own * own[place]

    return covariance


def prior_covariance(potential, frames, variances):
    """Return posterior deviations times prior correlations of a molecule's energies, as a function of a place."""
    term = next(term for term in potential.weights.terms if term.kind == "gdml")
    x = descriptor(np.array([frame.positions for frame in frames]), term.power, term.descriptor_weights)
    index, kernel = permuted_pairs(term.permutations), KERNELS[term.kernel]
    scale = kernel.scale(term.length_scale)

    def prior(a, b):
        return sum(kernel.functions(scale * np.linalg.norm(a - b[..., row], axis=-1))[0] for row in index)

    per_prior = np.sqrt(variances / prior(x, x))

    def covariance(place):
        return per_prior * per_prior[place] * prior(x, x[place])

    return covariance


def _floors(uncertainty, frames):
    """Return the part of each frame's standard deviation per atom that the calibration adds, eV."""
    sizes = np.array([len(frame) for frame in frames])
    return uncertainty.energy_scale * uncertainty.energy_floor / np.sqrt(sizes)


def _deviations(potential, frames, progress):
    """Return the standard deviation of the energy per atom of each frame, eV."""

    def deviation(frame):
        bar.update()
        return potential.evaluate_uncertainty(*_arguments(frame)).energy_std / len(frame)

    with progress_bar(len(frames), "uncertainties", progress, " frames") as bar:
        return np.array(list(frames.each(deviation)))


def _arguments(frame):
    return frame.positions, frame.numbers, frame.cell, frame.pbc if frame.cell is not None else None
