"""How much memory a training needs, known before it starts, and how much there is."""

import os
from pathlib import Path

from openmm_kml.errors import TrainingError
from openmm_kml.training.assembly import CHUNK_BYTES, matrix_size

_CGROUP = Path("/sys/fs/cgroup")
_BASE = 200 * 2**20  # interpreter, libraries, caches of chunks


def estimate_memory(n_train, n_atoms, energies=True, n_permutations=1, n_threads=1):
    """Return the peak memory of the direct solver in bytes.

    The kernel matrix is assembled, factorized and, for the next regularization, restored in one square array: its
    lower triangle is worked on while the upper one keeps what was assembled.

    Parameters
    ----------
    n_train, n_atoms : int
    energies : bool
        Whether energies are trained too.
    n_permutations, n_threads : int
        Each thread permutes the Jacobian of one point and its differences to a chunk of points.
    """
    size = matrix_size(n_train, n_atoms, energies)
    n_pairs = n_atoms * (n_atoms - 1) // 2
    jacobians = n_train * n_pairs * (3 * n_atoms + 8)
    panel = 3 * size * min(size, 512)
    energy_rows = n_train * n_train * 3 * n_atoms if energies else 0
    m = 3 * n_atoms
    chunk = min(n_train, 1 + CHUNK_BYTES // (8 * max(1, n_pairs) * m))
    permuted = n_threads * n_permutations * (n_pairs * m + 2 * chunk * (n_pairs + m))
    return 8 * (size * size + jacobians + max(panel, energy_rows) + permuted) + _BASE


def iterative_memory(n_rows, n_columns):
    """Return the peak memory of the iterative solver in bytes: the preconditioner, while it is made."""
    return 8 * (n_rows * (n_columns + 3 * 200) + 2 * n_columns * n_columns + 12 * n_rows) + _BASE


def available_memory():
    """Return the bytes that this process may still use: those the system has free, within the limit of its group."""
    free = _field("/proc/meminfo", "MemAvailable:", 1024)
    if free is None:
        free = _physical_memory()
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit is not None and used is not None:
        # Pages of files that nobody uses are dropped when memory is wanted.
        used -= _field(_CGROUP / "memory.stat", "inactive_file") or 0
        free = min(free, max(0, limit - used))
    return free


def installed_memory():
    """Return the bytes that the machine has, or that the group of this process may use."""
    limit = _number(_CGROUP / "memory.max")
    return _physical_memory() if limit is None else min(limit, _physical_memory())


def check_memory(needed, limit, n_train, n_atoms):
    """Refuse a direct solution that does not fit.

    Parameters
    ----------
    needed : int
        Bytes, from `estimate_memory`.
    limit : int or None
        Bytes allowed; what is available when None.

    Raises
    ------
    TrainingError
        Naming the estimate and the iterative solver.
    """
    allowed = available_memory() if limit is None else limit
    if needed > allowed:
        what = "available" if limit is None else "allowed"
        raise TrainingError(
            f"the direct solver needs {_size(needed)} for {n_train} training points of {n_atoms} atoms, but "
            f"{_size(allowed)} are {what}: use the iterative solver (solver='iterative', --solver iterative) or "
            "fewer training points"
        )


def _size(n_bytes):
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.3g} MB"


def _physical_memory():
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _field(path, name, factor=1):
    """Return the number that follows a name in a table of the system, None where there is none."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(name):
            return int(line.split()[1]) * factor
    return None


def _number(path):
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # no such file, or the word "max"
        return None
