"""Damaged and hostile weight files with uncertainty, each with words that every reader's message must contain."""

import numpy as np
from local_models import SILICA, random_repulsion, random_soap, random_spline2, random_spline3, uncertain
from malformed import put_together, take_apart
from malformed_local import change_tensor, drop_field, edited, remove_tensor, set_number
from models import ETHANOL_GENERATORS, closed, random_weights, uncertain_molecule

from openmm_kml.uncertainty import SCALARS
from openmm_kml.weights import Weights, to_bytes

_RNG = np.random.default_rng(8)
_TERMS = (
    random_spline2(2, _RNG, n_intervals=4),
    random_spline3(2, _RNG, n_intervals=4, n_far=7),
    random_soap(SILICA, _RNG, n_sparse=4, n_max=2, l_max=1),
    random_repulsion(2, _RNG),
)
# two members, three explained rows
GOOD_LOCAL = to_bytes(uncertain(Weights(elements=SILICA, terms=_TERMS), 2, 3))
# four explained rows of the first five of thirteen training points, 36 entries
GOOD_MOLECULE = to_bytes(
    uncertain_molecule(random_weights(permutations=closed(ETHANOL_GENERATORS), energies=True), n_points=5)
)


def _set(key, value):
    """Return an edit of a field of the uncertainty."""

    def edit(_header, document, _tensors):
        document["uncertainty"][key] = value

    return edit


def _set_term(term, key, value):
    def edit(_header, document, _tensors):
        document["terms"][term][key] = value

    return edit


def _drop(key):
    def edit(_header, document, _tensors):
        del document["uncertainty"][key]

    return edit


def _whole(value):
    def edit(_header, document, _tensors):
        document["uncertainty"] = value

    return edit


def resized(good, **arrays):
    """Return the good file with tensors exchanged, added or (None) left out; ``__`` in names stands for a dot."""
    header, document, tensors = take_apart(good)
    arrays = {name.replace("__", "."): value for name, value in arrays.items()}
    data, entries = b"", {"__metadata__": header["__metadata__"]}
    for name in sorted((set(header) - {"__metadata__"}) | set(arrays)):
        if name in arrays:
            value = arrays[name]
            if value is None:
                continue
            piece, dtype, shape = value.tobytes(), "F64", list(value.shape)
        else:
            begin, end = header[name]["data_offsets"]
            piece, dtype, shape = tensors[begin:end], header[name]["dtype"], header[name]["shape"]
        offsets = [len(data), len(data) + len(piece)]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += piece
    return put_together(entries, document, data)


_FIELDS = {
    f"{field} {what}": (_set(field, value), field)
    for field, bad in {
        "members": {"0": 0, "negative": -2, "real": 2.0, "a string": "2", "true": True, "huge": 257},
        "energy_scale": {"zero": 0, "negative": -1.0, "null": None, "a string": "1"},
        "atom_scale": {"zero": 0.0, "a list": [1]},
        "force_scale": {"negative": -1e-9, "true": True},
        "energy_floor": {"negative": -1e-9, "null": None},
        "atom_floor": {"a string": "0"},
        "force_floor": {"negative": -1, "an object": {}},
        "energy_tail": {"negative": -1e-9, "no variance": 0.5, "null": None},
        "atom_tail": {"a string": "0", "beyond the most": 0.4000001},
        "force_tail": {"true": True, "degrees of freedom": 5.0},
    }.items()
    for what, value in bad.items()
}
_FIELDS |= {f"{name} missing": (_drop(name), name) for name in SCALARS}
_EDITS = _FIELDS | {
    "members of other terms": (_set("members", 3), "members|atom_energies"),
    "an unknown field": (_set("temperature", 300), "temperature"),
    "uncertainty null": (_whole(None), "uncertainty"),
    "uncertainty a list": (_whole([2]), "uncertainty"),
    "no uncertainty": (drop_field("uncertainty"), "deviations|uncertainty"),
    "atom energies of one element": (change_tensor("uncertainty.atom_energies", shape=[4, 1]), "atom_energies"),
    "atom energies of one axis": (change_tensor("uncertainty.atom_energies", shape=[4]), "atom_energies"),
    "atom energies of integers": (
        change_tensor("uncertainty.atom_energies", dtype="I32", shape=[2, 4]),
        "atom_energies",
    ),
    "NaN atom energy": (set_number("uncertainty.atom_energies", 1, np.nan), "atom_energies"),
    "NaN deviation": (set_number("terms.0.deviations", 5, np.nan), "deviations"),
    "infinite deviation": (set_number("terms.2.deviations", 0, np.inf), "deviations"),
    "infinite explained": (set_number("terms.2.explained", 3, -np.inf), "explained"),
    "deviations of one axis less": (change_tensor("terms.0.deviations", shape=[6, 4]), "deviations"),
    "deviations of other members": (change_tensor("terms.2.deviations", shape=[1, 8]), "deviations"),
    "deviations not symmetric": (set_number("terms.1.deviations", 7, 9.5), "deviations"),
    "deviations of the last member not symmetric": (set_number("terms.1.deviations", 2 * 2 * 3 * 112 - 8, 9.5), "devi"),
    "explained transposed": (change_tensor("terms.2.explained", shape=[4, 3]), "explained"),
    "prior variance missing": (drop_field("prior_variance", 2), "prior_variance"),
    "prior variance of splines": (_set_term(0, "prior_variance", 1.0), "prior_variance"),
    "deviations of an entry missing": (remove_tensor("terms.0.deviations"), "deviations|gap|tensor"),
}
_EDITS |= {
    f"prior variance {what}": (_set_term(2, "prior_variance", value), "prior_variance")
    for what, value in {"zero": 0, "negative": -1.0, "null": None, "a string": "1", "true": True}.items()
}
_MOLECULE = {
    "members of a molecule": (_set("members", 2), "members"),
    "molecule without uncertainty": (drop_field("uncertainty"), "explained_descriptor_coefficients"),
    "molecule's prior variance missing": (drop_field("prior_variance", 0), "prior_variance"),
    "molecule's prior variance zero": (_set_term(0, "prior_variance", 0.0), "prior_variance"),
    "molecule's rows transposed": (
        change_tensor("terms.0.explained_descriptor_coefficients", shape=[4, 36, 5]),
        "explained_",
    ),
    "molecule's rows of two axes": (
        change_tensor("terms.0.explained_descriptor_coefficients", shape=[20, 36]),
        "explained_descriptor_coefficients",
    ),
    "molecule's energies exchanged": (
        change_tensor("terms.0.explained_energy_coefficients", shape=[5, 4]),
        "explained_energy_coefficients",
    ),
    "NaN explained": (set_number("terms.0.explained_descriptor_coefficients", 9, np.nan), "explained_descriptor"),
    "NaN explained energy": (set_number("terms.0.explained_energy_coefficients", 9, np.nan), "explained_energy"),
}

MALFORMED_UNCERTAINTY = {name: (edited(edit, GOOD_LOCAL), words) for name, (edit, words) in _EDITS.items()}
MALFORMED_UNCERTAINTY |= {name: (edited(edit, GOOD_MOLECULE), words) for name, (edit, words) in _MOLECULE.items()}
MALFORMED_UNCERTAINTY |= {
    "one term without deviations": (resized(GOOD_LOCAL, terms__0__deviations=None), "deviations"),
    "explained missing": (resized(GOOD_LOCAL, terms__2__explained=None), "explained"),
    "explained alone": (resized(GOOD_LOCAL, terms__2__deviations=None), "deviations"),
    "explained beside offsets": (resized(GOOD_LOCAL, terms__2__sparse_offsets=np.zeros(4)), "sparse_offsets"),
    "atom energies missing": (resized(GOOD_LOCAL, uncertainty__atom_energies=None), "atom_energies"),
    "deviations of a repulsion": (resized(GOOD_LOCAL, terms__3__deviations=np.zeros((2, 3, 2))), "terms.3.deviations"),
    "too many members": (
        edited(_set("members", 300), resized(GOOD_LOCAL, terms__2__deviations=np.zeros((300, 4)))),
        "members|deviations",
    ),
    "atom energies of a molecule": (
        resized(GOOD_MOLECULE, uncertainty__atom_energies=np.zeros((1, 2))),
        "uncertainty.atom_energies",
    ),
    "more points than there are": (
        resized(
            GOOD_MOLECULE,
            terms__0__explained_descriptor_coefficients=np.zeros((2, 14, 36)),
            terms__0__explained_energy_coefficients=np.zeros((2, 14)),
        ),
        "explained_descriptor_coefficients",
    ),
    "explained energies alone": (
        resized(GOOD_MOLECULE, terms__0__explained_descriptor_coefficients=None),
        "explained_descriptor_coefficients",
    ),
}
