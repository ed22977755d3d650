"""KMLForce with local terms: periodic boxes of any shape, barostats, subsets, and what it refuses."""

import numpy as np
import openmm
import pytest
from local_models import LOCAL_MODELS, STRUCTURES, diamond, numbers_for
from models import MODELS
from openmm import app, unit
from openmm_helpers import (
    KJ_PER_MOL,
    NM,
    OWN_KERNEL_ROUTES,
    ROUTES,
    context_for,
    energy_and_forces,
    system_with,
    tolerance,
    total_energy,
)

from openmm_kml.interfaces.checks import check_system, kml_forces
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import RepulsionTerm, Spline2Term, Weights, to_bytes

WEIGHTS = LOCAL_MODELS["all terms of silica"]
POTENTIAL = KernelPotential.from_bytes(to_bytes(WEIGHTS))
# OpenMM's form of a triclinic box: the first vector along x, the second in the plane of x and y, both not too skewed.
BOX = np.array([[5.0, 0, 0], [1.2, 4.8, 0], [-0.9, 1.4, 4.6]])


def crystal(repeat=1, noise=0.15):
    """Return positions, numbers and box of a disordered crystal in a triclinic cell, in Å."""
    positions, cell = diamond(repeat=repeat)
    box = BOX * repeat
    positions = positions @ np.linalg.inv(cell) @ box
    positions += np.random.default_rng(6).normal(0, noise, positions.shape)
    return positions, numbers_for(WEIGHTS, len(positions)), box


def periodic_system(force, box, n_particles, *others):
    system = system_with(force, *others, n_particles=n_particles)
    system.setDefaultPeriodicBoxVectors(*(box * NM))
    return system


def topology_of(numbers, box=None):
    topology = app.Topology()
    residue = topology.addResidue("X", topology.addChain())
    for number in numbers:
        topology.addAtom("X", app.Element.getByAtomicNumber(int(number)), residue)
    if box is not None:
        topology.setPeriodicBoxVectors([openmm.Vec3(*v) for v in box * NM] * unit.nanometer)
    return topology


def check(context, expected, route_name):
    energy, forces = energy_and_forces(context)
    bound = tolerance(route_name) * max(1.0, np.abs(expected.forces).max())
    assert energy == pytest.approx(expected.energy, rel=tolerance(route_name))
    np.testing.assert_allclose(forces, expected.forces, rtol=0, atol=10 * bound)


@pytest.mark.parametrize("route_name", ROUTES)
@pytest.mark.parametrize("periodic", [True, False])
def test_energy_and_forces_are_those_of_the_potential(route_name, periodic):
    positions, numbers, box = crystal()
    force = KMLForce(POTENTIAL, numbers=numbers, periodic=periodic)
    assert force.usesPeriodicBoundaryConditions() == periodic
    context = context_for(periodic_system(force, box, len(numbers)), positions, route_name)
    check(context, POTENTIAL.evaluate(positions, numbers, box if periodic else None), route_name)


@pytest.mark.parametrize("model", LOCAL_MODELS)
def test_every_model_of_the_table(model):
    potential = KernelPotential.from_bytes(to_bytes(LOCAL_MODELS[model]))
    positions, _, box = crystal()
    numbers = numbers_for(LOCAL_MODELS[model], len(positions))
    context = context_for(periodic_system(KMLForce(potential, numbers=numbers, periodic=True), box, 8), positions)
    check(context, potential.evaluate(positions, numbers, box), "Reference")


@pytest.mark.parametrize("route_name", OWN_KERNEL_ROUTES)
def test_the_topology_says_elements_and_periodicity(route_name):
    positions, numbers, box = crystal()
    force = KMLForce(POTENTIAL, topology=topology_of(numbers, box))
    assert force.getNumbers() == tuple(numbers)
    assert force.usesPeriodicBoundaryConditions()
    assert not KMLForce(POTENTIAL, topology=topology_of(numbers)).usesPeriodicBoundaryConditions()
    context = context_for(periodic_system(force, box, len(numbers)), positions, route_name)
    check(context, POTENTIAL.evaluate(positions, numbers, box), route_name)


def test_a_subset_of_particles_is_a_structure_of_its_own():
    positions, numbers, box = crystal()
    chosen = [6, 1, 2, 7]
    force = KMLForce(POTENTIAL, chosen, topology=topology_of(numbers, box))
    assert force.getNumbers() == tuple(numbers[chosen])
    context = context_for(periodic_system(force, box, len(numbers)), positions)
    expected = POTENTIAL.evaluate(positions[chosen], numbers[chosen], box)
    energy, forces = energy_and_forces(context)
    assert energy == pytest.approx(expected.energy, rel=1e-12)
    np.testing.assert_allclose(forces[chosen], expected.forces, atol=1e-11)
    assert not np.delete(forces, chosen, axis=0).any()


def test_serialization_carries_numbers_and_periodicity():
    positions, numbers, box = crystal()
    system = periodic_system(KMLForce(POTENTIAL, numbers=numbers, periodic=True), box, len(numbers))
    copy = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    force = KMLForce.cast(copy.getForce(0))
    assert force.getNumbers() == tuple(numbers)
    assert force.usesPeriodicBoundaryConditions()
    states = [energy_and_forces(context_for(s, positions)) for s in (system, copy)]
    assert states[0][0] == states[1][0]
    assert np.array_equal(states[0][1], states[1][1])


def test_scale_parameter_and_its_derivative():
    positions, numbers, box = crystal()
    force = KMLForce(POTENTIAL, numbers=numbers, periodic=True, scale_parameter="lambda")
    force.addEnergyParameterDerivative("lambda")
    context = context_for(periodic_system(force, box, len(numbers)), positions)
    context.setParameter("lambda", 0.25)
    expected = POTENTIAL.evaluate(positions, numbers, box)
    state = context.getState(energy=True, parameterDerivatives=True)
    assert state.getPotentialEnergy()._value == pytest.approx(0.25 * expected.energy * KJ_PER_MOL, rel=1e-12)
    derivative = state.getEnergyParameterDerivatives()["lambda"]
    assert derivative == pytest.approx(expected.energy * KJ_PER_MOL, rel=1e-12)


def test_a_new_model_reaches_the_context():
    positions, numbers, box = crystal()
    force = KMLForce(POTENTIAL, numbers=numbers, periodic=True)
    context = context_for(periodic_system(force, box, len(numbers)), positions)
    other = KernelPotential.from_bytes(to_bytes(LOCAL_MODELS["two terms of each kind"]))
    force.setPotential(other)
    force.setNumbers(numbers[::-1])
    force.updateParametersInContext(context)
    check(context, other.evaluate(positions, numbers[::-1], box), "Reference")


# --- dynamics


def smooth_model():
    """Return a potential with a minimum near 2.4 Å: a repulsion and an attractive pair function."""
    c = -0.3 * np.exp(-(((1.5 + 0.25 * (np.arange(12) - 1) - 2.4) / 0.5) ** 2))
    terms = (Spline2Term(1.5, 4.5, c[None]), RepulsionTerm(np.array([[1.5, 3.5]])))
    return KernelPotential.from_bytes(to_bytes(Weights(elements=(14,), terms=terms)))


@pytest.mark.parametrize("route_name", OWN_KERNEL_ROUTES)
def test_energy_is_conserved_while_lists_are_rebuilt(route_name):
    potential = smooth_model()
    positions, cell = diamond(5.5, repeat=2)
    positions += np.random.default_rng(1).normal(0, 0.02, positions.shape)
    system = periodic_system(KMLForce(potential, numbers=[14] * 64, periodic=True), cell, 64)
    context = context_for(system, positions, route_name, time_step=0.0005)
    context.setVelocitiesToTemperature(600, 3)
    start = np.array(total_energy(context))
    totals = []
    for _ in range(20):
        context.getIntegrator().step(50)
        totals.append(total_energy(context))
    moved = context.getState(positions=True).getPositions(asNumpy=True)._value / NM - positions
    assert np.abs(moved).max() > 0.6  # farther than half the skin: lists were rebuilt
    assert np.abs(np.array(totals) - start).max() < 2e-4 * 64


def test_the_energy_follows_the_box_as_the_virial_says():
    """What a barostat does: positions and box scaled together. dE/dln V = -trace(virial)/3."""
    positions, numbers, box = crystal(repeat=2)
    system = periodic_system(KMLForce(POTENTIAL, numbers=numbers, periodic=True), box, len(numbers))
    context = context_for(system, positions)
    virial = POTENTIAL.evaluate(positions, numbers, box).virial

    def energy(log_volume):
        factor = np.exp(log_volume / 3)
        context.setPeriodicBoxVectors(*(factor * box * NM))
        context.setPositions(factor * positions * NM)
        return context.getState(energy=True).getPotentialEnergy()._value / KJ_PER_MOL

    step = 1e-5
    slope = (energy(step) - energy(-step)) / (2 * step)
    assert abs(slope) > 1
    assert slope == pytest.approx(-np.trace(virial) / 3, rel=1e-6)


BAROSTATS = {
    "isotropic": lambda: openmm.MonteCarloBarostat(1.0, 300.0, 5),
    "anisotropic": lambda: openmm.MonteCarloAnisotropicBarostat(openmm.Vec3(1, 1, 1), 300.0, True, True, True, 5),
    "flexible": lambda: openmm.MonteCarloFlexibleBarostat(1.0, 300.0, 5),
}


@pytest.mark.parametrize("barostat", BAROSTATS)
@pytest.mark.parametrize("route_name", OWN_KERNEL_ROUTES)
def test_barostats_change_the_box_and_the_forces_follow(route_name, barostat):
    potential = smooth_model()
    positions, cell = diamond(5.8, repeat=2)  # stretched: it shrinks
    positions += np.random.default_rng(2).normal(0, 0.05, positions.shape)
    force = KMLForce(potential, numbers=[14] * 64, periodic=True)
    system = periodic_system(force, cell, 64, BAROSTATS[barostat]())
    context = context_for(system, positions, route_name)
    context.setVelocitiesToTemperature(300, 1)
    context.getIntegrator().step(300)
    state = context.getState(energy=True, forces=True, positions=True)
    box = state.getPeriodicBoxVectors(asNumpy=True)._value / NM
    assert np.abs(box - cell).max() > 0.01
    now = state.getPositions(asNumpy=True)._value / NM
    check(context, potential.evaluate(now, [14] * 64, box), route_name)


def test_pressure_of_the_barostat_is_that_of_the_virial():
    """OpenMM's own estimate by the change of the energy with the box, against kinetic energy and virial."""
    potential = smooth_model()
    positions, cell = diamond(5.5, repeat=2)
    positions += np.random.default_rng(2).normal(0, 0.05, positions.shape)
    barostat = openmm.MonteCarloBarostat(1.0, 300.0, 0)
    force = KMLForce(potential, numbers=[14] * 64, periodic=True)
    context = context_for(periodic_system(force, cell, 64, barostat), positions)
    context.setVelocitiesToTemperature(300, 1)
    pressure = barostat.computeCurrentPressure(context).value_in_unit(unit.bar)
    kinetic = context.getState(energy=True).getKineticEnergy()._value / KJ_PER_MOL
    virial = potential.evaluate(positions, [14] * 64, cell).virial
    expected = (2 * kinetic + np.trace(virial)) / (3 * np.linalg.det(cell))  # eV/Å³
    assert pressure == pytest.approx(expected * 1.602176634e6, rel=1e-3)


# --- what it refuses


def test_elements_and_periodicity_have_to_be_said():
    numbers = [14, 8]
    with pytest.raises(ValueError, match="needs the elements of the particles"):
        KMLForce(POTENTIAL)
    with pytest.raises(ValueError, match="is the box periodic"):
        KMLForce(POTENTIAL, numbers=numbers)
    with pytest.raises(ValueError, match=r"element 6 \(C, atom 1\) is not in the model, which knows O, Si"):
        KMLForce(POTENTIAL, numbers=[14, 6], periodic=False)
    with pytest.raises(ValueError, match="3 particles"):
        KMLForce(POTENTIAL, [0, 1, 2], numbers=numbers, periodic=False)
    with pytest.raises(TypeError, match="numbers is a sequence of integers"):
        KMLForce(POTENTIAL, numbers=["Si"], periodic=False)
    topology = topology_of(numbers)
    topology.addAtom("M", None, next(topology.residues()))
    with pytest.raises(ValueError, match="atom 2 of the topology has no element"):
        KMLForce(POTENTIAL, topology=topology)
    with pytest.raises(ValueError, match="particle 5 does not exist"):
        KMLForce(POTENTIAL, [5], topology=topology)


def test_numbers_for_a_model_of_one_molecule_are_compared():
    weights = MODELS["water-exchange"]
    potential = KernelPotential.from_bytes(to_bytes(weights))
    assert KMLForce(potential, numbers=[8, 1, 1]).getNumbers() == ()
    with pytest.raises(ValueError, match="atom 0 is H, but the model expects O"):
        KMLForce(potential, numbers=[1, 8, 1])


@pytest.mark.parametrize("route_name", ROUTES)
def test_contexts_refuse_wrong_numbers(route_name):
    force = KMLForce(POTENTIAL, numbers=[14, 8], periodic=False)
    system = system_with(force, n_particles=3)
    with pytest.raises(openmm.OpenMMException, match="2 atomic numbers are given for 3 particles"):
        context_for(system, np.eye(3) * 9, route_name)
    force.setNumbers([14, 8, 92])
    with pytest.raises(openmm.OpenMMException, match="element 92 of particle 2 is not in the model, which knows"):
        context_for(system, np.eye(3) * 9, route_name)
    force.setNumbers([])
    with pytest.raises(openmm.OpenMMException, match="needs the atomic number of each particle"):
        context_for(system, np.eye(3) * 9, route_name)
    with pytest.raises(openmm.OpenMMException, match="119 was given"):
        force.setNumbers([14, 8, 119])


def test_a_barostat_needs_a_periodic_force():
    force = KMLForce(POTENTIAL, numbers=[14, 8], periodic=False)
    system = system_with(force, openmm.MonteCarloBarostat(1, 300), n_particles=2)
    with pytest.raises(openmm.OpenMMException):
        context_for(system, np.array([[0.0, 0, 0], [3.0, 0, 0]]))


def test_coincident_atoms_stop_the_run():
    force = KMLForce(POTENTIAL, numbers=[14, 8], periodic=True)
    context = context_for(periodic_system(force, 4 * np.eye(3), 2), np.array([[0.0, 0, 0], [4.0, 0, 0]]))
    with pytest.raises(openmm.OpenMMException, match="atoms 0 and 1 coincide"):
        context.getState(energy=True)


def test_a_slab_is_not_what_openmm_can_say():
    """OpenMM's boxes repeat in all directions: a slab needs an empty layer in its box."""
    positions, _, _ = STRUCTURES["slab"]
    numbers = numbers_for(WEIGHTS, len(positions))
    tall = np.diag([4.6, 4.6, 40.0])
    force = KMLForce(POTENTIAL, numbers=numbers, periodic=True)
    context = context_for(periodic_system(force, tall, len(numbers)), positions)
    check(context, POTENTIAL.evaluate(positions, numbers, tall, (True, True, False)), "Reference")


def test_checks_of_a_system_know_that_the_box_matters():
    positions, numbers, box = crystal()
    for periodic in (True, False):
        force = KMLForce(POTENTIAL, numbers=numbers, periodic=periodic)
        system = periodic_system(force, box, len(positions), openmm.MonteCarloBarostat(1, 300))
        if periodic:
            check_system(system)
        else:
            with pytest.raises(ValueError, match="no energy depends on the box"):
                check_system(system)


# --- openmm-ml


def ml_potential():
    openmmml = pytest.importorskip("openmmml", reason="openmm-ml is not installed (pip install openmmml)")
    return openmmml.MLPotential("kml", model=POTENTIAL)


def test_openmm_ml_makes_a_periodic_system():
    positions, numbers, box = crystal()
    system = ml_potential().createSystem(topology_of(numbers, box))
    (force,) = kml_forces(system)
    assert force.usesPeriodicBoundaryConditions()
    check(context_for(system, positions), POTENTIAL.evaluate(positions, numbers, box), "Reference")
    cluster = ml_potential().createSystem(topology_of(numbers))
    check(context_for(cluster, positions), POTENTIAL.evaluate(positions, numbers), "Reference")
    with pytest.raises(ValueError, match="element 6"):
        ml_potential().createSystem(topology_of([6, 14], box))


def test_openmm_ml_mixes_a_model_with_a_force_field():
    """Four atoms by the model among eight; a classical pair force between all others."""
    positions, numbers, _ = crystal()
    chosen = [1, 2, 4, 7]
    classical = openmm.NonbondedForce()
    classical.setNonbondedMethod(openmm.NonbondedForce.NoCutoff)
    for k in range(8):
        classical.addParticle(0.2 * (-1) ** k, 0.2, 0.5)
    system = system_with(classical, n_particles=8)
    mixed = ml_potential().createMixedSystem(topology_of(numbers), system, chosen)
    energy, _ = energy_and_forces(context_for(mixed, positions))

    def classical_energy(atoms):
        force = openmm.NonbondedForce()
        for k in range(8):
            force.addParticle(*(classical.getParticleParameters(k) if k in atoms else (0, 0.2, 0)))
        return energy_and_forces(context_for(system_with(force, n_particles=8), positions))[0]

    expected = POTENTIAL.evaluate(positions[chosen], numbers[chosen]).energy
    expected += classical_energy(range(8)) - classical_energy(chosen)
    assert energy == pytest.approx(expected, rel=1e-9)
