"""The `walls` term of a weight file: bounds of the distances within a molecule, and its checks."""

from dataclasses import dataclass

import numpy as np

from openmm_kml.errors import WeightFileError
from openmm_kml.term_checks import MAX_CUTOFF, checked_array, checked_number


@dataclass(frozen=True)
class WallsTerm:
    """Flat-bottomed walls on the distances of a molecule's pairs of atoms; the formulas are in docs/theory.md.

    Attributes
    ----------
    stiffness : float, eV/Å²
        Curvature of a wall beyond its onset.
    onset : float, Å
        Over this length beyond a bound the curvature grows to the stiffness.
    bounds : ndarray of shape (D, 2), Å
        For each pair of atoms i > j, in the order (1,0), (2,0), (2,1), (3,0) …, the distances between which the
        wall is zero. An upper bound of 0 is none, and so is a lower one.
    """

    stiffness: float
    onset: float
    bounds: np.ndarray

    kind = "walls"
    learned = False
    scalars = ("stiffness", "onset")
    optional_scalars = ()
    tensors = ("bounds",)
    optional_tensors = ()


def checked_walls(where, term, n_atoms):
    """Return a `WallsTerm` with canonical types, or raise WeightFileError naming the field that breaks a rule."""
    stiffness = checked_number(where, "stiffness", term.stiffness, above=0)
    onset = checked_number(where, "onset", term.onset, above=0)
    bounds = checked_array(where, "bounds", term.bounds, 2)
    pairs = n_atoms * (n_atoms - 1) // 2
    if bounds.shape != (pairs, 2):
        raise WeightFileError(f"{where}.bounds has shape {bounds.shape}; ({pairs}, 2) is expected")
    lower, upper = bounds.T
    if (bounds < 0).any() or bounds.max() > MAX_CUTOFF or ((upper <= lower) & (upper != 0)).any():
        raise WeightFileError(
            f"{where}.bounds must hold 0 <= lower < upper <= {MAX_CUTOFF:g} Å in each row, or an upper bound of 0"
        )
    return WallsTerm(stiffness, onset, bounds)


def walls_energy(term, distances):
    """Return the energies of a `WallsTerm`, eV, and their slopes, eV/Å, by pair of atoms.

    With d the distance beyond a bound, κ the stiffness and w the onset: κ d³/6w up to d = w, and from there on the
    parabola κ/2 (d² - w d + w²/3), whose value, slope and curvature join.

    Parameters
    ----------
    term : WallsTerm
    distances : ndarray of shape (..., D), Å
    """
    lower, upper = term.bounds.T
    inside, outside = lower - distances, np.where(upper > 0, distances - upper, 0.0)
    d = np.maximum(np.maximum(inside, outside), 0.0)
    w, near = term.onset, d < term.onset
    energy = term.stiffness * np.where(near, d**3 / (6 * w), (d**2 - w * d + w**2 / 3) / 2)
    slope = term.stiffness * np.where(near, d**2 / (2 * w), d - w / 2)
    return energy, np.where(inside > 0, -slope, slope)
