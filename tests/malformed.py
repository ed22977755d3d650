"""Damaged and hostile weight files, each with words that every reader's message must contain."""

import json

import numpy as np
from models import ETHANOL_GENERATORS, closed, random_weights

from openmm_kml.weights import to_bytes

GOOD = to_bytes(random_weights(permutations=closed(ETHANOL_GENERATORS), energies=True))


def take_apart(data=GOOD):
    """Return the header (a dict), the document (a dict) and the raw tensors of a weight file."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    return header, json.loads(header["__metadata__"]["document"]), data[8 + size :]


def put_together(header, document, tensors):
    """Return the bytes of a file with these parts, valid or not."""
    if document is not None:
        header["__metadata__"]["document"] = document if isinstance(document, str) else json.dumps(document)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + tensors


def edited(edit):
    """Return a good file after `edit(header, document)` changed its parts; it may return other tensor bytes."""
    header, document, tensors = take_apart()
    changed = edit(header, document, bytearray(tensors))
    return put_together(header, document, bytes(changed) if changed is not None else tensors)


def _set(path, value):
    """Return an edit that sets one entry of the document."""

    def edit(_header, document, _tensors):
        target = document
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return edit


def _drop(path):
    def edit(_header, document, _tensors):
        target = document
        for key in path[:-1]:
            target = target[key]
        del target[path[-1]]

    return edit


def _tensor(name, **changes):
    """Return an edit of a tensor's entry in the header."""

    def edit(header, _document, _tensors):
        header[f"terms.0.{name}"].update(changes)

    return edit


def _data(name, dtype, position, value):
    """Return an edit of one number of a tensor."""

    def edit(header, _document, tensors):
        begin = header[f"terms.0.{name}"]["data_offsets"][0]
        size = np.dtype(dtype).itemsize
        tensors[begin + position * size : begin + (position + 1) * size] = np.array(value, dtype).tobytes()
        return tensors

    return edit


def _metadata(key, value):
    def edit(header, _document, _tensors):
        header["__metadata__"][key] = value

    return edit


def _remove_tensor(name):
    def edit(header, _document, _tensors):
        del header[f"terms.0.{name}"]

    return edit


def _provenance(text):
    """Return a file whose provenance is `text`, JSON or not."""
    header, document, tensors = take_apart()
    return put_together(header, json.dumps(document).replace('"provenance": {}', f'"provenance": {text}'), tensors)


def _header(old, new):
    """Return a file with other bytes in its header."""
    size = int.from_bytes(GOOD[:8], "little")
    text = GOOD[8 : 8 + size].replace(old, new, 1)
    assert text != GOOD[8 : 8 + size]
    return len(text).to_bytes(8, "little") + text + GOOD[8 + size :]


def _rename_tensor(header, _document, _tensors):
    header["terms.1.energy_coefficients"] = header.pop("terms.0.energy_coefficients")


_DEEP = "[" * 100_000 + "]" * 100_000

_EDITS = {
    "another format": (_metadata("format", "pickle"), "format"),
    "future version": (_metadata("format_version", "2"), "format_version"),
    "unknown metadata": (_metadata("extra", "x"), "__metadata__"),
    "no units": (_drop(["units"]), "units"),
    "other units": (_set(["units", "energy"], "kcal/mol"), "units"),
    "no species": (_drop(["species"]), "species"),
    "species not a list": (_set(["species"], 6), "species"),
    "species of strings": (_set(["species"], ["C"] * 9), "species"),
    "element 119": (_set(["species", 0], 119), "species"),
    "species true": (_set(["species", 0], True), "species"),
    "species too few": (_set(["species"], [6, 6]), "n_atoms|shape"),
    "unknown field": (_set(["surprise"], 1), "surprise"),
    "no terms": (_set(["terms"], []), "terms"),
    "terms not a list": (_set(["terms"], {}), "terms"),
    "term not an object": (_set(["terms", 0], 3), "terms"),
    "unknown kind": (_set(["terms", 0, "kind"], "neural"), "kind"),
    "unknown field of a term": (_set(["terms", 0, "sigma"], 1.0), "sigma"),
    "no kernel": (_drop(["terms", 0, "kernel"]), "kernel"),
    "unknown kernel": (_set(["terms", 0, "kernel"], "matern"), "kernel"),
    "kernel a number": (_set(["terms", 0, "kernel"], 5), "kernel"),
    "negative length scale": (_set(["terms", 0, "length_scale"], -1.0), "length_scale"),
    "length scale a string": (_set(["terms", 0, "length_scale"], "20"), "length_scale"),
    "power of 400 digits": (_set(["terms", 0, "power"], 10**400), "power|too large|overflow"),
    "power zero": (_set(["terms", 0, "power"], 0), "power"),
    "offset null": (_set(["terms", 0, "energy_offset"], None), "energy_offset"),
    "n_atoms wrong": (_set(["terms", 0, "n_atoms"], 21), "n_atoms"),
    "n_atoms negative": (_set(["terms", 0, "n_atoms"], -9), "n_atoms"),
    "n_atoms huge": (_set(["terms", 0, "n_atoms"], 2**62), "n_atoms"),
    "atom energies a list": (_set(["atom_energies"], [1]), "atom_energies"),
    "atom energy a string": (_set(["atom_energies"], {"6": "x"}), "atom_energies"),
    "atom energy of no element": (_set(["atom_energies"], {"C": 1.0}), "atom_energies"),
    "atom energy of a padded number": (_set(["atom_energies"], {"06": 1.0}), "atom_energies"),
    "n_atoms not an integer": (_set(["terms", 0, "n_atoms"], 9.0), "n_atoms"),
    "provenance a string": (_set(["provenance"], "me"), "provenance"),
    "missing tensor": (_remove_tensor("permutations"), "permutations|tensor"),
    "tensor of no term": (_rename_tensor, "terms.1.energy_coefficients"),
    "float32 tensor": (_tensor("energy_coefficients", dtype="F32", shape=[26]), "energy_coefficients"),
    "integer tensor": (_tensor("energy_coefficients", dtype="I64"), "energy_coefficients"),
    "permutations of 64 bits": (_tensor("permutations", dtype="I64", shape=[3, 9]), "permutations"),
    "dtype unknown": (_tensor("energy_coefficients", dtype="F128"), "tensor|energy_coefficients"),
    "shape transposed": (_tensor("training_descriptors", shape=[36, 13]), "training_descriptors|descriptor_co"),
    "shape huge": (_tensor("training_descriptors", shape=[2**40, 2**40]), "tensor|training_descriptors"),
    "shape negative": (_tensor("training_descriptors", shape=[-13, -36]), "tensor|training_descriptors"),
    "shape of one size too few": (_tensor("permutations", shape=[54]), "permutations"),
    "unknown entry of a tensor": (_tensor("permutations", x_note=1), "exactly the keys dtype, shape and data_offsets"),
    "shape empty": (_tensor("energy_coefficients", shape=[]), "tensor|energy_coefficients"),
    "offsets past the end": (_tensor("permutations", data_offsets=[0, 2**50]), "tensor|permutations"),
    "offsets reversed": (_tensor("permutations", data_offsets=[216, 0]), "tensor|permutations"),
    "offsets overflow": (_tensor("permutations", data_offsets=[2**64 - 8, 2**64 - 1]), "tensor|permutations"),
    "offsets a string": (_tensor("permutations", data_offsets="0:216"), "tensor|permutations"),
    "offsets overlap": (_tensor("permutations", data_offsets=[0, 216]), "tensor|permutations"),
    "NaN coefficient": (_data("descriptor_coefficients", "f8", 5, np.nan), "descriptor_coefficients"),
    "infinite energy coefficient": (_data("energy_coefficients", "f8", 0, np.inf), "energy_coefficients"),
    "weight zero": (_data("descriptor_weights", "f8", 3, 0.0), "descriptor_weights"),
    "weight not symmetric": (_data("descriptor_weights", "f8", 3, 1.5), "descriptor_weights"),
    "permutation out of range": (_data("permutations", "i4", 10, 9), "permutations"),
    "permutation negative": (_data("permutations", "i4", 10, -1), "permutations"),
}


def _identity_not_first(header, _document, tensors):
    begin = header["terms.0.permutations"]["data_offsets"][0]
    tensors[begin : begin + 8] = np.array([1, 0], "i4").tobytes()
    return tensors


def _row_twice(header, _document, tensors):
    begin = header["terms.0.permutations"]["data_offsets"][0]
    tensors[begin + 36 : begin + 72] = tensors[begin : begin + 36]
    return tensors


def _exchanges_elements(header, _document, tensors):
    begin = header["terms.0.permutations"]["data_offsets"][0]
    tensors[begin + 36 : begin + 72] = np.array([3, 1, 2, 0, 4, 5, 6, 7, 8], "i4").tobytes()
    return tensors


_EDITS["identity not first"] = (_identity_not_first, "permutations")
_EDITS["permutation twice"] = (_row_twice, "permutations")
_BASELINE = {"digest": "sha256:" + 64 * "0", "name": "mm.xml", "added": True}
for _name, _change, _words in (
    ("baseline null", None, "baseline"),
    ("baseline a list", [], "baseline"),
    ("baseline empty", {}, "digest"),
    ("baseline without its statement", {k: _BASELINE[k] for k in ("digest", "name")}, "added"),
    ("baseline with an unknown field", _BASELINE | {"energy": 0}, "energy"),
    ("baseline with a short digest", _BASELINE | {"digest": "sha256:0"}, r"baseline\.digest"),
    ("baseline with capitals in its digest", _BASELINE | {"digest": "sha256:" + 64 * "A"}, r"baseline\.digest"),
    ("baseline with a number as its digest", _BASELINE | {"digest": 7}, r"baseline\.digest"),
    ("baseline with a number as its name", _BASELINE | {"name": 7}, r"baseline\.name"),
    ("baseline with a number as its statement", _BASELINE | {"added": 1}, r"baseline\.added"),
):
    _EDITS[_name] = (_set(["baseline"], _change), _words)
_EDITS["exchanges elements"] = (_exchanges_elements, "permutations")

MALFORMED = {name: (edited(edit), words) for name, (edit, words) in _EDITS.items()}
MALFORMED |= {
    "empty": (b"", "bytes|header"),
    "seven bytes": (GOOD[:7], "bytes|header"),
    "header cut": (GOOD[:100], "header"),
    "header of exabytes": (b"\xff" * 8 + GOOD[8:], "header"),
    "last byte missing": (GOOD[:-1], "tensor"),
    "half of the tensors missing": (GOOD[: len(GOOD) // 2], "tensor"),
    "a byte too many": (GOOD + b"\0", "tensor"),
    "not JSON": (b"\x08\0\0\0\0\0\0\0hello!!!", "JSON"),
    "not UTF-8": (b'\x08\0\0\0\0\0\0\0{"\xff\xfe": 1', "JSON"),
    "nested deeply": (put_together(take_apart()[0], _DEEP, take_apart()[2]), "document|JSON"),
    "header a list": (b"\x02\0\0\0\0\0\0\0[]", "format|header"),
    "document not JSON": (put_together(take_apart()[0], "{", take_apart()[2]), "document"),
    "document a list": (put_together(take_apart()[0], "[]", take_apart()[2]), "document"),
    "provenance beyond all numbers": (_provenance('{"a": 1e400}'), "document is not valid JSON"),
    "provenance of 400 digits": (_provenance('{"a": 1' + 400 * "0" + "}"), "document is not valid JSON"),
    "provenance of half a letter": (_provenance('{"a": "\\ud800"}'), "document is not valid JSON"),
    "provenance under half a letter": (_provenance('{"\\udfff": 1}'), "document is not valid JSON"),
    "provenance nested too deeply": (_provenance('{"a": ' + 63 * "[" + 63 * "]" + "}"), "deeper than 64 levels"),
    "document after a byte order mark": (
        put_together(take_apart()[0], "\ufeff" + json.dumps(take_apart()[1]), take_apart()[2]),
        "byte order mark|BOM",
    ),
    "header after a byte order mark": (_header(b"{", b"\xef\xbb\xbf{"), "byte order mark|BOM|tensors"),
    "offset minus zero": (_header(b'"data_offsets":[0,', b'"data_offsets":[-0,'), "tensor"),
    "document with NaN": (
        put_together(take_apart()[0], json.dumps(take_apart()[1]).replace("-3.5", "NaN"), take_apart()[2]),
        "document",
    ),
}
