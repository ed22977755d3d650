"""The compute kernels of OpenMM's OpenCL platform against the engine; through PoCL on machines without a GPU.

Bounds, as fractions of the largest force. Double precision: rounding, and the resolution of OpenMM's fixed-point
forces, 2^-32 kJ/mol/nm or 2e-13 eV/Å for every pair of atoms. Single and mixed precision: the models of the table are
evaluated in single precision, with a few roundings (6e-8) for each sum; positions are rounded likewise.
"""

import json
import subprocess
import sys

import numpy as np
import openmm
import pytest
from local_models import SOAP_MODELS, STRUCTURES, numbers_for
from models import ETHANOL_SPECIES, MODELS, closed, model_positions, random_weights
from openmm import unit
from openmm_helpers import (
    DEVICE_ROUTE,
    FAILING_DEVICE_ROUTE,
    KJ_PER_MOL,
    NM,
    PRECISIONS,
    SUBSET,
    SUBSET_SIZE,
    USUAL_ROUTE,
    context_for,
    device_context,
    energy_and_forces,
    ethanol,
    needs_opencl,
    potential_of,
    system_with,
)

from openmm_kml.interfaces import _openmm_library
from openmm_kml.interfaces._openmm_library import load_library
from openmm_kml.interfaces.openmm import KMLForce, device_warnings
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import GDMLTerm, Weights, to_bytes

pytestmark = needs_opencl

BOUNDS = {"single": 2e-6, "mixed": 2e-6, "double": 1e-9}


def check(context, expected, precision, scale=1.0):
    energy, forces = energy_and_forces(context)
    bound = BOUNDS[precision] * np.abs(expected.forces).max()
    assert bound > 0
    assert energy == pytest.approx(scale * expected.energy, rel=BOUNDS[precision])
    np.testing.assert_allclose(forces, scale * expected.forces, rtol=0, atol=bound * max(abs(scale), 1.0))


def check_weights(weights, precision):
    potential = KernelPotential.from_bytes(to_bytes(weights))
    positions = model_positions(weights)[0]
    context = device_context(system_with(KMLForce(potential), n_particles=len(positions)), positions, precision)
    check(context, potential.evaluate(positions), precision)


def subset_positions():
    """Return positions of fourteen particles, nine of them those of ethanol, and of ethanol alone, Å."""
    _, molecule = ethanol()
    positions = np.random.default_rng(5).normal(0, 4.0, (SUBSET_SIZE, 3))
    positions[list(SUBSET)] = molecule
    return positions, molecule


def test_the_compute_kernels_are_loaded():
    assert not load_library().load_warnings
    assert openmm.Platform.getPlatformByName("OpenCL").supportsKernels(["CalcKMLForce"])


@pytest.mark.parametrize("model", MODELS)
def test_double_precision_is_that_of_the_engine(model):
    check_weights(MODELS[model], "double")


@pytest.mark.parametrize("precision", ["single", "mixed"])
@pytest.mark.parametrize("model", ["ethanol-matern92-energies-weighted", "seventeen-atoms-odd-power"])
def test_lower_precisions_lose_only_rounding(model, precision):
    check_weights(MODELS[model], precision)


SHAPES = {
    "three rows in a tile of four": {
        "permutations": closed([(0, 1, 2, 3, 4, 6, 7, 5, 8)]),
        "n_train": 300,
        "energies": True,
    },
    "twelve rows in two tiles": {
        "permutations": closed([(0, 1, 2, 4, 3, 5, 6, 7, 8), (1, 0, 2, 3, 4, 6, 7, 5, 8)]),
        "n_train": 70,
    },
    "more entries than threads": {"species": (6,) * 24, "n_train": 40, "power": 0.5, "kernel": "matern92"},
    "many blocks of points": {"species": (8, 1, 1), "permutations": [[0, 1, 2], [0, 2, 1]], "n_train": 1500},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_layout_of_the_work_gives_the_same(shape):
    check_weights(random_weights(**SHAPES[shape]), "double")


def cancelling_weights(size=1e5):
    """Return a model whose sum is the difference of two sums `size` times as large."""
    term = MODELS["ethanol-matern92"].terms[0]
    doubled = GDMLTerm(
        power=term.power,
        kernel=term.kernel,
        length_scale=term.length_scale,
        energy_offset=term.energy_offset,
        descriptor_weights=term.descriptor_weights,
        training_descriptors=np.concatenate([term.training_descriptors, term.training_descriptors * (1 + 1e-9)]),
        descriptor_coefficients=np.concatenate(
            [(size + 1) * term.descriptor_coefficients, -size * term.descriptor_coefficients]
        ),
        permutations=term.permutations,
    )
    return Weights(np.array(ETHANOL_SPECIES), (doubled,), {}, {})


@pytest.mark.parametrize("precision", ["single", "mixed"])
def test_a_model_that_single_precision_would_spoil_is_evaluated_in_double(precision):
    """In single precision 1e5 times the rounding of 6e-8 would be left: a relative error near 1e-2."""
    check_weights(cancelling_weights(), precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_scale_parameter_and_its_derivative(precision):
    potential, positions = ethanol()
    force = KMLForce(potential, None, "coupling")
    force.addEnergyParameterDerivative("coupling")
    context = device_context(system_with(force, n_particles=9), positions, precision)
    expected = potential.evaluate(positions)
    for scale in (1.0, 0.3, 0.0, -2.0):
        context.setParameter("coupling", scale)
        check(context, expected, precision, scale)
        derivative = context.getState(parameterDerivatives=True).getEnergyParameterDerivatives()["coupling"]
        assert derivative == pytest.approx(expected.energy * KJ_PER_MOL, rel=BOUNDS[precision])


def test_the_derivative_is_offered_without_asking_for_the_device():
    potential, positions = ethanol()
    force = KMLForce(potential, None, "coupling")
    force.addEnergyParameterDerivative("coupling")
    context = device_context(system_with(force, n_particles=9), positions, route=USUAL_ROUTE)
    derivative = context.getState(parameterDerivatives=True).getEnergyParameterDerivatives()["coupling"]
    assert derivative == pytest.approx(potential.evaluate(positions).energy * KJ_PER_MOL, rel=1e-9)


def test_two_derivatives_of_two_forces_keep_apart():
    potential, positions = ethanol()
    forces = [KMLForce(potential, None, name) for name in ("first", "second")]
    for force in forces:
        force.addEnergyParameterDerivative(force.getScaleParameter())
    forces[1].setScaleParameterDefaultValue(3.0)
    context = device_context(system_with(*forces, n_particles=9), positions)
    expected = potential.evaluate(positions)
    check(context, expected, "double", 4.0)
    derivatives = context.getState(parameterDerivatives=True).getEnergyParameterDerivatives()
    assert dict(derivatives) == pytest.approx(dict.fromkeys(("first", "second"), expected.energy * KJ_PER_MOL))


def test_a_subset_in_a_force_group_of_a_larger_system():
    potential, _ = ethanol()
    positions, molecule = subset_positions()
    force = KMLForce(potential, SUBSET)
    force.setForceGroup(3)
    other = openmm.CustomExternalForce("x^2 + y^2 + z^2")
    other.addParticle(3)
    context = device_context(system_with(force, other, n_particles=SUBSET_SIZE), positions)
    energy, forces = energy_and_forces(context, groups={3})
    expected = potential.evaluate(molecule)
    assert energy == pytest.approx(expected.energy, rel=1e-9)
    np.testing.assert_allclose(forces[list(SUBSET)], expected.forces, rtol=0, atol=1e-9)
    assert not np.delete(forces, SUBSET, axis=0).any()
    assert energy_and_forces(context, groups={1})[0] == 0.0


def test_the_energy_alone_is_that_with_forces():
    potential, positions = ethanol()
    context = device_context(system_with(KMLForce(potential), n_particles=9), positions)
    alone = context.getState(energy=True).getPotentialEnergy()._value
    assert alone == context.getState(energy=True, forces=True).getPotentialEnergy()._value
    assert alone == pytest.approx(potential.evaluate(positions).energy * KJ_PER_MOL, rel=1e-12)


def test_it_serves_as_a_collective_variable():
    potential, positions = ethanol()
    variable = openmm.CustomCVForce("0.5*E + 3*E^2/1000")
    variable.addCollectiveVariable("E", KMLForce(potential))
    energy, forces = energy_and_forces(device_context(system_with(variable, n_particles=9), positions))
    expected = potential.evaluate(positions)
    e = expected.energy * KJ_PER_MOL
    assert energy == pytest.approx((0.5 * e + 3 * e**2 / 1000) / KJ_PER_MOL, rel=1e-9)
    slope = 0.5 + 6 * e / 1000
    np.testing.assert_allclose(forces, slope * expected.forces, rtol=0, atol=1e-9 * abs(slope))


def test_two_contexts_repeat_each_other_bit_for_bit():
    potential, positions = ethanol()
    system = system_with(KMLForce(potential), n_particles=9)
    contexts = [device_context(system, positions, "single") for _ in range(2)]
    ends = []
    for context in contexts:
        context.getIntegrator().step(30)
        energy, forces = energy_and_forces(context)
        ends.append((energy, forces.tobytes()))
    assert ends[0] == ends[1]
    assert np.abs(np.frombuffer(ends[0][1]).reshape(9, 3) - potential.evaluate(positions).forces).max() > 1e-3


def test_a_trajectory_is_that_of_the_reference_platform():
    potential, positions = ethanol()
    system = system_with(KMLForce(potential), n_particles=9)
    contexts = [device_context(system, positions), context_for(system, positions, "Reference")]
    ends = []
    for context in contexts:
        context.getIntegrator().step(100)
        ends.append(context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom))
    np.testing.assert_allclose(ends[0], ends[1], rtol=0, atol=1e-9)
    assert np.abs(ends[1] - positions).max() > 1e-2


def solvated_system(potential, n_solvent=300, box=3.0):
    """Return a periodic System of argon atoms and ethanol, which come last, and positions, Å.

    Every 250 steps OpenMM sorts the argon atoms of such a System in space and wraps molecules into the box.
    """
    rng = np.random.default_rng(11)
    n = n_solvent + 9
    system = system_with(n_particles=n)
    system.setDefaultPeriodicBoxVectors((box, 0, 0), (0, box, 0), (0, 0, box))
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    nonbonded.setCutoffDistance(0.9)
    # Nothing but the KMLForce ties the atoms of the molecule together.
    for k in range(n):
        nonbonded.addParticle(0.0, 0.34, 0.5 if k < n_solvent else 0.0)
    nonbonded.setForceGroup(1)
    system.addForce(nonbonded)
    system.addForce(KMLForce(potential, range(n_solvent, n)))
    side = 7
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * 10 * box / side
    # The molecule sits on an edge of the box, where wrapping atom by atom would tear it.
    molecule = model_positions(MODELS["ethanol-matern52"])[0] + np.array([10 * box - 1.0, -1.0, 14.0])
    spacing = grid[:, None] - molecule
    spacing -= 10 * box * np.round(spacing / (10 * box))
    free = grid[np.linalg.norm(spacing, axis=2).min(axis=1) > 3.0]
    return system, np.concatenate([rng.permutation(free)[:n_solvent], molecule])


@pytest.mark.parametrize("precision", ["mixed", "double"])
def test_a_molecule_is_wrapped_as_a_whole_when_particles_are_sorted(precision):
    potential, _ = ethanol()
    system, positions = solvated_system(potential, n_solvent=250)
    context = device_context(system, positions, precision, time_step=0.001)
    context.setVelocitiesToTemperature(300, 7)
    for _ in range(2):
        context.getIntegrator().step(260)
        state = context.getState(positions=True)
        molecule = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)[-9:]
        _, forces = energy_and_forces(context, groups={0})
        # In mixed precision the positions that come back carry more digits than those in the forces' buffers.
        expected = potential.evaluate(molecule).forces
        bound = {"mixed": 2e-5, "double": 1e-9}[precision] * np.abs(expected).max()
        np.testing.assert_allclose(forces[-9:], expected, rtol=0, atol=bound)
        assert not forces[:-9].any()


def test_a_new_model_and_new_particles_reach_the_device():
    first, _ = ethanol()
    second = potential_of("ethanol-squared_exponential-energies-weighted")
    positions, molecule = subset_positions()
    force = KMLForce(first, SUBSET)
    system = system_with(n_particles=SUBSET_SIZE)
    system.addForce(force)
    context = device_context(system, positions)
    force.setPotential(second)
    others = SUBSET[::-1]
    force.setParticles(others)
    force.updateParametersInContext(context)
    energy, forces = energy_and_forces(context)
    expected = second.evaluate(molecule[::-1])
    assert energy == pytest.approx(expected.energy, rel=1e-9)
    np.testing.assert_allclose(forces[list(others)], expected.forces, rtol=0, atol=1e-9)


def test_a_model_that_does_not_fit_leaves_the_context_as_it_was():
    potential, positions = ethanol()
    force = KMLForce(potential)
    context = device_context(system_with(force, n_particles=9), positions)
    force.setPotential(potential_of("water-exchange"))
    with pytest.raises(openmm.OpenMMException, match="the model describes 3 atoms, the System has 9 particles"):
        force.updateParametersInContext(context)
    check(context, potential.evaluate(positions), "double")


def test_coincident_atoms_are_named_with_the_energy_and_at_the_first_step():
    potential, _ = ethanol()
    positions, _ = subset_positions()
    positions[SUBSET[4]] = positions[SUBSET[2]]
    system = system_with(KMLForce(potential, SUBSET), n_particles=SUBSET_SIZE)
    context = device_context(system, positions)
    for action in (lambda: context.getIntegrator().step(1), lambda: context.getState(energy=True)):
        with pytest.raises(openmm.OpenMMException, match=r"particles 4 and 0\b"):
            action()
    context.setPositions(subset_positions()[0] * NM)
    check_energy = energy_and_forces(context)[0]
    assert check_energy == pytest.approx(potential.evaluate(ethanol()[1]).energy, rel=1e-9)


def test_a_collapse_amid_a_run_ends_it():
    """Between energies the device is asked ever more rarely, at last every 256 evaluations."""
    potential, positions = ethanol()
    context = device_context(system_with(KMLForce(potential), n_particles=9), positions)
    context.getIntegrator().step(40)
    positions[3] = positions[2]
    context.setPositions(positions * NM)
    context.setVelocities(np.zeros((9, 3)))
    with pytest.raises(openmm.OpenMMException, match="KMLForce"):
        context.getIntegrator().step(260)


def test_a_device_that_fails_leaves_the_work_to_the_host_and_says_so():
    potential, positions = ethanol()
    system = system_with(KMLForce(potential), n_particles=9)
    context = device_context(system, positions, route=FAILING_DEVICE_ROUTE)
    check(context, potential.evaluate(positions), "double")
    assert any("OpenCL" in text and "a test lets it fail" in text for text in device_warnings())


def test_a_model_with_soap_is_left_to_the_host_and_the_reason_is_told(tmp_path):
    """In a process of its own: the sentences of a process stay, and other tests here ask for none."""
    weights = SOAP_MODELS["soap, pairs and repulsion of silica"]
    positions, _, _ = STRUCTURES["cluster"]
    numbers = numbers_for(weights, len(positions))
    (tmp_path / "model.safetensors").write_bytes(to_bytes(weights))
    np.savez(tmp_path / "atoms.npz", positions=positions, numbers=numbers)
    code = """
import json, sys, numpy as np, openmm
from openmm_kml.interfaces._openmm_library import load_library
from openmm_kml.interfaces.openmm import KMLForce, device_warnings
atoms = np.load("atoms.npz")
system = openmm.System()
for _ in atoms["numbers"]:
    system.addParticle(12.0)
system.addForce(KMLForce("model.safetensors", numbers=atoms["numbers"], periodic=False))
load_library().set_route(int(sys.argv[1]))
platform = openmm.Platform.getPlatformByName("OpenCL")
context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform, {"Precision": "double"})
context.setPositions(atoms["positions"] / 10)
energy = context.getState(energy=True).getPotentialEnergy()._value
json.dump([energy, *device_warnings()], open("told.json", "w"))
"""
    command = [sys.executable, "-c", code, str(DEVICE_ROUTE)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    energy, *sentences = json.loads((tmp_path / "told.json").read_text())
    expected = KernelPotential.from_bytes(to_bytes(weights)).evaluate(positions, numbers)
    assert energy == pytest.approx(expected.energy * KJ_PER_MOL, rel=1e-12)
    assert len(sentences) == 1
    assert "OpenCL" in sentences[0]
    assert "soap" in sentences[0]


def test_a_library_that_does_not_load_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(_openmm_library, "device_library", lambda platform: tmp_path / f"{platform}.so")
    sentences = _openmm_library._load_device_libraries()
    assert any(text.startswith("the compute kernels for OpenCL cannot be loaded") for text in sentences)
