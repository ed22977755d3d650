"""A classical bonded model that moves like a kernel model near its minimum: harmonic bonds and angles."""

import numpy as np
import openmm
from openmm import app, unit

from openmm_kml import units
from openmm_kml.bonds import bonds_from_positions


def bonded_model(potential, positions, particles=None):
    """Return harmonic bonds and angles that have the model's fast vibrations at its minimum.

    At the minimum the Hessian of Σ k/2 (q - q0)² is Σ k ∇q ∇qᵀ. The force constants k ≥ 0 are those whose sum is
    nearest to the model's own Hessian, both weighted by the masses: min ‖M^-1/2 (H - Σ k ∇q ∇qᵀ) M^-1/2‖. Nothing else
    is fitted, and no data are needed.

    Parameters
    ----------
    potential : openmm_kml.potential.KernelPotential
    positions : ndarray of shape (n, 3), Å
        Near the minimum; it is searched from here.
    particles : sequence of int, optional
        Particle of the System of each atom of the model; 0, 1, … when omitted.

    Returns
    -------
    list
        A ``HarmonicBondForce`` and a ``HarmonicAngleForce``.

    Raises
    ------
    ValueError
        If no minimum is found, or it has no bonds.
    """
    from scipy.optimize import nnls

    minimum = _minimum(potential, np.asarray(positions, dtype=float))
    masses = np.repeat([_mass(number) for number in potential.species], 3)
    weights = 1 / np.sqrt(masses)
    hessian = _hessian(potential, minimum) * np.outer(weights, weights)
    bonds = bonds_from_positions(potential.species, minimum)
    if not bonds:
        raise ValueError("no two atoms are bonded in this geometry; start from a whole molecule, positions in Å")
    angles = [(i, j, k) for j in range(len(minimum)) for i, k in _pairs_at(j, bonds)]
    coordinates = [_distance(minimum, bond) for bond in bonds] + [_angle(minimum, angle) for angle in angles]
    gradients = [gradient.ravel() * weights for _, gradient in coordinates]
    columns = np.stack([np.outer(gradient, gradient).ravel() for gradient in gradients], axis=1)
    constants, _ = nnls(columns, hessian.ravel())  # eV/Å² and eV/rad²
    particles = range(len(minimum)) if particles is None else [int(particle) for particle in particles]
    bond_force, angle_force = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    values = [value for value, _ in coordinates]
    for bond, length, constant in zip(bonds, values, constants, strict=False):
        bond_force.addBond(*(particles[k] for k in bond), 0.1 * length, 100 * constant / units.KJ_PER_MOL)
    for angle, value, constant in zip(angles, values[len(bonds) :], constants[len(bonds) :], strict=True):
        angle_force.addAngle(*(particles[k] for k in angle), value, constant / units.KJ_PER_MOL)
    return [bond_force, angle_force]


def _minimum(potential, positions):
    from scipy.optimize import minimize

    def energy_and_gradient(x):
        result = potential.evaluate(x.reshape(-1, 3))
        return result.energy, -result.forces.ravel()

    found = minimize(energy_and_gradient, positions.ravel(), jac=True, method="BFGS", options={"gtol": 1e-3})
    if np.abs(found.jac).max() > 0.05:
        raise ValueError(
            f"no minimum of the model was found from these positions: a force of {np.abs(found.jac).max():.2g} eV/Å is "
            "left; start from a relaxed geometry"
        )
    return found.x.reshape(-1, 3)


def _hessian(potential, positions, step=1e-3):
    """Return the symmetric Hessian, shape (3 n, 3 n) in eV/Å², from central differences of the forces."""
    size = positions.size
    moved = np.broadcast_to(positions.ravel(), (2, size, size)).copy()
    moved[0][np.diag_indices(size)] += step
    moved[1][np.diag_indices(size)] -= step
    forces = potential.evaluate_batch(moved.reshape(2 * size, -1, 3)).forces.reshape(2, size, size)
    hessian = (forces[1] - forces[0]) / (2 * step)
    return (hessian + hessian.T) / 2


def _pairs_at(center, bonds):
    neighbors = sorted(sum(bond) - center for bond in bonds if center in bond)
    return [(a, b) for n, a in enumerate(neighbors) for b in neighbors[n + 1 :]]


def _distance(positions, bond):
    """Return a bond length, Å, and its gradient by all positions, shape (n, 3)."""
    i, j = bond
    difference = positions[i] - positions[j]
    length = np.linalg.norm(difference)
    gradient = np.zeros_like(positions)
    gradient[i], gradient[j] = difference / length, -difference / length
    return length, gradient


def _angle(positions, angle):
    """Return an angle at the middle atom, rad, and its gradient by all positions, shape (n, 3), rad/Å."""
    i, j, k = angle
    u, v = positions[i] - positions[j], positions[k] - positions[j]
    nu, nv = np.linalg.norm(u), np.linalg.norm(v)
    cosine = np.clip(u @ v / (nu * nv), -1, 1)
    sine = max(np.sqrt(1 - cosine**2), 1e-6)  # a straight angle has no gradient; its constant comes out near zero
    gradient = np.zeros_like(positions)
    gradient[i] = (cosine * u / nu - v / nv) / (nu * sine)
    gradient[k] = (cosine * v / nv - u / nu) / (nv * sine)
    gradient[j] = -gradient[i] - gradient[k]
    return np.arccos(cosine), gradient


def _mass(number):
    return app.Element.getByAtomicNumber(int(number)).mass.value_in_unit(unit.dalton)
