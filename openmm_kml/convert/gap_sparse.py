"""The files of sparse points beside the XML of a GAP potential: text, one number a line, point after point."""

import hashlib
import warnings
from pathlib import Path

import numpy as np

from openmm_kml.convert.gap_numbers import shortened
from openmm_kml.errors import DataError

_CHUNK = 2**20


def read_sparse_file(xml_path, name, shape, md5=""):
    """Return the sparse points, shape (M, D), of the file of this name in the directory of the XML.

    Parameters
    ----------
    xml_path : Path
    name : str
        As the XML gives it: a plain file name, without directories.
    shape : tuple of int
        (M, D), as the XML says.
    md5 : str
        Check sum that the XML gives; empty when it gives none.

    Raises
    ------
    DataError
        If the name leads to another directory, the file is missing, is no plain file, has another check sum, or does
        not hold exactly M · D finite numbers.
    """
    path = _beside(xml_path, name)
    count = shape[0] * shape[1]
    size = path.stat().st_size
    if size < 2 * count - 1:  # a digit and a blank for each: nothing is allocated on a claim that cannot be true
        raise DataError(
            f"{path} has {size} bytes, too few for the {shape[0]} sparse points of {shape[1]} numbers that "
            f"{xml_path} says it holds"
        )
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    if md5.strip() and md5.strip().lower() != digest.hexdigest():
        raise DataError(
            f"{path} has the md5 sum {digest.hexdigest()}, but {xml_path} says {shortened(md5)}: "
            "it belongs to another fit or is damaged"
        )
    return _numbers(path, count).reshape(shape)


def _beside(xml_path, name):
    """Return the path of a file beside the XML; a name that could lead elsewhere is refused."""
    if not name or name in (".", "..") or any(c in "/\\:\0" or not c.isprintable() for c in name):
        raise DataError(
            f"{xml_path} names the sparse file {shortened(name)}; only a file beside the XML is read, so copy it there "
            "and name it without directories"
        )
    path = Path(xml_path).parent / name
    if not path.is_file():
        raise DataError(f"{xml_path} names the sparse file {shortened(name)}, which is not beside it; copy it there")
    return path


def _numbers(path, count):
    """Return exactly `count` finite numbers of a text file."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy warns of text that is no number, and stops there
        try:
            with path.open("rb") as stream:
                numbers = np.fromfile(stream, dtype=np.float64, count=count + 1, sep=" ")
        except (DeprecationWarning, ValueError):
            raise DataError(f"{path} holds text that is not a number") from None
    if len(numbers) != count:
        found = f"{len(numbers)} numbers" if len(numbers) < count else f"more than {count} numbers"
        raise DataError(f"{path} holds {found}; the XML says {count}")
    if not np.isfinite(numbers).all():
        raise DataError(f"{path} holds numbers that are not finite")
    return numbers
