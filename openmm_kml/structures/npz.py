"""Plain arrays out of a NumPy ``.npz`` archive, without ever unpickling anything.

Only the members asked for are opened. Each is read by its declared type and shape, and an archive that declares more
than it can hold is refused before the memory is taken.
"""

import os
import struct
import zipfile
import zlib
from math import prod
from pathlib import Path

import numpy as np

from openmm_kml.errors import DataError

MAX_BYTES = 16 << 30  # of one array
# Floating-point data shrink by a factor of a few; a member that shrinks a thousandfold is a bomb or says nothing.
MAX_COMPRESSION = 400
_SMALL = 16 << 20  # bytes below which compression is not looked at
_END = struct.Struct("<4s4H2LH")  # end of the directory of an archive without a comment
# What zipfile, zlib and the header parser of NumPy raise on damaged bytes.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError)
_PLAIN_KINDS = "fiubSU"


class NpzFile:
    """A ``.npz`` archive open for reading.

    Parameters
    ----------
    path : path-like

    Attributes
    ----------
    names : list of str
        Names of the arrays, without ``.npy``.

    Raises
    ------
    DataError
        If the file is not a ``.npz`` archive.
    OSError
        If it cannot be opened.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.path.open("rb").close()  # a missing or locked file is an error of its own
        try:
            self._archive = zipfile.ZipFile(self.path)
            for info in self._archive.infolist():
                # Names stand twice in an archive. Comparing them all finds a damaged name, which would otherwise look
                # as if an optional array were absent.
                self._archive.open(info).close()
            self._check_count()
        except _DAMAGE as error:
            raise DataError(f"{self.path} is not a .npz archive, or it is damaged: {error}") from None
        self.names = [name.removesuffix(".npy") for name in self._archive.namelist() if name.endswith(".npy")]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._archive.close()

    def __contains__(self, name):
        return name in self.names

    def read(self, name, default=None):
        """Return one array, or the default if the archive has none of this name.

        Raises
        ------
        DataError
            If the array is damaged, too large, or of Python objects, which are never loaded.
        """
        if name not in self.names:
            return default
        info = self._archive.getinfo(name + ".npy")
        if info.file_size > MAX_BYTES:
            raise self._error(name, f"takes {info.file_size} bytes; at most {MAX_BYTES} are read")
        if info.file_size > max(_SMALL, MAX_COMPRESSION * info.compress_size):
            raise self._error(
                name, f"would swell from {info.compress_size} to {info.file_size} bytes, unlike any real data"
            )
        try:
            with self._archive.open(info) as stream:
                return self._read_stream(name, stream, info.file_size)
        except DataError:
            raise
        except _DAMAGE as error:
            raise self._error(name, f"is damaged: {error}") from None

    def text(self, name, default=None):
        """Return a member that holds one string (as text, bytes, or an array of one), or the default."""
        array = self.read(name)
        if array is None:
            return default
        if array.size != 1 or array.dtype.kind not in "SU":
            raise self._error(name, f"should be one string; it has type {array.dtype} and shape {array.shape}")
        value = array.reshape(()).item()
        return (value.decode("utf-8", "replace") if isinstance(value, bytes) else value).strip()

    def number(self, name, default=None):
        """Return a member that holds one number (0-dimensional or an array of one), or the default."""
        array = self.read(name)
        if array is None:
            return default
        if array.size != 1 or array.dtype.kind not in "fiu":
            raise self._error(name, f"should be one number; it has type {array.dtype} and shape {array.shape}")
        return float(array.reshape(()).item())

    def _check_count(self):
        """Raise `BadZipFile` if the directory has fewer entries than it says: damage can make one swallow the next."""
        with self.path.open("rb") as stream:
            stream.seek(-_END.size, os.SEEK_END)
            signature, _, _, _, count, _, _, comment = _END.unpack(stream.read())
        if signature == b"PK\x05\x06" and comment == 0 and count not in (len(self._archive.infolist()), 0xFFFF):
            raise zipfile.BadZipFile(f"{count} arrays should be there, {len(self._archive.infolist())} are found")

    def _read_stream(self, name, stream, size):
        version = np.lib.format.read_magic(stream)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise self._error(name, f"has version {version} of the .npy format; 1.0 and 2.0 are read")
        shape, fortran_order, dtype = readers[version](stream)
        if dtype.kind not in _PLAIN_KINDS or dtype.hasobject:
            raise self._error(name, f"holds {dtype}, not plain numbers or text; such arrays are never loaded")
        count = prod(shape)
        if min(shape, default=0) < 0 or count * dtype.itemsize > size:
            raise self._error(name, f"declares shape {shape}, more than its {size} bytes can hold")
        data = stream.read(count * dtype.itemsize)
        if len(data) < count * dtype.itemsize:
            raise self._error(name, "is damaged: it is shorter than its header says")
        if stream.read(1):  # the check sum is compared at the end of the member only, so that must be reached
            raise self._error(name, "is damaged: it is longer than its header says")
        return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran_order else "C")

    def _error(self, name, what):
        return DataError(f"{self.path}: array {name!r} {what}")
