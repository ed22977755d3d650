"""The header of a weight file: JSON as safetensors and this format want it, and the document in it."""

import json
import math

from openmm_kml.errors import WeightFileError

FORMAT = "openmm-kml"
FORMAT_VERSION = "1"
UNITS = {"energy": "eV", "length": "Angstrom"}
TENSOR_KEYS = {"dtype", "shape", "data_offsets"}
MAX_HEADER = 100_000_000
MAX_LEVELS = 64  # of lists and objects inside each other


def compact_json(value):
    """Return JSON text without blanks, the keys sorted; ValueError or TypeError if a value has none."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def canonical(data):
    """Return the file with its header's keys sorted: safetensors writes the metadata in the order of a hash table."""
    size = int.from_bytes(data[:8], "little")
    return with_header(json.loads(data[8 : 8 + size]), data[8 + size :])


def with_header(header, tensors):
    """Return the bytes of a file from its header and the bytes of its tensors."""
    text = compact_json(header).encode()
    text += b" " * (-len(text) % 8)  # keeps the tensors aligned to 8 bytes
    return len(text).to_bytes(8, "little") + text + tensors


def read_metadata(data):
    """Return the metadata of a file's bytes, or raise WeightFileError if they are no weight file of this version."""
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


def parse_document(text):
    """Return the document as a dictionary, or raise WeightFileError; what stands in its fields is not checked."""
    document = _parse_json("document", text)
    if not isinstance(document, dict):
        raise WeightFileError("the document must be a JSON object")
    names = ("units", "atom_energies", "terms", "provenance")
    check_keys("document", document, names, ("baseline", "species", "elements", "uncertainty"))
    if ("species" in document) == ("elements" in document):
        raise WeightFileError("the document must have either species or elements")
    if document["units"] != UNITS:
        raise WeightFileError(f"units must be {UNITS}; {document['units']!r} was found")
    if not isinstance(document["terms"], list) or not document["terms"]:
        raise WeightFileError("terms must be a list of at least one term")
    return document


def check_keys(where, entry, names, optional=()):
    """Raise WeightFileError if a field is missing, or unknown and not reserved by x_."""
    for name in names:
        if name not in entry:
            raise WeightFileError(f"{where} lacks the field {name!r}")
    for name in entry:
        if name not in names and name not in optional and not name.startswith("x_"):
            raise WeightFileError(f"{where} has the unknown field {name!r}")
