"""The weight file: what the trainer hands to the engines (docs/weight_file_format.md)."""

import errno
import json
import math
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as _load_tensors
from safetensors.numpy import save as _save_tensors

from openmm_kml.errors import WeightFileError
from openmm_kml.local_terms import (
    LOCAL_TERMS,
    RepulsionTerm,
    Spline2Term,
    Spline3Term,
    checked_local,
    pair_number,
)
from openmm_kml.soap_term import SoapDescriptor, SoapTerm
from openmm_kml.term_checks import MAX_EXPLAINED, checked_array, checked_number, is_finite_number, is_integer
from openmm_kml.uncertainty import Uncertainty, checked_uncertainty, document_entry, read_entry

__all__ = [
    "Baseline",
    "GDMLTerm",
    "RepulsionTerm",
    "SoapDescriptor",
    "SoapTerm",
    "Spline2Term",
    "Spline3Term",
    "Uncertainty",
    "Weights",
    "baseline_of",
    "from_bytes",
    "load",
    "pair_number",
    "save",
    "to_bytes",
    "with_baseline_added",
    "write_atomically",
]

FORMAT = "openmm-kml"
FORMAT_VERSION = "1"
UNITS = {"energy": "eV", "length": "Angstrom"}
TENSOR_KEYS = {"dtype", "shape", "data_offsets"}
KERNEL_NAMES = ("matern52", "matern72", "matern92", "squared_exponential")
MAX_HEADER = 100_000_000
MAX_ATOMS = 10_000
MAX_PERMUTATIONS = 100_000
MAX_INDEX = 2**28  # permutations times descriptor entries
MAX_LEVELS = 64  # of lists and objects inside each other


@dataclass(frozen=True)
class GDMLTerm:
    """A symmetric gradient-domain model of one molecule; the formulas are in docs/theory.md.

    Attributes
    ----------
    power : float
        p of the descriptor x_d = v_d r^-p.
    kernel : str
        One of `KERNEL_NAMES`.
    length_scale : float, Å^-p
    energy_offset : float, eV
    descriptor_weights : ndarray of shape (D,)
        v_d > 0, the same on entries that the permutations exchange.
    training_descriptors : ndarray of shape (N, D), Å^-p
    descriptor_coefficients : ndarray of shape (N, D), eV Å^-p
    permutations : ndarray of int32, shape (P, n_atoms)
        The symmetry group, identity first.
    energy_coefficients : ndarray of shape (N,), eV, optional
    explained_descriptor_coefficients : ndarray of shape (R, N', D), eV Å^-p, optional
        What the first N' training points explain of the prior variance: the variance of the energy is prior_variance
        Σ_π f(s |x - πx|) - Σ_r E_r², E_r being the energy with row r as coefficients and without the offset.
    explained_energy_coefficients : ndarray of shape (R, N'), eV, optional
        Beside `explained_descriptor_coefficients`.
    prior_variance : float, eV², optional
        Given with `explained_descriptor_coefficients`.
    """

    power: float
    kernel: str
    length_scale: float
    energy_offset: float
    descriptor_weights: np.ndarray
    training_descriptors: np.ndarray
    descriptor_coefficients: np.ndarray
    permutations: np.ndarray
    energy_coefficients: np.ndarray | None = None
    explained_descriptor_coefficients: np.ndarray | None = None
    explained_energy_coefficients: np.ndarray | None = None
    prior_variance: float | None = None

    kind = "gdml"
    scalars = ("power", "kernel", "length_scale", "energy_offset")
    optional_scalars = ("prior_variance",)
    tensors = ("descriptor_weights", "training_descriptors", "descriptor_coefficients", "permutations")
    optional_tensors = (
        "energy_coefficients",
        "explained_descriptor_coefficients",
        "explained_energy_coefficients",
    )

    @property
    def n_atoms(self):
        return self.permutations.shape[1]


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
                "together with that, by --baseline on the command line or KMLForce(..., baseline_system=...) in OpenMM"
            )


@dataclass(frozen=True)
class Weights:
    """The contents of a weight file.

    Attributes
    ----------
    species : ndarray of int, shape (n_atoms,), optional
        Model of one molecule: the atomic number of each atom, in order.
    terms : tuple of GDMLTerm, or of Spline2Term, Spline3Term, RepulsionTerm and SoapTerm
        The energy is their sum plus the one-body energies. GDMLTerm needs `species`, the others need `elements`.
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
        Calibration of the predictive uncertainty; all terms but the repulsion then have what it is made of.
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


def to_bytes(weights):
    """Return the bytes of a weight file; the same weights give the same bytes.

    Raises
    ------
    WeightFileError
        If a field breaks a rule of the format; the message names it.
    """
    weights = _checked(weights)
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
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise WeightFileError(f"provenance must be plain JSON without NaN or infinity: {error}") from None
    text = text.encode(errors="replace").decode()  # file names may hold what is no Unicode
    return _canonical(
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


def _canonical(data):
    """Return the file with its header's keys sorted: safetensors writes the metadata in the order of a hash table."""
    size = int.from_bytes(data[:8], "little")
    return _with_header(json.loads(data[8 : 8 + size]), data[8 + size :])


def _with_header(header, tensors):
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # keeps the tensors aligned to 8 bytes
    return len(text).to_bytes(8, "little") + text + tensors


def from_bytes(data):
    """Return the `Weights` read from the bytes of a weight file.

    Raises
    ------
    WeightFileError
        If the bytes are not a valid weight file; the message names the field.
    """
    data = bytes(data)
    metadata = _read_metadata(data)
    try:
        tensors = _load_tensors(data)
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise WeightFileError(f"the tensors of the weight file are damaged: {error}") from None
    document = _parse_document(metadata["document"])
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
    weights = _checked(weights)
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
    metadata = _read_metadata(data)
    document = _parse_document(metadata["document"])
    baseline = _read_baseline(document)
    if baseline is None:
        raise WeightFileError("this model is the whole energy and not the difference to a baseline; add none to it")
    document["baseline"] = asdict(replace(baseline, added=True))
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"]["document"] = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _with_header(header, data[8 + size :])


def baseline_of(data):
    """Return the `Baseline` of the bytes of a weight file, or None; only its header is read and checked."""
    return _read_baseline(_parse_document(_read_metadata(data)["document"]))


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


def write_atomically(path, data):
    """Write bytes to a file beside `path` and rename it onto `path` once they are on the disk."""
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        # The rename would put a plain file where the device was.
        raise OSError(errno.EINVAL, "not a plain file, so it cannot be replaced", str(path))
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


# --- reading


def _read_metadata(data):
    if len(data) < 8:
        raise WeightFileError(f"a weight file has at least 8 bytes; this one has {len(data)}")
    size = int.from_bytes(data[:8], "little")
    if size > min(MAX_HEADER, len(data) - 8):
        raise WeightFileError(
            f"the header should have {size} bytes, but the file has only {len(data)} and headers end at {MAX_HEADER}: "
            "the file is truncated or not a weight file"
        )
    header = _parse_json("header", data[8 : 8 + size])
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise WeightFileError(f"__metadata__.format must be {FORMAT!r}: this is not a weight file of openmm_kml")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise WeightFileError(
            f"format_version is {metadata.get('format_version')!r}; this program reads version {FORMAT_VERSION!r}: "
            "update openmm_kml or export the model again"
        )
    if set(metadata) != {"format", "format_version", "document"}:
        raise WeightFileError("__metadata__ must have exactly the keys format, format_version and document")
    for name, entry in header.items():
        if name != "__metadata__" and not (isinstance(entry, dict) and set(entry) == TENSOR_KEYS):
            raise WeightFileError(f"the tensor {name!r} must have exactly the keys dtype, shape and data_offsets")
    return metadata


def _parse_json(name, text):
    def refuse(constant):
        raise ValueError(f"{constant} is not a number of JSON")

    def no_duplicates(pairs):
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a key stands twice in one object")
        return result

    def bounded(convert):
        def read(digits):
            if math.isinf(float(digits)):
                raise ValueError(f"the number {digits[:20]}… is too large")
            return convert(digits)

        return read

    try:
        value = json.loads(
            text,
            parse_constant=refuse,
            parse_float=bounded(float),
            parse_int=bounded(int),
            object_pairs_hook=no_duplicates,
        )
        _check_levels(value)
    except (ValueError, RecursionError) as error:
        raise WeightFileError(f"the {name} is not valid JSON: {error}") from None
    return value


def _check_levels(value, levels=MAX_LEVELS):
    """Raise ValueError if JSON is nested deeper than `levels`, or if some text in it is no Unicode."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list | dict):
        if not levels:
            raise ValueError(f"it is nested deeper than {MAX_LEVELS} levels")
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            _check_levels(item, levels - 1)


def _parse_document(text):
    document = _parse_json("document", text)
    if not isinstance(document, dict):
        raise WeightFileError("the document must be a JSON object")
    names = ("units", "atom_energies", "terms", "provenance")
    _check_keys("document", document, names, ("baseline", "species", "elements", "uncertainty"))
    if ("species" in document) == ("elements" in document):
        raise WeightFileError("the document must have either species or elements")
    if document["units"] != UNITS:
        raise WeightFileError(f"units must be {UNITS}; {document['units']!r} was found")
    if not isinstance(document["terms"], list) or not document["terms"]:
        raise WeightFileError("terms must be a list of at least one term")
    return document


def _check_keys(where, entry, names, optional=()):
    for name in names:
        if name not in entry:
            raise WeightFileError(f"{where} lacks the field {name!r}")
    for name in entry:
        if name not in names and name not in optional and not name.startswith("x_"):
            raise WeightFileError(f"{where} has the unknown field {name!r}")


def _read_baseline(document):
    """Return the `Baseline` of a document, None when it has none."""
    if "baseline" not in document:
        return None
    entry = document["baseline"]
    if not isinstance(entry, dict):
        raise WeightFileError(f"baseline must be a JSON object; {entry!r} was found")
    _check_keys("baseline", entry, ("digest", "name", "added"))
    return _checked_baseline(Baseline(entry["digest"], entry["name"], entry["added"]))


def _checked_baseline(baseline):
    if baseline is None:
        return None
    if not (isinstance(baseline.digest, str) and re.fullmatch("sha256:[0-9a-f]{64}", baseline.digest)):
        raise WeightFileError(f"baseline.digest must be 'sha256:' and 64 hex digits; {baseline.digest!r} was found")
    if not isinstance(baseline.name, str):
        raise WeightFileError(f"baseline.name must be a string; {baseline.name!r} was found")
    if not isinstance(baseline.added, bool):
        raise WeightFileError(f"baseline.added must be true or false; {baseline.added!r} was found")
    return baseline


def _read_term(k, entry, tensors):
    """Return term k, taking its tensors out of the dictionary."""
    where = f"terms[{k}]"
    kind = entry.get("kind") if isinstance(entry, dict) else entry
    if not isinstance(entry, dict) or not isinstance(kind, str) or kind not in _TERMS:
        raise WeightFileError(f"{where}.kind is {kind!r}; this program knows {', '.join(map(repr, _TERMS))}")
    term = _TERMS[kind]
    _check_keys(where, entry, ("kind", *_EXTRA_FIELDS.get(kind, ()), *term.scalars), term.optional_scalars)
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


_TERMS = {GDMLTerm.kind: GDMLTerm} | LOCAL_TERMS
_INTEGER_TENSORS = ("permutations", "centers")
_EXTRA_FIELDS = {GDMLTerm.kind: ("n_atoms",), RepulsionTerm.kind: ("potential",)}


# --- checks, the same for reading and writing


def _checked(weights):
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
    baseline = _checked_baseline(weights.baseline)
    uncertainty = checked_uncertainty(weights.uncertainty, terms, elements)
    return Weights(species, terms, atom_energies, weights.provenance, baseline, elements, uncertainty)


def _checked_numbers(name, values, least, most):
    numbers = list(values) if isinstance(values, list | tuple | np.ndarray) else []
    if not (least <= len(numbers) <= most and all(is_integer(z) and 1 <= z <= 118 for z in numbers)):
        raise WeightFileError(f"{name} must be a list of {least} to {most} atomic numbers from 1 to 118")
    return np.array(numbers, dtype=np.int64)


def _checked_term(where, term, species, elements):
    if term.kind == GDMLTerm.kind and species is not None:
        return _checked_gdml(where, term, species)
    if term.kind == RepulsionTerm.kind and species is not None:
        return checked_local(where, term, len(np.unique(species)))
    if term.kind != GDMLTerm.kind and elements is not None:
        return checked_local(where, term, len(elements))
    needed = "species" if term.kind == GDMLTerm.kind else "elements"
    raise WeightFileError(f"{where}.kind is {term.kind!r}, which needs {needed} in the document")


def _checked_gdml(where, term, species):
    scalars = {}
    for name in ("power", "length_scale", "energy_offset"):
        value = getattr(term, name)
        if not is_finite_number(value) or (name != "energy_offset" and value <= 0):
            condition = "a finite number" if name == "energy_offset" else "a finite number above zero"
            raise WeightFileError(f"{where}.{name} must be {condition}; {value!r} was found")
        scalars[name] = float(value)
    if term.kernel not in KERNEL_NAMES:
        raise WeightFileError(f"{where}.kernel must be one of {', '.join(KERNEL_NAMES)}; {term.kernel!r} was found")
    n = len(species)
    n_pairs, n_train = n * (n - 1) // 2, len(np.atleast_1d(term.training_descriptors))
    shapes = {
        "descriptor_weights": (n_pairs,),
        "training_descriptors": (n_train, n_pairs),
        "descriptor_coefficients": (n_train, n_pairs),
        "energy_coefficients": (n_train,),
    }
    arrays = {}
    for name, shape in shapes.items():
        value = getattr(term, name)
        if value is not None:
            value = np.ascontiguousarray(value, dtype=np.float64)
            if value.shape != shape or n_train == 0:
                raise WeightFileError(
                    f"{where}.{name} has shape {value.shape}; {shape} is expected, for {n} atoms and at least one point"
                )
            if not np.isfinite(value).all():
                raise WeightFileError(f"{where}.{name} holds a number that is not finite")
        arrays[name] = value
    if arrays["descriptor_weights"].min() <= 0:
        raise WeightFileError(f"{where}.descriptor_weights must be above zero")
    arrays["permutations"] = _checked_permutations(where, term, species, arrays["descriptor_weights"])
    return GDMLTerm(kernel=term.kernel, **scalars, **arrays, **_checked_explained(where, term, n_train, n_pairs))


def _checked_explained(where, term, n_train, n_pairs):
    """Return the checked fields that the uncertainty of a `gdml` term is made of."""
    descriptors, energies = term.explained_descriptor_coefficients, term.explained_energy_coefficients
    if descriptors is None:
        if energies is not None or term.prior_variance is not None:
            raise WeightFileError(
                f"{where} has explained_energy_coefficients or prior_variance, but no explained_descriptor_coefficients"
            )
        return {}
    descriptors = checked_array(where, "explained_descriptor_coefficients", descriptors, 3)
    n_rows, n_points, _ = descriptors.shape
    arrays = {"explained_descriptor_coefficients": (descriptors, (n_rows, n_points, n_pairs))}
    if energies is not None:
        energies = checked_array(where, "explained_energy_coefficients", energies, 2)
        arrays["explained_energy_coefficients"] = energies, (n_rows, n_points)
    for name, (value, shape) in arrays.items():
        if value.shape != shape or n_points > n_train or n_rows > MAX_EXPLAINED:
            raise WeightFileError(
                f"{where}.{name} has shape {value.shape}; {shape} is expected, for at most {n_train} points and "
                f"{MAX_EXPLAINED} rows"
            )
    prior_variance = checked_number(where, "prior_variance", term.prior_variance, above=0)
    return {name: value for name, (value, _) in arrays.items()} | {"prior_variance": prior_variance}


def _checked_permutations(where, term, species, descriptor_weights):
    permutations = np.asarray(term.permutations)
    n = len(species)
    if permutations.ndim != 2 or permutations.shape[1] != n or not 1 <= len(permutations) <= MAX_PERMUTATIONS:
        raise WeightFileError(
            f"{where}.permutations has shape {permutations.shape}; (P, {n}) is expected, P from 1 to {MAX_PERMUTATIONS}"
        )
    if len(permutations) * len(descriptor_weights) > MAX_INDEX:
        raise WeightFileError(f"{where}.permutations has {len(permutations)} rows, more than this program takes")
    if not np.array_equal(np.sort(permutations, axis=1), np.broadcast_to(np.arange(n), permutations.shape)):
        raise WeightFileError(f"{where}.permutations has a row that is not a permutation of 0 to {n - 1}")
    if not np.array_equal(permutations[0], np.arange(n)):
        raise WeightFileError(f"{where}.permutations must start with the identity")
    if len(np.unique(permutations, axis=0)) != len(permutations):
        raise WeightFileError(f"{where}.permutations has a row twice")
    if (species[permutations] != species).any():
        raise WeightFileError(f"{where}.permutations exchanges atoms of different elements")
    square = np.zeros((n, n))
    square[np.tril_indices(n, -1)] = descriptor_weights
    square += square.T
    for row in permutations:
        if not np.allclose(square[np.ix_(row, row)], square, rtol=1e-12, atol=0):
            raise WeightFileError(f"{where}.descriptor_weights must not change under the permutations")
    return np.ascontiguousarray(permutations, dtype=np.int32)
