"""The `gdml` term of a weight file, the model of one molecule: its fields and their checks."""

from dataclasses import dataclass

import numpy as np

from openmm_kml.errors import WeightFileError
from openmm_kml.term_checks import MAX_EXPLAINED, checked_array, checked_number, is_finite_number

KERNEL_NAMES = ("matern52", "matern72", "matern92", "squared_exponential")
MAX_PERMUTATIONS = 100_000
MAX_INDEX = 2**28  # permutations times descriptor entries


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
    learned = True
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


def checked_gdml(where, term, species):
    """Return the term with canonical types, or raise WeightFileError naming the field that breaks a rule."""
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
