"""Numbers and words as GAP files write them: text of Fortran and C programs, none of it trusted."""

import math
import re

import numpy as np

from openmm_kml.errors import DataError

MAX_NUMBER = 64  # characters of one number
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+|[+-]\d+)?")
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_EXPONENT = re.compile(r"(?<=[\d.])[dD]?(?=[+-]\d)|(?<=[\d.])[dD](?=\d)")


def read_float(where, text):
    """Return a finite number; Fortran's spellings ``.5D+001`` and ``0.5-101`` are known.

    Raises
    ------
    DataError
        If the text is not a number or not finite; the message starts with `where`.
    """
    text = text.strip()
    if len(text) <= MAX_NUMBER and _FLOAT.fullmatch(text):
        value = float(text if "e" in text.lower() else _EXPONENT.sub("e", text))
        if math.isfinite(value):
            return value
    raise DataError(f"{where} is {shortened(text)}; a finite number is expected")


def read_integer(where, text, least, most):
    """Return an integer between two bounds, or raise `DataError`."""
    text = text.strip()
    value = int(text) if _INTEGER.fullmatch(text) else None
    if value is None or not least <= value <= most:
        raise DataError(f"{where} is {shortened(text)}; a whole number from {least} to {most} is expected")
    return value


def read_flag(where, text):
    """Return the truth value of a Fortran logical: T, F, true, .false. and the like."""
    word = text.strip().strip(".").lower()
    if word not in ("t", "f", "true", "false"):
        raise DataError(f"{where} is {shortened(text)}; T or F is expected")
    return word[0] == "t"


def read_floats(where, text, count):
    """Return exactly `count` finite numbers of a text, or raise `DataError`; nothing is allocated before the count."""
    words = text.split(maxsplit=count)
    if len(words) != count:
        found = f"{len(words)} numbers" if len(words) < count else f"more than {count} numbers"
        raise DataError(f"{where} holds {found}; {count} are expected")
    return np.array([read_float(where, word) for word in words])


def shortened(text):
    """Return text from a file for a message: quoted, printable and short."""
    text = str(text)
    return repr(text if len(text) <= MAX_NUMBER else text[: MAX_NUMBER - 1] + "…")
