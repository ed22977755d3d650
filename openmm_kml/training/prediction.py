"""Energies and forces of many structures at once, as products of matrices (docs/theory.md, "As it is computed")."""

from dataclasses import dataclass

import numpy as np

_CHUNK_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Coefficients:
    """What the trained model multiplies the kernel with.

    Attributes
    ----------
    u : ndarray of shape (N, D)
        J α, the dual coefficients of the forces contracted with the Jacobians.
    beta : ndarray of shape (N,), optional
        Dual coefficients of the energies.
    """

    u: np.ndarray
    beta: np.ndarray | None = None


def predict(query, train, kernel, length_scale, coefficients):
    """Return the kernel expansion and its gradient by the positions.

    Parameters
    ----------
    query, train : Geometry
        Structures to predict, and the training points.
    kernel : RadialKernel
    length_scale : float
    coefficients : Coefficients

    Returns
    -------
    energies : ndarray of shape (M,)
        Without the energy offset.
    gradients : ndarray of shape (M, 3 n_atoms)
        dE/dr; the forces are its negative.
    """
    s = kernel.scale(length_scale)
    index, inverse = query.index, query.inverse
    # The distances come from |q|² + |x|² - 2 q·x: centering keeps the digits. The mean is taken over the group too, so
    # that it is a fixed point of the group and permuted copies stay centered.
    mean = train.x.mean(axis=0)[index].mean(axis=0)
    x = (train.x - mean) * s
    u = coefficients.u * s
    x_squared = np.einsum("nd,nd->n", x, x)
    x_dot_u = np.einsum("nd,nd->n", x, u)
    energies = np.empty(len(query))
    gradient_x = np.empty_like(query.x)
    step = max(1, _CHUNK_BYTES // (8 * 6 * len(train) * len(index)))
    for start in range(0, len(query), step):
        part = slice(start, start + step)
        q = ((query.x[part] - mean) * s)[:, index].reshape(-1, query.n_pairs)
        squared = q @ x.T
        squared *= -2.0
        squared += np.einsum("qd,qd->q", q, q)[:, None]
        squared += x_squared
        np.maximum(squared, 0.0, out=squared)
        value, first, second = kernel.functions(np.sqrt(squared, out=squared))
        h = q @ u.T
        h -= x_dot_u
        energy = np.einsum("qn,qn->q", first, h)
        weight = second * h
        if coefficients.beta is not None:
            energy += value @ coefficients.beta
            weight += first * coefficients.beta
        # E = Σ G1 h + β G0 and dE/dq = Σ G1 u - (G2 h + β G1)(q - x), all in scaled coordinates
        gradient = first @ u
        gradient += weight @ x
        gradient -= weight.sum(axis=1)[:, None] * q
        energies[part] = energy.reshape(-1, len(index)).sum(axis=1)
        gradient = gradient.reshape(-1, len(index), query.n_pairs)
        gradient_x[part] = s * np.take_along_axis(gradient, inverse[None], axis=2).sum(axis=1)
    return energies, query.pull(gradient_x)
