"""Local terms by the compute kernels of OpenMM's OpenCL platform, against the engine; through PoCL without a GPU.

Bounds, as fractions of the largest force. Double precision: the resolution of OpenMM's fixed-point forces, 2^-32
kJ/mol/nm or 2e-13 eV/Å, for each neighbor. Mixed: a few roundings (6e-8) of each of some hundred terms, and of the
distances in their intervals. Single: positions of some 15 Å are rounded by 1e-6 Å, which the curvature of these models,
up to 100 eV/Å², makes a hundred times as large in eV/Å.
"""

import numpy as np
import openmm
import pytest
from local_models import (
    LOCAL_MODELS,
    SOAP_MODELS,
    diamond,
    numbers_for,
    random_repulsion,
    random_spline2,
    random_spline3,
)
from openmm_helpers import (
    KJ_PER_MOL,
    NM,
    PRECISIONS,
    USUAL_ROUTE,
    device_context,
    energy_and_forces,
    needs_opencl,
    system_with,
    total_energy,
)

from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import RepulsionTerm, Spline2Term, Weights, to_bytes

pytestmark = needs_opencl

BOUNDS = {"single": 2e-5, "mixed": 3e-6, "double": 1e-11}
MODEL = "all terms of silica"
MODELS = {name: weights for name, weights in LOCAL_MODELS.items() if name not in SOAP_MODELS}  # those with kernels
POTENTIALS = {name: KernelPotential.from_bytes(to_bytes(weights)) for name, weights in MODELS.items()}
CUBE = 4.6 * np.eye(3)
# OpenMM's form of a triclinic box: the first vector along x, the second in the plane of x and y, both not too skewed.
SKEWED = np.array([[5.0, 0, 0], [1.2, 4.8, 0], [-0.9, 1.4, 4.6]])
SHAPES = {"cube": CUBE, "triclinic box": SKEWED, "no box": None}


def crystal(shape="triclinic box", repeat=3, model=MODEL, noise=0.15):
    """Return positions, atomic numbers and box (or None) of a disordered crystal, in Å."""
    cell = CUBE if SHAPES[shape] is None else SHAPES[shape]
    positions, cube = diamond(repeat=repeat)
    positions = positions @ np.linalg.inv(cube) @ cell * repeat
    positions += np.random.default_rng(6).normal(0, noise, positions.shape)
    numbers = numbers_for(MODELS[model], len(positions))
    return positions, numbers, None if SHAPES[shape] is None else repeat * cell


def system_of(force, n_particles, box=None, *others):
    system = system_with(force, *others, n_particles=n_particles)
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*(box * NM))
    return system


def context_of(positions, numbers, box, precision="double", model=MODEL, **options):
    """Return a Context on the device with a model of the table."""
    force = KMLForce(POTENTIALS[model], numbers=numbers, periodic=box is not None)
    return device_context(system_of(force, len(positions), box), positions, precision, **options)


def check(context, expected, precision="double", scale=1.0):
    energy, forces = energy_and_forces(context)
    assert np.abs(expected.forces).max() > 1e-2
    np.testing.assert_allclose(
        forces, scale * expected.forces, rtol=0, atol=BOUNDS[precision] * np.abs(expected.forces).max()
    )
    assert energy == pytest.approx(scale * expected.energy, rel=BOUNDS[precision])


def state_of(context):
    """Return positions and box as they are now, in Å."""
    state = context.getState(positions=True)
    return state.getPositions(asNumpy=True)._value / NM, state.getPeriodicBoxVectors(asNumpy=True)._value / NM


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model", MODELS)
def test_double_precision_is_that_of_the_engine(model, shape):
    positions, numbers, box = crystal(shape, model=model)
    context = context_of(positions, numbers, box, model=model)
    check(context, POTENTIALS[model].evaluate(positions, numbers, box))


def test_three_elements():
    """Six pairs, and eighteen functions of triples."""
    rng = np.random.default_rng(12)
    terms = (random_spline2(3, rng), random_spline3(3, rng, n_intervals=4, n_far=8), random_repulsion(3, rng))
    potential = KernelPotential.from_bytes(to_bytes(Weights(elements=(1, 8, 14), terms=terms)))
    positions, _, box = crystal()
    numbers = rng.choice([1, 8, 14], len(positions))
    force = KMLForce(potential, numbers=numbers, periodic=True)
    context = device_context(system_of(force, len(numbers), box), positions)
    check(context, potential.evaluate(positions, numbers, box))


@pytest.mark.parametrize("precision", ["single", "mixed"])
@pytest.mark.parametrize("model", [MODEL, "pairs of silicon"])
def test_lower_precisions_lose_only_rounding(model, precision):
    positions, numbers, box = crystal(model=model)
    context = context_of(positions, numbers, box, precision, model=model)
    check(context, POTENTIALS[model].evaluate(positions, numbers, box), precision)


@pytest.mark.parametrize(
    ("box", "n_atoms"), [(SKEWED, 8), (np.diag([2.1, 2.3, 9.0]), 2), (0.4 * SKEWED, 2)], ids=["8", "wire", "2"]
)
def test_boxes_smaller_than_the_cutoff(box, n_atoms):
    """Atoms have several images, and their own, among their neighbors."""
    positions = np.random.default_rng(3).uniform(0, 0.5, (n_atoms, 3)) @ box
    if n_atoms == 8:
        positions, _, _ = crystal(repeat=1)
    numbers = numbers_for(MODELS[MODEL], n_atoms)
    check(context_of(positions, numbers, box), POTENTIALS[MODEL].evaluate(positions, numbers, box))


def test_atoms_may_be_outside_of_the_box_and_far_apart():
    positions, numbers, box = crystal()
    shifted = positions + np.random.default_rng(4).integers(-3, 4, positions.shape) @ box
    check(context_of(shifted, numbers, box), POTENTIALS[MODEL].evaluate(positions, numbers, box))
    cluster, numbers, _ = crystal("no box", repeat=2)
    # Space repeats in the table of bins; the second cluster falls into those of the first.
    apart = np.concatenate([cluster, cluster + np.array([430.0, -1999.0, 20.0])])
    twice = np.concatenate([numbers, numbers])
    check(context_of(apart, twice, None), POTENTIALS[MODEL].evaluate(apart, twice))


@pytest.mark.parametrize("shape", ["triclinic box", "no box"])
def test_rows_grow_when_a_dilute_gas_is_compressed(shape):
    """From no neighbor to more than a hundred: the first list is far too short, with a box and without."""
    positions, numbers, box = crystal(shape)
    context = context_of(4 * positions, numbers, None if box is None else 4 * box)
    assert not energy_and_forces(context)[1].any()
    for factor in (1.0, 0.8):
        now = None if box is None else factor * box
        if box is not None:
            context.setPeriodicBoxVectors(*(now * NM))
        context.setPositions(factor * positions * NM)
        check(context, POTENTIALS[MODEL].evaluate(factor * positions, numbers, now))


def test_a_list_is_kept_for_small_moves_and_made_anew_for_large_ones():
    positions, numbers, box = crystal()
    context = context_of(positions, numbers, box)
    rng = np.random.default_rng(8)
    for length in (0.0, 0.1, 0.2, 0.4, 1.0):
        step = rng.normal(size=positions.shape)
        moved = positions + length * step / np.linalg.norm(step, axis=1)[:, None]
        context.setPositions(moved * NM)
        check(context, POTENTIALS[MODEL].evaluate(moved, numbers, box))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_scale_parameter_and_its_derivative(precision):
    positions, numbers, box = crystal()
    force = KMLForce(POTENTIALS[MODEL], numbers=numbers, periodic=True, scale_parameter="lambda")
    force.addEnergyParameterDerivative("lambda")
    # Nobody asks for the device: only its compute kernels offer the derivative.
    system = system_of(force, len(numbers), box)
    context = device_context(system, positions, precision, route=USUAL_ROUTE)
    expected = POTENTIALS[MODEL].evaluate(positions, numbers, box)
    for scale in (1.0, 0.25, -2.0):
        context.setParameter("lambda", scale)
        check(context, expected, precision, scale)
        derivative = context.getState(parameterDerivatives=True).getEnergyParameterDerivatives()["lambda"]
        assert derivative == pytest.approx(expected.energy * KJ_PER_MOL, rel=BOUNDS[precision])


def test_a_subset_in_a_force_group_of_a_larger_system():
    positions, numbers, box = crystal()
    chosen = np.random.default_rng(2).permutation(len(numbers))[:100].tolist()
    force = KMLForce(POTENTIALS[MODEL], chosen, numbers=numbers[chosen], periodic=True)
    force.setForceGroup(3)
    other = openmm.CustomExternalForce("x")
    other.addParticle(3)
    context = device_context(system_of(force, len(numbers), box, other), positions)
    expected = POTENTIALS[MODEL].evaluate(positions[chosen], numbers[chosen], box)
    energy, forces = energy_and_forces(context, groups={3})
    assert energy == pytest.approx(expected.energy, rel=1e-11)
    np.testing.assert_allclose(forces[chosen], expected.forces, rtol=0, atol=1e-10)
    assert not np.delete(forces, chosen, axis=0).any()


def test_the_energy_alone_is_that_with_forces():
    context = context_of(*crystal())
    alone = context.getState(energy=True).getPotentialEnergy()
    assert alone == context.getState(energy=True, forces=True).getPotentialEnergy()


def test_it_serves_as_a_collective_variable():
    positions, numbers, box = crystal()
    variable = openmm.CustomCVForce("2*E")
    variable.addCollectiveVariable("E", KMLForce(POTENTIALS[MODEL], numbers=numbers, periodic=True))
    context = device_context(system_of(variable, len(numbers), box), positions)
    check(context, POTENTIALS[MODEL].evaluate(positions, numbers, box), scale=2.0)


def test_a_new_model_and_new_particles_reach_the_device():
    positions, numbers, box = crystal()
    force = KMLForce(POTENTIALS[MODEL], numbers=numbers, periodic=True)
    context = device_context(system_of(force, len(numbers), box), positions)
    other = POTENTIALS["two terms of each kind"]
    force.setPotential(other)
    force.setParticles(range(50))
    force.setNumbers(numbers[:50][::-1])
    for action in (force.updateParametersInContext, lambda c: c.reinitialize(preserveState=True)):
        action(context)
        energy, forces = energy_and_forces(context)
        expected = other.evaluate(positions[:50], numbers[:50][::-1], box)
        assert energy == pytest.approx(expected.energy, rel=1e-11)
        np.testing.assert_allclose(forces[:50], expected.forces, rtol=0, atol=1e-10)
        assert not forces[50:].any()


def test_coincident_atoms_and_lost_ones_are_named():
    positions, numbers, box = crystal()
    context = context_of(positions, numbers, box)
    together = positions.copy()
    together[17] = together[5] + box[1]
    context.setPositions(together * NM)
    for action in (lambda: context.getIntegrator().step(1), lambda: context.getState(energy=True)):
        with pytest.raises(openmm.OpenMMException, match="atoms 5 and 17 coincide"):
            action()
    context.setPositions(positions * NM)
    check(context, POTENTIALS[MODEL].evaluate(positions, numbers, box))


# --- dynamics


def smooth_model():
    """Return a potential with a minimum near 2.4 Å: a repulsion and an attractive pair function."""
    c = -0.3 * np.exp(-(((1.5 + 0.25 * (np.arange(12) - 1) - 2.4) / 0.5) ** 2))
    terms = (Spline2Term(1.5, 4.5, c[None]), RepulsionTerm(np.array([[1.5, 3.5]])))
    return KernelPotential.from_bytes(to_bytes(Weights(elements=(14,), terms=terms)))


@pytest.mark.parametrize("precision", ["mixed", "double"])
def test_energy_is_conserved_while_lists_are_made_anew(precision):
    positions, cell = diamond(5.5, repeat=2)
    positions += np.random.default_rng(1).normal(0, 0.02, positions.shape)
    force = KMLForce(smooth_model(), numbers=[14] * 64, periodic=True)
    context = device_context(system_of(force, 64, cell), positions, precision)
    context.setVelocitiesToTemperature(600, 3)
    start = total_energy(context)
    totals = []
    for _ in range(10):
        context.getIntegrator().step(100)
        totals.append(total_energy(context))
    assert np.abs(state_of(context)[0] - positions).max() > 0.6  # lists were made anew
    assert np.abs(np.array(totals) - start).max() < 2e-4 * 64


def test_two_contexts_repeat_each_other_bit_for_bit():
    positions, numbers, box = crystal(noise=0.02)
    ends = []
    for _ in range(2):
        context = context_of(positions, numbers, box, "single")
        context.getIntegrator().step(40)
        energy, forces = energy_and_forces(context)
        ends.append((energy, forces.tobytes()))
    assert ends[0] == ends[1]
    assert np.abs(state_of(context)[0] - positions).max() > 0.3


BAROSTATS = {
    "isotropic": lambda: openmm.MonteCarloBarostat(1.0, 300.0, 5),
    "anisotropic": lambda: openmm.MonteCarloAnisotropicBarostat(openmm.Vec3(1, 1, 1), 300.0, True, True, True, 5),
    "flexible": lambda: openmm.MonteCarloFlexibleBarostat(1.0, 300.0, 5),
}


@pytest.mark.parametrize("barostat", BAROSTATS)
def test_barostats_change_the_box_and_the_forces_follow(barostat):
    potential = smooth_model()
    positions, cell = diamond(5.8, repeat=2)  # stretched: it shrinks
    positions += np.random.default_rng(2).normal(0, 0.05, positions.shape)
    force = KMLForce(potential, numbers=[14] * 64, periodic=True)
    context = device_context(system_of(force, 64, cell, BAROSTATS[barostat]()), positions)
    context.setVelocitiesToTemperature(300, 1)
    context.getIntegrator().step(300)
    now, box = state_of(context)
    assert np.abs(box - cell).max() > 0.01
    check(context, potential.evaluate(now, [14] * 64, box))


@pytest.mark.parametrize("precision", ["mixed", "double"])
def test_particles_that_openmm_sorts_keep_their_elements_and_neighbors(precision):
    """Every 250 steps OpenMM sorts particles in space and wraps them, if a force of its own has a cutoff."""
    positions, numbers, box = crystal(repeat=3)
    order = np.random.default_rng(9).permutation(len(positions))
    positions, numbers = positions[order], numbers[order]
    chosen = sorted(np.random.default_rng(3).permutation(len(positions))[:150].tolist())
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    nonbonded.setCutoffDistance(0.6)
    for _ in positions:
        nonbonded.addParticle(0.0, 0.2, 0.0)
    nonbonded.setForceGroup(1)
    force = KMLForce(POTENTIALS[MODEL], chosen, numbers=numbers[chosen], periodic=True, scale_parameter="weak")
    context = device_context(system_of(force, len(positions), box, nonbonded), positions, precision, time_step=0.001)
    context.setParameter("weak", 1e-3)  # random models are no place for dynamics
    context.setVelocitiesToTemperature(300, 7)
    for _ in range(2):
        context.getIntegrator().step(260)
        now, _ = state_of(context)
        _, forces = energy_and_forces(context, groups={0})
        expected = 1e-3 * POTENTIALS[MODEL].evaluate(now[chosen], numbers[chosen], box).forces
        # In mixed precision the positions that come back carry more digits than those of the forces.
        bound = {"mixed": 2e-4, "double": 1e-9}[precision] * np.abs(expected).max()
        np.testing.assert_allclose(forces[chosen], expected, rtol=0, atol=bound)
        assert not np.delete(forces, chosen, axis=0).any()
