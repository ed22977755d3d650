"""KMLForce in a Context: energies, forces, groups, subsets and the scale parameter, on every route."""

import numpy as np
import openmm
import pytest
from models import MODELS, model_positions
from openmm import app, unit
from openmm_helpers import (
    KJ_PER_MOL,
    NM,
    OWN_KERNEL_ROUTES,
    ROUTES,
    SUBSET,
    SUBSET_SIZE,
    context_for,
    energy_and_forces,
    ethanol,
    potential_of,
    route,
    system_with,
    tolerance,
)

from openmm_kml.interfaces.openmm import KMLForce


def check_evaluation(context, expected, route_name, scale=1.0):
    energy, forces = energy_and_forces(context)
    assert np.abs(expected.forces).max() > 1e-3
    assert energy == pytest.approx(scale * expected.energy, rel=tolerance(route_name))
    bound = tolerance(route_name) * np.abs(expected.forces).max()
    np.testing.assert_allclose(forces, scale * expected.forces, rtol=0, atol=bound)


def spring(particle, n_particles, positions):
    """Return a force on one particle toward the origin and its energy in eV at positions in Å."""
    force = openmm.CustomExternalForce("10*(x^2 + y^2 + z^2)")
    force.addParticle(particle)
    return force, 10 * ((positions[particle] * NM) ** 2).sum() / KJ_PER_MOL


def subset_positions():
    """Return positions of fourteen particles, nine of them those of the molecule, shape (14, 3), Å."""
    _, molecule = ethanol()
    positions = np.random.default_rng(5).normal(0, 4.0, (SUBSET_SIZE, 3))
    positions[list(SUBSET)] = molecule
    return positions


@pytest.mark.parametrize("route_name", ROUTES)
@pytest.mark.parametrize("model", MODELS)
def test_energy_and_forces_are_those_of_the_potential(model, route_name):
    potential, positions = potential_of(model), model_positions(MODELS[model])[0]
    system = system_with(KMLForce(potential), n_particles=len(positions))
    check_evaluation(context_for(system, positions, route_name), potential.evaluate(positions), route_name)


@pytest.mark.parametrize("route_name", ROUTES)
def test_the_energy_alone_equals_the_energy_with_forces(route_name):
    potential, positions = ethanol()
    context = context_for(system_with(KMLForce(potential), n_particles=9), positions, route_name)
    alone = context.getState(energy=True).getPotentialEnergy()
    both = context.getState(energy=True, forces=True).getPotentialEnergy()
    assert alone._value == pytest.approx(both._value, rel=tolerance(route_name))


@pytest.mark.parametrize("route_name", ROUTES)
def test_a_subset_of_particles_leaves_the_others_alone(route_name):
    potential, molecule = ethanol()
    positions = subset_positions()
    context = context_for(system_with(KMLForce(potential, SUBSET), n_particles=SUBSET_SIZE), positions, route_name)
    energy, forces = energy_and_forces(context)
    expected = potential.evaluate(molecule)
    bound = tolerance(route_name) * np.abs(expected.forces).max()
    assert energy == pytest.approx(expected.energy, rel=tolerance(route_name))
    np.testing.assert_allclose(forces[list(SUBSET)], expected.forces, rtol=0, atol=bound)
    assert not np.delete(forces, SUBSET, axis=0).any()


@pytest.mark.parametrize("route_name", ROUTES)
def test_forces_of_other_kinds_add_up(route_name):
    potential, molecule = ethanol()
    positions = subset_positions()
    other, energy_of_other = spring(3, SUBSET_SIZE, positions)
    system = system_with(KMLForce(potential, SUBSET), other, n_particles=SUBSET_SIZE)
    energy, _ = energy_and_forces(context_for(system, positions, route_name))
    expected = potential.evaluate(molecule).energy + energy_of_other
    assert energy == pytest.approx(expected, rel=10 * tolerance(route_name))


@pytest.mark.parametrize("route_name", ROUTES)
def test_force_groups_are_respected(route_name):
    potential, positions = ethanol()
    force = KMLForce(potential)
    force.setForceGroup(3)
    other, energy_of_other = spring(2, 9, positions)
    context = context_for(system_with(force, other, n_particles=9), positions, route_name)
    expected = potential.evaluate(positions)
    energy, forces = energy_and_forces(context, groups={3})
    assert energy == pytest.approx(expected.energy, rel=tolerance(route_name))
    np.testing.assert_allclose(forces, expected.forces, rtol=0, atol=1e-5)
    assert energy_and_forces(context, groups={0})[0] == pytest.approx(energy_of_other, rel=1e-5)
    assert energy_and_forces(context, groups={1})[0] == 0.0


@pytest.mark.parametrize("route_name", ROUTES)
def test_the_scale_parameter_multiplies_energy_and_forces(route_name):
    potential, positions = ethanol()
    context = context_for(system_with(KMLForce(potential, None, "coupling"), n_particles=9), positions, route_name)
    assert dict(context.getParameters()) == {"coupling": 1.0}
    expected = potential.evaluate(positions)
    for scale in (1.0, 0.25, 0.0, -2.0):
        context.setParameter("coupling", scale)
        check_evaluation(context, expected, route_name, scale)


@pytest.mark.parametrize("route_name", ROUTES)
def test_a_scale_that_is_not_finite_stops_the_run(route_name):
    potential, positions = ethanol()
    context = context_for(system_with(KMLForce(potential, None, "coupling"), n_particles=9), positions, route_name)
    context.setParameter("coupling", np.nan)
    with pytest.raises(openmm.OpenMMException, match="'coupling' is a finite number; it is nan in this Context"):
        context.getIntegrator().step(1)


@pytest.mark.parametrize("route_name", OWN_KERNEL_ROUTES)
def test_the_derivative_by_the_scale_is_the_unscaled_energy(route_name):
    potential, positions = ethanol()
    force = KMLForce(potential, None, "coupling")
    force.addEnergyParameterDerivative("coupling")
    context = context_for(system_with(force, n_particles=9), positions, route_name)
    context.setParameter("coupling", 0.3)
    derivative = context.getState(parameterDerivatives=True).getEnergyParameterDerivatives()["coupling"]
    assert derivative == pytest.approx(potential.evaluate(positions).energy * KJ_PER_MOL, rel=1e-12)


def test_the_derivative_is_refused_where_it_cannot_be_had():
    potential, positions = ethanol()
    force = KMLForce(potential, None, "coupling")
    force.addEnergyParameterDerivative("coupling")
    with pytest.raises(openmm.OpenMMException, match="derivative by 'coupling' is offered on the Reference and CPU"):
        context_for(system_with(force, n_particles=9), positions, "base-class")


@pytest.mark.parametrize("route_name", ROUTES)
def test_it_serves_as_a_collective_variable(route_name):
    potential, positions = ethanol()
    variable = openmm.CustomCVForce("0.5*E + 3*E^2/1000")
    variable.addCollectiveVariable("E", KMLForce(potential))
    energy, forces = energy_and_forces(context_for(system_with(variable, n_particles=9), positions, route_name))
    expected = potential.evaluate(positions)
    e = expected.energy * KJ_PER_MOL
    assert energy == pytest.approx((0.5 * e + 3 * e**2 / 1000) / KJ_PER_MOL, rel=10 * tolerance(route_name))
    slope = 0.5 + 6 * e / 1000
    bound = 10 * tolerance(route_name) * np.abs(slope * expected.forces).max()
    np.testing.assert_allclose(forces, slope * expected.forces, rtol=0, atol=bound)


@pytest.mark.parametrize("route_name", ROUTES)
def test_two_contexts_of_one_system_do_not_meet(route_name):
    potential, _ = ethanol()
    frames = model_positions(MODELS["ethanol-matern52"], n_frames=2)
    system = system_with(KMLForce(potential), n_particles=9)
    contexts = [context_for(system, frame, route_name) for frame in frames]
    for _ in range(2):
        for context, frame in zip(contexts, frames, strict=True):
            check_evaluation(context, potential.evaluate(frame), route_name)


@pytest.mark.parametrize("route_name", ROUTES)
def test_coincident_atoms_are_named_and_nothing_runs_on(route_name):
    potential, _ = ethanol()
    positions = subset_positions()
    positions[SUBSET[4]] = positions[SUBSET[2]]
    context = context_for(system_with(KMLForce(potential, SUBSET), n_particles=SUBSET_SIZE), positions, route_name)
    for action in (lambda: context.getState(forces=True), lambda: context.getIntegrator().step(1)):
        with pytest.raises(openmm.OpenMMException, match=r"in the System: particles 4 and 0\b"):
            action()
    context.setPositions(subset_positions() * NM)  # and the Context is still of use
    check = energy_and_forces(context)[0]
    assert check == pytest.approx(potential.evaluate(ethanol()[1]).energy, rel=tolerance(route_name))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_position_that_is_not_finite_is_an_error(value):
    potential, positions = ethanol()
    context = context_for(system_with(KMLForce(potential), n_particles=9), positions)
    positions[5, 1] = value
    context.setPositions(positions * NM)
    with pytest.raises(openmm.OpenMMException, match=r"\b5\b"):
        context.getState(energy=True)


@pytest.mark.parametrize("route_name", ROUTES)
@pytest.mark.parametrize(
    ("particles", "message"),
    [
        (None, r"the model describes 9 atoms, the System has 14 particles: pass particles=\[...\]"),
        (range(8), "the model describes 9 atoms, but 8 particles are given"),
        (range(6, 15), "particle 14 does not exist; the System has 14 particles"),
    ],
    ids=["all particles", "too few", "past the end"],
)
def test_particles_that_do_not_fit_are_refused_with_the_context(particles, message, route_name):
    system = system_with(KMLForce(ethanol()[0], particles), n_particles=SUBSET_SIZE)
    with pytest.raises(openmm.OpenMMException, match=message), route(route_name) as platform:
        openmm.Context(system, openmm.VerletIntegrator(0.001), platform)


@pytest.mark.parametrize(
    ("particles", "error", "message"),
    [
        ([0, 1, -2], openmm.OpenMMException, "particle -2 does not exist"),
        ([0, 1, 2**32 + 2], openmm.OpenMMException, "particle 4294967298 does not exist"),
        ([3, 1, 3], openmm.OpenMMException, "particle 3 appears twice"),
        ([0, 1.5], TypeError, "sequence of integers"),
        (7, TypeError, "sequence of integers"),
    ],
    ids=["negative", "beyond all counts", "twice", "not an integer", "not a sequence"],
)
def test_unusable_particles_are_refused_at_once(particles, error, message):
    with pytest.raises(error, match=message):
        KMLForce(ethanol()[0], particles)


def ethanol_topology(elements="CCOHHHHHH"):
    """Return a topology of one residue with the given elements."""
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for k, symbol in enumerate(elements):
        topology.addAtom(f"{symbol}{k}", app.Element.getBySymbol(symbol), residue)
    return topology


def test_a_topology_with_the_models_elements_is_accepted():
    assert KMLForce(ethanol()[0], topology=ethanol_topology()).getParticles() == ()
    particles = [2, 3, 4, 5, 6, 7, 8, 9, 10]
    force = KMLForce(ethanol()[0], particles, topology=ethanol_topology("OOCCOHHHHHH"))
    assert force.getParticles() == tuple(particles)


@pytest.mark.parametrize(
    ("elements", "particles", "message"),
    [
        ("CCHOHHHHH", None, "atom 2 of the topology is H, atom 2 of the model is O"),
        ("HCCOHHHHHHH", list(range(9)), "atom 0 of the topology is H, atom 0 of the model is C"),
        ("CCO", None, "the model describes 9 atoms, the topology has 3"),
        ("CCOHHHHHH", list(range(1, 10)), "atom 2 of the topology is O, atom 1 of the model is C"),
    ],
)
def test_a_topology_with_other_elements_is_refused(elements, particles, message):
    with pytest.raises(ValueError, match=message):
        KMLForce(ethanol()[0], particles, topology=ethanol_topology(elements))


def test_a_whole_simulation_runs():
    potential, positions = ethanol()
    topology = ethanol_topology()
    system = system_with(KMLForce(potential, topology=topology), n_particles=9)
    integrator = openmm.LangevinMiddleIntegrator(50 * unit.kelvin, 1 / unit.picosecond, 0.1 * unit.femtosecond)
    with route("CPU") as platform:
        simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(positions * NM)
    simulation.step(10)
    state = simulation.context.getState(positions=True, energy=True)
    moved = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) / KJ_PER_MOL
    assert np.abs(moved - positions).max() > 1e-4
    assert energy == pytest.approx(potential.evaluate(moved).energy, rel=1e-6)
