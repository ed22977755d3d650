"""The NumPy twin of the engine: the formulas of docs/theory.md, written to be read.

Slow and obvious; every engine is tested against it.
"""

import numpy as np

from openmm_kml.descriptors.inverse_distances import (
    chain_to_forces,
    descriptor_and_derivative,
    pair_indices,
    permuted_pairs,
)
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.neighbors import neighbor_list
from openmm_kml.reference_local import Sums, add_local_terms, add_repulsion
from openmm_kml.walls_term import walls_energy


def evaluate(weights, positions):
    """Return energy, forces and virial of one structure or of many.

    Parameters
    ----------
    weights : openmm_kml.weights.Weights
    positions : ndarray of shape (..., n_atoms, 3), Å

    Returns
    -------
    energy : ndarray of shape (...), eV
    forces : ndarray of shape (..., n_atoms, 3), eV/Å, -dE/dr
    virial : ndarray of shape (..., 3, 3), eV, -dE/dstrain

    Raises
    ------
    openmm_kml.errors.WeightFileError
        If the model is only the difference to a baseline, and nobody has said that this is added.
    """
    weights.check_complete()
    positions = np.asarray(positions, dtype=float)
    flat = positions.reshape(-1, *positions.shape[-2:])
    one_body = sum(weights.atom_energies.get(int(z), 0.0) for z in weights.species)
    energy = np.full(len(flat), one_body, dtype=float)
    forces = np.zeros_like(flat)
    for term in weights.terms:
        for m, r in enumerate(flat):
            term_energy, term_forces = evaluate_term(term, r, weights.species)
            energy[m] += term_energy
            forces[m] += term_forces
    # The energy depends on differences of positions only, so the virial is the first moment of the forces.
    virial = np.einsum("mia,mib->mab", flat, forces)
    virial = 0.5 * (virial + virial.transpose(0, 2, 1))
    lead = positions.shape[:-2]
    return energy.reshape(lead), forces.reshape(positions.shape), virial.reshape(*lead, 3, 3)


def evaluate_structure(weights, positions, numbers, cell=None, pbc=False):
    """Return energy, forces, virial and atomic energies of one structure by a model of local terms.

    Parameters
    ----------
    weights : openmm_kml.weights.Weights
        With `elements`.
    positions : ndarray of shape (n_atoms, 3), Å
    numbers : ndarray of int, shape (n_atoms,)
        Atomic numbers.
    cell : ndarray of shape (3, 3), Å, optional
        Lattice vectors as rows.
    pbc : bool or sequence of 3 bool
        Which lattice vectors repeat the structure.

    Returns
    -------
    energy : float, eV
    forces : ndarray of shape (n_atoms, 3), eV/Å, -dE/dr
    virial : ndarray of shape (3, 3), eV, -dE/dstrain
    atomic_energies : ndarray of shape (n_atoms,), eV
        They add up to the energy.

    Raises
    ------
    ValueError
        If an element is not in the model, or the cell has no volume.
    openmm_kml.errors.WeightFileError
        If the model is only the difference to a baseline, and nobody has said that this is added.
    """
    weights.check_complete()
    positions = np.asarray(positions, dtype=float)
    sums = Sums(len(positions))
    add_local_terms(weights, positions, numbers, cell, pbc, sums)
    sums.energies += [weights.atom_energies.get(int(z), 0.0) for z in numbers]
    return float(sums.energies.sum()), sums.forces, sums.virial, sums.energies


def evaluate_term(term, positions, species):
    """Return energy and forces of one term of a model of one molecule for one geometry."""
    if term.kind == "repulsion":
        return evaluate_repulsion(term, positions, species)
    return {"gdml": evaluate_gdml, "walls": evaluate_walls}[term.kind](term, positions)


def evaluate_repulsion(term, positions, species):
    """Return energy and forces of one `repulsion` term for one geometry of a molecule."""
    sums, elements = Sums(len(positions)), np.unique(species)
    neighbors = neighbor_list(positions, cutoff=term.reach)
    add_repulsion(term, elements, np.searchsorted(elements, species), neighbors, sums)
    return sums.energies.sum(), sums.forces


def evaluate_walls(term, positions):
    """Return energy and forces of one `walls` term for one geometry of a molecule."""
    i, j = pair_indices(len(positions))
    difference = positions[i] - positions[j]
    distances = np.linalg.norm(difference, axis=1)
    energies, slopes = walls_energy(term, distances)
    pulls = -(slopes / distances)[:, None] * difference  # on atom i
    forces = np.zeros_like(positions)
    np.add.at(forces, i, pulls)
    np.add.at(forces, j, -pulls)
    return energies.sum(), forces


def evaluate_gdml(term, positions):
    """Return energy and forces of one `gdml` term for one geometry."""
    kernel = KERNELS[term.kernel]
    s = kernel.scale(term.length_scale)
    x, dx = descriptor_and_derivative(positions, term.power, term.descriptor_weights)
    energy, gradient = term.energy_offset, np.zeros_like(x)
    for index in permuted_pairs(term.permutations):
        difference = term.training_descriptors[:, index] - x  # π x_i - x
        u = term.descriptor_coefficients[:, index]
        f, first, second = kernel.functions(s * np.linalg.norm(difference, axis=1))
        h = -np.einsum("id,id->i", difference, u)
        # k = f(a²), a² = s²|x - x'|²:  u · ∂k/∂x' = s² first h, with first = -2 f'
        energy += s**2 * first @ h
        gradient += s**2 * (first @ u + s**2 * (second * h) @ difference)
        if term.energy_coefficients is not None:
            beta = term.energy_coefficients
            energy += beta @ f
            gradient += s**2 * (beta * first) @ difference
    return energy, chain_to_forces(gradient, dx)
