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


def edited(edit):
    """Return the good file after `edit(header, document, tensors)`; it may return other tensor bytes."""
    header, document, tensors = take_apart(GOOD_LOCAL)
    changed = edit(header, document, bytearray(tensors))
    return put_together(header, document, bytes(changed) if changed is not None else tensors)


def _set(key, value, term=None):
    def edit(_header, document, _tensors):
        (document if term is None else document["terms"][term])[key] = value

    return edit


def _drop(key, term=None):
    def edit(_header, document, _tensors):
        del (document if term is None else document["terms"][term])[key]

    return edit


def _tensor(name, **changes):
    def edit(header, _document, _tensors):
        header[name].update(changes)

    return edit


def _number(name, position, value):
    """Return an edit of one number of a tensor."""

    def edit(header, _document, tensors):
        begin = header[name]["data_offsets"][0] + 8 * position
        tensors[begin : begin + 8] = np.array(value, "f8").tobytes()
        return tensors

    return edit


def _remove(name):
    def edit(header, _document, _tensors):
        del header[name]

    return edit


def _species_instead(_header, document, _tensors):
    del document["elements"]
    document["species"] = [8, 14, 14]


_EDITS = {
    "neither species nor elements": (_drop("elements"), "species|elements"),
    "species and elements": (_set("species", [8, 14]), "species|elements"),
    "species with local terms": (_species_instead, "elements|species"),
    "elements empty": (_set("elements", []), "elements"),
    "elements descending": (_set("elements", [14, 8]), "elements"),
    "an element twice": (_set("elements", [8, 8]), "elements"),
    "element 0": (_set("elements", [0, 14]), "elements"),
    "elements of strings": (_set("elements", ["O", "Si"]), "elements"),
    "too many elements": (_set("elements", [8, 14, 15]), "coefficients"),
    "too few elements": (_set("elements", [8]), "coefficients"),
    "start negative": (_set("start", -0.1, 0), "start"),
    "start a string": (_set("start", "1", 0), "start"),
    "start null": (_set("start", None, 1), "start"),
    "start true": (_set("start", True, 0), "start"),
    "cutoff at the start": (_set("cutoff", 1.2, 0), "cutoff"),
    "cutoff below the start": (_set("cutoff", 0.5, 1), "cutoff"),
    "cutoff of a kilometer": (_set("cutoff", 1e13, 0), "cutoff"),
    "cutoff missing": (_drop("cutoff", 0), "cutoff"),
    "field of another kind": (_set("taper_start", 1.0, 0), "taper_start"),
    "compact a number": (_set("compact", 0, 1), "compact"),
    "compact missing": (_drop("compact", 1), "compact"),
    "far axis starts behind its end": (_set("start_far", 6.3, 1), "start_far"),
    "far axis without length": (_set("start_far", 6.2, 1), "start_far"),
    "taper below the grid": (_set("taper_start", 0.9, 1), "taper_start"),
    "taper below the far grid": (_set("taper_start", 1.05, 1), "taper_start"),
    "taper without width": (_set("taper_width", 0, 1), "taper_width"),
    "taper of negative width": (_set("taper_width", -1.0, 1), "taper_width"),
    "another repulsion": (_set("potential", "coulomb", 2), "potential"),
    "repulsion without its name": (_drop("potential", 2), "potential"),
    "unknown field of a repulsion": (_set("charge", 1, 2), "charge"),
    "kind unknown": (_set("kind", "spline4", 1), "kind"),
    "kind a list": (_set("kind", ["spline3"], 1), "kind"),
    "two-body coefficients missing": (_remove("terms.0.coefficients"), "terms.0.coefficients|tensor|gap"),
    "two-body coefficients of a vector": (_tensor("terms.0.coefficients", shape=[33]), "coefficients"),
    "two-body coefficients transposed": (_tensor("terms.0.coefficients", shape=[11, 3]), "coefficients"),
    "three-body coefficients of four axes": (_tensor("terms.1.coefficients", shape=[6, 6, 6, 12]), "coefficients"),
    "three-body axes exchanged": (_tensor("terms.1.coefficients", shape=[2, 3, 12, 6, 6]), "coefficients"),
    "six axes": (_tensor("terms.1.coefficients", shape=[2, 3, 6, 6, 3, 4]), "coefficients"),
    "switch of another shape": (_tensor("terms.2.switch", shape=[2, 3]), "switch"),
    "switch of 32 bits": (_tensor("terms.2.switch", dtype="F32", shape=[3, 4]), "switch"),
    "NaN two-body coefficient": (_number("terms.0.coefficients", 4, np.nan), "coefficients"),
    "infinite three-body coefficient": (_number("terms.1.coefficients", 100, -np.inf), "coefficients"),
    "not symmetric for equal neighbors": (_number("terms.1.coefficients", 12, 7.5), "coefficients"),
    "switch ends before it starts": (_number("terms.2.switch", 1, 0.1), "switch"),
    "switch starts at zero": (_number("terms.2.switch", 0, 0.0), "switch"),
    "switch ends far away": (_number("terms.2.switch", 3, 1e6), "switch"),
    "switch not a number": (_number("terms.2.switch", 0, np.nan), "switch"),
}

MALFORMED_LOCAL = {name: (edited(edit), words) for name, (edit, words) in _EDITS.items()}
