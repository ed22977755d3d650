"""Numbers drawn from the runs of the quickstart: bonds and the drift of the energy."""

import numpy as np
from ase.data import chemical_symbols
from scipy.special import stdtrit

_BLOCKS = 5


def bond_lengths(numbers, pairs, positions):
    """Return the lengths of all bonds by their kind, such as ``C–H``, over all frames.

    Parameters
    ----------
    numbers : ndarray of int, shape (n,)
    pairs : list of (int, int)
    positions : ndarray of shape (M, n, 3), Å

    Returns
    -------
    dict
        Kind -> ndarray of lengths, Å, bonds between heavier atoms first.
    """
    kinds = {}
    for i, j in pairs:
        # C before O before H, as chemists write it.
        first, second = sorted((int(numbers[i]), int(numbers[j])), key=lambda z: (z == 1, z))
        kind = f"{chemical_symbols[first]}–{chemical_symbols[second]}"
        kinds.setdefault(kind, []).append(np.linalg.norm(positions[:, i] - positions[:, j], axis=-1))
    return {kind: np.concatenate(kinds[kind]) for kind in sorted(kinds, key=lambda kind: (kind.endswith("H"), kind))}


def energy_drift(time, total, n_atoms):
    """Return the slope of the total energy by least squares, its error, and the scatter about it.

    Parameters
    ----------
    time : ndarray of shape (T,), ps
    total : ndarray of shape (T,), eV
    n_atoms : int

    Returns
    -------
    slope, error : float
        meV per atom and nanosecond. The error is the half width of the 95 % interval of a line through the means of
        five parts of the run: neighboring points are correlated, and so are means of many short parts.
    scatter : float
        Root mean square deviation from the line, meV.
    """
    time, total = np.asarray(time, dtype=float), np.asarray(total, dtype=float)
    slope, level = np.polyfit(time, total, 1)
    residual = total - (level + slope * time)
    # Means of blocks are nearly independent; the error of a slope through them is that of ordinary least squares.
    blocks = min(_BLOCKS, len(time) // 2)
    means = [
        (part.mean(), t.mean()) for part, t in zip(*(np.array_split(a, blocks) for a in (residual, time)), strict=True)
    ]
    block_residual, block_time = np.array(means).T
    spread = np.sum((block_time - block_time.mean()) ** 2)
    error = np.sqrt(np.sum(block_residual**2) / max(blocks - 2, 1) / spread)
    error *= stdtrit(max(blocks - 2, 1), 0.975)
    to_mev_per_atom_ns = 1e3 * 1e3 / n_atoms
    return slope * to_mev_per_atom_ns, error * to_mev_per_atom_ns, 1e3 * float(np.sqrt(np.mean(residual**2)))
