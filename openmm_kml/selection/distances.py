"""How far frames are from each other: by inverse distances of molecules, or by averaged SOAP power spectra."""

from itertools import chain

import numpy as np

from openmm_kml.descriptors.inverse_distances import descriptor, pair_indices, permuted_pairs
from openmm_kml.errors import DataError
from openmm_kml.potential import symbols
from openmm_kml.selection.terms import plain_term
from openmm_kml.structures import StructureSet

LARGEST_MOLECULE = 60  # atoms; of more, a list of all distances says less than environments


def frame_distances(pool, start=(), weights=None, progress=False):
    """Return the metric of a pool of frames: an object with `to_pool(k)`, `to_start(k)`, `middle(seed)`.

    Free molecules of one composition are compared by their inverse distances: with a model of one molecule, the least
    over its symmetries; without, after sorting those of each kind of pair, so that no order of equal atoms matters. All
    else is compared by SOAP power spectra, averaged over the atoms of each element.

    Raises
    ------
    DataError
        If a model of one molecule is for other atoms.
    """
    frames = list(chain(pool, start))
    if weights is not None and weights.species is not None:
        return PermutedDistances(_in_order(frames, weights.species), len(pool), _first_gdml(weights))
    one_molecule = all(not frame.pbc.any() and frame.formula == frames[0].formula for frame in frames)
    if one_molecule and 2 <= len(frames[0]) <= LARGEST_MOLECULE:
        rows = sorted_inverse_distances(frames)
    else:
        rows = averaged_spectra(frames, weights, progress)
    return EuclideanDistances(rows, len(pool))


class EuclideanDistances:
    """Distances between rows of features; those of the pool come first."""

    def __init__(self, rows, n_pool):
        self._rows, self._n = rows, n_pool

    def to_pool(self, k):
        """Return the distances of all frames of the pool to frame k of it."""
        return np.linalg.norm(self._rows[: self._n] - self._rows[k], axis=1)

    def to_start(self, k):
        """Return the distances of all frames of the pool to start frame k."""
        return self.to_pool(self._n + k)

    def middle(self, _seed):
        """Return the place of the frame nearest to the mean of the pool."""
        rows = self._rows[: self._n]
        return int(np.linalg.norm(rows - rows.mean(axis=0), axis=1).argmin())


class PermutedDistances:
    """The least distance |x - π x'| over the symmetries of a model."""

    def __init__(self, positions, n_pool, term):
        self._x = descriptor(positions, term.power, term.descriptor_weights)
        self._index, self._n = permuted_pairs(term.permutations), n_pool

    def to_pool(self, k):
        """Return the distances of all frames of the pool to frame k of it."""
        x = self._x[: self._n]
        squared = np.full(len(x), np.inf)
        for index in self._index:
            np.minimum(squared, ((x - self._x[k][index]) ** 2).sum(axis=1), out=squared)
        return np.sqrt(squared)

    def to_start(self, k):
        """Return the distances of all frames of the pool to start frame k."""
        return self.to_pool(self._n + k)

    def middle(self, seed):
        """Return a frame drawn at random."""
        return int(np.random.default_rng(seed).integers(self._n))


def sorted_inverse_distances(frames):
    """Return 1/r of all pairs, sorted among the pairs of the same two elements, shape (n_frames, n_pairs), 1/Å.

    The order of atoms may differ from frame to frame.
    """
    rows = []
    for frame in frames:
        i, j = pair_indices(len(frame))
        low, high = np.sort([frame.numbers[i], frame.numbers[j]], axis=0)
        inverse = descriptor(frame.positions)
        rows.append(inverse[np.lexsort((inverse, high, low))])
    return np.array(rows)


def averaged_spectra(frames, weights=None, progress=False):
    """Return SOAP power spectra averaged over the atoms of each element, shape (n_frames, D).

    Those of an element are weighted by the share of its atoms. The descriptors are those of a soap model, or of the
    defaults of its trainer with six radial functions and l up to four.
    """
    from openmm_kml.training.progress import progress_bar
    from openmm_kml.training.soap.environments import Environments

    elements, terms = _spectrum_terms(frames, weights)
    environments = Environments(elements, terms)
    rows = []
    with progress_bar(len(frames), "power spectra", progress, " frames") as bar:
        for frame in frames:
            parts = []
            for number, term in enumerate(terms):
                _, p = environments.descriptors(frame, number)
                mean = p.sum(axis=0) / len(frame) if len(p) else np.zeros(term.sparse_points.shape[1])
                parts.append(mean)
            rows.append(np.concatenate(parts))
            bar.update()
    return np.array(rows)


def _spectrum_terms(frames, weights):
    if weights is not None:
        terms = [plain_term(term) for term in weights.terms if term.kind == "soap"]
        if terms:
            missing = set(StructureSet(frames).elements.tolist()) - set(map(int, weights.elements))
            if missing:
                raise DataError(
                    f"the model does not know {symbols(sorted(missing))}, which the pool has; select without the model"
                )
            return weights.elements, terms
    from openmm_kml.training.soap import SoapOptions
    from openmm_kml.training.soap.descriptors import make_descriptors

    structures = StructureSet(frames)
    descriptors, _ = make_descriptors(structures, SoapOptions(n_max=6, l_max=4, progress=False))
    blank = [one.term(1.0, np.zeros((1, one.dimension)), np.zeros(1)) for one in descriptors]
    return tuple(int(z) for z in structures.elements), blank


def _first_gdml(weights):
    return next(term for term in weights.terms if term.kind == "gdml")


def _in_order(frames, species):
    for number, frame in enumerate(frames, 1):
        if not np.array_equal(frame.numbers, species) or frame.pbc.any():
            raise DataError(
                f"frame {number} is not the free molecule of the model with its atoms in the model's order; give such "
                "frames, or select without the model"
            )
    return np.array([frame.positions for frame in frames])
