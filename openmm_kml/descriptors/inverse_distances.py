"""The descriptor of the `gdml` model: weighted powers of all inverse distances of one molecule."""

import numpy as np


def pair_indices(n_atoms):
    """Return the atoms (i, j), i > j, of each descriptor entry, row by row of the lower triangle.

    Parameters
    ----------
    n_atoms : int

    Returns
    -------
    i, j : ndarrays of int, shape (n_pairs,), n_pairs = n_atoms (n_atoms - 1) / 2
    """
    return np.tril_indices(n_atoms, -1)


def descriptor(positions, power=1.0, weights=None):
    """Return the descriptor x_d = v_d |r_i - r_j|^-p.

    Parameters
    ----------
    positions : ndarray of shape (..., n_atoms, 3), Å
    power : float
        The exponent p > 0; 1 is the published model.
    weights : ndarray of shape (n_pairs,), optional
        The weights v_d > 0; ones when absent.

    Returns
    -------
    x : ndarray of shape (..., n_pairs), Å^-p

    Raises
    ------
    ValueError
        If two atoms coincide; the message names them.
    """
    return descriptor_and_derivative(positions, power, weights)[0]


def descriptor_and_derivative(positions, power=1.0, weights=None):
    """Return the descriptor and its derivative by the positions.

    dx_d/dr_i = -p v_d |r_i - r_j|^-(p + 2) (r_i - r_j) for the pair d = (i, j).

    Parameters
    ----------
    positions, power, weights
        As in `descriptor`.

    Returns
    -------
    x : ndarray of shape (..., n_pairs), Å^-p
    dx : ndarray of shape (..., n_pairs, 3), Å^-(p + 1)
        The derivative by r_i; the derivative by r_j is its negative.

    Raises
    ------
    ValueError
        If two atoms coincide; the message names them.
    """
    positions = np.asarray(positions, dtype=float)
    i, j = pair_indices(positions.shape[-2])
    difference = positions[..., i, :] - positions[..., j, :]
    squared = np.einsum("...k,...k->...", difference, difference)
    if np.any(squared == 0.0):
        pair = np.argwhere(squared == 0.0)[0][-1]
        raise ValueError(f"atoms {j[pair]} and {i[pair]} coincide; the descriptor needs distinct positions")
    x = squared ** (-0.5 * power)
    if weights is not None:
        x = x * weights
    return x, (-power * x / squared)[..., None] * difference


def permuted_pairs(permutations):
    """Return how atom permutations act on the descriptor: (π x) = x[..., index[π]].

    A permutation π moves atom π[i] into place i, so that entry (i, j) receives the entry of (π[i], π[j]).

    Parameters
    ----------
    permutations : ndarray of int, shape (n_permutations, n_atoms)

    Returns
    -------
    index : ndarray of int, shape (n_permutations, n_pairs)
    """
    permutations = np.atleast_2d(permutations)
    n_atoms = permutations.shape[1]
    i, j = pair_indices(n_atoms)
    number = np.zeros((n_atoms, n_atoms), dtype=np.intp)
    number[i, j] = number[j, i] = np.arange(len(i))
    return number[permutations[:, i], permutations[:, j]]


def chain_to_forces(gradient, dx):
    """Return the forces -dE/dr from dE/dx by the chain rule.

    Parameters
    ----------
    gradient : ndarray of shape (..., n_pairs), dE/dx
    dx : ndarray of shape (..., n_pairs, 3), from `descriptor_and_derivative`

    Returns
    -------
    forces : ndarray of shape (..., n_atoms, 3)
    """
    pair_forces = gradient[..., None] * dx
    n_atoms = round((1 + np.sqrt(1 + 8 * pair_forces.shape[-2])) / 2)
    i, j = pair_indices(n_atoms)
    forces = np.zeros((*pair_forces.shape[:-2], n_atoms, 3))
    for d in range(len(i)):  # a loop over pairs: readable, and np.add.at is no faster
        forces[..., i[d], :] -= pair_forces[..., d, :]
        forces[..., j[d], :] += pair_forces[..., d, :]
    return forces
