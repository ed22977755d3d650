"""The files of a run: each can be cut back to its size at a checkpoint, so that nothing is doubled or lost."""

import fcntl
import os
import struct

import openmm
from openmm import app, unit

from openmm_kml.errors import DataError

COLUMNS = (
    "step",
    "time_ps",
    "potential_energy_eV",
    "kinetic_energy_eV",
    "total_energy_eV",
    "temperature_K",
)


def energy_columns(periodic):
    """Return the columns of the table of energies."""
    return (*COLUMNS, "volume_A3") if periodic else COLUMNS


class Table:
    """Comma-separated values. It also locks the run against a second process.

    Parameters
    ----------
    path : path
    size : int
        Bytes at the checkpoint.
    columns : sequence of str
    """

    def __init__(self, path, size, columns=COLUMNS):
        self._file = _opened(path, size, lock=True)
        if size == 0:
            self._file.write((",".join(columns) + "\n").encode())

    def write(self, *values):
        """Append a line; None leaves a column empty."""
        self._file.write((",".join("" if value is None else f"{value:.12g}" for value in values) + "\n").encode())

    def mark(self):
        """Bring everything to the disk and return what a continuation needs to know."""
        return {"size": _sync(self._file)}

    def close(self):
        self._file.close()


class DCD:
    """A trajectory in OpenMM's DCD format; the frame at step 0 is its first."""

    suffix = ".dcd"

    def __init__(self, path, topology, timestep, interval, size, frames):
        self._file = _opened(path, size)
        self._frames = frames
        if size > 0:
            # The header counts the frames and names the last step: both as they were at the checkpoint.
            self._file.seek(8)
            self._file.write(struct.pack("<i", frames))
            self._file.seek(20)
            last = max(frames - 1, 0) * interval
            self._file.write(struct.pack("<i", min(last, 2**31 - 1)))  # OpenMM mends longer runs at the next frame
        self._dcd = app.DCDFile(self._file, topology, timestep, 0, interval, append=size > 0)

    def write(self, positions, box=None):
        """Append a frame, positions of shape (n, 3) and box vectors of shape (3, 3) in Å."""
        self._dcd.writeModel(positions * unit.angstrom, periodicBoxVectors=_vectors(box))
        self._frames += 1

    def mark(self):
        return {"size": _sync(self._file), "frames": self._frames}

    def close(self):
        self._file.close()


class XTC:
    """A trajectory in GROMACS's compressed XTC format (0.01 Å); the frame at step 0 is its first."""

    suffix = ".xtc"

    def __init__(self, path, topology, timestep, interval, size, frames):
        self._path = path
        _opened(path, size).close()
        self._frames = frames
        self._xtc = app.XTCFile(str(path), topology, timestep, 0, interval, append=size > 0)

    def write(self, positions, box=None):
        """Append a frame, positions of shape (n, 3) and box vectors of shape (3, 3) in Å."""
        self._xtc.writeModel(positions * unit.angstrom, periodicBoxVectors=_vectors(box))
        self._frames += 1

    def mark(self):
        with self._path.open("r+b") as file:
            return {"size": _sync(file), "frames": self._frames}

    def close(self):
        pass


TRAJECTORIES = {"dcd": DCD, "xtc": XTC}


def _vectors(box):
    return None if box is None else [openmm.Vec3(*vector) * 0.1 for vector in box] * unit.nanometer


def _opened(path, size, lock=False):
    """Return a file that was cut back to `size` bytes and stands at its end."""
    file = path.open("r+b" if path.exists() else "x+b")
    try:
        if lock:
            _lock(file, path)
        found = os.fstat(file.fileno()).st_size
        if found < size:
            raise DataError(
                f"{path} has {found} bytes, but had {size} at the checkpoint: it was changed, so start the run anew"
            )
        file.truncate(size)
        file.seek(size)
    except BaseException:
        file.close()
        raise
    return file


def _lock(file, path):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise DataError(f"another process is writing to {path.parent}; wait for it or stop it") from None


def _sync(file):
    file.flush()
    os.fsync(file.fileno())
    return os.fstat(file.fileno()).st_size
