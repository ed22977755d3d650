"""The NumPy twin of the predictive uncertainty: the formulas of docs/theory.md, written to be read."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from openmm_kml.descriptors.inverse_distances import chain_to_forces, descriptor_and_derivative, permuted_pairs
from openmm_kml.errors import WeightFileError
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.neighbors import neighbor_list
from openmm_kml.reference import evaluate_structure
from openmm_kml.reference_local import Sums, species_indices
from openmm_kml.reference_soap import add_unexplained
from openmm_kml.uncertainty import UncertaintyEvaluation
from openmm_kml.weights import Weights


def evaluate_uncertainty(weights, positions, numbers=None, cell=None, pbc=False):
    """Return the `UncertaintyEvaluation` of one structure, with all that the model defines.

    Parameters
    ----------
    weights : openmm_kml.weights.Weights
    positions : ndarray of shape (n_atoms, 3), Å
    numbers : ndarray of int, shape (n_atoms,)
        Atomic numbers; a model of one molecule knows its own.
    cell : ndarray of shape (3, 3), Å, optional
        Lattice vectors as rows.
    pbc : bool or sequence of 3 bool
        Which lattice vectors repeat the structure.

    Raises
    ------
    ValueError
        If an element is not in the model, or the cell has no volume.
    openmm_kml.errors.WeightFileError
        If the model has no uncertainty.
    """
    if weights.uncertainty is None:
        raise WeightFileError("this model has no uncertainty: train it again, or evaluate its energy alone")
    positions = np.asarray(positions, dtype=float)
    local = weights.species is None
    raw = raw_local(weights, positions, numbers, cell, pbc) if local else raw_gdml(weights, positions)
    return raw.calibrated(weights.uncertainty)


class RawVariances(NamedTuple):
    """Variances before calibration; half the derivatives of the energy's.

    Attributes
    ----------
    energy : float, eV²
    atomic : ndarray of shape (n_atoms,), eV², or None
    forces : ndarray of shape (n_atoms, 3), (eV/Å)²
    half_gradient : ndarray of shape (n_atoms, 3), ½ d(var E)/dr, eV²/Å
    half_virial : ndarray of shape (3, 3), -½ d(var E)/dstrain, eV²
    """

    energy: float
    atomic: np.ndarray | None
    forces: np.ndarray
    half_gradient: np.ndarray
    half_virial: np.ndarray

    def calibrated(self, scales):
        """Return the `UncertaintyEvaluation` with the scales and floors of an `openmm_kml.weights.Uncertainty`."""
        root = np.sqrt(self.energy + len(self.forces) * scales.energy_floor**2)
        slope = scales.energy_scale / root if root > 0 else 0.0
        atomic = None
        if self.atomic is not None:
            atomic = scales.atom_scale * np.sqrt(self.atomic + scales.atom_floor**2)
        forces = scales.force_scale * np.sqrt(self.forces + scales.force_floor**2)
        return UncertaintyEvaluation(
            float(scales.energy_scale * root), atomic, slope * self.half_gradient, slope * self.half_virial, forces
        )


def raw_local(weights, positions, numbers, cell=None, pbc=False):
    """Return the `RawVariances` of a structure by a model of local terms; arguments as in `evaluate_uncertainty`.

    var E = Σ_s E_s² + Σ_i v_i, var E_i = Σ_s e_is² + v_i, var F = Σ_s F_s².
    """
    variance, atomic, forces = 0.0, np.zeros(len(positions)), np.zeros(np.shape(positions))
    gradient, virial = np.zeros_like(forces), np.zeros((3, 3))
    for s in range(weights.uncertainty.members):
        energy, force, w, energies = evaluate_structure(member(weights, s), positions, numbers, cell, pbc)
        variance += energy**2
        atomic += energies**2
        forces += force**2
        gradient -= energy * force
        virial += energy * w
    sums = Sums(len(positions))
    species = species_indices(weights.elements, numbers)
    for term in weights.terms:
        if term.kind == "soap" and term.explained is not None:
            add_unexplained(term, species, neighbor_list(positions, cell, pbc, term.reach), sums)
    unexplained = 2 * sums.energies
    return RawVariances(
        float(variance + unexplained.sum()), atomic + unexplained, forces, gradient - sums.forces, virial + sums.virial
    )


def member(weights, s):
    """Return the `Weights` whose energy is that of the deviations of member s of a model of local terms."""
    terms = [replace(term, coefficients=term.deviations[s]) for term in weights.terms if term.learned]
    one_body = dict(zip(map(int, weights.elements), weights.uncertainty.atom_energies[s].tolist(), strict=True))
    return Weights(elements=weights.elements, terms=tuple(terms), atom_energies=one_body)


def raw_gdml(weights, positions):
    """Return the `RawVariances` of one geometry of a molecule.

    var E = σ² Σ_π f(s|x - πx|) - Σ_r E_r², and for forces the same of their prior; both are zero at least.
    """
    variance, forces = 0.0, np.zeros(positions.shape)
    gradient = np.zeros_like(forces)
    for term in weights.terms:
        if not term.learned:
            continue
        prior, prior_slope, prior_forces = _gdml_prior(term, positions)
        energies, gradients = _explained(term, positions)
        explained, explained_forces = energies @ energies, np.sum(gradients**2, axis=0)
        half_slope = np.tensordot(energies, gradients, 1)
        if prior > explained:
            variance += prior - explained
            gradient += 0.5 * prior_slope - half_slope
        forces += np.maximum(prior_forces - explained_forces, 0.0)
    virial = -np.einsum("ia,ib->ab", positions, gradient)
    return RawVariances(float(variance), None, forces, gradient, 0.5 * (virial + virial.T))


def explained_energies(term, x):
    """Return the explained energies E_r of a descriptor x of shape (D,), shape (R,).

    Energies are linear in coefficients u and β: what stands beside them, the covariances of the energy with the
    training data, is the same for all rows.
    """
    kernel = KERNELS[term.kernel]
    s = kernel.scale(term.length_scale)
    u, beta = term.explained_descriptor_coefficients, term.explained_energy_coefficients
    points = term.training_descriptors[: u.shape[1]]
    by_u, by_beta = np.zeros(points.shape), np.zeros(len(points))
    for index in permuted_pairs(term.permutations):
        difference = points[:, index] - x  # π x_i - x
        f, first, _ = kernel.functions(s * np.linalg.norm(difference, axis=1))
        by_u[:, index] -= s**2 * first[:, None] * difference
        by_beta += f
    energies = u.reshape(len(u), -1) @ by_u.ravel()
    return energies if beta is None else energies + beta @ by_beta


def _explained(term, positions):
    """Return the explained energies E_r, shape (R,), and their derivatives by the positions, shape (R, n_atoms, 3)."""
    kernel = KERNELS[term.kernel]
    s = kernel.scale(term.length_scale)
    x, dx = descriptor_and_derivative(positions, term.power, term.descriptor_weights)
    u, beta = term.explained_descriptor_coefficients, term.explained_energy_coefficients
    points = term.training_descriptors[: u.shape[1]]
    slope_by_u, slope_by_beta = np.zeros((*points.shape, len(x))), np.zeros(points.shape)
    for index in permuted_pairs(term.permutations):
        difference = points[:, index] - x  # π x_i - x
        _, first, second = kernel.functions(s * np.linalg.norm(difference, axis=1))
        outer = np.einsum("i,id,ie->ide", second, difference, difference)
        slope_by_u[:, index] += s**2 * (first[:, None, None] * np.eye(len(x)) - s**2 * outer)
        slope_by_beta += s**2 * first[:, None] * difference
    slopes = np.tensordot(u, slope_by_u, 2)
    if beta is not None:
        slopes = slopes + beta @ slope_by_beta
    return explained_energies(term, x), -chain_to_forces(slopes, dx[None])


def _gdml_prior(term, positions):
    """Return the prior variance of the energy, its derivative by the positions, and that of the forces.

    With δ = x - πx and a = s|δ|: k(x, x') = σ² Σ_π f(s|x - πx'|) has ∂²k/∂x∂x' = σ² s² (-2f' 1 - s² 4f'' δ δᵀ) π at
    x' = x, and dk(x, x)/dx = 2 σ² Σ_π s² 2f' δ, since the group holds each inverse too.
    """
    kernel = KERNELS[term.kernel]
    s = kernel.scale(term.length_scale)
    x, dx = descriptor_and_derivative(positions, term.power, term.descriptor_weights)
    jacobian = np.stack([-chain_to_forces(row, dx) for row in np.eye(len(x))]).reshape(len(x), -1)  # dx/dr
    variance, slope, hessian = 0.0, np.zeros_like(x), np.zeros((len(x), len(x)))
    for index in permuted_pairs(term.permutations):
        difference = x - x[index]
        f, first, second = kernel.functions(s * np.linalg.norm(difference))
        variance += f
        slope -= s**2 * first * difference
        np.add.at(slope, index, s**2 * first * difference)
        block = s**2 * (first * np.eye(len(x)) - s**2 * second * np.outer(difference, difference))
        np.add.at(hessian.T, index, block.T)  # column d of the block acts on entry index[d] of x'
    forces = np.einsum("dk,de,ek->k", jacobian, hessian, jacobian)
    gradient = (slope @ jacobian).reshape(positions.shape)
    scale = term.prior_variance
    return scale * variance, scale * gradient, scale * forces.reshape(positions.shape)
