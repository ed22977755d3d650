"""Sparse points: the environments that the kernel is expanded on.

Farthest points: Eldar, Lindenbaum, Porat and Zeevi, IEEE Trans. Image Process. 6, 1305 (1997). CUR by leverage scores:
Mahoney and Drineas, Proc. Natl. Acad. Sci. 106, 697 (2009); for potentials Bartók and Csányi, Int. J. Quantum Chem.
115, 1051 (2015), and Imbalzano et al., J. Chem. Phys. 148, 241730 (2018).
"""

import numpy as np

from openmm_kml.elements import symbol
from openmm_kml.errors import DataError

SAME = 1e-10  # squared distance, relative to the squared length, below which two environments are one
_WIDE = 2000  # entries of a power spectrum beyond which its leading singular vectors are found at random
_RANK = 1e-6  # singular values below, relative to the largest, are no information


def share_points(n_sparse, environments):
    """Return the number of sparse points of each element, a dict by atomic number.

    Parameters
    ----------
    n_sparse : int or dict
        In all, or by atomic number.
    environments : dict
        Atomic number -> environments in the data.

    Raises
    ------
    DataError
        If an element has no count, is not in the data, or would have none.
    """
    if isinstance(n_sparse, dict):
        for z in n_sparse:
            if z not in environments:
                raise DataError(f"sparse points are wanted for {symbol(z)}, which the training frames lack")
        for z in environments:
            if z not in n_sparse:
                raise DataError(f"no number of sparse points is given for {symbol(z)}, which the training frames have")
        return {z: int(n_sparse[z]) for z in environments}
    if n_sparse < len(environments):
        raise DataError(
            f"{n_sparse} sparse points came for {len(environments)} elements; ask for at least one for each of them"
        )
    total = sum(environments.values())
    # One for each, the rest in proportion; what rounding leaves goes to the largest remainders.
    exact = {z: (n_sparse - len(environments)) * count / total for z, count in environments.items()}
    shares = {z: 1 + int(value) for z, value in exact.items()}
    left = n_sparse - sum(shares.values())
    for z in sorted(exact, key=lambda z: (int(exact[z]) - exact[z], z))[:left]:
        shares[z] += 1
    return shares


def farthest_points(p, count, rng, advance=lambda: None):
    """Return `count` row indices, each row the farthest from those chosen before; the first at random.

    Parameters
    ----------
    p : ndarray of shape (n, D)
    count : int
    rng : numpy.random.Generator
    advance : callable
        Called after each choice.

    Returns
    -------
    ndarray of int
        Fewer than `count` where the rows that are left repeat chosen ones.
    """
    squares = np.einsum("nd,nd->n", p, p)
    nearest = np.full(len(p), np.inf)
    chosen = [int(rng.integers(len(p)))]
    while True:
        advance()
        last = chosen[-1]
        np.minimum(nearest, squares + squares[last] - 2 * (p @ p[last]), out=nearest)
        farthest = int(nearest.argmax())
        if len(chosen) == count or nearest[farthest] <= SAME * squares.max():
            return np.array(chosen)
        chosen.append(farthest)


def cur_points(p, count, rng):
    """Return `count` different row indices, drawn with probabilities in proportion to the leverage scores.

    The score of a row is the squared length of its part in the leading `count` left singular vectors.

    Parameters
    ----------
    p : ndarray of shape (n, D)
    count : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int
        Fewer than `count` where not so many rows are different.
    """
    distinct = _distinct(p)
    if p.shape[1] > max(_WIDE, 4 * count):
        # Twice as many random combinations span the leading ones: Halko et al., SIAM Rev. 53, 217 (2011).
        p = p @ rng.standard_normal((p.shape[1], 2 * count))
    values, vectors = np.linalg.eigh(p.T @ p)
    keep = values > _RANK**2 * values[-1]
    values, vectors = values[keep][::-1][:count], vectors[:, keep][:, ::-1][:, :count]
    scores = np.einsum("nk,k->n", (p[distinct] @ vectors) ** 2, 1 / values)
    count = min(count, len(distinct))
    # The largest of log(score) plus Gumbel noise are a sample without replacement.
    keys = np.log(np.maximum(scores, np.finfo(float).tiny)) + rng.gumbel(size=len(distinct))
    return distinct[np.sort(np.argsort(-keys, kind="stable")[:count])]


def _distinct(p):
    """Return indices of rows of which no two are equal to some ten digits."""
    largest = np.abs(p).max()
    rounded = np.round(p / largest, 10) if largest > 0 else p
    return np.sort(np.unique(rounded, axis=0, return_index=True)[1])


def sparse_points(p, count, method, rng, element, advance=lambda: None):
    """Return sparse points of shape (count, D), chosen among environments of shape (n, D).

    Raises
    ------
    DataError
        If there are not so many different environments.
    """
    chosen = farthest_points(p, count, rng, advance) if method == "farthest" else cur_points(p, count, rng)
    if len(chosen) < count:
        raise DataError(
            f"{count} sparse points are wanted for {symbol(element)}, but its {len(p)} environments hold only "
            f"{len(chosen)} different ones; ask for at most {len(chosen)}"
        )
    return p[chosen]


def draw_pool(counts, most, rng):
    """Return, for each frame, the sorted places of its environments that are drawn for the pool.

    Parameters
    ----------
    counts : list of int
        Environments of each frame.
    most : int
        All of them when there are not more.
    """
    total = int(sum(counts))
    drawn = np.arange(total) if total <= most else np.sort(rng.choice(total, most, replace=False))
    ends = np.cumsum(counts)
    parts = np.split(drawn, np.searchsorted(drawn, ends[:-1]))
    return [part - (end - count) for part, end, count in zip(parts, ends, counts, strict=True)]
