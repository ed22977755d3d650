"""The bundled ethanol data, and kernel machines that know less than those of the package."""

from pathlib import Path

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from openmm_kml.descriptors.inverse_distances import chain_to_forces, descriptor_and_derivative, pair_indices
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.structures import MoleculeSet, read_molecules

DATA = Path(__file__).resolve().parents[1] / "data" / "ethanol_pbe.npz"
KERNEL = KERNELS["matern52"]


def ethanol():
    """Return the 500 bundled frames (PBE/def2-SVP)."""
    return read_molecules(DATA)


def turned(molecules, rng):
    """Return the frames, each in an orientation of its own, uniform over the sphere."""
    rotations, _ = np.linalg.qr(rng.standard_normal((len(molecules), 3, 3)))
    rotations *= np.linalg.det(rotations)[:, None, None]
    turn = [part @ rotations for part in (molecules.positions, molecules.forces)]
    return MoleculeSet(molecules.numbers, turn[0], molecules.energies, turn[1], molecules.name)


def aligned(molecules, reference):
    """Return the frames, each turned so that its atoms are as near as possible to those of a reference, shape (n, 3).

    Kabsch, Acta Cryst. A 32, 922 (1976).
    """
    centered = molecules.positions - molecules.positions.mean(axis=1, keepdims=True)
    u, _, vt = np.linalg.svd(centered.transpose(0, 2, 1) @ (reference - reference.mean(axis=0)))
    u[:, :, 2] *= np.linalg.det(u @ vt)[:, None]  # no reflections
    turn = [part @ (u @ vt) for part in (centered, molecules.forces)]
    return MoleculeSet(molecules.numbers, turn[0], molecules.energies, turn[1], molecules.name)


class CartesianModel:
    """Gradient-domain regression on the coordinates themselves: no symmetry is built in.

    The covariance of the gradients at x and x' is s² (G1 - s² G2 d dᵀ) with d = x - x', in the terms of docs/theory.md.

    Parameters
    ----------
    molecules : MoleculeSet
    length_scale : float, Å
    regularization : float
        Relative to the diagonal.
    """

    def __init__(self, molecules, length_scale, regularization=1e-6):
        self.s = KERNEL.scale(length_scale)
        self.x = self._coordinates(molecules)
        K = self._covariance(self.x)
        K[np.diag_indices_from(K)] += regularization * K[0, 0]
        solution = cho_solve(cho_factor(K, lower=True, overwrite_a=True), molecules.forces.ravel())
        self.coefficients = solution.reshape(self.x.shape)

    @staticmethod
    def _coordinates(molecules):
        """Return coordinates about the mean of the atoms, shape (frames, 3 n): translations are not what is tested."""
        centered = molecules.positions - molecules.positions.mean(axis=1, keepdims=True)
        return centered.reshape(len(centered), -1)

    def _covariance(self, x):
        d = x[:, None] - self.x
        _, first, second = KERNEL.functions(self.s * np.linalg.norm(d, axis=-1))
        blocks = -(self.s**2) * second[..., None, None] * d[..., :, None] * d[..., None, :]
        blocks += first[..., None, None] * np.eye(x.shape[1])
        return blocks.transpose(0, 2, 1, 3).reshape(x.size, self.x.size)

    def forces(self, molecules):
        """Return forces in eV/Å, shape (frames, n, 3)."""
        d = self._coordinates(molecules)[:, None] - self.x
        _, first, second = KERNEL.functions(self.s * np.linalg.norm(d, axis=-1))
        along = self.s**2 * second * np.einsum("mnk,nk->mn", d, self.coefficients)
        return (first @ self.coefficients - np.einsum("mn,mnk->mk", along, d)).reshape(molecules.positions.shape)

    def error(self, molecules):
        """Return the mean absolute error of force components, eV/Å."""
        return float(np.abs(self.forces(molecules) - molecules.forces).mean())


class ComponentModel:
    """The energy and every component of the forces, each learned for itself from inverse distances x.

    A component is the factor q_d of the derivative ∂x_d/∂r in F = Σ_d q_d ∂x_d/∂r (the shortest such q): it does not
    turn with the molecule, and whatever is learned for it, total force and torque vanish. Each of the q_d, and the
    energy, is a kernel ridge regression. Nothing says that the q_d are derivatives of the energy.

    Parameters
    ----------
    molecules : MoleculeSet
    permutations : ndarray of int, shape (P, n_atoms)
        The training frames are repeated with their atoms in these orders.
    length_scale : float, 1/Å
    regularization : float
    """

    def __init__(self, molecules, permutations, length_scale=2.0, regularization=1e-6):
        positions, forces = (
            np.concatenate([part[:, order] for order in permutations])
            for part in (molecules.positions, molecules.forces)
        )
        self.s = KERNEL.scale(length_scale)
        self.x, jacobian = self._descriptor(positions)
        # Six singular values vanish, those of translations and rotations.
        q = np.einsum("mkd,mk->md", np.linalg.pinv(jacobian, rcond=1e-8), forces.reshape(len(forces), -1))
        targets = np.column_stack([q, np.tile(molecules.energies, len(permutations))])
        self.mean = targets.mean(axis=0)
        K = self._kernel(self.x)
        K[np.diag_indices_from(K)] += regularization
        self.coefficients = cho_solve(cho_factor(K, lower=True), targets - self.mean)

    @staticmethod
    def _descriptor(positions):
        """Return inverse distances of shape (M, D) and their derivatives of shape (M, D, 3 n)."""
        x, dx = descriptor_and_derivative(positions)
        n_pairs, n_atoms = x.shape[1], positions.shape[1]
        i, j = pair_indices(n_atoms)
        jacobian = np.zeros((len(x), n_pairs, n_atoms, 3))
        jacobian[:, np.arange(n_pairs), i], jacobian[:, np.arange(n_pairs), j] = dx, -dx
        return x, jacobian.reshape(len(x), n_pairs, -1)

    def _kernel(self, x):
        squared = np.add.outer(np.einsum("md,md->m", x, x), np.einsum("nd,nd->n", self.x, self.x)) - 2 * x @ self.x.T
        return KERNEL.functions(self.s * np.sqrt(np.maximum(squared, 0.0)))[0]

    def evaluate(self, positions):
        """Return energies (eV) and forces (eV/Å) of geometries of shape (M, n, 3)."""
        x, dx = descriptor_and_derivative(positions)
        learned = self.mean + self._kernel(x) @ self.coefficients
        return learned[:, -1], chain_to_forces(-learned[:, :-1], dx)
