"""KMLForce as a variable of a CustomCVForce, and beside a bias."""

import numpy as np
import openmm
import pytest
from ethanol_case import ethanol_potential, geometry
from openmm import app, unit
from openmm_helpers import KJ_PER_MOL, context_for, energy_and_forces, route, system_with, tolerance
from trained import ethanol_minimum
from trained import ethanol_potential as trained_potential

from openmm_kml.interfaces.openmm import KMLForce

ROUTES = ("Reference", "CPU", "OpenCL")
LAMBDA = 0.3


def model(seed=0, **options):
    return KMLForce(ethanol_potential(seed), n_threads=1, **options)


def two_models():
    """Return (1 - lambda) E0 + lambda E1 of two models as one force."""
    force = openmm.CustomCVForce("(1-lambda)*E0 + lambda*E1")
    force.addGlobalParameter("lambda", LAMBDA)
    force.addEnergyParameterDerivative("lambda")
    force.addCollectiveVariable("E0", model(0))
    force.addCollectiveVariable("E1", model(1))
    return force


@pytest.fixture(params=ROUTES)
def route_name(request):
    with route(request.param):
        return request.param


@pytest.fixture
def expected():
    """Return the evaluations of both models."""
    return [ethanol_potential(seed).evaluate(geometry()) for seed in (0, 1)]


def test_two_models_in_one_expression(route_name, expected):
    system = system_with(two_models(), n_particles=9)
    energy, forces = energy_and_forces(context_for(system, geometry(), route_name))
    first, second = expected
    rtol = tolerance(route_name)
    assert energy == pytest.approx((1 - LAMBDA) * first.energy + LAMBDA * second.energy, rel=rtol)
    mixed = (1 - LAMBDA) * first.forces + LAMBDA * second.forces
    np.testing.assert_allclose(forces, mixed, atol=5 * rtol * np.abs(mixed).max())


def test_the_derivative_by_the_parameter_is_the_difference_of_the_models(route_name, expected):
    context = context_for(system_with(two_models(), n_particles=9), geometry(), route_name)
    state = context.getState(parameterDerivatives=True)
    difference = expected[1].energy - expected[0].energy
    assert abs(difference) > 1.0
    found = state.getEnergyParameterDerivatives()["lambda"] / KJ_PER_MOL
    # A small difference of two energies of 4000 eV.
    assert found == pytest.approx(difference, abs=4210 * tolerance(route_name))


def test_the_values_of_the_variables_are_the_models_energies(route_name, expected):
    force = two_models()
    context = context_for(system_with(force, n_particles=9), geometry(), route_name)
    values = np.array(force.getCollectiveVariableValues(context)) / KJ_PER_MOL
    np.testing.assert_allclose(values, [e.energy for e in expected], rtol=tolerance(route_name))


def test_a_function_of_the_energy_has_the_forces_of_the_chain_rule(expected):
    # A harmonic bias on the energy itself: F = -k (E - E0) dE/dr.
    k, shift = 2e-3, 50.0  # mol/kJ, kJ/mol
    energy = expected[0].energy * KJ_PER_MOL
    force = openmm.CustomCVForce("0.5*k*(E-center)^2")
    force.addGlobalParameter("k", k)
    force.addGlobalParameter("center", energy - shift)
    force.addCollectiveVariable("E", model())
    found = energy_and_forces(context_for(system_with(force, n_particles=9), geometry()))
    assert found[0] * KJ_PER_MOL == pytest.approx(0.5 * k * shift**2, rel=1e-9)
    np.testing.assert_allclose(found[1], k * shift * expected[0].forces, rtol=1e-8, atol=1e-8)


def test_a_scale_parameter_inside_is_a_parameter_of_the_context(expected):
    force = openmm.CustomCVForce("2*E")
    force.addCollectiveVariable("E", model(scale_parameter="scale"))
    context = context_for(system_with(force, n_particles=9), geometry())
    context.setParameter("scale", 0.25)
    assert energy_and_forces(context)[0] == pytest.approx(0.5 * expected[0].energy, rel=1e-12)


def test_the_scale_and_its_derivative_without_a_collective_variable(expected):
    force = model(scale_parameter="scale")
    force.addEnergyParameterDerivative("scale")
    context = context_for(system_with(force, n_particles=9), geometry())
    context.setParameter("scale", 0.25)
    state = context.getState(energy=True, parameterDerivatives=True)
    assert state.getEnergyParameterDerivatives()["scale"] / KJ_PER_MOL == pytest.approx(expected[0].energy, rel=1e-12)


def test_a_model_is_swapped_in_a_living_context(route_name):
    force = model(0)
    system = system_with(force, n_particles=9)
    context = context_for(system, geometry(), route_name)
    force.setPotential(ethanol_potential(2))
    force.updateParametersInContext(context)
    other = ethanol_potential(2).evaluate(geometry())
    energy, forces = energy_and_forces(context)
    assert energy == pytest.approx(other.energy, rel=tolerance(route_name))
    np.testing.assert_allclose(forces, other.forces, atol=5 * tolerance(route_name) * np.abs(other.forces).max())


def test_a_model_inside_a_collective_variable_is_swapped_in_the_inner_context(route_name, expected):
    force = two_models()
    context = context_for(system_with(force, n_particles=9), geometry(), route_name)
    inner = force.getInnerContext(context)
    variable = KMLForce.cast(inner.getSystem().getForce(1))
    variable.setPotential(ethanol_potential(2))
    variable.updateParametersInContext(inner)
    other = ethanol_potential(2).evaluate(geometry()).energy
    assert energy_and_forces(context)[0] == pytest.approx(
        (1 - LAMBDA) * expected[0].energy + LAMBDA * other, rel=tolerance(route_name)
    )


def torsion():
    """Return the angle C-C-O-H as a bias variable."""
    force = openmm.CustomTorsionForce("theta")
    force.addTorsion(0, 1, 2, 3, [])
    return app.BiasVariable(force, -np.pi, np.pi, biasWidth=0.35, periodic=True)


def test_metadynamics_fills_the_well_and_leaves_the_model_as_it_is():
    potential = trained_potential()
    force = KMLForce(potential, n_threads=1)
    system = system_with(force, n_particles=9)
    metadynamics = app.Metadynamics(system, [torsion()], 300.0, biasFactor=5.0, height=1.0, frequency=10)
    integrator = openmm.LangevinMiddleIntegrator(300.0, 5.0, 0.0005)
    integrator.setRandomNumberSeed(1)
    topology = app.Topology()
    residue = topology.addResidue("ETH", topology.addChain())
    for number in potential.species:
        topology.addAtom("X", app.Element.getByAtomicNumber(int(number)), residue)
    simulation = app.Simulation(topology, system, integrator, openmm.Platform.getPlatformByName("Reference"))
    simulation.context.setPositions(ethanol_minimum() / 10)
    simulation.context.setVelocitiesToTemperature(300.0, 1)
    metadynamics.step(simulation, 400)
    profile = metadynamics.getFreeEnergy().value_in_unit(unit.kilojoule_per_mole)
    visited = metadynamics.getCollectiveVariables(simulation)[0]
    # Forty hills of at most 1 kJ/mol lie where the molecule was, and nowhere else.
    assert profile.max() - profile.min() > 5.0
    grid = np.linspace(-np.pi, np.pi, len(profile))
    assert profile[np.abs(grid - visited).argmin()] < profile.max() - 1.0
    # The bias is another force: the model's group is the model.
    alone, forces = energy_and_forces(simulation.context, groups={force.getForceGroup()})
    positions = simulation.context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    assert alone == pytest.approx(potential.evaluate(positions).energy, rel=1e-12)
    total = energy_and_forces(simulation.context)[1]
    assert np.abs(total - forces).max() > 1e-3
