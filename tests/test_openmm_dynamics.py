"""KMLForce over time: conservation, checkpoints, changes in a living Context, threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openmm
import pytest
from models import LARGE, MODELS, model_positions
from openmm_helpers import (
    NM,
    OWN_KERNEL_ROUTES,
    context_for,
    energy_and_forces,
    ethanol,
    potential_of,
    route,
    system_with,
    total_energy,
)

from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import to_bytes

ROUTES = (*OWN_KERNEL_ROUTES, "base-class")


def energy_error(context, n_steps):
    """Return the largest change of the total energy during `n_steps`, eV."""
    start = total_energy(context)
    errors = []
    for _ in range(n_steps):
        context.getIntegrator().step(1)
        errors.append(abs(total_energy(context) - start))
    return max(errors)


@pytest.mark.parametrize("route_name", ROUTES)
def test_the_energy_error_is_that_of_the_integrator(route_name):
    """Verlet is of second order: half the time step, a quarter of the error. A force error would not shrink."""
    potential, positions = ethanol()
    system = system_with(KMLForce(potential), n_particles=9)
    coarse = energy_error(context_for(system, positions, route_name, time_step=0.0004), 60)
    fine = energy_error(context_for(system, positions, route_name, time_step=0.0002), 120)
    assert 0 < coarse < 0.05
    assert coarse / fine == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize("route_name", ROUTES)
def test_total_momentum_stays_zero(route_name):
    potential, positions = ethanol()
    context = context_for(system_with(KMLForce(potential), n_particles=9), positions, route_name)
    context.getIntegrator().step(20)
    velocities = context.getState(velocities=True).getVelocities(asNumpy=True)._value
    assert np.abs(velocities).max() > 1e-3
    assert np.abs(velocities.sum(axis=0)).max() < 1e-5 * np.abs(velocities).max()


def test_a_checkpoint_continues_bit_for_bit():
    potential, positions = ethanol()
    system = system_with(KMLForce(potential, None, "coupling"), n_particles=9)
    context = context_for(system, positions)
    context.setParameter("coupling", 0.5)
    context.getIntegrator().step(5)
    checkpoint = context.createCheckpoint()

    def continued(one):
        one.getIntegrator().step(20)
        state = one.getState(positions=True, velocities=True)
        return state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value

    expected = continued(context)
    other = context_for(system, positions)
    other.loadCheckpoint(checkpoint)
    assert other.getParameter("coupling") == 0.5
    for found, wanted in zip(continued(other), expected, strict=True):
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("route_name", ROUTES)
def test_a_new_model_enters_a_living_context(route_name):
    first, positions = ethanol()
    second = potential_of("ethanol-matern92-energies-weighted")
    force = KMLForce(first)
    context = context_for(system_with(force, n_particles=9), positions, route_name)
    before = energy_and_forces(context)
    force.setPotential(second)
    assert energy_and_forces(context)[0] == before[0]  # nothing changes before the update
    force.updateParametersInContext(context)
    energy, forces = energy_and_forces(context)
    expected = second.evaluate(positions)
    assert energy == pytest.approx(expected.energy, rel=1e-12)
    np.testing.assert_allclose(forces, expected.forces, rtol=0, atol=1e-10)


@pytest.mark.parametrize("route_name", ROUTES)
def test_other_particles_and_another_scale_enter_a_living_context(route_name):
    potential, positions = ethanol()
    both = np.concatenate([positions, model_positions(MODELS["ethanol-matern52"], seed=8)[0] + 20.0])
    force = KMLForce(potential, range(9), "coupling")
    context = context_for(system_with(force, n_particles=18), both, route_name)
    context.setParameter("coupling", 0.75)
    force.setParticles(range(9, 18))
    force.updateParametersInContext(context)
    assert context.getParameter("coupling") == 0.75  # the default did not change
    expected = potential.evaluate(both[9:]).energy
    assert energy_and_forces(context)[0] == pytest.approx(0.75 * expected, rel=1e-12)
    force.setScaleParameterDefaultValue(2.0)
    force.updateParametersInContext(context)
    assert energy_and_forces(context)[0] == pytest.approx(2.0 * expected, rel=1e-12)


@pytest.mark.parametrize("route_name", ROUTES)
def test_a_model_that_does_not_fit_leaves_the_context_as_it_was(route_name):
    potential, positions = ethanol()
    force = KMLForce(potential)
    context = context_for(system_with(force, n_particles=9), positions, route_name)
    before = energy_and_forces(context)[0]
    force.setPotential(potential_of("water-exchange"))
    with pytest.raises(openmm.OpenMMException, match="the model describes 3 atoms, the System has 9 particles"):
        force.updateParametersInContext(context)
    assert energy_and_forces(context)[0] == before


@pytest.mark.parametrize(
    "change",
    [lambda force: force.setScaleParameter("other"), lambda force: force.addEnergyParameterDerivative("coupling")],
    ids=["name", "derivative"],
)
def test_what_needs_a_new_context_is_refused(change):
    potential, positions = ethanol()
    force = KMLForce(potential, None, "coupling")
    context = context_for(system_with(force, n_particles=9), positions)
    change(force)
    with pytest.raises(openmm.OpenMMException, match="needs a new Context"):
        force.updateParametersInContext(context)
    context.reinitialize(preserveState=True)
    assert energy_and_forces(context)[0] == pytest.approx(potential.evaluate(positions).energy, rel=1e-12)


def test_a_context_without_the_force_is_refused():
    potential, positions = ethanol()
    context = context_for(system_with(n_particles=9), positions)
    with pytest.raises(openmm.OpenMMException):
        KMLForce(potential).updateParametersInContext(context)


def test_contexts_in_threads_give_what_they_give_alone():
    potential, _ = ethanol()
    frames = model_positions(MODELS["ethanol-matern52"], n_frames=4)
    system = system_with(KMLForce(potential), n_particles=9)

    def run(frame):
        context = context_for(system, frame)
        context.getIntegrator().step(50)
        return context.getState(positions=True).getPositions(asNumpy=True)._value

    alone = [run(frame) for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, frames))
    for found, expected in zip(together, alone, strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("route_name", ROUTES)
def test_two_engine_threads_agree_with_one(route_name):
    potential, positions = KernelPotential.from_bytes(to_bytes(LARGE)), model_positions(LARGE)[0]
    systems = [system_with(KMLForce(potential, n_threads=n), n_particles=12) for n in (1, 2)]
    results = [energy_and_forces(context_for(system, positions, route_name)) for system in systems]
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=0, atol=1e-10)
    assert not np.array_equal(results[0][1], results[1][1])  # two threads were at work


def test_a_collapse_during_dynamics_stops_with_the_atoms_named():
    """Two atoms are shot at each other so that they meet exactly; with a NaN the run would go on for ever."""
    potential, positions = ethanol()
    time_step = 2.0**-10  # powers of two everywhere: every sum is exact
    system = system_with(KMLForce(potential, None, "coupling"), n_particles=9)
    context = context_for(system, positions, time_step=time_step)
    context.setParameter("coupling", 0.0)  # no force keeps them apart
    start = np.round(positions * NM * 2**20) / 2**20
    velocities = np.zeros((9, 3))
    velocities[4] = (start[7] - start[4]) / (4 * time_step)  # there after four steps
    context.setPositions(start)
    context.setVelocities(velocities)
    context.getIntegrator().step(4)
    with pytest.raises(openmm.OpenMMException, match="KMLForce: atoms 7 and 4 coincide"):
        context.getIntegrator().step(100)


def test_the_atoms_of_a_model_move_as_one_molecule():
    """A barostat scales the centers of molecules: distances inside one must not change with the box."""
    potential, positions = ethanol()
    system = system_with(KMLForce(potential), n_particles=9)
    system.setDefaultPeriodicBoxVectors(*(4.0 * np.eye(3)))
    barostat = openmm.MonteCarloBarostat(1.0, 300.0, 1)
    barostat.setRandomNumberSeed(7)
    barostat.setForceGroup(1)
    # OpenMM lets a barostat work only where some force is periodic.
    box = openmm.CustomNonbondedForce("0*r")
    box.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    for _ in range(9):
        box.addParticle()
    system.addForce(box)
    system.addForce(barostat)
    with route("Reference") as platform:
        context = openmm.Context(system, openmm.VerletIntegrator(1e-9), platform)
    context.setPositions(positions * NM)
    context.getIntegrator().step(20)
    state = context.getState(positions=True)
    moved = state.getPositions(asNumpy=True)._value
    assert state.getPeriodicBoxVolume()._value != pytest.approx(64.0, rel=1e-9)
    before = np.linalg.norm(positions[:, None] - positions[None], axis=-1) * NM
    after = np.linalg.norm(moved[:, None] - moved[None], axis=-1)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-9)
