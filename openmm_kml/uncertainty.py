"""The calibration of a model's predictive uncertainty, as weight files hold it (docs/weight_file_format.md)."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from openmm_kml.errors import WeightFileError
from openmm_kml.predictive import half_width
from openmm_kml.term_checks import MAX_MEMBERS, checked_array, checked_number, is_integer

SCALARS = (
    "members",
    "energy_scale",
    "energy_floor",
    "energy_tail",
    "atom_scale",
    "atom_floor",
    "atom_tail",
    "force_scale",
    "force_floor",
    "force_tail",
)
MOST_TAIL = 0.4  # of files: with ν = 2.5 the variance still exists


@dataclass(frozen=True)
class Uncertainty:
    """How the raw variances of a model's terms become standard deviations; the formulas are in docs/theory.md.

    σ_E = energy_scale √(var E + n_atoms energy_floor²), σ_i = atom_scale √(var E_i + atom_floor²), σ_F = force_scale
    √(var F + force_floor²). Errors are distributed as Student's t of these standard deviations, with 1/tail degrees of
    freedom; normally for a tail of zero.

    Attributes
    ----------
    members : int
        S, the number of deviations of each linear term of a local model; 0 for a model of one molecule.
    energy_scale, atom_scale, force_scale : float
    energy_floor, atom_floor : float, eV
    force_floor : float, eV/Å
    energy_tail, atom_tail, force_tail : float
    atom_energies : ndarray of shape (S, n_elements), eV, optional
        Deviations of the one-body energies; None for a model of one molecule.
    """

    members: int
    energy_scale: float = 1.0
    atom_scale: float = 1.0
    force_scale: float = 1.0
    energy_floor: float = 0.0
    atom_floor: float = 0.0
    force_floor: float = 0.0
    energy_tail: float = 0.0
    atom_tail: float = 0.0
    force_tail: float = 0.0
    atom_energies: np.ndarray | None = None

    def half_widths(self, level):
        """Return how many standard deviations the central intervals of a probability reach to either side.

        The 95 % interval of an energy is ``energy ± uncertainty.half_widths(0.95).energy * energy_std``.

        Parameters
        ----------
        level : float
            Above 0 and below 1.

        Returns
        -------
        HalfWidths
        """
        tails = (self.energy_tail, self.atom_tail, self.force_tail)
        return HalfWidths(*(float(half_width(level, tail)) for tail in tails))


class HalfWidths(NamedTuple):
    """Half the width of central intervals in standard deviations, of energies, energies of atoms, and forces."""

    energy: float
    atom: float
    force: float


class UncertaintyEvaluation(NamedTuple):
    """Standard deviations of what a model predicts for one structure.

    Attributes
    ----------
    energy_std : float, eV
    atomic_std : ndarray of shape (n_atoms,), eV; None for a model of one molecule
    gradient : ndarray of shape (n_atoms, 3), d(energy_std)/dr, or None
    virial : ndarray of shape (3, 3), -d(energy_std)/dstrain, eV, or None
    force_std : ndarray of shape (n_atoms, 3), eV/Å, or None
    prediction : openmm_kml.potential.Evaluation, or None
        What is predicted, where it was asked for.
    """

    energy_std: float
    atomic_std: np.ndarray | None = None
    gradient: np.ndarray | None = None
    virial: np.ndarray | None = None
    force_std: np.ndarray | None = None
    prediction: tuple | None = None


def document_entry(uncertainty):
    """Return the part of the document."""
    return {name: getattr(uncertainty, name) for name in SCALARS}


def read_entry(entry, tensors):
    """Return the `Uncertainty` of a document's entry, taking its tensor out of the dictionary.

    Raises
    ------
    WeightFileError
        If a field is missing or unknown; numbers are not checked.
    """
    if not isinstance(entry, dict):
        raise WeightFileError(f"uncertainty must be a JSON object; {entry!r} was found")
    for name in SCALARS:
        if name not in entry:
            raise WeightFileError(f"uncertainty lacks the field {name!r}")
    for name in entry:
        if name not in SCALARS and not name.startswith("x_"):
            raise WeightFileError(f"uncertainty has the unknown field {name!r}")
    atom_energies = tensors.pop("uncertainty.atom_energies", None)
    if atom_energies is not None and atom_energies.dtype != np.float64:
        raise WeightFileError(f"the tensor 'uncertainty.atom_energies' is {atom_energies.dtype}; float64 is expected")
    return Uncertainty(**{name: entry[name] for name in SCALARS}, atom_energies=atom_energies)


def checked_uncertainty(uncertainty, terms, elements):
    """Return an `Uncertainty` with canonical types, None without, or raise WeightFileError naming a field.

    Parameters
    ----------
    uncertainty : Uncertainty or None
    terms : sequence
        The checked terms of the model: those that are linear in coefficients have what the uncertainty needs, exactly
        when there is one.
    elements : ndarray of int or None
        None for a model of one molecule.
    """
    for k, term in enumerate(terms):
        if term.learned and (_spread(term) is None) != (uncertainty is None):
            name = "explained_descriptor_coefficients" if term.kind == "gdml" else "deviations"
            raise WeightFileError(
                f"terms[{k}].{name} {'are missing' if uncertainty else 'need uncertainty in the document'}: the "
                "document has uncertainty exactly when all its terms have what it is made of"
            )
    if uncertainty is None:
        return None
    scalars = {}
    for name in SCALARS[1:]:
        bound = {"above": 0} if name.endswith("scale") else {"least": 0}
        if name.endswith("tail"):
            bound["most"] = MOST_TAIL
        scalars[name] = checked_number("uncertainty", name, getattr(uncertainty, name), **bound)
    least, most = (0, 0) if elements is None else (1, MAX_MEMBERS)
    members = uncertainty.members
    if not is_integer(members) or not least <= members <= most:
        raise WeightFileError(f"uncertainty.members must be an integer from {least} to {most}; {members!r} was found")
    for k, term in enumerate(terms):
        if elements is not None and term.learned and len(term.deviations) != members:
            raise WeightFileError(
                f"terms[{k}].deviations has {len(term.deviations)} members; uncertainty.members is {members}"
            )
    atom_energies = _checked_atom_energies(uncertainty.atom_energies, members, elements)
    return Uncertainty(int(members), **scalars, atom_energies=atom_energies)


def _spread(term):
    return term.explained_descriptor_coefficients if term.kind == "gdml" else term.deviations


def _checked_atom_energies(atom_energies, members, elements):
    if elements is None:
        if atom_energies is not None:
            raise WeightFileError("uncertainty.atom_energies belongs to no term: a model of one molecule has none")
        return None
    if atom_energies is None:
        raise WeightFileError("the tensor 'uncertainty.atom_energies' is missing")
    atom_energies = checked_array("uncertainty", "atom_energies", atom_energies, 2)
    if atom_energies.shape != (members, len(elements)):
        raise WeightFileError(
            f"uncertainty.atom_energies has shape {atom_energies.shape}; {(members, len(elements))} is expected"
        )
    return atom_energies
