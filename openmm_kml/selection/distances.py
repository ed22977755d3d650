"""How far frames are from each other: by inverse distances of molecules, or by averaged SOAP power spectra."""

import numpy as np

from openmm_kml.descriptors.inverse_distances import descriptor, pair_indices, permuted_pairs
from openmm_kml.selection.terms import plain_term
from openmm_kml.structures import StructureSet

LARGEST_MOLECULE = 60  # atoms; of more, a list of all distances says less than environments


def frame_distances(frames, weights=None, progress=False):
    """Return the metric of frames: an object with `to(k)`, `middle()` and `size`.

    Free molecules of one composition are compared by their inverse distances: with a model of one molecule, the least
    over its symmetries; without, after sorting those of each kind of pair, so that no order of equal atoms matters. All
    else is compared by SOAP power spectra, averaged over the atoms of each element.

    Parameters
    ----------
    frames : openmm_kml.selection.frames.NamedFrames
    weights : openmm_kml.weights.Weights, optional
    progress : bool

    Raises
    ------
    DataError
        If a model of one molecule is for other atoms, or a soap model for other elements; if atoms coincide.
    """
    if weights is not None and weights.species is not None:
        frames.check(weights)
        return PermutedDistances(frames, _first_gdml(weights))
    structures = list(frames)
    one_molecule = all(not frame.pbc.any() and frame.formula == structures[0].formula for frame in structures)
    if one_molecule and 2 <= len(structures[0]) <= LARGEST_MOLECULE:
        rows = sorted_inverse_distances(frames)
    else:
        rows = averaged_spectra(frames, weights, progress)
    return EuclideanDistances(rows, frames.n_pool)


class EuclideanDistances:
    """Distances between rows of features; those of the pool come first.

    Attributes
    ----------
    size : float
        The largest norm of a row: distances below its rounding are zero.
    """

    def __init__(self, rows, n_pool):
        self._rows, self._n = rows, n_pool
        self.size = float(np.linalg.norm(rows, axis=1).max())

    def to(self, k):
        """Return the distances of all frames of the pool to frame k, which may be one of the start."""
        return np.linalg.norm(self._rows[: self._n] - self._rows[k], axis=1)

    def middle(self):
        """Return the place of the frame nearest to the mean of the pool."""
        rows = self._rows[: self._n]
        return int(np.linalg.norm(rows - rows.mean(axis=0), axis=1).argmin())


class PermutedDistances(EuclideanDistances):
    """The least distance |x - π x'| over the symmetries of a model."""

    def __init__(self, frames, term):
        rows = np.array(list(frames.each(lambda one: descriptor(one.positions, term.power, term.descriptor_weights))))
        super().__init__(rows, frames.n_pool)
        self._index = permuted_pairs(term.permutations)

    def to(self, k):
        """Return the distances of all frames of the pool to frame k, which may be one of the start."""
        x = self._rows[: self._n]
        squared = np.full(len(x), np.inf)
        for index in self._index:
            np.minimum(squared, ((x - self._rows[k][index]) ** 2).sum(axis=1), out=squared)
        return np.sqrt(squared)

    def middle(self):
        """Return the place of the frame nearest to the mean of the pool, all averaged over the symmetries."""
        averaged = np.mean([self._rows[: self._n, index] for index in self._index], axis=0)
        return EuclideanDistances(averaged, self._n).middle()


def sorted_inverse_distances(frames):
    """Return 1/r of all pairs, sorted among the pairs of the same two elements, shape (n_frames, n_pairs), 1/Å.

    The order of atoms may differ from frame to frame.
    """

    def row(frame):
        i, j = pair_indices(len(frame))
        low, high = np.sort([frame.numbers[i], frame.numbers[j]], axis=0)
        inverse = descriptor(frame.positions)
        return inverse[np.lexsort((inverse, high, low))]

    return np.array(list(frames.each(row)))


def averaged_spectra(frames, weights=None, progress=False):
    """Return SOAP power spectra averaged over the atoms of each element, shape (n_frames, D).

    Those of an element are weighted by the share of its atoms. The descriptors are those of a soap model, or of the
    defaults of its trainer with six radial functions and l up to four.
    """
    from openmm_kml.training.progress import progress_bar
    from openmm_kml.training.soap.environments import Environments

    elements, terms = _spectrum_terms(frames, weights)
    environments = Environments(elements, terms)

    def row(frame):
        parts = []
        for number, term in enumerate(terms):
            _, p = environments.descriptors(frame, number)
            parts.append(p.sum(axis=0) / len(frame) if len(p) else np.zeros(term.sparse_points.shape[1]))
        bar.update()
        return np.concatenate(parts)

    with progress_bar(len(frames), "power spectra", progress, " frames") as bar:
        return np.array(list(frames.each(row)))


def _spectrum_terms(frames, weights):
    if weights is not None:
        terms = [plain_term(term) for term in weights.terms if term.kind == "soap"]
        if terms:
            frames.check(weights)
            return weights.elements, terms
    from openmm_kml.training.soap import SoapOptions
    from openmm_kml.training.soap.descriptors import make_descriptors

    structures = StructureSet(list(frames))
    descriptors, _ = make_descriptors(structures, SoapOptions(n_max=6, l_max=4, progress=False))
    blank = [one.term(1.0, np.zeros((1, one.dimension)), np.zeros(1)) for one in descriptors]
    return tuple(int(z) for z in structures.elements), blank


def _first_gdml(weights):
    return next(term for term in weights.terms if term.kind == "gdml")
