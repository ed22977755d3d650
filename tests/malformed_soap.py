"""Damaged and hostile weight files of a `soap` term, each with words that every reader's message must contain."""

import numpy as np
from local_models import SILICA, random_soap
from malformed import put_together, take_apart
from malformed_local import change_tensor, drop_field, edited, remove_tensor, set_field, set_number

from openmm_kml.weights import Weights, to_bytes

# n = 2 elements, C = 2 channels, A = N = 3 radial nodes and functions, L + 1 = 3, M = 4 points, D = 63 entries
_TERM = random_soap(SILICA, np.random.default_rng(6), n_sparse=4, n_max=3, l_max=2, atom_sigma=0.45, offsets=True)
GOOD_SOAP = to_bytes(Weights(elements=SILICA, terms=(_TERM,), atom_energies={8: 0.5}))


def resized(**arrays):
    """Return the good file with whole tensors exchanged, whether they fit together or not."""
    header, document, tensors = take_apart(GOOD_SOAP)
    data = b""
    for name in sorted(set(header) - {"__metadata__"}):
        begin, end = header[name]["data_offsets"]
        value = arrays.get(name.removeprefix("terms.0."))
        if value is not None:
            header[name]["shape"] = list(value.shape)
        piece = tensors[begin:end] if value is None else value.tobytes()
        header[name]["data_offsets"] = [len(data), len(data) + len(piece)]
        data += piece
    return put_together(header, document, data)


def _name(tensor):
    return f"terms.0.{tensor}"


_EDITS = {
    f"{field} {what}": (set_field(field, value, 0), field)
    for field, bad in {
        "cutoff": {"zero": 0, "negative": -3.0, "of a kilometer": 1e13, "a string": "5", "true": True, "a list": [5]},
        "cutoff_width": {"zero": 0.0, "above the cutoff": 3.7, "negative": -0.5, "null": None},
        "decay_exponent": {"negative": -1, "huge": 1000, "a string": "none"},
        "decay_scale": {"zero": 0, "negative": -1.0, "of a kilometer": 1e13},
        "decay_rate": {"negative": -0.1, "false": False},
        "atom_sigma": {"zero": 0, "negative": -0.5, "tiny": 1e-9, "of a kilometer": 1e13},
        "zeta": {"zero": 0, "negative": -4, "huge": 1e6, "null": None},
        "normalize": {"a number": 1, "null": None, "a string": "T"},
        "diagonal_radial": {"a number": 0, "a list": []},
    }.items()
    for what, value in bad.items()
}
_EDITS |= {f"{field} missing": (drop_field(field, 0), field) for field in ("cutoff", "zeta", "normalize", "atom_sigma")}
_EDITS |= {
    "a cutoff of many sigmas": (set_field("cutoff", 99.0, 0), "atom_sigma"),
    "another kind's field": (set_field("start", 1.0, 0), "start"),
    "an exponent of the old days": (set_field("zeta_", 4, 0), "zeta_"),
    "elements too many": (set_field("elements", [8, 14, 29]), "centers|species_weights"),
    "elements too few": (set_field("elements", [8]), "centers|species_weights"),
    "diagonal of full points": (set_field("diagonal_radial", True, 0), "sparse_points"),
    "centers of 64 bits": (change_tensor(_name("centers"), dtype="I64", shape=[1]), "centers"),
    "centers of real numbers": (change_tensor(_name("centers"), dtype="F64", shape=[1]), "centers"),
    "centers of two axes": (change_tensor(_name("centers"), shape=[2, 1]), "centers"),
    "center 2": (set_number(_name("centers"), 1, 2, "i4"), "centers"),
    "center -1": (set_number(_name("centers"), 0, -1, "i4"), "centers"),
    "coefficients of integers": (change_tensor(_name("coefficients"), dtype="I32", shape=[8]), "coefficients"),
    "coefficients of two axes": (change_tensor(_name("coefficients"), shape=[2, 2]), "coefficients"),
    "sparse points transposed": (change_tensor(_name("sparse_points"), shape=[63, 4]), "sparse_points|coefficients"),
    "sparse points of another length": (change_tensor(_name("sparse_points"), shape=[2, 126]), "sparse_points"),
    "sparse points of three axes": (change_tensor(_name("sparse_points"), shape=[4, 9, 7]), "sparse_points"),
    "sparse offsets of two axes": (change_tensor(_name("sparse_offsets"), shape=[4, 1]), "sparse_offsets"),
    "species weights of one axis": (change_tensor(_name("species_weights"), shape=[4]), "species_weights"),
    "species weights of one element": (change_tensor(_name("species_weights"), shape=[1, 4]), "weights"),
    "central weights of one element": (change_tensor(_name("central_weights"), shape=[1, 4]), "central_weights"),
    "radial transforms of two axes": (change_tensor(_name("radial_transforms"), shape=[9, 3]), "radial_transforms"),
    "radial transforms exchanged": (
        change_tensor(_name("radial_transforms"), shape=[1, 27, 1]),
        "radial|angular_weights",
    ),
    "NaN sparse point": (set_number(_name("sparse_points"), 100, np.nan), "sparse_points"),
    "infinite coefficient": (set_number(_name("coefficients"), 3, np.inf), "coefficients"),
    "NaN sparse offset": (set_number(_name("sparse_offsets"), 0, np.nan), "sparse_offsets"),
    "infinite transform": (set_number(_name("radial_transforms"), 7, -np.inf), "radial_transforms"),
    "NaN species weight": (set_number(_name("species_weights"), 1, np.nan), "species_weights"),
    "infinite center": (set_number(_name("central_radial"), 0, np.inf), "central_radial"),
    "negative angular weight": (set_number(_name("angular_weights"), 2, -1e-300), "angular_weights"),
    "radial nodes descending": (set_number(_name("radial_nodes"), 1, -1.0), "radial_nodes"),
    "a radial node twice": (set_number(_name("radial_nodes"), 1, 0.0), "radial_nodes"),
    "a radial node far away": (set_number(_name("radial_nodes"), 2, 101.0), "radial_nodes"),
}
_EDITS |= {f"{tensor} missing": (remove_tensor(_name(tensor)), "tensor|gap") for tensor in _TERM.tensors}

MALFORMED_SOAP = {name: (edited(edit, GOOD_SOAP), words) for name, (edit, words) in _EDITS.items()}
MALFORMED_SOAP |= {
    "no centers": (resized(centers=np.zeros(2, "i4")), "centers"),
    "angular weights all zero": (resized(angular_weights=np.zeros(3)), "angular_weights"),
    "too many channels": (
        resized(species_weights=np.ones((2, 65)), central_weights=np.ones((2, 65))),
        "channels",
    ),
    "too many radial functions": (
        resized(radial_transforms=np.ones((3, 3, 65)), central_radial=np.ones(65)),
        "radial functions",
    ),
    "too many radial nodes": (
        resized(radial_nodes=np.arange(129) / 2.0, radial_transforms=np.ones((3, 129, 3))),
        "radial nodes",
    ),
    "too many degrees": (
        resized(angular_weights=np.ones(22), radial_transforms=np.ones((22, 3, 3))),
        "angular functions",
    ),
    "too many functions of channels": (
        resized(
            species_weights=np.ones((2, 60)),
            central_weights=np.ones((2, 60)),
            radial_transforms=np.ones((3, 3, 60)),
            central_radial=np.ones(60),
        ),
        "functions of all channels",
    ),
    "too long a power spectrum": (
        resized(
            species_weights=np.ones((2, 16)),
            central_weights=np.ones((2, 16)),
            angular_weights=np.ones(21),
            radial_transforms=np.ones((21, 3, 32)),
            central_radial=np.ones(32),
        ),
        "entries of the power spectrum",
    ),
}
