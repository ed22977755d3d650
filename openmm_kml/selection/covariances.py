"""The posterior covariances of the energies per atom of frames, by what a model's uncertainty is made of."""

import numpy as np

from openmm_kml.descriptors.inverse_distances import descriptor, permuted_pairs
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.potential import KernelPotential
from openmm_kml.reference_uncertainty import explained_energies
from openmm_kml.selection.terms import member_weights
from openmm_kml.training.progress import progress_bar
from openmm_kml.weights import to_bytes

_SAME = 1e-9  # of the members' energies, or of the descriptor: frames that differ by less are one


class _Covariance:
    """The covariance of the energies per atom of frames.

    Attributes
    ----------
    variances : ndarray of shape (n_frames,), eV²
        Without the floor of the calibration.
    floors : ndarray of shape (n_frames,), eV²
        What the calibration adds to the variances of the energies per atom.
    """

    def __init__(self, potential, frames):
        scales, self._sizes = potential.weights.uncertainty, np.array([len(frame) for frame in frames])
        self._scale = scales.energy_scale / self._sizes
        self.floors = (scales.energy_scale * scales.energy_floor) ** 2 / self._sizes


class MemberCovariance(_Covariance):
    """By the members of the posterior of a model of local terms.

    What the members do not explain (a sparse Gaussian process has such a part) is taken for independent, but of frames
    in which all members agree: they are one.

    Parameters
    ----------
    potential : openmm_kml.potential.KernelPotential
    frames : openmm_kml.selection.frames.NamedFrames
    progress : bool
    """

    def __init__(self, potential, frames, progress=False):
        super().__init__(potential, frames)
        self._energies = self._member_energies(potential.weights, frames, progress)
        explained = (self._energies**2).sum(axis=0)
        self._own = np.maximum(self._total(potential, frames, progress) - self.floors - explained, 0.0)
        self.variances = explained + self._own

    def column(self, place):
        """Return the covariances of a frame with all."""
        own = np.sqrt(self._own * self._own[place])
        return self._energies[:, place] @ self._energies + self.same(place) * own

    def same(self, place):
        """Return which frames repeat a frame, a mask."""
        apart = np.linalg.norm(self._energies - self._energies[:, place, None], axis=0)
        same = apart <= _SAME * np.linalg.norm(self._energies[:, place])
        same[place] = True
        return same

    def _member_energies(self, weights, frames, progress):
        energies = np.empty((weights.uncertainty.members, len(frames)))
        with progress_bar(len(energies), "members of the posterior", progress, " members") as bar:
            for s, row in enumerate(energies):
                one = KernelPotential.from_bytes(to_bytes(member_weights(weights, s)))
                row[:] = list(frames.each(lambda frame, one=one: one.evaluate(*_arguments(frame)).energy))
                bar.update()
        return energies * self._scale

    def _total(self, potential, frames, progress):
        def deviation(frame):
            bar.update()
            return potential.evaluate_uncertainty(*_arguments(frame)).energy_std

        with progress_bar(len(frames), "uncertainties", progress, " frames") as bar:
            return (np.array(list(frames.each(deviation))) / self._sizes) ** 2


class MoleculeCovariance(_Covariance):
    """Of a model of one molecule: k(x, x') - Σ_r E_r(x) E_r(x'), the prior less what the model's rows explain of it.

    The parameters are those of `MemberCovariance`.
    """

    def __init__(self, potential, frames, progress=False):
        super().__init__(potential, frames)
        self._parts = [_Molecule(term, frames, progress) for term in potential.weights.terms if term.kind == "gdml"]
        self.variances = self._scale**2 * sum(part.variances() for part in self._parts)

    def column(self, place):
        """Return the covariances of a frame with all."""
        return self._scale * self._scale[place] * sum(part.column(place) for part in self._parts)

    def same(self, place):
        """Return which frames repeat a frame, a mask."""
        return np.all([part.same(place) for part in self._parts], axis=0)


class _Molecule:
    """The share of one term."""

    def __init__(self, term, frames, progress):
        self._term, self._kernel = term, KERNELS[term.kernel]
        self._index = permuted_pairs(term.permutations)
        with progress_bar(len(frames), "uncertainties", progress, " frames") as bar:

            def row(frame):
                bar.update()
                x = descriptor(frame.positions, term.power, term.descriptor_weights)
                return x, explained_energies(term, x)

            self._x, self._explained = (np.array(part) for part in zip(*frames.each(row), strict=True))

    def variances(self):
        return np.maximum(self._prior(self._x) - (self._explained**2).sum(axis=1), 0.0)

    def column(self, place):
        return self._prior(self._x[place]) - self._explained @ self._explained[place]

    def same(self, place):
        distances = np.min([np.linalg.norm(self._x - self._x[place, row], axis=1) for row in self._index], axis=0)
        return distances <= _SAME * np.linalg.norm(self._x[place])

    def _prior(self, other):
        """Return the prior covariance with another descriptor, or with one for each frame."""
        s = self._kernel.scale(self._term.length_scale)
        radii = [s * np.linalg.norm(self._x - other[..., row], axis=-1) for row in self._index]
        return self._term.prior_variance * sum(self._kernel.functions(r)[0] for r in radii)


def _arguments(frame):
    return frame.positions, frame.numbers, frame.cell, frame.pbc
