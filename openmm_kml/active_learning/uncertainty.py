"""How unsure a model is of a structure, as one number: by the model's own posterior, or by a committee."""

import hashlib

import numpy as np

from openmm_kml.errors import DataError

MEMBERS = 3  # of a committee; each lacks another third of the training frames


class ModelUncertainty:
    """The predictive standard deviation that the weight file carries.

    Of a model of one molecule the largest of an atom's force: its energy says little of single forces. Of a model of
    any structure the largest of a single atom's energy, which does not drown in a large cell.

    Parameters
    ----------
    potential : openmm_kml.potential.KernelPotential
    """

    def __init__(self, potential):
        self._potential, self._forces = potential, potential.species is not None
        self.what = "force of an atom" if self._forces else "energy of an atom"
        self.unit = "eV/Å" if self._forces else "eV"

    def __call__(self, positions, numbers, cell=None, pbc=None):
        """Return the standard deviation of a structure; inf where it has no defined energy."""
        found = self._potential.evaluate_uncertainty(positions, numbers, cell, pbc, forces=self._forces)
        values = np.linalg.norm(found.force_std, axis=1) if self._forces else found.atomic_std
        return float(values.max()) if np.isfinite(values).all() else np.inf


class Committee:
    """The spread of models that were trained on parts of the frames: the largest standard deviation of a force vector.

    H. S. Seung, M. Opper and H. Sompolinsky, Query by committee, COLT (1992); with forces in the exploration of
    geometries: Y. Zhang et al., Comput. Phys. Commun. 253, 107206 (2020).

    Parameters
    ----------
    potentials : list of openmm_kml.potential.KernelPotential
        At least two.
    """

    unit = "eV/Å"
    what = "force of an atom"

    def __init__(self, potentials):
        if len(potentials) < 2:
            raise ValueError(f"a committee has at least two members; {len(potentials)} came")
        self._potentials = potentials

    def __call__(self, positions, numbers, cell=None, pbc=None):
        """Return the largest standard deviation of an atom's force."""
        forces = np.array([one.evaluate(positions, numbers, cell, pbc).forces for one in self._potentials])
        deviation = np.sqrt(((forces - forces.mean(axis=0)) ** 2).sum(axis=2).sum(axis=0) / (len(forces) - 1))
        value = deviation.max()
        return float(value) if np.isfinite(value) else np.inf


class Blind:
    """No uncertainty: a number drawn for each frame. Random ones are labeled, to show what uncertainty is worth."""

    unit, what = "", "lot of a frame"

    def __call__(self, positions, _numbers, _cell=None, _pbc=None):
        """Return a number from 0 to 1 that looks random, and is always the same for the same positions."""
        digest = hashlib.sha256(np.ascontiguousarray(positions).tobytes()).digest()
        return int.from_bytes(digest[:8], "little") / 2**64


def check_uncertainty(potential):
    """Raise `DataError` if a model carries no predictive uncertainty."""
    if not potential.has_uncertainty:
        raise DataError(
            "the model carries no predictive uncertainty; train it again with this version, or ask for a committee"
        )


def committee_parts(frames):
    """Return the training frames of each member: those whose place is not k, k + MEMBERS, …"""
    return [[frame for place, frame in enumerate(frames) if place % MEMBERS != k] for k in range(MEMBERS)]


def score(uncertainty, frame):
    """Return the uncertainty of a `Structure`; inf where it has no defined energy."""
    from openmm_kml.errors import EvaluationError

    try:
        return uncertainty(frame.positions, frame.numbers, frame.cell, frame.pbc)
    except EvaluationError:
        return np.inf
