"""How much memory a SOAP training takes, known before it starts."""

import math

from openmm_kml.errors import TrainingError
from openmm_kml.training.memory import available_memory
from openmm_kml.training.nbody.left_out import KEPT
from openmm_kml.training.nbody.solve import block_rows

_BASE = 150e6  # bytes: interpreter and libraries


def estimate(n_columns, n_rows, largest_frame, pools, points, folds=1, keep=False):
    """Return the peak memory of each stage in bytes, a dict.

    Parameters
    ----------
    n_columns : int
        Of the design matrix.
    n_rows : int
        Labels of the training set.
    largest_frame : int
        Atoms.
    pools, points : dict
        Element -> (environments, entries) of the pool, and of the sparse points.
    folds : int
        Parts of the frames that keep factors of their own, and another of all the rest.
    keep : bool
        Whether rows of the design matrix are kept for the calibration of the uncertainty.
    """
    n_chunks = max(1, math.ceil(n_rows / block_rows(n_columns)))
    kept = 2 * sum(n * size for n, size in points.values())  # once more in the engine
    factors = 2 + math.ceil(math.log2(n_chunks)) + folds
    rows = min(KEPT / 8, n_rows * n_columns) if keep else 0
    gathered = 4 * (3 * largest_frame + 7) + 3 * (block_rows(n_columns) + 3 * largest_frame)
    numbers = {
        "sparse points": kept + 3 * max(n * size for n, size in pools.values()),
        "design matrix": kept + rows + gathered * n_columns + factors * n_columns**2,
        # Of each part its factors, what stays without it, and what that is made of.
        "solution": kept + rows + (12 + 6 * folds) * n_columns**2,
    }
    return {stage: int(_BASE + 8 * count) for stage, count in numbers.items()}


def check(stages, limit):
    """Raise TrainingError if a stage does not fit into the memory allowed, in bytes; what is available for None."""
    allowed = available_memory() if limit is None else limit
    stage = max(stages, key=stages.get)
    if stages[stage] > allowed:
        raise TrainingError(
            f"the training takes {stages[stage] / 1e9:.1f} GB ({stage}), but {allowed / 1e9:.1f} GB are "
            f"{'available' if limit is None else 'allowed'}; ask for fewer sparse points, a smaller pool, or a smaller "
            "n_max or l_max"
        )
    return stages[stage]
