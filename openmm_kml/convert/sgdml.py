"""sGDML model files (``.npz``) of both generations.

The published model (Chmiela et al., Nat. Commun. 9, 3887 (2018); Comput. Phys. Commun. 240, 38 (2019)) is, with
a = √5 |x - x'| / σ, the sum over training points and permutations

    E = c + std Σ [ 5/(3σ²) (1 + a) e^-a (x - x')·A + (1 + a + a²/3) e^-a α ]

of which the second term is there only if the model was trained with energy constraints. This is term `gdml` of
docs/theory.md with the Matérn-5/2 kernel, u = std·A and β = std·α.

| ours | files since 2019 | files of 2018 |
|---|---|---|
| x | ``R_desc`` (D, N) | ``Rt_desc`` (D, N) or (N, D) |
| A | ``R_d_desc_alpha`` (N, D) | ``Rt_d_desc_alpha`` (N, D, 1) |
| group | ``perms`` from 0 | ``perms`` from 1 |
| α, std | ``alphas_E`` (optional), ``std`` | absent, 1 |
"""

import hashlib
from pathlib import Path

import numpy as np

from openmm_kml import __version__, units
from openmm_kml.errors import DataError
from openmm_kml.structures.npz import NpzFile
from openmm_kml.weights import GDMLTerm, Weights

_TEXTS = ("dataset_name", "dataset_theory", "code_version", "md5_train", "dataset")
MAX_PERMUTATIONS = 5000
_TYPES = {"d": "a data set", "t": "a training task"}


def convert_sgdml(path, energy_unit=None, length_unit=None):
    """Return the `Weights` of an sGDML model file.

    Only the plain arrays that are needed are read; the pickled objects that such files carry are never loaded.

    Parameters
    ----------
    path : path-like
    energy_unit, length_unit : str, optional
        Units of the model. Left out, they are those the file states (``e_unit``, ``r_unit``), else those of the
        sGDML package, kcal/mol and Å.

    Returns
    -------
    Weights
        In eV and Å.

    Raises
    ------
    DataError
        If the file is not a model of one molecule, or an array is missing, damaged or of a wrong shape.
    """
    path = Path(path)
    with NpzFile(path) as file:
        _check_kind(file)
        energy = _unit(file, "e_unit", energy_unit, "kcal/mol", units.energy_unit)
        length = _unit(file, "r_unit", length_unit, "Angstrom", units.length_unit)
        species = _species(file)
        term = _term(file, species, units.ENERGY_UNITS[energy], units.LENGTH_UNITS[length])
        source = {name: file.text(name) for name in _TEXTS if name in file}
    source |= {"format": "sGDML", "energy_unit": energy, "length_unit": length}
    source["file_digest"] = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    provenance = {"program": f"openmm_kml {__version__}", "converted_from": source}
    return Weights(species, (term,), {}, provenance)


def _check_kind(file):
    """Raise `DataError` if the archive is not an sGDML model, or has parts that a molecule's model cannot have."""
    if "R_d_desc_alpha" not in file and "Rt_d_desc_alpha" not in file:
        kind = _TYPES.get(file.text("type"), "some other archive") if "type" in file else "some other archive"
        raise DataError(
            f"{file.path} is {kind}, not an sGDML model (no array 'R_d_desc_alpha' or 'Rt_d_desc_alpha'); "
            "name a model file, or train on a data set with kml train gdml"
        )
    if "lattice" in file:
        raise DataError(f"{file.path} is a model of a periodic system (array 'lattice'), which cannot be converted")
    use_cprsn = file.read("use_cprsn")
    if use_cprsn is not None and bool(use_cprsn.any()):
        raise DataError(f"{file.path} has a compressed descriptor ('use_cprsn'), which cannot be converted")


def _term(file, species, energy, length):
    """Return the term in eV and Å; ``energy`` and ``length`` are the model's units in eV and Å."""
    n_atoms = len(species)
    n_pairs = n_atoms * (n_atoms - 1) // 2
    coefficients = _floats(file, "R_d_desc_alpha" if "R_d_desc_alpha" in file else "Rt_d_desc_alpha")
    if coefficients.ndim == 3 and coefficients.shape[2] == 1:
        coefficients = coefficients[:, :, 0]
    if coefficients.ndim != 2 or coefficients.shape[1] != n_pairs or len(coefficients) == 0:
        raise DataError(
            f"{file.path}: the coefficients have shape {coefficients.shape}; (training points, {n_pairs}) "
            f"is expected for {n_atoms} atoms"
        )
    std = _positive(file, "std", default=1.0 if "Rt_d_desc_alpha" in file else None)
    alphas = _floats(file, "alphas_E") * (std * energy) if "alphas_E" in file else None
    if alphas is not None and alphas.shape != coefficients.shape[:1]:
        raise DataError(f"{file.path}: 'alphas_E' has shape {alphas.shape}; {coefficients.shape[:1]} is expected")
    return GDMLTerm(
        power=1.0,
        kernel="matern52",
        length_scale=_positive(file, "sig") / length,
        energy_offset=_number(file, "c") * energy,
        descriptor_weights=np.ones(n_pairs),
        training_descriptors=_descriptors(file, coefficients.shape) / length,
        descriptor_coefficients=coefficients * (std * energy / length),
        permutations=_permutations(file, species),
        energy_coefficients=alphas,
    )


def _descriptors(file, shape):
    """Return the training descriptors of shape (N, D), from either orientation."""
    x = _floats(file, "R_desc" if "R_desc" in file else "Rt_desc")
    if x.shape == shape[::-1]:
        x = x.T  # as written by every release of the package; also what is meant if N = D
    if x.shape != shape:
        raise DataError(
            f"{file.path}: the training descriptors have shape {x.shape}; {shape[::-1]} is expected, "
            "for as many points as there are coefficients"
        )
    return np.ascontiguousarray(x)


def _species(file):
    z = _needed(file, "z")
    if z.dtype.kind not in "iu" or z.ndim != 1 or len(z) < 2 or z.min() < 1 or z.max() > 118:
        raise DataError(
            f"{file.path}: 'z' must hold the atomic numbers, 1 to 118, of at least two atoms; "
            f"it has type {z.dtype} and shape {z.shape}"
        )
    return z.astype(np.int64)


def _permutations(file, species):
    """Return the permutation group counted from 0, identity first."""
    n_atoms = len(species)
    identity = np.arange(n_atoms)
    raw = _needed(file, "perms")
    if raw.dtype.kind not in "iu" or raw.ndim != 2 or raw.shape[1] != n_atoms or len(raw) == 0:
        raise DataError(
            f"{file.path}: 'perms' must be whole numbers of shape (permutations, {n_atoms}); "
            f"it has type {raw.dtype} and shape {raw.shape}"
        )
    if len(raw) > MAX_PERMUTATIONS:
        raise DataError(f"{file.path}: 'perms' has {len(raw)} rows; at most {MAX_PERMUTATIONS} are converted")
    perms = raw.astype(np.int64) - int(raw.min())
    if raw.min() > 1 or not np.array_equal(np.sort(perms, axis=1), np.tile(identity, (len(perms), 1))):
        raise DataError(f"{file.path}: 'perms' has a row that is not a permutation of {n_atoms} atoms")
    if not (species[perms] == species).all():
        raise DataError(f"{file.path}: 'perms' exchanges atoms of different elements")
    rows = {tuple(row) for row in perms.tolist()}
    if len(rows) < len(perms) or not _is_group(perms, rows):
        raise DataError(f"{file.path}: 'perms' repeats a row or is not a group, so its model has no defined symmetry")
    first = (perms != identity).any(axis=1).argmin()
    order = [first, *(k for k in range(len(perms)) if k != first)]
    return perms[order].astype(np.int32)


def _is_group(perms, rows):
    """Return whether the products of all pairs are among the rows (a finite closed set has identity and inverses)."""
    return all(tuple(row) in rows for perm in perms for row in perm[perms].tolist())


def _unit(file, name, given, default, canonical):
    """Return the unit asked for, else the one the file states, else sGDML's own."""
    if given:
        return canonical(given)
    stated = file.text(name)
    if not stated:
        return default
    try:
        return canonical(stated)
    except ValueError as error:
        option = "--energy-unit" if name == "e_unit" else "--length-unit"
        raise DataError(f"{file.path}: {error}; say it with {option}") from None


def _needed(file, name):
    array = file.read(name)
    if array is None:
        raise DataError(f"{file.path} is not a whole sGDML model: it has no array {name!r}")
    return array


def _floats(file, name):
    array = _needed(file, name)
    if array.dtype.kind not in "fiu":
        raise DataError(f"{file.path}: array {name!r} must hold numbers; its type is {array.dtype}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise DataError(f"{file.path}: array {name!r} holds numbers that are not finite; the model is damaged")
    return array


def _number(file, name, default=None):
    value = file.number(name, default)
    if value is None:
        raise DataError(f"{file.path} is not a whole sGDML model: it has no number {name!r}")
    if not np.isfinite(value):
        raise DataError(f"{file.path}: {name!r} is {value}, not a finite number")
    return value


def _positive(file, name, default=None):
    value = _number(file, name, default)
    if value <= 0:
        raise DataError(f"{file.path}: {name!r} must be above zero; {value} came")
    return value
