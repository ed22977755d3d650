"""The `soap` term of a weight file: a descriptor of environments and the sparse Gaussian process on it."""

from dataclasses import dataclass, fields, replace

import numpy as np

from openmm_kml.errors import WeightFileError
from openmm_kml.term_checks import (
    MAX_CUTOFF,
    MAX_EXPLAINED,
    checked_array,
    checked_deviations,
    checked_flag,
    checked_length,
    checked_number,
)

MAX_CHANNELS = 64
MAX_RADIAL = 64
MAX_COMBINED = 512  # channels times radial functions
MAX_NODES = 128
MAX_ANGULAR = 21  # l from 0 to 20
MAX_DIMENSION = 2**20
MIN_SIGMA = 0.05  # Å
MAX_CUTOFF_SIGMAS = 200  # cutoff by atom_sigma; beyond, tables of radial functions would fill the memory
MAX_POWER = 100.0  # of the kernel and of the decay


@dataclass(frozen=True)
class SoapDescriptor:
    """What turns the neighbors of an atom into a power spectrum; the formulas are in docs/theory.md.

    Of n elements, C channels, A radial nodes, N radial functions and l = 0 … L. `openmm_kml.descriptors.soap` makes
    descriptors from the usual hyperparameters and evaluates them.

    Attributes
    ----------
    cutoff, cutoff_width : float, Å
        Neighbors beyond the cutoff do not count; the cosine falls over `cutoff_width` before it.
    decay_exponent, decay_scale, decay_rate : float, 1, Å, 1
        Of the radial weight of neighbors; an exponent of zero means none.
    atom_sigma : float, Å
        Width of an atom's Gaussian density.
    normalize : bool
        Whether the power spectrum is divided by its length.
    diagonal_radial : bool
        Whether only pairs of equal radial functions count.
    centers : ndarray of int32, shape (n,)
        1 for the elements of the model whose atoms are described, else 0.
    species_weights : ndarray of shape (n, C)
        Weight of an element's atoms in each channel.
    central_weights : ndarray of shape (n, C)
        Weight of the center itself in each channel.
    angular_weights : ndarray of shape (L + 1,)
        t_l >= 0.
    radial_nodes : ndarray of shape (A,), Å
        r_a, ascending.
    radial_transforms : ndarray of shape (L + 1, A, N)
        T^l of the radial functions.
    central_radial : ndarray of shape (N,)
        Radial part of the center itself.
    """

    cutoff: float
    cutoff_width: float
    decay_exponent: float
    decay_scale: float
    decay_rate: float
    atom_sigma: float
    normalize: bool
    diagonal_radial: bool
    centers: np.ndarray
    species_weights: np.ndarray
    central_weights: np.ndarray
    angular_weights: np.ndarray
    radial_nodes: np.ndarray
    radial_transforms: np.ndarray
    central_radial: np.ndarray

    @property
    def n_channels(self):
        return self.species_weights.shape[1]

    @property
    def n_radial(self):
        return self.radial_transforms.shape[2]

    @property
    def n_angular(self):
        """Number of l, L + 1."""
        return len(self.angular_weights)

    @property
    def dimension(self):
        """Entries of the power spectrum."""
        return _dimension(self.n_channels, self.n_radial, self.n_angular, self.diagonal_radial)

    @property
    def reach(self):
        """Distance in Å beyond which no neighbor counts."""
        return self.cutoff

    def term(self, zeta, sparse_points, coefficients, sparse_offsets=None):
        """Return the `SoapTerm` of a sparse Gaussian process on this descriptor."""
        shared = {field.name: getattr(self, field.name) for field in fields(SoapDescriptor)}
        return SoapTerm(
            **shared,
            zeta=zeta,
            sparse_points=sparse_points,
            coefficients=coefficients,
            sparse_offsets=sparse_offsets,
        )


@dataclass(frozen=True)
class SoapTerm(SoapDescriptor):
    """A sparse Gaussian process on the smooth overlap of atomic positions: E_i = Σ_s a_s (p_i · x_s + b_s)^ζ.

    Attributes
    ----------
    zeta : float
        Power of the kernel.
    sparse_points : ndarray of shape (n_sparse, dimension)
        x_s.
    coefficients : ndarray of shape (n_sparse,), eV
        a_s.
    sparse_offsets : ndarray of shape (n_sparse,), optional
        b_s; zero without.
    deviations : ndarray of shape (S, n_sparse), eV, optional
        Of the coefficients, for the members of a model with uncertainty.
    explained : ndarray of shape (R, n_sparse), eV, optional
        What the sparse points explain of the prior variance: v_i = prior_variance k(p_i, p_i) - Σ_r (Σ_s explained_rs
        k(p_i, x_s))².
    prior_variance : float, eV², optional
        Given with `explained`.
    """

    zeta: float
    sparse_points: np.ndarray
    coefficients: np.ndarray
    sparse_offsets: np.ndarray | None = None
    deviations: np.ndarray | None = None
    explained: np.ndarray | None = None
    prior_variance: float | None = None

    kind = "soap"
    learned = True
    scalars = (
        "cutoff",
        "cutoff_width",
        "decay_exponent",
        "decay_scale",
        "decay_rate",
        "atom_sigma",
        "normalize",
        "diagonal_radial",
        "zeta",
    )
    optional_scalars = ("prior_variance",)
    tensors = (
        "centers",
        "species_weights",
        "central_weights",
        "angular_weights",
        "radial_nodes",
        "radial_transforms",
        "central_radial",
        "sparse_points",
        "coefficients",
    )
    optional_tensors = ("sparse_offsets", "deviations", "explained")

    @property
    def n_sparse(self):
        return len(self.coefficients)


def checked_soap(where, term, n_elements):
    """Return a `SoapTerm` with canonical types, or raise WeightFileError naming the field that breaks a rule."""
    descriptor = checked_descriptor(where, term, n_elements)
    zeta = checked_number(where, "zeta", term.zeta, above=0, most=MAX_POWER)
    sparse_points = checked_array(where, "sparse_points", term.sparse_points, 2)
    n_sparse = len(sparse_points)
    _check_shape(where, "sparse_points", sparse_points, (n_sparse, descriptor.dimension))
    vectors = []
    for name in ("coefficients", "sparse_offsets"):
        value = getattr(term, name)
        if value is not None or name == "coefficients":
            value = checked_array(where, name, value, 1)
            _check_shape(where, name, value, (n_sparse,))
        vectors.append(value)
    checked = descriptor.term(zeta, sparse_points, *vectors)
    deviations = checked_deviations(where, term, checked.coefficients)
    return replace(checked, deviations=deviations, **_checked_explained(where, term, n_sparse))


def _checked_explained(where, term, n_sparse):
    """Return the checked fields `explained` and `prior_variance`."""
    if (term.explained is None) != (term.prior_variance is None):
        raise WeightFileError(f"{where} must have either both of explained and prior_variance or none of them")
    if term.explained is None:
        return {}
    if term.deviations is None:
        raise WeightFileError(f"{where}.explained needs deviations beside it")
    if term.sparse_offsets is not None:
        raise WeightFileError(f"{where}.explained cannot stand beside sparse_offsets, which leave the prior open")
    explained = checked_array(where, "explained", term.explained, 2)
    _check_shape(where, "explained", explained, (min(len(explained), MAX_EXPLAINED), n_sparse))
    return {
        "explained": explained,
        "prior_variance": checked_number(where, "prior_variance", term.prior_variance, above=0),
    }


def checked_descriptor(where, descriptor, n_elements):
    """Return a `SoapDescriptor` with canonical types, or raise WeightFileError naming the field that breaks a rule."""
    scalars, arrays = _checked_scalars(where, descriptor), _checked_arrays(where, descriptor, n_elements)
    checked = SoapDescriptor(**scalars, **arrays)
    for what, size, most in (
        ("channels", checked.n_channels, MAX_CHANNELS),
        ("angular functions", checked.n_angular, MAX_ANGULAR),
        ("radial nodes", len(checked.radial_nodes), MAX_NODES),
        ("radial functions", checked.n_radial, MAX_RADIAL),
        ("functions of all channels", checked.n_channels * checked.n_radial, MAX_COMBINED),
        ("entries of the power spectrum", checked.dimension, MAX_DIMENSION),
    ):
        if size > most:
            raise WeightFileError(f"{where} has {size} {what}; this program takes at most {most}")
    return checked


def _checked_scalars(where, term):
    cutoff = checked_length(where, "cutoff", term.cutoff, 0, MAX_CUTOFF)
    if cutoff == 0:
        raise WeightFileError(f"{where}.cutoff must be above zero; {term.cutoff!r} was found")
    cutoff_width = checked_length(where, "cutoff_width", term.cutoff_width, 0, cutoff)
    atom_sigma = checked_length(where, "atom_sigma", term.atom_sigma, MIN_SIGMA, MAX_CUTOFF)
    if cutoff > MAX_CUTOFF_SIGMAS * atom_sigma:
        raise WeightFileError(
            f"{where}.atom_sigma must be at least the cutoff / {MAX_CUTOFF_SIGMAS}; {term.atom_sigma!r} was found"
        )
    decay_scale = checked_length(where, "decay_scale", term.decay_scale, 0, MAX_CUTOFF)
    for name, value in (("cutoff_width", cutoff_width), ("decay_scale", decay_scale)):
        if value == 0:
            raise WeightFileError(f"{where}.{name} must be above zero; {getattr(term, name)!r} was found")
    return {
        "cutoff": cutoff,
        "cutoff_width": cutoff_width,
        "decay_exponent": checked_number(where, "decay_exponent", term.decay_exponent, least=0, most=MAX_POWER),
        "decay_scale": decay_scale,
        "decay_rate": checked_number(where, "decay_rate", term.decay_rate, least=0),
        "atom_sigma": atom_sigma,
        "normalize": checked_flag(where, "normalize", term.normalize),
        "diagonal_radial": checked_flag(where, "diagonal_radial", term.diagonal_radial),
    }


def _checked_arrays(where, term, n_elements):
    sizes = {
        "species_weights": 2,
        "central_weights": 2,
        "angular_weights": 1,
        "radial_nodes": 1,
        "radial_transforms": 3,
        "central_radial": 1,
    }
    arrays = {name: checked_array(where, name, getattr(term, name), n_dim) for name, n_dim in sizes.items()}
    n_channels, n_radial = arrays["species_weights"].shape[1], arrays["radial_transforms"].shape[2]
    for name, shape in (
        ("species_weights", (n_elements, n_channels)),
        ("central_weights", (n_elements, n_channels)),
        ("radial_transforms", (len(arrays["angular_weights"]), len(arrays["radial_nodes"]), n_radial)),
        ("central_radial", (n_radial,)),
    ):
        _check_shape(where, name, arrays[name], shape)
    arrays["centers"] = _checked_centers(where, term.centers, n_elements)
    weights, nodes = arrays["angular_weights"], arrays["radial_nodes"]
    if (weights < 0).any() or not weights.any():
        raise WeightFileError(f"{where}.angular_weights must be zero or above, and not all zero")
    if nodes[0] < 0 or (np.diff(nodes) <= 0).any() or nodes[-1] > MAX_CUTOFF:
        raise WeightFileError(f"{where}.radial_nodes must ascend from 0 Å or above to {MAX_CUTOFF:g} Å at most")
    return arrays


def _checked_centers(where, centers, n_elements):
    centers = np.asarray(centers)
    if centers.shape != (n_elements,) or not np.isin(centers, (0, 1)).all() or not centers.any():
        raise WeightFileError(f"{where}.centers must hold 0 or 1 for each of {n_elements} elements, and one 1 or more")
    return np.ascontiguousarray(centers, dtype=np.int32)


def _check_shape(where, name, value, shape):
    if value.shape != shape:
        raise WeightFileError(f"{where}.{name} has shape {value.shape}; {shape} is expected")


def _dimension(n_channels, n_radial, n_angular, diagonal_radial):
    combined = n_channels * n_radial
    pairs = n_radial * n_channels * (n_channels + 1) // 2 if diagonal_radial else combined * (combined + 1) // 2
    return n_angular * pairs
