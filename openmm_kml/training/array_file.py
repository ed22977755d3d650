"""Named arrays in a file that is whole or not there: written under another name first, read without pickle."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from openmm_kml.files import write_atomically

_DIGEST = "sha256"
# What a damaged file raises. Python 3.10 raises AttributeError where later ones raise TypeError: a lone array is no
# context manager.
DAMAGED = (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile)


def array_bytes(arrays):
    """Return the bytes of a file of a dict of arrays."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def load_arrays(path, names):
    """Return the arrays of these names; raises one of `DAMAGED`."""
    # From memory: NumPy leaves a damaged file open.
    with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as data:
        return {name: data[name] for name in names}


def write_arrays(path, arrays):
    """Write a dict of arrays (numbers and text are arrays without axes) with their digest."""
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    write_atomically(path, array_bytes(arrays | {_DIGEST: np.array(_digest(arrays))}))


def read_arrays(path, names):
    """Return the arrays of these names, None if the file is not there, is damaged or holds something else."""
    try:
        found = load_arrays(path, [*names, _DIGEST])
    except DAMAGED:
        return None
    digest = str(found.pop(_DIGEST))
    return found if digest == _digest(found) else None


def _digest(arrays):
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
