"""What single structures and sets of molecules check alike: their arrays, and the files they come from."""

from pathlib import Path

import numpy as np

from openmm_kml.errors import DataError


def locked_array(array, dtype, what):
    """Return a C-contiguous copy that cannot be written to.

    Raises
    ------
    DataError
        If the numbers are not numbers, or of ragged shape; the message says what they are.
    """
    try:
        array = np.array(array, dtype=dtype, order="C")
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must be plain numbers in a rectangular array: {error}") from None
    array.setflags(write=False)
    return array


def checked_numbers(numbers):
    """Return atomic numbers as an array of int that cannot be written to, shape (n,).

    Raises
    ------
    DataError
        If there is none, or one is not a whole number from 1 to 118.
    """
    checked = locked_array(numbers, np.int64, "atomic numbers")
    if checked.ndim != 1 or checked.size == 0:
        raise DataError(f"atomic numbers must be a list of at least one number; shape {checked.shape} came")
    if checked.min() < 1 or checked.max() > 118:
        raise DataError(f"atomic numbers lie between 1 and 118; {checked.min()} to {checked.max()} came")
    if not np.array_equal(checked, numbers):
        fraction = next(z for z, whole in zip(numbers, checked, strict=True) if z != whole)
        raise DataError(f"atomic numbers must be whole; {fraction} came")
    return checked


def data_file(path):
    """Return the path of a file of reference data, and whether it is an ``.npz`` archive.

    Raises
    ------
    DataError
        If the path is a directory, or the file is empty.
    OSError
        If the file cannot be opened.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path} is a directory; name a file of reference data")
    with path.open("rb") as stream:
        start = stream.read(4)
    if not start:
        raise DataError(f"{path} is empty; name a file with at least one frame")
    return path, start[:2] == b"PK" or path.suffix == ".npz"
