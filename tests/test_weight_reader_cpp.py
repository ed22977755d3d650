"""The C++ reader and the Python reader are two programs: they must accept the same files."""

import re
import struct
from dataclasses import replace

import numpy as np
import pytest
from models import MODELS, random_weights

from openmm_kml import weights as weight_files
from openmm_kml._engine import Engine
from openmm_kml.errors import WeightFileError
from openmm_kml.weights import RepulsionTerm, WallsTerm

WORDS = (
    b"0",
    b"-1",
    b"1e999",
    b"18446744073709551615",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b'""',
    b"NaN",
    b'"F64"',
    b"1.5",
    b"1e308",
    b"-1e-9",
    b"5e-324",
)
NUMBERS = (0.0, -1.0, 1e308, -1e160, 5e-324, np.inf, np.nan)
# What uncertainty is made of: searched for, since it is a small part of a header.
FIELDS = b"members|_scale|_floor|_tail|prior_variance|deviations|explained|shape"
NUMBER = rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"


def accepts(reader, data):
    """Return whether a reader accepts the bytes; any error but WeightFileError comes through."""
    try:
        reader(data)
    except WeightFileError:
        return False
    return True


def damaged(data, rng):
    """Return the bytes with one small change: a bit, a cut, a number of a tensor, or a word for one in the header."""
    size = int.from_bytes(data[:8], "little")
    kind = rng.integers(6)
    if kind == 0:
        return _flipped(data, rng.integers(len(data)), 1 << rng.integers(8))
    if kind == 1:
        return _flipped(data, 8 + rng.integers(size), 1 << rng.integers(7))
    if kind == 2:
        return data[: rng.integers(len(data))]
    if kind == 3:
        at = 8 + size + 8 * rng.integers((len(data) - 8 - size) // 8)
        return data[:at] + struct.pack("<d", NUMBERS[rng.integers(len(NUMBERS))]) + data[at + 8 :]
    header = data[8 : 8 + size]
    numbers = list(re.finditer(b"()(%s)" % NUMBER if kind == 4 else b"(%s)[^0-9]*?(%s)" % (FIELDS, NUMBER), header))
    start, end = numbers[rng.integers(len(numbers))].span(2)
    header = header[:start] + WORDS[rng.integers(len(WORDS))] + header[end:]
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def _flipped(data, at, bits):
    return data[:at] + bytes([data[at] ^ int(bits)]) + data[at + 1 :]


@pytest.mark.parametrize("name", MODELS)
def test_what_python_writes_is_read(name):
    engine = Engine(weight_files.to_bytes(MODELS[name]))
    assert np.array_equal(engine.species, MODELS[name].species)


def test_readers_agree_on_damaged_files():
    rng = np.random.default_rng(11)
    weights = random_weights((8, 1, 1), [[0, 1, 2], [0, 2, 1]], n_train=2, energies=True)
    repulsion = RepulsionTerm(np.array([[0.5, 0.9], [0.6, 1.0], [0.7, 1.2]]))  # H-H, H-O, O-O
    walls = WallsTerm(6.0, 0.5, np.array([[0.8, 1.2], [0.8, 0.0], [1.2, 1.9]]))
    good = weight_files.to_bytes(replace(weights, terms=(*weights.terms, repulsion, walls)))
    verdicts = []
    for _ in range(3000):
        data = damaged(good, rng)
        verdict = accepts(Engine, data)
        assert accepts(weight_files.from_bytes, data) == verdict, data
        verdicts.append(verdict)
    assert 0 < sum(verdicts) < len(verdicts)
