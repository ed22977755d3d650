"""The C++ reader and the Python reader are two programs: they must accept the same files."""

import numpy as np
import pytest
from models import MODELS, random_weights

from openmm_kml import weights as weight_files
from openmm_kml._engine import Engine
from openmm_kml.errors import WeightFileError

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
)


def accepts(reader, data):
    """Return whether a reader accepts the bytes; any error but WeightFileError comes through."""
    try:
        reader(data)
    except WeightFileError:
        return False
    return True


def damaged(data, rng):
    """Return the bytes with one small change: a bit, a cut, or a word in place of a number of the header."""
    data = bytearray(data)
    size = int.from_bytes(data[:8], "little")
    kind = rng.integers(4)
    if kind == 0:
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    elif kind == 1:
        data[8 + rng.integers(size)] ^= 1 << rng.integers(7)
    elif kind == 2:
        del data[rng.integers(len(data)) :]
    else:
        digits = [k for k in range(8, 8 + size) if 48 <= data[k] <= 57 and not 48 <= data[k - 1] <= 57]
        start = end = rng.choice(digits)
        while 48 <= data[end] <= 57:
            end += 1
        word = WORDS[rng.integers(len(WORDS))]
        data[start:end] = word
        data[:8] = (size + len(word) - int(end - start)).to_bytes(8, "little")
    return bytes(data)


@pytest.mark.parametrize("name", MODELS)
def test_what_python_writes_is_read(name):
    engine = Engine(weight_files.to_bytes(MODELS[name]))
    assert np.array_equal(engine.species, MODELS[name].species)


def test_readers_agree_on_damaged_files():
    rng = np.random.default_rng(11)
    good = weight_files.to_bytes(random_weights((8, 1, 1), [[0, 1, 2], [0, 2, 1]], n_train=2, energies=True))
    verdicts = []
    for _ in range(3000):
        data = damaged(good, rng)
        verdict = accepts(Engine, data)
        assert accepts(weight_files.from_bytes, data) == verdict, data
        verdicts.append(verdict)
    assert 0 < sum(verdicts) < len(verdicts)
