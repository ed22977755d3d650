"""Lists of neighbors in any structure: periodic in some directions, triclinic, smaller than the cutoff."""

import numpy as np
from scipy.spatial import cKDTree


def neighbor_list(positions, cell=None, pbc=False, cutoff=0.0):
    """Return the full list of neighbors: every pair from both sides, an atom's own images included.

    r_ij = r_j - r_i + shift @ cell for all neighbors and images with |r_ij| < cutoff.

    Parameters
    ----------
    positions : array_like of shape (n_atoms, 3), Å
        They need not lie inside the cell.
    cell : array_like of shape (3, 3), Å, optional
        Lattice vectors as rows; those of directions that are not periodic are not used.
    pbc : bool or sequence of 3 bool
        Which lattice vectors repeat the structure.
    cutoff : float, Å

    Returns
    -------
    i, j : ndarray of int, shape (n_neighbors,)
        Center and neighbor, sorted by center.
    shift : ndarray of int, shape (n_neighbors, 3)
    vector : ndarray of shape (n_neighbors, 3), Å
        r_ij.
    distance : ndarray of shape (n_neighbors,), Å

    Raises
    ------
    ValueError
        If the periodic lattice vectors span no volume, or a number is not finite.
    """
    positions = np.asarray(positions, dtype=float).reshape(-1, 3)
    pbc = np.broadcast_to(np.asarray(pbc, dtype=bool), 3)
    if not np.isfinite(positions).all():
        raise ValueError(f"atom {np.argwhere(~np.isfinite(positions))[0][0]} has a coordinate that is not finite")
    if len(positions) == 0:
        nothing = np.zeros(0, int)
        return nothing, nothing, np.zeros((0, 3), int), np.zeros((0, 3)), np.zeros(0)
    cell = complete_cell(cell, pbc)
    inverse = np.linalg.inv(cell)
    fraction = positions @ inverse
    wrap = np.where(pbc, np.floor(fraction), 0.0)
    wrapped = positions - wrap @ cell
    fraction -= wrap
    ghosts, owner, image = _ghosts(wrapped, fraction, cell, pbc, cutoff * np.linalg.norm(inverse, axis=0))
    found = cKDTree(ghosts).query_ball_point(wrapped, cutoff * (1 + 1e-9), return_sorted=True)
    counts = np.array([len(neighbors) for neighbors in found])
    i = np.repeat(np.arange(len(positions)), counts)
    ghost = np.concatenate([np.asarray(neighbors, dtype=int) for neighbors in found])
    j = owner[ghost]
    # (r_j - r_i) + shift · cell is the exact negative of the same seen from the other side.
    vector = (wrapped[j] - wrapped[i]) + image[ghost] @ cell
    distance = np.linalg.norm(vector, axis=1)
    keep = (distance < cutoff) & ((i != j) | image[ghost].any(axis=1))
    shift = (image[ghost] + wrap[i] - wrap[j]).astype(int)
    return i[keep], j[keep], shift[keep], vector[keep], distance[keep]


def complete_cell(cell, pbc):
    """Return three independent lattice vectors: the periodic ones, and unit vectors orthogonal to them.

    Raises
    ------
    ValueError
        If the periodic lattice vectors span no volume (area, length) or are not finite.
    """
    complete = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=float)
    if complete.shape != (3, 3) or not np.isfinite(complete).all():
        raise ValueError("cell is a finite array of shape (3, 3), lattice vectors as rows, in Å")
    periodic = np.flatnonzero(pbc)
    vectors = complete[periodic]
    lengths = np.linalg.norm(vectors, axis=1)
    if len(periodic) and not np.linalg.svd(vectors, compute_uv=False)[-1] > 1e-6 * lengths.max():
        raise ValueError("the periodic lattice vectors span no volume: give a cell, or switch the periodicity off")
    others = np.linalg.svd(vectors, full_matrices=True)[2][len(periodic) :] if len(periodic) else np.eye(3)
    complete[np.flatnonzero(~np.asarray(pbc))] = others
    return complete


def _ghosts(wrapped, fraction, cell, pbc, reach):
    """Return all images that lie in the cell or within reach (fractions) of it: positions, owners, shifts."""
    n_images = np.where(pbc, np.ceil(reach), 0).astype(int)
    axes = [np.arange(-n, n + 1) for n in n_images]
    shifts = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    low, high = fraction.min(axis=0) - reach, fraction.max(axis=0) + reach
    moved = fraction[None] + shifts[:, None]
    near = (((moved >= low) & (moved <= high)) | ~pbc).all(axis=-1)
    image, owner = np.nonzero(near)
    return wrapped[owner] + shifts[image] @ cell, owner, shifts[image]
