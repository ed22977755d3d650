"""Named arrays in a file that is whole or not there: written under another name first, read without pickle."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from openmm_kml.files import write_atomically

_DIGEST = "sha256"


def write_arrays(path, arrays):
    """Write a dict of arrays (numbers and text are arrays without axes) with their digest."""
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    stream = io.BytesIO()
    np.savez(stream, **arrays, **{_DIGEST: np.array(_digest(arrays))})
    write_atomically(path, stream.getvalue())


def read_arrays(path, names):
    """Return the arrays of these names, None if the file is not there, is damaged or holds something else."""
    try:
        # From memory: NumPy leaves a damaged file open.
        with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as data:
            found = {name: data[name] for name in names}
            digest = str(data[_DIGEST])
    # Python 3.10 raises AttributeError where later ones raise TypeError: a lone array is no context manager.
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile):
        return None
    return found if digest == _digest(found) else None


def _digest(arrays):
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
