"""Damaged and hostile weight files of local terms, each with words that every reader's message must contain."""

import numpy as np
from local_models import SILICA, random_repulsion, random_spline2, random_spline3
from malformed import put_together, take_apart

from openmm_kml.weights import Weights, to_bytes

_RNG = np.random.default_rng(3)
GOOD_LOCAL = to_bytes(
    Weights(
        elements=SILICA,
        terms=(random_spline2(2, _RNG), random_spline3(2, _RNG), random_repulsion(2, _RNG)),
        atom_energies={8: 0.5},
    )
)


def edited(edit, good=GOOD_LOCAL):
    """Return a good file after `edit(header, document, tensors)`; it may return other tensor bytes."""
    header, document, tensors = take_apart(good)
    changed = edit(header, document, bytearray(tensors))
    return put_together(header, document, bytes(changed) if changed is not None else tensors)


def set_field(key, value, term=None):
    """Return an edit of a field of the document, or of a term."""

    def edit(_header, document, _tensors):
        (document if term is None else document["terms"][term])[key] = value

    return edit


def drop_field(key, term=None):
    """Return an edit that takes a field from the document, or from a term."""

    def edit(_header, document, _tensors):
        del (document if term is None else document["terms"][term])[key]

    return edit


def change_tensor(name, **changes):
    """Return an edit of a tensor's entry in the header."""

    def edit(header, _document, _tensors):
        header[name].update(changes)

    return edit


def set_number(name, position, value, dtype="f8"):
    """Return an edit of one number of a tensor."""

    def edit(header, _document, tensors):
        size = np.dtype(dtype).itemsize
        begin = header[name]["data_offsets"][0] + size * position
        tensors[begin : begin + size] = np.array(value, dtype).tobytes()
        return tensors

    return edit


def remove_tensor(name):
    """Return an edit that takes a tensor's entry from the header."""

    def edit(header, _document, _tensors):
        del header[name]

    return edit


def _species_instead(_header, document, _tensors):
    del document["elements"]
    document["species"] = [8, 14, 14]


_EDITS = {
    "neither species nor elements": (drop_field("elements"), "species|elements"),
    "species and elements": (set_field("species", [8, 14]), "species|elements"),
    "species with local terms": (_species_instead, "elements|species"),
    "elements empty": (set_field("elements", []), "elements"),
    "elements descending": (set_field("elements", [14, 8]), "elements"),
    "an element twice": (set_field("elements", [8, 8]), "elements"),
    "element 0": (set_field("elements", [0, 14]), "elements"),
    "elements of strings": (set_field("elements", ["O", "Si"]), "elements"),
    "too many elements": (set_field("elements", [8, 14, 15]), "coefficients"),
    "too few elements": (set_field("elements", [8]), "coefficients"),
    "start negative": (set_field("start", -0.1, 0), "start"),
    "start a string": (set_field("start", "1", 0), "start"),
    "start null": (set_field("start", None, 1), "start"),
    "start true": (set_field("start", True, 0), "start"),
    "cutoff at the start": (set_field("cutoff", 1.2, 0), "cutoff"),
    "cutoff below the start": (set_field("cutoff", 0.5, 1), "cutoff"),
    "cutoff of a kilometer": (set_field("cutoff", 1e13, 0), "cutoff"),
    "cutoff missing": (drop_field("cutoff", 0), "cutoff"),
    "field of another kind": (set_field("taper_start", 1.0, 0), "taper_start"),
    "compact a number": (set_field("compact", 0, 1), "compact"),
    "compact missing": (drop_field("compact", 1), "compact"),
    "far axis starts behind its end": (set_field("start_far", 6.3, 1), "start_far"),
    "far axis without length": (set_field("start_far", 6.2, 1), "start_far"),
    "taper below the grid": (set_field("taper_start", 0.9, 1), "taper_start"),
    "taper below the far grid": (set_field("taper_start", 1.05, 1), "taper_start"),
    "taper without width": (set_field("taper_width", 0, 1), "taper_width"),
    "taper of negative width": (set_field("taper_width", -1.0, 1), "taper_width"),
    "another repulsion": (set_field("potential", "coulomb", 2), "potential"),
    "repulsion without its name": (drop_field("potential", 2), "potential"),
    "unknown field of a repulsion": (set_field("charge", 1, 2), "charge"),
    "kind unknown": (set_field("kind", "spline4", 1), "kind"),
    "kind a list": (set_field("kind", ["spline3"], 1), "kind"),
    "two-body coefficients missing": (remove_tensor("terms.0.coefficients"), "terms.0.coefficients|tensor|gap"),
    "two-body coefficients of a vector": (change_tensor("terms.0.coefficients", shape=[33]), "coefficients"),
    "two-body coefficients transposed": (change_tensor("terms.0.coefficients", shape=[11, 3]), "coefficients"),
    "three-body coefficients of four axes": (
        change_tensor("terms.1.coefficients", shape=[6, 6, 6, 12]),
        "coefficients",
    ),
    "three-body axes exchanged": (change_tensor("terms.1.coefficients", shape=[2, 3, 12, 6, 6]), "coefficients"),
    "six axes": (change_tensor("terms.1.coefficients", shape=[2, 3, 6, 6, 3, 4]), "coefficients"),
    "switch of another shape": (change_tensor("terms.2.switch", shape=[2, 3]), "switch"),
    "switch of 32 bits": (change_tensor("terms.2.switch", dtype="F32", shape=[3, 4]), "switch"),
    "NaN two-body coefficient": (set_number("terms.0.coefficients", 4, np.nan), "coefficients"),
    "infinite three-body coefficient": (set_number("terms.1.coefficients", 100, -np.inf), "coefficients"),
    "not symmetric for equal neighbors": (set_number("terms.1.coefficients", 12, 7.5), "coefficients"),
    "switch ends before it starts": (set_number("terms.2.switch", 1, 0.1), "switch"),
    "switch starts at zero": (set_number("terms.2.switch", 0, 0.0), "switch"),
    "switch ends far away": (set_number("terms.2.switch", 3, 1e6), "switch"),
    "switch not a number": (set_number("terms.2.switch", 0, np.nan), "switch"),
}

MALFORMED_LOCAL = {name: (edited(edit), words) for name, (edit, words) in _EDITS.items()}
