"""Checks that the terms of a weight file share: numbers, lengths and arrays, each refused by the name of its field."""

import math

import numpy as np

from openmm_kml.errors import WeightFileError

MAX_CUTOFF = 100.0  # Å; a list of neighbors within more would only fill the memory

MAX_MEMBERS = 256  # of a local model with uncertainty
MAX_EXPLAINED = 100_000  # rows of what training data explain of a prior


def checked_number(where, name, value, least=-math.inf, most=math.inf, above=-math.inf):
    """Return a finite number within least and most, and greater than `above`, as float.

    Raises
    ------
    WeightFileError
        If it is none; the message names the field.
    """
    if not is_finite_number(value) or not least <= value <= most or not value > above:
        bounds = [f"{word} {bound:g}" for word, bound in (("above", above), ("at least", least), ("at most", most))]
        bounds = [text for text, bound in zip(bounds, (above, least, most), strict=True) if math.isfinite(bound)]
        raise WeightFileError(f"{where}.{name} must be a number {' and '.join(bounds)}; {value!r} was found")
    return float(value)


def checked_flag(where, name, value):
    """Return a bool, or raise WeightFileError naming the field."""
    if not isinstance(value, bool):
        raise WeightFileError(f"{where}.{name} must be true or false; {value!r} was found")
    return value


def checked_length(where, name, value, least, most):
    """Return a length in Å as float, or raise WeightFileError naming the field."""
    if not is_finite_number(value) or not least <= value <= most:
        raise WeightFileError(f"{where}.{name} must be a length from {least:g} to {most:g} Å; {value!r} was found")
    return float(value)


def checked_array(where, name, value, n_dim):
    """Return a contiguous float64 array of n_dim sizes above zero, or raise WeightFileError naming the field."""
    value = np.asarray(value)
    if value.ndim != n_dim or value.size == 0:
        raise WeightFileError(f"{where}.{name} has shape {value.shape}; {n_dim} sizes above zero are expected")
    value = np.ascontiguousarray(value, dtype=np.float64)
    if not np.isfinite(value).all():
        raise WeightFileError(f"{where}.{name} holds a number that is not finite")
    return value


def checked_deviations(where, term, coefficients):
    """Return the deviations (S, *shape of the coefficients) of a term, None without, or raise WeightFileError."""
    if term.deviations is None:
        return None
    deviations = checked_array(where, "deviations", term.deviations, coefficients.ndim + 1)
    if deviations.shape[1:] != coefficients.shape or len(deviations) > MAX_MEMBERS:
        raise WeightFileError(
            f"{where}.deviations has shape {deviations.shape}; S times {coefficients.shape} is expected, S at most "
            f"{MAX_MEMBERS}"
        )
    return deviations


def is_integer(value):
    """Return whether a value is an integer and no bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_finite_number(value):
    """Return whether a value is a finite real number and no bool."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    try:
        return number and math.isfinite(value)
    except OverflowError:  # an int beyond all floats
        return False
