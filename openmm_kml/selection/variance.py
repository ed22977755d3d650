"""The frames that a model is least sure of, given those chosen before: pivoted Cholesky of their covariance.

With a covariance C of what is predicted for the frames, the variance that is left after a frame was measured is the
diagonal of the Schur complement, which each step of a Cholesky factorization with the largest pivot updates
(Harbrecht, Peters and Schneider, Appl. Numer. Math. 62, 428 (2012)).
"""

import numpy as np

from openmm_kml.active_learning.uncertainty import check_uncertainty
from openmm_kml.descriptors.inverse_distances import descriptor, permuted_pairs
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.potential import KernelPotential
from openmm_kml.selection.terms import member_weights
from openmm_kml.training.progress import progress_bar
from openmm_kml.weights import to_bytes

_NOTHING = 1e-10  # of the largest variance: what is left is rounding


def most_uncertain_frames(pool, count, potential, start=None, progress=False):
    """Return the places of `count` frames of a pool, in the order of their choice.

    Of a model of local terms the covariance of the energies per atom comes from the members of its posterior. Of a
    model of one molecule it is the standard deviations of two energies times the correlation of its prior, whose
    kernel knows the symmetries.

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
    deviations : ndarray of the same shape
        Standard deviation of the energy per atom (eV) that each had when it was chosen.

    Raises
    ------
    DataError
        If the model carries no uncertainty.
    """
    check_uncertainty(potential)
    frames = list(pool) + list(start if start is not None else ())
    deviations = _deviations(potential, frames, progress)
    if potential.species is None:
        covariance = member_covariance(potential, frames, deviations, progress)
    else:
        covariance = prior_covariance(potential, frames, deviations)
    first = range(len(pool), len(frames))
    places, variances = pivoted_choice(deviations**2, covariance, count, first)
    return places, np.sqrt(variances)


def pivoted_choice(variances, covariance, count, first=()):
    """Return places by the largest variance that is left after all before, and these variances.

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
        Where nothing is left of any variance, the factorization begins anew among the other frames.
    """
    first = list(first)
    n = len(variances) - len(first)
    columns, chosen, left = [], [], []
    residual = np.array(variances, dtype=float)
    for place in first:
        _eliminate(residual, columns, covariance, place, variances)
    residual[n:] = -np.inf
    count, fresh = min(count, n), False
    while len(chosen) < count:
        place = int(residual.argmax())
        if residual[place] <= _NOTHING * max(variances.max(), 0.0) and not fresh:
            columns, fresh = [], True
            residual = np.array(variances, dtype=float)
            residual[n:] = -np.inf
            residual[chosen] = -np.inf
            continue
        fresh = False
        chosen.append(place)
        left.append(max(float(residual[place]), 0.0))
        _eliminate(residual, columns, covariance, place, variances)
        residual[place] = -np.inf
    return np.array(chosen, dtype=np.intp), np.array(left)


def _eliminate(residual, columns, covariance, place, variances):
    """Take out of the residual variances what the frame at a place explains."""
    if residual[place] <= _NOTHING * variances.max():
        return
    column = np.array(covariance(place), dtype=float)
    for earlier in columns:
        column -= earlier[place] * earlier
    column /= np.sqrt(residual[place])
    columns.append(column)
    finite = np.isfinite(residual)
    residual[finite] = np.maximum(residual[finite] - column[finite] ** 2, 0.0)


def member_covariance(potential, frames, deviations, progress=False):
    """Return the covariance of energies per atom by the members of the posterior, as a function of a place.

    What the members do not explain (a sparse Gaussian process has such a part) is taken for independent.
    """
    weights = potential.weights
    energies = np.empty((weights.uncertainty.members, len(frames)))
    with progress_bar(len(energies), "members of the posterior", progress, " members") as bar:
        for s, row in enumerate(energies):
            one = KernelPotential.from_bytes(to_bytes(member_weights(weights, s)))
            row[:] = [one.evaluate(*_arguments(frame)).energy / len(frame) for frame in frames]
            bar.update()
    energies *= weights.uncertainty.energy_scale
    own = np.maximum(deviations**2 - (energies**2).sum(axis=0), 0.0)

    def covariance(place):
        column = energies[:, place] @ energies
        column[place] += own[place]
        return column

    return covariance


def prior_covariance(potential, frames, deviations):
    """Return posterior deviations times prior correlations of a molecule's energies, as a function of a place."""
    term = next(term for term in potential.weights.terms if term.kind == "gdml")
    x = descriptor(np.array([frame.positions for frame in frames]), term.power, term.descriptor_weights)
    index, kernel = permuted_pairs(term.permutations), KERNELS[term.kernel]
    scale = kernel.scale(term.length_scale)

    def prior(a, b):
        return sum(kernel.functions(scale * np.linalg.norm(a - b[..., row], axis=-1))[0] for row in index)

    own = np.sqrt(prior(x, x))

    def covariance(place):
        return deviations * deviations[place] * prior(x, x[place]) / (own * own[place])

    return covariance


def _deviations(potential, frames, progress):
    """Return the standard deviation of the energy per atom of each frame, eV."""
    deviations = np.empty(len(frames))
    with progress_bar(len(frames), "uncertainties", progress, " frames") as bar:
        for k, frame in enumerate(frames):
            deviations[k] = potential.evaluate_uncertainty(*_arguments(frame)).energy_std / len(frame)
            bar.update()
    return deviations


def _arguments(frame):
    return frame.positions, frame.numbers, frame.cell, frame.pbc if frame.cell is not None else None
