"""The weight file: what the trainer hands to the engines (docs/weight_file_format.md)."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as _load_tensors
from safetensors.numpy import save as _save_tensors

from openmm_kml.errors import WeightFileError
from openmm_kml.files import write_atomically
from openmm_kml.gdml_term import GDMLTerm
from openmm_kml.local_terms import LOCAL_TERMS, RepulsionTerm, Spline2Term, Spline3Term, pair_number
from openmm_kml.soap_term import SoapDescriptor, SoapTerm
from openmm_kml.term_checks import checked_number, is_integer
from openmm_kml.uncertainty import Uncertainty, document_entry, read_entry
from openmm_kml.walls_term import WallsTerm
from openmm_kml.weight_document import Baseline, Weights, checked_baseline, checked_weights
from openmm_kml.weight_header import (
    FORMAT,
    FORMAT_VERSION,
    UNITS,
    canonical,
    check_keys,
    compact_json,
    parse_document,
    read_metadata,
    with_header,
)

__all__ = [
    "Baseline",
    "GDMLTerm",
    "RepulsionTerm",
    "SoapDescriptor",
    "SoapTerm",
    "Spline2Term",
    "Spline3Term",
    "Uncertainty",
    "WallsTerm",
    "Weights",
    "baseline_of",
    "from_bytes",
    "load",
    "pair_number",
    "save",
    "to_bytes",
    "with_baseline_added",
]


def to_bytes(weights):
    """Return the bytes of a weight file; the same weights give the same bytes.

    Raises
    ------
    WeightFileError
        If a field breaks a rule of the format; the message names it.
    """
    weights = checked_weights(weights)
    tensors, terms = {}, []
    for k, term in enumerate(weights.terms):
        terms.append(_entry(term))
        for name in term.tensors + term.optional_tensors:
            value = getattr(term, name)
            if value is not None:
                tensors[f"terms.{k}.{name}"] = value
    if weights.uncertainty is not None and weights.uncertainty.atom_energies is not None:
        tensors["uncertainty.atom_energies"] = weights.uncertainty.atom_energies
    document = {
        "units": UNITS,
        "atom_energies": {str(z): e for z, e in weights.atom_energies.items()},
        "terms": terms,
        "provenance": weights.provenance,
    }
    atoms = "elements" if weights.species is None else "species"
    document[atoms] = [int(z) for z in getattr(weights, atoms)]
    if weights.baseline is not None:
        document["baseline"] = asdict(weights.baseline)
    if weights.uncertainty is not None:
        document["uncertainty"] = document_entry(weights.uncertainty)
    try:
        text = compact_json(document)
    except (TypeError, ValueError) as error:
        raise WeightFileError(f"provenance must be plain JSON without NaN or infinity: {error}") from None
    text = text.encode(errors="replace").decode()  # file names may hold what is no Unicode
    return canonical(
        _save_tensors(tensors, {"format": FORMAT, "format_version": FORMAT_VERSION, "document": text}),
    )


def _entry(term):
    """Return a term's part of the document."""
    entry = {"kind": term.kind} | {name: getattr(term, name) for name in term.scalars}
    entry |= {name: getattr(term, name) for name in term.optional_scalars if getattr(term, name) is not None}
    if term.kind == GDMLTerm.kind:
        entry["n_atoms"] = term.n_atoms
    elif term.kind == RepulsionTerm.kind:
        entry["potential"] = "zbl"
    return entry


def from_bytes(data):
    """Return the `Weights` read from the bytes of a weight file.

    Raises
    ------
    WeightFileError
        If the bytes are not a valid weight file; the message names the field.
    """
    data = bytes(data)
    metadata = read_metadata(data)
    try:
        tensors = _load_tensors(data)
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise WeightFileError(f"the tensors of the weight file are damaged: {error}") from None
    document = parse_document(metadata["document"])
    terms = tuple(_read_term(k, entry, tensors) for k, entry in enumerate(document["terms"]))
    uncertainty = read_entry(document["uncertainty"], tensors) if "uncertainty" in document else None
    if tensors:
        raise WeightFileError(f"the tensor {min(tensors)!r} belongs to no term")
    atom_energies = document["atom_energies"]
    if not isinstance(atom_energies, dict):
        raise WeightFileError("atom_energies must be an object of atomic numbers and energies")
    if not all(re.fullmatch("[1-9][0-9]{0,2}", z) for z in atom_energies):
        raise WeightFileError('atom_energies must have atomic numbers as keys, such as "6"')
    atom_energies = {int(z): e for z, e in atom_energies.items()}
    baseline = _read_baseline(document)
    weights = Weights(
        document.get("species"),
        terms,
        atom_energies,
        document["provenance"],
        baseline,
        document.get("elements"),
        uncertainty,
    )
    weights = checked_weights(weights)
    for k, entry in enumerate(document["terms"]):
        if "n_atoms" not in entry:
            continue
        n_atoms = weights.terms[k].n_atoms
        if not is_integer(entry["n_atoms"]) or entry["n_atoms"] != n_atoms:
            raise WeightFileError(
                f"terms[{k}].n_atoms is {entry['n_atoms']!r}, but its permutations move {n_atoms} atoms"
            )
    return weights


def with_baseline_added(data):
    """Return the bytes of a weight file with the statement that its baseline is added.

    The tensors are not touched. The result may be evaluated by every reader; it is meant for memory, not for a file.

    Raises
    ------
    WeightFileError
        If the model is not the difference to a baseline, or the bytes are not a weight file.
    """
    metadata = read_metadata(data)
    document = parse_document(metadata["document"])
    baseline = _read_baseline(document)
    if baseline is None:
        raise WeightFileError("this model is the whole energy and not the difference to a baseline; add none to it")
    document["baseline"] = asdict(replace(baseline, added=True))
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"]["document"] = compact_json(document)
    return with_header(header, data[8 + size :])


def baseline_of(data):
    """Return the `Baseline` of the bytes of a weight file, or None; only its header is read and checked."""
    return _read_baseline(parse_document(read_metadata(data)["document"]))


def save(weights, path):
    """Write a weight file under a temporary name, then rename it: no half-written file is ever seen.

    Raises
    ------
    WeightFileError
        If a field breaks a rule of the format.
    OSError
        If the file cannot be written.
    """
    write_atomically(path, to_bytes(weights))


def load(path):
    """Return the `Weights` of a file.

    Raises
    ------
    WeightFileError
        If the file is not a valid weight file; the message names the file and the field.
    OSError
        If the file cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        return from_bytes(data)
    except WeightFileError as error:
        raise WeightFileError(f"{path}: {error}") from None


def _read_baseline(document):
    """Return the `Baseline` of a document, None when it has none."""
    if "baseline" not in document:
        return None
    entry = document["baseline"]
    if not isinstance(entry, dict):
        raise WeightFileError(f"baseline must be a JSON object; {entry!r} was found")
    check_keys("baseline", entry, ("digest", "name", "added"))
    return checked_baseline(Baseline(entry["digest"], entry["name"], entry["added"]))


def _read_term(k, entry, tensors):
    """Return term k, taking its tensors out of the dictionary."""
    where = f"terms[{k}]"
    kind = entry.get("kind") if isinstance(entry, dict) else entry
    if not isinstance(entry, dict) or not isinstance(kind, str) or kind not in _TERMS:
        raise WeightFileError(f"{where}.kind is {kind!r}; this program knows {', '.join(map(repr, _TERMS))}")
    term = _TERMS[kind]
    check_keys(where, entry, ("kind", *_EXTRA_FIELDS.get(kind, ()), *term.scalars), term.optional_scalars)
    if kind == RepulsionTerm.kind and entry["potential"] != "zbl":
        raise WeightFileError(f"{where}.potential must be 'zbl'; {entry['potential']!r} was found")
    values = {name: entry[name] for name in term.scalars} | {
        name: checked_number(where, name, entry[name], above=0) for name in term.optional_scalars if name in entry
    }
    for name in term.tensors:
        if f"terms.{k}.{name}" not in tensors:
            raise WeightFileError(f"the tensor 'terms.{k}.{name}' is missing")
    for name in term.tensors + term.optional_tensors:
        value = tensors.pop(f"terms.{k}.{name}", None)
        dtype = np.int32 if name in _INTEGER_TENSORS else np.float64
        if value is not None and value.dtype != dtype:
            raise WeightFileError(f"the tensor 'terms.{k}.{name}' is {value.dtype}; {np.dtype(dtype)} is expected")
        values[name] = value
    return term(**values)


_TERMS = {GDMLTerm.kind: GDMLTerm, WallsTerm.kind: WallsTerm} | LOCAL_TERMS
_INTEGER_TENSORS = ("permutations", "centers")
_EXTRA_FIELDS = {GDMLTerm.kind: ("n_atoms",), RepulsionTerm.kind: ("potential",)}
