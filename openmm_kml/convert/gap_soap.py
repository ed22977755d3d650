"""The `soap` descriptor of a GAP as a term of our own (docs/theory.md).

QUIP's kernel is δ² (p̂ · x_s)^ζ, where p̂ and the sparse points x_s have one more last entry, the constant σ0. That
entry becomes the offset b_s = σ0 x_s,last, and δ² and the weights of the sparse points become the coefficients a_s.
"""

import numpy as np

from openmm_kml.descriptors.soap import soap_descriptor
from openmm_kml.errors import DataError, WeightFileError
from openmm_kml.soap_term import MAX_ANGULAR, MAX_CHANNELS, MAX_RADIAL, checked_soap

# Since these versions, t_l = 1/√(2l + 1), and the center stands only in the channels of its own element.
VERSION_ANGULAR_WEIGHTS = 1423143769
VERSION_OWN_CHANNEL = 1426512068
VERSION_ORBITALS = 1987654320  # from beyond this one, the default basis is Gaussian-type orbitals

_NAMES = """
    cutoff cutoff_transition_width cutoff_dexp cutoff_scale cutoff_rate l_max n_max atom_sigma central_weight
    central_reference_all_species diagonal_radial covariance_sigma0 normalise basis_error_exponent n_z n_species
    species_z z radial_basis
"""
KNOWN = frozenset(_NAMES.split())
REFUSED = {  # option -> values that leave the plain power spectrum
    "average": ("f", "false"),
    "nu_r": ("2",),
    "nu_s": ("2",),
    "z_mix": ("f", "false"),
    "r_mix": ("f", "false"),
    "sym_mix": ("f", "false"),
    "coupling": ("t", "true"),
    "k": ("0",),
    "mix_shift": ("0",),
    "z_map": ("",),
    "xml_version": (),
}


def check(words, coordinates, skip):
    """Raise `DataError` for options and kernels that are not supported, except unknown options in `skip`."""
    words.check_known(KNOWN, REFUSED, skip)
    if coordinates.covariance_type != 2:
        raise DataError(
            f"{words.where} has covariance_type {coordinates.covariance_type}; for a soap descriptor only 2 "
            "(a power of the dot product) is supported"
        )


def named_elements(words):
    """Return the atomic numbers that a `soap` descriptor names."""
    return {z for key in ("z", "species_z") for z in words.elements(key)} - {0}


def soap_term(words, coordinates, version, elements):
    """Return the `SoapTerm` of one descriptor, or None where no element of the model is a center.

    Parameters
    ----------
    words : Words
        The descriptor's text.
    coordinates : Coordinates
        Kernel, sparse points and coefficients.
    version : int
        Of the file.
    elements : sequence of int
        Atomic numbers of the model, ascending.

    Raises
    ------
    DataError
        If an option is out of range, or the sparse points have another dimension.
    """
    centers = _centers(words, elements)
    if not centers:
        return None
    try:
        descriptor = _descriptor(words, version, elements, centers)
        _check_dimension(words, coordinates, descriptor.dimension)
        offsets = words.float("covariance_sigma0", "0") * coordinates.sparse_points[:, -1]
        term = descriptor.term(
            coordinates.zeta,
            coordinates.sparse_points[:, :-1],
            coordinates.delta**2 * coordinates.coefficients,
            offsets if offsets.any() else None,
        )
        return checked_soap("soap", term, len(elements))
    except (ValueError, WeightFileError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{words.where} cannot be converted: {error}") from None


def _descriptor(words, version, elements, centers):
    channels = _channels(words, elements)
    l_max = words.integer("l_max", None, 0, MAX_ANGULAR - 1)
    return soap_descriptor(
        elements,
        centers,
        channels,
        cutoff=words.float("cutoff"),
        cutoff_width=words.float("cutoff_transition_width", "0.5"),
        n_max=words.integer("n_max", None, 1, MAX_RADIAL),
        l_max=l_max,
        atom_sigma=words.float("atom_sigma"),
        central_weight=words.float("central_weight", "1"),
        central_everywhere=_central_everywhere(words, version, len(channels)),
        normalize=words.flag("normalise", "T"),
        diagonal_radial=words.flag("diagonal_radial", "F"),
        decay_exponent=float(words.integer("cutoff_dexp", "0", 0, 100)),
        decay_scale=words.float("cutoff_scale", "1"),
        decay_rate=words.float("cutoff_rate", "1"),
        radial_basis=_radial_basis(words, version),
        error_exponent=words.float("basis_error_exponent", "10"),
        angular_weights=None if version >= VERSION_ANGULAR_WEIGHTS else np.ones(l_max + 1),
    )


def _centers(words, elements):
    numbers = words.elements("z")
    if len(numbers) != words.integer("n_z", "1", 1, MAX_CHANNELS):
        words.fail("z" if "z" in words.options else "n_z", f"{len(numbers)} and n_z elements do not agree")
    return list(elements) if 0 in numbers else [z for z in elements if z in numbers]


def _channels(words, elements):
    """Return the atomic numbers of each channel of the density."""
    count = words.integer("n_species", "1", 1, MAX_CHANNELS)
    numbers = words.elements("species_z")
    if "species_z" in words.options and "n_species" not in words.options:
        words.fail("species_z", "QUIP needs n_species with it")
    if len(numbers) != count or len(set(numbers)) != count or (count > 1 and 0 in numbers):
        key = "species_z" if "species_z" in words.options else "n_species"
        words.fail(key, f"{count} different atomic numbers are expected as species_Z")
    return [list(elements)] if numbers == [0] else [[z] for z in numbers]


def _central_everywhere(words, version, n_channels):
    if version < VERSION_OWN_CHANNEL or ("central_reference_all_species" not in words.options and n_channels == 1):
        return True
    return words.flag("central_reference_all_species", "F")


def _radial_basis(words, version):
    name = words.options.get("radial_basis") or ("GTO" if version > VERSION_ORBITALS else "EQUISPACED_GAUSS")
    if name not in ("EQUISPACED_GAUSS", "POLY", "GTO"):
        words.fail("radial_basis", "EQUISPACED_GAUSS, POLY or GTO is expected")
    return name.lower()


def _check_dimension(words, coordinates, dimension):
    found = coordinates.sparse_points.shape[1]
    if found != dimension + 1:
        raise DataError(
            f"{words.where} says its vectors have {found} entries; by its options they have {dimension + 1}"
        )
