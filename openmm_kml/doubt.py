"""How uncertain a model is of a structure, as one number that a guard can compare, and when that is too much."""

from typing import NamedTuple

import numpy as np

from openmm_kml.elements import symbol
from openmm_kml.errors import DataError, KMLError
from openmm_kml.reference import evaluate_term
from openmm_kml.structures.extended_xyz import frame_text

ACTIONS = ("stop", "flag")  # of a guard
AUTO = "auto"
AUTO_FACTOR = 3.0  # times what is usual; what that stops, and what it lets pass: docs/guard.md
MOST_FRAMES = 20  # that what is usual is taken from


class UncertaintyError(KMLError, RuntimeError):
    """A guard stopped a run, since the model is not certain of a frame.

    Attributes
    ----------
    step : int
    doubt : Doubt
    threshold : float, eV
    """

    def __init__(self, message, step, doubt, threshold):
        super().__init__(message)
        self.step, self.doubt, self.threshold = step, doubt, threshold


class Doubt(NamedTuple):
    """The uncertainty of one structure.

    Attributes
    ----------
    value : float, eV
        What guards compare: the largest standard deviation of an atom's energy, or, under a model of one molecule, that
        of the energy by the number of atoms, to which is added what its walls and its repulsion give (in square).
    atom : int or None
        The atom of the largest standard deviation, counted from 0; None under a model of one molecule.
    energy_std : float, eV
        Of the model alone.
    atomic_std : ndarray of shape (n_atoms,), eV, or None
    """

    value: float
    atom: int | None
    energy_std: float
    atomic_std: np.ndarray | None

    def describe(self, numbers):
        """Return the value in words; `numbers` are the atoms' atomic numbers."""
        if self.atom is None:
            held = self.value * len(numbers) > (1 + 1e-9) * self.energy_std
            priors = ", with that of walls and repulsion," if held else ""
            return f"the standard deviation of the energy{priors} is {self.value:.3g} eV an atom"
        name = f"{symbol(numbers[self.atom])}{self.atom + 1}"
        return f"the standard deviation of the energy of atom {name} is {self.value:.3g} eV"


def doubt_of(potential, positions, numbers=None, cell=None, pbc=None):
    """Return the `Doubt` of a structure.

    Parameters
    ----------
    potential : openmm_kml.potential.KernelPotential
    positions : ndarray of shape (n_atoms, 3), Å
        A model of one molecule takes its atoms in its order.
    numbers : ndarray of int, shape (n_atoms,), optional
        Atomic numbers; a model of any structure needs them.
    cell : ndarray of shape (3, 3), Å, optional
        Lattice vectors of a periodic structure.
    pbc : bool or sequence of 3 bool, optional
        Which of them repeat it; all when a cell is given and nothing is said.

    Raises
    ------
    openmm_kml.errors.WeightFileError
        If the model has no uncertainty.
    """
    found = potential.evaluate_uncertainty(positions, numbers, cell, pbc)
    if found.atomic_std is None:
        value = np.hypot(found.energy_std, prior_energy(potential.weights, positions)) / len(positions)
        return Doubt(float(value), None, found.energy_std, None)
    atom = int(np.argmax(found.atomic_std))
    return Doubt(float(found.atomic_std[atom]), atom, found.energy_std, found.atomic_std)


def prior_energy(weights, positions):
    """Return the energy of the walls and the repulsion of a molecule, eV: zero in its data.

    What keeps a molecule together where nothing was learned is as uncertain as it is large, and the deviation of what
    was learned does not know of it: a bond that walls hold would pass for certain.
    """
    r = np.asarray(positions, dtype=float)
    return float(sum(evaluate_term(term, r, weights.species)[0] for term in weights.terms if not term.learned))


def check_uncertainty(potential):
    """Raise DataError if a model has no uncertainty."""
    if not potential.has_uncertainty:
        raise DataError(
            "this model has no uncertainty that a guard could compare: train it again, without --no-uncertainty"
        )


def usual_doubt(potential, frames):
    """Return the part of a weight file's provenance that says how uncertain a model usually is; empty if it cannot.

    Parameters
    ----------
    potential : openmm_kml.potential.KernelPotential
    frames : iterable of arguments of `doubt_of`
        That the model was not trained on; `MOST_FRAMES` of them are enough.
    """
    if not potential.has_uncertainty:
        return {}
    values = [doubt_of(potential, *frame).value for frame, _ in zip(frames, range(MOST_FRAMES), strict=False)]
    if not values:
        return {}
    usual = {"n_frames": len(values), "median": float(np.median(values)), "largest": float(np.max(values))}
    return {"uncertainty": usual}


def resolve_threshold(threshold, potential, frames):
    """Return a threshold in eV, and in words where it comes from.

    Parameters
    ----------
    threshold : float or ``"auto"``
        ``"auto"`` is `AUTO_FACTOR` times the largest value that the weight file records for frames that the model was
        not trained on, or, without such a record, times the largest of `frames`.
    potential : openmm_kml.potential.KernelPotential
    frames : callable
        Called without arguments, it yields arguments of `doubt_of` to fall back on; the first `MOST_FRAMES`
        count.
    """
    if threshold != AUTO:
        return float(threshold), "as given"
    recorded = potential.weights.provenance.get("uncertainty")
    largest = recorded.get("largest") if isinstance(recorded, dict) else None
    if isinstance(largest, int | float) and np.isfinite(largest) and largest > 0:
        return AUTO_FACTOR * largest, f"{AUTO_FACTOR:g} times the largest of the frames that the weight file records"
    values = [doubt_of(potential, *frame).value for frame, _ in zip(frames(), range(MOST_FRAMES), strict=False)]
    return AUTO_FACTOR * max(values), f"{AUTO_FACTOR:g} times the largest of {len(values)} frames of the start"


def check_threshold(threshold):
    """Raise ValueError unless a threshold is ``"auto"`` or a finite number above zero."""
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if threshold != AUTO and not (number and np.isfinite(threshold) and threshold > 0):
        raise ValueError(f"the threshold must be auto or a finite number of eV above zero; {threshold!r} was given")


def is_above(doubt, threshold):
    """Return whether a `Doubt` is above a threshold; what is not a number is."""
    return not doubt.value <= threshold


def uncertain_frame(frame, step, doubt, threshold):
    """Return a frame that a guard found uncertain as extended XYZ, with step, uncertainty and threshold."""
    info = {"step": step, "uncertainty_eV": repr(doubt.value), "threshold_eV": repr(float(threshold))}
    if doubt.atom is None:
        return frame_text(frame, info)
    return frame_text(frame, info | {"atom": doubt.atom}, {"energy_std": doubt.atomic_std})


def frames_of(text):
    """Yield step and text of each of the frames of `uncertain_frame`."""
    lines = text.splitlines(keepends=True)
    while lines:
        n = int(lines[0]) + 2
        entries = dict(entry.split("=", 1) for entry in lines[1].split() if "=" in entry)
        yield int(entries["step"]), "".join(lines[:n])
        lines = lines[n:]
