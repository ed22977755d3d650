"""Checks that any potential must pass, whatever it is and whoever evaluates it.

Each takes `evaluate(positions) -> (energy, forces, virial)` in eV and Å.
"""

import numpy as np
from scipy.spatial.transform import Rotation

# Central differences with four points: the error falls as step⁴ (some 1e-12 relative here at 1e-3 Å on functions that
# vary over 1 Å), rounding adds 1e-16 |E| / step.
STEP = 1e-3


def four_point_difference(function, step=STEP):
    """Return df/dt at t = 0 to fourth order in the step."""
    near = function(step) - function(-step)
    far = function(2 * step) - function(-2 * step)
    return (8 * near - far) / (12 * step)


def check_forces(evaluate, positions, tolerance=1e-6, step=STEP):
    """Assert that the forces are -dE/dr to `tolerance` of their largest component, and that they are not all zero."""
    forces = evaluate(positions)[1]
    largest = np.abs(forces).max()
    assert largest > 1e-3
    for atom, axis in np.ndindex(forces.shape):

        def energy(t, atom=atom, axis=axis):
            moved = positions.copy()
            moved[atom, axis] += t
            return evaluate(moved)[0]

        difference = -four_point_difference(energy, step)
        assert abs(difference - forces[atom, axis]) < tolerance * largest, (atom, axis)


def check_virial(evaluate, positions, cell=None, tolerance=1e-6, step=STEP, floor=0.0):
    """Assert that the virial is symmetric and equals -dE/dstrain for all six components.

    With a cell, whose lattice vectors are strained along, `evaluate` takes it as its second argument. Errors are
    measured in units of the largest component, but at least of `floor` eV.
    """
    structure = (positions,) if cell is None else (positions, cell)
    virial = evaluate(*structure)[2]
    scale = max(floor, np.abs(virial).max())
    np.testing.assert_allclose(virial, virial.T, atol=1e-12 * scale)
    for a in range(3):
        for b in range(a + 1):
            strain = np.zeros((3, 3))
            strain[a, b] += 0.5
            strain[b, a] += 0.5

            def energy(t, strain=strain):
                return evaluate(*(vectors @ (np.eye(3) + t * strain) for vectors in structure))[0]

            assert abs(-four_point_difference(energy, step) - virial[a, b]) < tolerance * scale, (a, b)


def check_rigid_motion(evaluate, positions, rng):
    """Assert that the energy is invariant under translation, rotation and inversion, and that forces turn along."""
    energy, forces, virial = evaluate(positions)
    scale = np.abs(forces).max()
    rotation = Rotation.random(rng=rng).as_matrix()
    for matrix, shift in ((np.eye(3), [5.0, -3.0, 2.0]), (rotation, [0.0, 0.0, 0.0]), (-np.eye(3), [0.0, 0.0, 0.0])):
        new_energy, new_forces, new_virial = evaluate(positions @ matrix.T + shift)
        assert abs(new_energy - energy) < 1e-9 * max(1.0, abs(energy))
        np.testing.assert_allclose(new_forces, forces @ matrix.T, atol=1e-8 * scale)
        np.testing.assert_allclose(new_virial, matrix @ virial @ matrix.T, atol=1e-8 * np.abs(virial).max())
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-10 * scale)
    np.testing.assert_allclose(
        np.cross(positions, forces).sum(axis=0), 0.0, atol=1e-9 * scale * np.abs(positions).max()
    )


def check_permutation(evaluate, positions, permutation):
    """Assert that exchanging equivalent atoms leaves the energy and exchanges their forces."""
    energy, forces, _ = evaluate(positions)
    new_energy, new_forces, _ = evaluate(positions[permutation])
    assert abs(new_energy - energy) < 1e-10 * max(1.0, abs(energy))
    np.testing.assert_allclose(new_forces, forces[permutation], atol=1e-9 * np.abs(forces).max())


def check_no_curl(evaluate, positions, rng):
    """Assert that the forces do no net work around a closed loop: the Jacobian of the forces is symmetric."""
    first, second = (rng.normal(size=positions.shape) for _ in range(2))

    def work(along, direction):
        return four_point_difference(lambda t: np.sum(evaluate(positions + t * along)[1] * direction))

    there, back = work(first, second), work(second, first)
    assert abs(there) > 1e-6
    assert abs(there - back) < 1e-6 * abs(there)
