"""Multiple time steps, ring polymers and replica exchange with KMLForce."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
from models import random_weights
from openmm import app, unit
from openmm_helpers import KJ_PER_MOL, NM, context_for, energy_and_forces, route, system_with
from trained import ethanol_minimum, ethanol_potential

from openmm_kml.interfaces.bonded_model import bonded_model
from openmm_kml.interfaces.integrators import multiple_time_step_integrator, negative, split_forces
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import Evaluation, KernelPotential
from openmm_kml.weights import to_bytes

MASSES = (12.011, 12.011, 15.999, *(1.008,) * 6)
FS = unit.femtosecond
EXAMPLES = Path(__file__).parents[1] / "examples"


def ethanol_system(*forces):
    """Return a System of ethanol under the forces, which it then owns."""
    return _system(forces)


def copies_system(*forces):
    """Return a System of ethanol under copies of the forces."""
    return _system(map(openmm.XmlSerializer.clone, forces))


def _system(forces):
    system = openmm.System()
    for mass in MASSES:
        system.addParticle(mass)
    for force in forces:
        system.addForce(force)
    return system


def shaken(scale=0.05, seed=0):
    return ethanol_minimum() + np.random.default_rng(seed).normal(0, scale, (9, 3))


def smaller_model():
    """Return another, cheaper model of the same atoms; it need not be good."""
    return KernelPotential.from_bytes(to_bytes(random_weights(n_train=2)))


def custom_bond():
    force = openmm.CustomBondForce("5e4*(r-r0)^2; r0=0.15")
    force.addBond(0, 1)
    return force


CHEAP = {
    "bonded model": lambda: bonded_model(ethanol_potential(), ethanol_minimum()),
    "smaller kernel model": lambda: [KMLForce(smaller_model())],
    "smaller kernel model with a parameter of its own": lambda: [KMLForce(smaller_model(), None, "mine")],
    "any other force": lambda: [custom_bond()],
}


# --- multiple time steps


@pytest.mark.parametrize("name", CHEAP)
def test_the_groups_sum_to_the_accurate_force(name):
    accurate, cheap = KMLForce(ethanol_potential()), CHEAP[name]()
    system = ethanol_system(accurate)
    split_forces(system, [accurate], cheap)
    positions = shaken()
    context = context_for(system, positions)
    energy, forces = energy_and_forces(context)
    expected = ethanol_potential().evaluate(positions)
    assert energy == pytest.approx(expected.energy, rel=1e-12)
    np.testing.assert_allclose(forces, expected.forces, rtol=0, atol=1e-9)
    inner = energy_and_forces(context, groups={0})
    outer = energy_and_forces(context, groups={1})
    reference = energy_and_forces(context_for(copies_system(*cheap), positions))
    assert inner[0] == pytest.approx(reference[0], rel=1e-12)
    assert np.abs(inner[1]).max() > 1e-3
    np.testing.assert_allclose(outer[1], expected.forces - reference[1], rtol=0, atol=1e-9)


def test_a_force_in_a_group_of_neither_step_is_refused():
    """The integrator would leave it out without a word."""
    accurate, other = KMLForce(ethanol_potential()), custom_bond()
    other.setForceGroup(2)
    system = ethanol_system(accurate, other)
    with pytest.raises(ValueError, match=r"the force 'CustomBondForce' is in group 2, .* neither 0 nor 1"):
        split_forces(system, [accurate], [custom_bond()])
    assert system.getNumForces() == 2
    assert accurate.getForceGroup() == 0
    other.setForceGroup(1)
    split_forces(system, [accurate, other], [custom_bond()])


def test_the_bonded_model_takes_the_fast_vibrations_over():
    """The outer force must be slow: its stiffest direction far below the stiffest of the model."""
    potential, positions = ethanol_potential(), ethanol_minimum()
    accurate = KMLForce(potential)
    system = ethanol_system(accurate)
    split_forces(system, [accurate], bonded_model(potential, positions))
    context = context_for(system, positions)

    def highest(groups):
        """Return the highest frequency of a group of forces, 1/cm, from differences of its forces."""
        step, rows = 1e-3, []
        for k in range(27):
            pair = []
            for sign in (1, -1):
                moved = positions.copy()
                moved.flat[k] += sign * step
                context.setPositions(moved * NM)
                pair.append(energy_and_forces(context, groups=groups)[1].ravel())
            rows.append((pair[1] - pair[0]) / (2 * step))
        weights = 1 / np.sqrt(np.repeat(MASSES, 3))
        largest = np.linalg.eigvalsh((np.array(rows) + np.array(rows).T) / 2 * np.outer(weights, weights)).max()
        return 521.47 * np.sqrt(largest)  # of √(eV/Å²/dalton)

    assert 3000 < highest({0, 1}) < 4500
    assert highest({0}) == pytest.approx(highest({0, 1}), rel=0.02)
    assert highest({1}) < 1200


def test_the_bonded_model_serves_other_particles():
    particles = [9, 8, 7, 6, 5, 4, 3, 2, 1]
    first = bonded_model(ethanol_potential(), ethanol_minimum())
    second = bonded_model(ethanol_potential(), ethanol_minimum(), particles)
    positions = np.zeros((10, 3))
    positions[particles] = shaken()
    expected = energy_and_forces(context_for(ethanol_system(*first), shaken()))
    energy, forces = energy_and_forces(context_for(system_with(*second, n_particles=10), positions))
    assert energy == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(forces[particles], expected[1], atol=1e-12)


class Uphill:
    """A potential with the same force everywhere, which does not lead downhill: a search cannot succeed."""

    def __init__(self, force):
        self.species = ethanol_potential().species
        self.force = force

    def evaluate(self, positions):
        return Evaluation(self.force * positions.sum(), np.full_like(positions, self.force), np.zeros((3, 3)))


def test_a_model_without_a_minimum_is_refused():
    with pytest.raises(ValueError, match="no minimum of the model was found"):
        bonded_model(Uphill(1.0), ethanol_minimum())


def test_atoms_far_apart_are_refused():
    class Flat(Uphill):
        def evaluate_batch(self, positions):
            return Evaluation(np.zeros(len(positions)), np.zeros_like(positions), None)

    with pytest.raises(ValueError, match="no two atoms are bonded"):
        bonded_model(Flat(0.0), ethanol_minimum() * 10)


def test_one_inner_step_is_the_plain_integrator():
    potential, positions = ethanol_potential(), shaken()
    accurate = KMLForce(potential)
    split = ethanol_system(accurate)
    split_forces(split, [accurate], bonded_model(potential, ethanol_minimum()))
    plain = ethanol_system(KMLForce(potential))
    results = []
    for system in (split, plain):
        integrator = multiple_time_step_integrator(0.5 * FS, 1)
        if system is plain:
            integrator = openmm.MTSIntegrator(0.5 * FS, [(0, 1)])
        with route("Reference") as platform:
            context = openmm.Context(system, integrator, platform)
        context.setPositions(positions * NM)
        integrator.step(100)
        results.append(context.getState(positions=True).getPositions(asNumpy=True)._value)
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-7)


def conserved(time_step, inner_steps, n_steps):
    """Return the largest error of the total energy, eV, of a multiple-time-step run."""
    accurate = KMLForce(ethanol_potential())
    system = ethanol_system(accurate)
    split_forces(system, [accurate], bonded_model(ethanol_potential(), ethanol_minimum()))
    integrator = multiple_time_step_integrator(time_step, inner_steps)
    with route("Reference") as platform:
        context = openmm.Context(system, integrator, platform)
    context.setPositions(shaken(0.03) * NM)
    totals = []
    for _ in range(n_steps):
        integrator.step(1)
        state = context.getState(energy=True)
        totals.append((state.getPotentialEnergy() + state.getKineticEnergy())._value / KJ_PER_MOL)
    return np.ptp(totals)


def test_inner_steps_lower_the_error_at_one_outer_step():
    """The outer step is one at which plain stepping suffers from the O–H vibration of 9 fs."""
    single, several = conserved(1.5 * FS, 1, 200), conserved(1.5 * FS, 4, 200)
    assert several < 0.5 * single
    assert several < 0.05


def test_the_thermostat_holds_the_temperature_with_inner_steps():
    accurate = KMLForce(ethanol_potential())
    system = ethanol_system(accurate)
    split_forces(system, [accurate], bonded_model(ethanol_potential(), ethanol_minimum()))
    integrator = multiple_time_step_integrator(1.5 * FS, 3, 250 * unit.kelvin, 50 / unit.picosecond)
    integrator.setRandomNumberSeed(1)
    with route("Reference") as platform:
        context = openmm.Context(system, integrator, platform)
    context.setPositions(ethanol_minimum() * NM)
    kinetic = []
    for k in range(2000):
        integrator.step(1)
        if k > 300:
            kinetic.append(context.getState(energy=True).getKineticEnergy()._value)
    assert 2 * np.mean(kinetic) / (27 * 8.31446e-3) == pytest.approx(250, rel=0.1)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda system, force: split_forces(system, [force], []), "at least one cheap force"),
        (lambda system, force: split_forces(system, [force], [custom_bond()], 1, 1), "must differ"),
        (lambda system, force: split_forces(system, [custom_bond()], [custom_bond()]), "is not in the System"),
        (lambda system, force: multiple_time_step_integrator(1 * FS, 0), "whole number above zero"),
        (lambda system, force: multiple_time_step_integrator(1 * FS, 2.5), "whole number above zero"),
    ],
)
def test_what_makes_no_sense_is_refused(call, text):
    force = KMLForce(ethanol_potential())
    with pytest.raises(ValueError, match=text):
        call(ethanol_system(force), force)


def test_negatives_keep_their_class_where_they_can():
    bonds, angles = bonded_model(ethanol_potential(), ethanol_minimum())
    assert isinstance(negative(bonds), openmm.HarmonicBondForce)
    assert isinstance(negative(angles), openmm.HarmonicAngleForce)
    assert isinstance(negative(KMLForce(smaller_model())), KMLForce)
    assert isinstance(negative(custom_bond()), openmm.CustomCVForce)
    assert bonds.getBondParameters(0)[3] > 0 * unit.kilojoule_per_mole / unit.nanometer**2  # the original is untouched


# --- ring polymers


def ring_polymer(n_beads, *forces, thermostat=True, temperature=300, contractions=None):
    integrator = openmm.RPMDIntegrator(n_beads, temperature * unit.kelvin, 10 / unit.picosecond, 0.25 * FS)
    if contractions is not None:
        integrator = openmm.RPMDIntegrator(
            n_beads, temperature * unit.kelvin, 10 / unit.picosecond, 0.25 * FS, contractions
        )
    integrator.setApplyThermostat(thermostat)
    integrator.setRandomNumberSeed(1)
    with route("Reference") as platform:
        context = openmm.Context(ethanol_system(*forces), integrator, platform)
    return context, integrator


def set_beads(integrator, scale=0.02):
    for bead in range(integrator.getNumCopies()):
        integrator.setPositions(bead, shaken(scale, seed=bead) * NM)
        integrator.setVelocities(bead, np.random.default_rng(100 + bead).normal(0, 0.3, (9, 3)))


def beads(integrator):
    """Return the positions, shape (beads, 9, 3) in Å, and potential energies, eV, of all beads."""
    states = [
        integrator.getState(k, getPositions=True, getEnergy=True, getForces=True)
        for k in range(integrator.getNumCopies())
    ]
    positions = np.array([state.getPositions(asNumpy=True)._value for state in states]) / NM
    return positions, np.array([state.getPotentialEnergy()._value for state in states]) / KJ_PER_MOL


def test_every_bead_has_the_energy_of_the_model():
    context, integrator = ring_polymer(4, KMLForce(ethanol_potential()))
    set_beads(integrator)
    integrator.step(5)
    positions, energies = beads(integrator)
    assert np.ptp(energies) > 1e-3
    np.testing.assert_allclose(energies, ethanol_potential().evaluate_batch(positions).energy, rtol=1e-12)
    del context


def test_a_ring_polymer_keeps_its_energy():
    context, integrator = ring_polymer(4, KMLForce(ethanol_potential()), thermostat=False)
    set_beads(integrator)
    totals = []
    for _ in range(100):
        integrator.step(1)
        totals.append(integrator.getTotalEnergy()._value / KJ_PER_MOL)
    kinetic = [integrator.getState(k, getEnergy=True).getKineticEnergy()._value / KJ_PER_MOL for k in range(4)]
    assert sum(kinetic) > 0.5
    assert np.ptp(totals) < 0.01
    del context


def test_one_bead_is_classical():
    context, integrator = ring_polymer(1, KMLForce(ethanol_potential()), thermostat=False)
    set_beads(integrator)
    start = integrator.getState(0, getPositions=True, getVelocities=True)
    integrator.step(200)
    # Velocity Verlet from the same start is the reference; MTSIntegrator with one group is that.
    verlet = openmm.MTSIntegrator(0.25 * FS, [(0, 1)])
    with route("Reference") as platform:
        classical = openmm.Context(ethanol_system(KMLForce(ethanol_potential())), verlet, platform)
    classical.setPositions(start.getPositions())
    classical.setVelocities(start.getVelocities())
    verlet.step(200)
    expected = classical.getState(positions=True).getPositions(asNumpy=True)._value / NM
    assert np.abs(expected - start.getPositions(asNumpy=True)._value / NM).max() > 0.05
    np.testing.assert_allclose(beads(integrator)[0][0], expected, rtol=0, atol=1e-8)
    del context


def test_a_contracted_difference_acts_on_the_centroid():
    """Ring-polymer contraction: all beads feel the cheap force, their centroid the difference to the accurate one."""
    potential = ethanol_potential()
    accurate, cheap = KMLForce(potential), bonded_model(potential, ethanol_minimum())
    system = ethanol_system(accurate)
    split_forces(system, [accurate], cheap)
    integrator = openmm.RPMDIntegrator(4, 300 * unit.kelvin, 10 / unit.picosecond, 0.25 * FS, {1: 1})
    integrator.setApplyThermostat(False)
    with route("Reference") as platform:
        context = openmm.Context(system, integrator, platform)
    start = np.array([shaken(0.02, seed=bead) for bead in range(4)])
    for bead in range(4):
        integrator.setPositions(bead, start[bead] * NM)
        integrator.setVelocities(bead, np.zeros((9, 3)))
    integrator.step(1)
    velocities = [integrator.getState(k, getVelocities=True).getVelocities(asNumpy=True)._value for k in range(4)]
    # The springs do not move the centroid: its acceleration is the mean force.
    cheap_forces = [energy_and_forces(context_for(copies_system(*cheap), frame))[1] for frame in start]
    at_centroid = context_for(copies_system(*cheap), start.mean(axis=0))
    difference = potential.evaluate(start.mean(axis=0)).forces - energy_and_forces(at_centroid)[1]
    force = np.mean(cheap_forces, axis=0) + difference
    expected = force * KJ_PER_MOL / NM / np.array(MASSES)[:, None] * 0.25e-3
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(np.mean(velocities, axis=0), expected, rtol=0, atol=0.03 * np.abs(expected).max())
    del context


# --- replica exchange


def replica_exchange(states, *forces, temperature=300):
    random.seed(3)  # OpenMM's sampler draws from Python's generator
    topology = app.Topology()
    residue = topology.addResidue("ETH", topology.addChain())
    for number in ethanol_potential().species:
        topology.addAtom("X", app.Element.getByAtomicNumber(int(number)), residue)
    integrator = openmm.LangevinMiddleIntegrator(temperature * unit.kelvin, 10 / unit.picosecond, 0.5 * FS)
    integrator.setRandomNumberSeed(1)
    with route("Reference") as platform:
        simulation = app.Simulation(topology, ethanol_system(*forces), integrator, platform)
    simulation.context.setPositions(ethanol_minimum() * NM)
    simulation.context.setVelocitiesToTemperature(temperature * unit.kelvin, 1)
    return app.ReplicaExchangeSampler(states, simulation, 25)


def test_replicas_exchange_temperatures():
    states = [{"temperature": t * unit.kelvin} for t in (250.0, 300.0, 360.0)]
    sampler = replica_exchange(states, KMLForce(ethanol_potential()))
    seen = []
    sampler.reporters.append(lambda s: seen.append(tuple(s.replicaStateIndex)))
    sampler.simulate(40)
    assert all(sorted(assignment) == [0, 1, 2] for assignment in seen)
    assert len(set(seen)) > 3
    for k in range(3):
        frame = sampler.replicaConformation[k].getPositions(asNumpy=True)._value / NM
        found = sampler.replicaStateEnergy[k][0].value_in_unit(unit.kilojoule_per_mole) / KJ_PER_MOL
        assert found == pytest.approx(ethanol_potential().evaluate(frame).energy, rel=1e-12)


def test_replicas_exchange_the_scale_of_the_model():
    """Hamiltonian replica exchange: a softened model crosses barriers for the full one."""
    states = [{"softness": scale} for scale in (1.0, 0.9, 0.8)]
    sampler = replica_exchange(states, KMLForce(ethanol_potential(), None, "softness"))
    sampler.simulate(1)
    for k in range(3):
        frame = sampler.replicaConformation[k].getPositions(asNumpy=True)._value / NM
        energy = ethanol_potential().evaluate(frame).energy
        found = [e.value_in_unit(unit.kilojoule_per_mole) / KJ_PER_MOL for e in sampler.replicaStateEnergy[k]]
        np.testing.assert_allclose(found, [energy, 0.9 * energy, 0.8 * energy], rtol=1e-12)


# --- examples


@pytest.mark.parametrize(
    ("name", "words", "printed"),
    [
        ("multiple_time_step", ["--steps", "100"], " K\n"),
        ("rpmd", ["--beads", "4", "--steps", "100"], "times the classical one"),
        ("replica_exchange", ["--iterations", "3"], "replica 3: "),
    ],
)
def test_the_examples_run(tmp_path, name, words, printed):
    (tmp_path / "ethanol.safetensors").write_bytes(ethanol_potential().to_bytes())
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "ethanol.safetensors", str(EXAMPLES / "data/ethanol.pdb")]
    result = subprocess.run(command + words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert printed in result.stdout
