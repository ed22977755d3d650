"""Descriptors of the training points and their action under the symmetry group."""

from dataclasses import dataclass

import numpy as np

from openmm_kml.descriptors.inverse_distances import descriptor_and_derivative, pair_indices, permuted_pairs


@dataclass(frozen=True)
class Geometry:
    """Descriptors of M structures of one molecule, ready for kernel products.

    Attributes
    ----------
    x : ndarray of shape (M, D), Å^-p
        Descriptors.
    dx : ndarray of shape (M, D, 3), Å^-(p + 1)
        Their derivative by the first atom of each pair; by the second it is the negative.
    index : ndarray of int, shape (P, D)
        (π x) = x[..., index[π]].
    inverse : ndarray of int, shape (P, D)
        The inverse of each row of `index`.
    """

    x: np.ndarray
    dx: np.ndarray
    index: np.ndarray
    inverse: np.ndarray

    def __len__(self):
        return len(self.x)

    def __getitem__(self, rows):
        return Geometry(self.x[rows], self.dx[rows], self.index, self.inverse)

    @property
    def n_pairs(self):
        return self.x.shape[1]

    @property
    def n_atoms(self):
        return round((1 + np.sqrt(1 + 8 * self.n_pairs)) / 2)

    @property
    def n_components(self):
        """Number of force components of one structure, 3 n_atoms."""
        return 3 * self.n_atoms

    def jacobians(self, rows=slice(None)):
        """Return the dense Jacobians dx/dr of the given structures, shape (len(rows), D, 3 n_atoms)."""
        dx = self.dx[rows]
        i, j = pair_indices(self.n_atoms)
        d = np.arange(self.n_pairs)
        jacobian = np.zeros((len(dx), self.n_pairs, self.n_atoms, 3))
        jacobian[:, d, i] = dx
        jacobian[:, d, j] = -dx
        return jacobian.reshape(len(dx), self.n_pairs, self.n_components)

    def push(self, alpha):
        """Return J α: the change of the descriptors along displacements, shape (M, D).

        Parameters
        ----------
        alpha : ndarray of shape (M, 3 n_atoms)
        """
        i, j = pair_indices(self.n_atoms)
        displacement = alpha.reshape(len(self), self.n_atoms, 3)
        return np.einsum("mdk,mdk->md", self.dx, displacement[:, i] - displacement[:, j])

    def pull(self, gradient):
        """Return Jᵀ g: the derivative by the positions of a function with dE/dx = g, shape (M, 3 n_atoms).

        Parameters
        ----------
        gradient : ndarray of shape (M, D)
        """
        n_atoms = self.n_atoms
        i, j = pair_indices(n_atoms)
        square = np.zeros((len(self), n_atoms, n_atoms, 3))
        pair = gradient[..., None] * self.dx
        square[:, i, j] = pair
        square[:, j, i] = -pair
        return square.sum(axis=2).reshape(len(self), 3 * n_atoms)


def build_geometry(positions, permutations, power=1.0, weights=None):
    """Return the `Geometry` of structures.

    Parameters
    ----------
    positions : ndarray of shape (M, n_atoms, 3), Å
    permutations : ndarray of int, shape (P, n_atoms)
    power : float
        p of the descriptor.
    weights : ndarray of shape (D,), optional
        v_d > 0.
    """
    x, dx = descriptor_and_derivative(positions, power, weights)
    index = permuted_pairs(permutations)
    return Geometry(x, dx, index, np.argsort(index, axis=1))
