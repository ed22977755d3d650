"""What a weight file holds, and the checks of it that reading and writing share (docs/weight_file_format.md)."""

import re
from dataclasses import dataclass, field

import numpy as np

from openmm_kml.errors import WeightFileError
from openmm_kml.gdml_term import GDMLTerm, checked_gdml
from openmm_kml.local_terms import RepulsionTerm, checked_local
from openmm_kml.term_checks import is_finite_number, is_integer
from openmm_kml.uncertainty import Uncertainty, checked_uncertainty
from openmm_kml.walls_term import WallsTerm, checked_walls

MAX_ATOMS = 10_000


@dataclass(frozen=True)
class Baseline:
    """What a model is the difference to: E = E_baseline + E_model. See docs/delta_learning.md.

    Attributes
    ----------
    digest : str
        ``sha256:`` and 64 hexadecimal digits of the forces of the baseline.
    name : str
        How the baseline is called in messages.
    added : bool
        Whether whoever evaluates the model has said that the baseline is added. Files have False; without that
        statement, no reader evaluates the model.
    """

    digest: str
    name: str
    added: bool = False

    def check_added(self):
        """Raise WeightFileError if nobody has said that the baseline is added."""
        if not self.added:
            raise WeightFileError(
                f"this model is only the difference to the baseline {self.name!r} ({self.digest[:19]}…): evaluate it "
                "together with that, by --baseline on the command line, KMLForce(..., baseline_system=...) in OpenMM, "
                "KMLCalculator(..., baseline=...) in ASE, or in LAMMPS by another style beside it (pair_style "
                "hybrid/overlay) and the words 'baseline added' after the elements"
            )


@dataclass(frozen=True)
class Weights:
    """The contents of a weight file.

    Attributes
    ----------
    species : ndarray of int, shape (n_atoms,), optional
        Model of one molecule: the atomic number of each atom, in order.
    terms : tuple of GDMLTerm, RepulsionTerm and WallsTerm, or of Spline2Term, Spline3Term, RepulsionTerm and SoapTerm
        The energy is their sum plus the one-body energies. The first need `species`, the second `elements`.
    atom_energies : dict
        Atomic number -> one-body energy in eV; elements that are missing count as zero.
    provenance : dict
        Where the model comes from: program version, digest of the data, errors, command. Never needed to evaluate.
    baseline : Baseline, optional
        What the model is the difference to; None when it is the whole energy.
    elements : ndarray of int, shape (n,), optional
        Model of any structure: the atomic numbers that it knows, ascending. Exactly one of `species` and `elements`
        is given.
    uncertainty : Uncertainty, optional
        Calibration of the predictive uncertainty; all terms that were learned then have what it is made of.
    """

    species: np.ndarray | None = None
    terms: tuple = ()
    atom_energies: dict = field(default_factory=dict)
    provenance: dict = field(default_factory=dict)
    baseline: Baseline | None = None
    elements: np.ndarray | None = None
    uncertainty: Uncertainty | None = None

    def check_complete(self):
        """Raise WeightFileError if the model is a difference and nobody has said that its baseline is added."""
        if self.baseline is not None:
            self.baseline.check_added()


def checked_weights(weights):
    """Return the weights with canonical types, or raise WeightFileError naming the field that breaks a rule."""
    if (weights.species is None) == (weights.elements is None):
        raise WeightFileError("the document must have either species or elements")
    if weights.elements is None:
        species, elements = _checked_numbers("species", weights.species, 2, MAX_ATOMS), None
    else:
        species, elements = None, _checked_numbers("elements", weights.elements, 1, 118)
        if (np.diff(elements) <= 0).any():
            raise WeightFileError("elements must be ascending, no number twice")
    for z, energy in weights.atom_energies.items():
        if not (is_integer(z) and 1 <= z <= 118 and is_finite_number(energy)):
            raise WeightFileError(f"atom_energies[{z!r}] must be a finite energy of an element; {energy!r} was found")
    if not weights.terms:
        raise WeightFileError("terms must hold at least one term")
    if not isinstance(weights.provenance, dict):
        raise WeightFileError("provenance must be a JSON object")
    terms = tuple(_checked_term(f"terms[{k}]", term, species, elements) for k, term in enumerate(weights.terms))
    if species is not None and terms[0].kind != GDMLTerm.kind:
        raise WeightFileError(
            f"terms[0].kind is {terms[0].kind!r}; the first term of a document with species is 'gdml'"
        )
    atom_energies = {int(z): float(e) for z, e in sorted(weights.atom_energies.items())}
    baseline = checked_baseline(weights.baseline)
    uncertainty = checked_uncertainty(weights.uncertainty, terms, elements)
    return Weights(species, terms, atom_energies, weights.provenance, baseline, elements, uncertainty)


def _checked_numbers(name, values, least, most):
    numbers = list(values) if isinstance(values, list | tuple | np.ndarray) else []
    if not (least <= len(numbers) <= most and all(is_integer(z) and 1 <= z <= 118 for z in numbers)):
        raise WeightFileError(f"{name} must be a list of {least} to {most} atomic numbers from 1 to 118")
    return np.array(numbers, dtype=np.int64)


def _checked_term(where, term, species, elements):
    if term.kind == GDMLTerm.kind and species is not None:
        return checked_gdml(where, term, species)
    if term.kind == RepulsionTerm.kind and species is not None:
        return checked_local(where, term, len(np.unique(species)))
    if term.kind == WallsTerm.kind and species is not None:
        return checked_walls(where, term, len(species))
    of_molecule = term.kind in (GDMLTerm.kind, WallsTerm.kind)
    if not of_molecule and elements is not None:
        return checked_local(where, term, len(elements))
    needed = "species" if of_molecule else "elements"
    raise WeightFileError(f"{where}.kind is {term.kind!r}, which needs {needed} in the document")


def checked_baseline(baseline):
    """Return a `Baseline`, None without, or raise WeightFileError naming a field."""
    if baseline is None:
        return None
    if not (isinstance(baseline.digest, str) and re.fullmatch("sha256:[0-9a-f]{64}", baseline.digest)):
        raise WeightFileError(f"baseline.digest must be 'sha256:' and 64 hex digits; {baseline.digest!r} was found")
    if not isinstance(baseline.name, str):
        raise WeightFileError(f"baseline.name must be a string; {baseline.name!r} was found")
    if not isinstance(baseline.added, bool):
        raise WeightFileError(f"baseline.added must be true or false; {baseline.added!r} was found")
    return baseline
