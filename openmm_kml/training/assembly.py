"""The kernel matrix of forces and energies.

Between training points i and j, with d = s (x_i - π x_j), g1 = -2 f', g2 = 4 f'' and Jacobians J (docs/theory.md):

    force-force    s² Σ_π J_iᵀ (g1 - g2 d dᵀ) π J_j
    energy-force    s Σ_π g1 dᵀ π J_j
    energy-energy     Σ_π f

for gradients, that is negative forces. All four-index work is cast as products of matrices: with the permuted Jacobians
π J_j of one point j, the projections v = dᵀ π J_j (one product per permutation), T = Σ_π g1 π J_j (one product), then
T - d (g2 v) and J_iᵀ T (one small product per point i): about 2 m D (3 P + m) flop per pair of points, m = 3 n_atoms.
"""

import numpy as np

from openmm_kml.training.progress import progress_bar
from openmm_kml.training.threads import workers

CHUNK_BYTES = 2**20  # T of one chunk of points stays in the second-level cache


def matrix_size(n_train, n_atoms, energies):
    """Return the number of rows of the kernel matrix."""
    return n_train * (3 * n_atoms + bool(energies))


def mean_force_diagonal(geometry, kernel, length_scale):
    """Return the mean of the diagonal of the force-force block; its inverse is the amplitude of the default model.

    Parameters
    ----------
    geometry : Geometry
        Training points; at most 64 of them, evenly chosen, are looked at.
    kernel : RadialKernel
    length_scale : float
    """
    rows = np.unique(np.linspace(0, len(geometry) - 1, 64).round().astype(int))
    total = 0.0
    for row in rows:
        point = _Points(geometry[row : row + 1])
        block, *_ = _blocks(point, 0, slice(0, 1), kernel, kernel.scale(length_scale), energies=False)
        total += np.trace(block[0])
    return total / (len(rows) * geometry.n_components)


def kernel_matrix(geometry, kernel, length_scale, amplitude=1.0, energies=True, n_threads=1, out=None, progress=False):
    """Return the kernel matrix of the training points; only the lower triangle is filled.

    Rows and columns: the gradient components of all points, point by point, then (with `energies`) the energies.

    Parameters
    ----------
    geometry : Geometry
        N training points.
    kernel : RadialKernel
    length_scale : float
    amplitude : float
        Factor of the whole matrix.
    energies : bool
    n_threads : int
        The result does not depend on it.
    out : ndarray of shape (n, n), Fortran order, optional
        Where to write; n = `matrix_size`.
    progress : bool

    Returns
    -------
    K : ndarray of shape (n, n), Fortran order
        What stands above the diagonal is undefined.
    """
    n_train, m = len(geometry), geometry.n_components
    size = matrix_size(n_train, geometry.n_atoms, energies)
    K = np.empty((size, size), order="F") if out is None else out
    points = _Points(geometry)
    scale = kernel.scale(length_scale)
    step = max(1, CHUNK_BYTES // (8 * geometry.n_pairs * m))
    first = n_train * m
    # One row of K is one element in each of many pages: the energy rows are gathered apart and moved in at the end.
    energy_rows = np.empty((n_train, first)) if energies else None

    def fill(j):
        columns = slice(j * m, (j + 1) * m)
        transposed = K.T[columns]  # in C order: the rows of point j hold all i at once
        for start in range(j, n_train, step):
            part = slice(start, min(start + step, n_train))
            force_force, energy_force, force_energy, energy_energy = _blocks(points, j, part, kernel, scale, energies)
            count = part.stop - part.start
            rows = transposed[:, part.start * m : part.stop * m].reshape(m, count, m)
            np.multiply(force_force.transpose(1, 0, 2), amplitude, out=rows)
            if energies:
                energy_rows[part, columns] = amplitude * energy_force
                energy_rows[j, part.start * m : part.stop * m] = amplitude * force_energy.ravel()
                K[first + part.start : first + part.stop, first + j] = amplitude * energy_energy

    with (
        workers(n_threads) as run,
        progress_bar(n_train * (n_train + 1) // 2, "kernel matrix", progress, unit=" blocks") as bar,
    ):
        for j, _ in enumerate(run(fill, range(n_train))):
            bar.update(n_train - j)
    if energies:
        for start in range(0, first, 512):
            columns = slice(start, min(start + 512, first))
            K.T[columns, first:] = energy_rows[:, columns].T
    return K


def kernel_columns(geometry, kernel, length_scale, columns, amplitude=1.0, energies=True):
    """Return some columns of the kernel matrix, all rows.

    Parameters
    ----------
    geometry, kernel, length_scale, amplitude, energies
        As in `kernel_matrix`.
    columns : ndarray of int
        Which columns, in any order.

    Returns
    -------
    K_columns : ndarray of shape (n, len(columns))
    """
    n_train, m = len(geometry), geometry.n_components
    columns = np.asarray(columns)
    result = np.empty((matrix_size(n_train, geometry.n_atoms, energies), len(columns)))
    scale = kernel.scale(length_scale)
    is_force = columns < n_train * m
    owner = np.where(is_force, columns // m, columns - n_train * m)
    step = max(1, 8 * CHUNK_BYTES // (8 * geometry.n_pairs * m))
    for start in range(0, n_train, step):
        part = slice(start, min(start + step, n_train))
        count = part.stop - part.start
        rows = slice(start * m, part.stop * m)
        energy_rows = slice(n_train * m + start, n_train * m + part.stop)
        points = _Points(geometry, part)
        for j in np.unique(owner):
            wanted = np.flatnonzero((owner == j) & is_force)
            energy_wanted = np.flatnonzero((owner == j) & ~is_force)
            blocks = _blocks(points, j, part, kernel, scale, energies, components=columns[wanted] - j * m)
            result[rows, wanted] = blocks[0].transpose(0, 2, 1).reshape(count * m, len(wanted))
            if energies:
                result[energy_rows, wanted] = blocks[1]
                result[rows, energy_wanted] = blocks[2].reshape(-1, 1)
                result[energy_rows, energy_wanted] = blocks[3][:, None]
    result *= amplitude
    return result


class _Points:
    """Training points with their dense Jacobians, of all points or of one part of them."""

    def __init__(self, geometry, part=None):
        self.geometry = geometry
        self.offset = 0 if part is None else part.start
        self.jacobians = geometry.jacobians(slice(None) if part is None else part)


def _blocks(points, j, part, kernel, scale, energies, components=slice(None)):
    """Return the blocks between the points of `part` (rows) and point j (columns), without the amplitude.

    Returns
    -------
    force_force : ndarray of shape (count, m_j, m)
        Transposed: the components of point j first.
    energy_force : ndarray of shape (count, m_j), or None
    force_energy : ndarray of shape (count, m), or None
    energy_energy : ndarray of shape (count,), or None
    """
    geometry = points.geometry
    jacobian_i = points.jacobians[part.start - points.offset : part.stop - points.offset]
    jacobian_j = geometry.jacobians(slice(j, j + 1))[0][:, components][geometry.index]  # (P, D, m_j)
    n_permutations, n_pairs, m_j = jacobian_j.shape
    difference = scale * (geometry.x[part][None] - geometry.x[j][geometry.index][:, None])  # (P, count, D)
    distance = np.sqrt(np.einsum("pid,pid->ip", difference, difference))
    value, first, second = kernel.functions(distance)  # each (count, P)
    v = np.matmul(difference, jacobian_j)  # (P, count, m_j)
    T = (first @ jacobian_j.reshape(n_permutations, -1)).reshape(len(first), n_pairs, m_j)
    weighted = v.transpose(1, 0, 2) * second[:, :, None]
    T -= np.matmul(np.ascontiguousarray(difference.transpose(1, 2, 0)), weighted)
    force_force = np.matmul(T.transpose(0, 2, 1), jacobian_i)
    force_force *= scale**2
    if not energies:
        return force_force, None, None, None
    energy_force = scale * np.einsum("ip,pic->ic", first, v)
    along = np.einsum("ip,pid->id", first, difference)
    force_energy = -scale * np.matmul(along[:, None, :], jacobian_i)[:, 0]
    return force_force, energy_force, force_energy, value.sum(axis=1)
