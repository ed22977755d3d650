"""KMLForce with output="uncertainty": the standard deviation as an energy, alone and as a collective variable."""

import local_models
import models
import numpy as np
import openmm
import pytest
from checks import four_point_difference
from local_models import STRUCTURES, numbers_for
from openmm_helpers import KJ_PER_MOL, NM, context_for, energy_and_forces, potential_of, route, system_with

from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.reference_uncertainty import evaluate_uncertainty
from openmm_kml.weights import to_bytes

ROUTES = ("Reference", "CPU", "base-class", "OpenCL")
MOLECULE = models.UNCERTAIN_MODELS["ethanol with its group and energies"]
CRYSTAL = local_models.UNCERTAIN_MODELS["pairs and triples of silica"]


def potential(weights):
    return KernelPotential.from_bytes(to_bytes(weights))


def molecule():
    """Return a Force of the standard deviation, positions in Å, what the twin says, and the box."""
    positions = models.model_positions(MOLECULE)[0]
    force = KMLForce(potential(MOLECULE), n_threads=1, output="uncertainty")
    return force, positions, evaluate_uncertainty(MOLECULE, positions), None


def crystal():
    positions, cell, pbc = STRUCTURES["distorted crystal"]
    numbers = numbers_for(CRYSTAL, len(positions))
    force = KMLForce(potential(CRYSTAL), numbers=numbers.tolist(), periodic=True, n_threads=1, output="uncertainty")
    return force, positions, evaluate_uncertainty(CRYSTAL, positions, numbers, cell, pbc), cell


def context_of(force, positions, cell, route_name="Reference"):
    system = system_with(force, n_particles=len(positions))
    if cell is not None:
        system.setDefaultPeriodicBoxVectors(*(cell * NM))
    return context_for(system, positions, route_name)


@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.parametrize("case", [molecule, crystal])
def test_energy_and_forces_are_those_of_the_standard_deviation(case, name):
    with route(name):
        force, positions, expected, cell = case()
        energy, forces = energy_and_forces(context_of(force, positions, cell, name))
    single = name == "OpenCL"  # its host route takes positions and forces in single precision
    assert energy == pytest.approx(expected.energy_std, rel=1e-4 if single else 1e-9)
    scale = np.abs(expected.gradient).max()
    np.testing.assert_allclose(forces, -expected.gradient, atol=(1e-3 if single else 1e-8) * scale)


def test_a_biased_potential_has_consistent_forces():
    """E - k sigma of one CustomCVForce: forces against differences of its energy."""
    positions = models.model_positions(MOLECULE)[0]
    bias = openmm.CustomCVForce("E - k*sigma")
    bias.addGlobalParameter("k", 3.0)
    bias.addCollectiveVariable("E", KMLForce(potential(MOLECULE), n_threads=1))
    bias.addCollectiveVariable("sigma", KMLForce(potential(MOLECULE), n_threads=1, output="uncertainty"))
    context = context_of(bias, positions, None)
    energy, forces = energy_and_forces(context)
    plain = potential(MOLECULE).evaluate(positions).energy
    assert energy == pytest.approx(plain - 3.0 * evaluate_uncertainty(MOLECULE, positions).energy_std, rel=1e-9)
    direction = np.random.default_rng(1).normal(size=positions.shape)
    direction /= np.linalg.norm(direction)

    def along(t):
        context.setPositions((positions + t * direction) * NM)
        return context.getState(energy=True).getPotentialEnergy()._value / KJ_PER_MOL

    assert four_point_difference(along, 1e-3) == pytest.approx(-np.sum(forces * direction), rel=1e-6)


def test_scale_and_its_derivative():
    force, positions, expected, cell = crystal()
    force.setScaleParameter("bias", -2.0)
    force.addEnergyParameterDerivative("bias")
    context = context_of(force, positions, cell)
    energy, forces = energy_and_forces(context)
    assert energy == pytest.approx(-2 * expected.energy_std, rel=1e-9)
    np.testing.assert_allclose(forces, 2 * expected.gradient, atol=1e-9 * np.abs(expected.gradient).max() + 1e-9)
    state = context.getState(parameterDerivatives=True)
    assert state.getEnergyParameterDerivatives()["bias"] / KJ_PER_MOL == pytest.approx(expected.energy_std, rel=1e-9)


def test_the_output_survives_serialization_and_copies():
    force, positions, expected, cell = crystal()
    text = openmm.XmlSerializer.serialize(force)
    assert 'version="3"' in text
    assert 'output="uncertainty"' in text
    again = KMLForce.cast(openmm.XmlSerializer.deserialize(text))
    assert again.getOutput() == "uncertainty"
    assert energy_and_forces(context_of(again, positions, cell))[0] == pytest.approx(expected.energy_std, rel=1e-9)


@pytest.mark.parametrize("numbers", [True, False])
def test_a_force_of_the_energy_is_written_as_before(numbers):
    force = crystal()[0] if numbers else molecule()[0]
    force.setOutput("energy")
    text = openmm.XmlSerializer.serialize(force)
    assert f'version="{1 + numbers}"' in text
    assert "output=" not in text
    assert KMLForce.cast(openmm.XmlSerializer.deserialize(text)).getOutput() == "energy"


def test_another_output_in_the_file_is_refused():
    text = openmm.XmlSerializer.serialize(molecule()[0]).replace('output="uncertainty"', 'output="both"')
    with pytest.raises(openmm.OpenMMException, match='output="both" where energy or uncertainty is expected'):
        openmm.XmlSerializer.deserialize(text)


def test_the_output_changes_in_a_context():
    force, positions, expected, cell = molecule()
    context = context_of(force, positions, cell)
    force = KMLForce.cast(context.getSystem().getForce(0))
    force.setOutput("energy")
    force.updateParametersInContext(context)
    assert energy_and_forces(context)[0] == pytest.approx(potential(MOLECULE).evaluate(positions).energy, rel=1e-12)
    force.setOutput("uncertainty")
    force.updateParametersInContext(context)
    assert energy_and_forces(context)[0] == pytest.approx(expected.energy_std, rel=1e-9)


def test_what_cannot_be_is_refused():
    with pytest.raises(openmm.OpenMMException, match="the model has no uncertainty: train it again"):
        KMLForce(potential_of("ethanol-matern52"), output="uncertainty")
    with pytest.raises(ValueError, match="output must be 'energy' or 'uncertainty'; 'std' was given"):
        KMLForce(potential(MOLECULE), output="std")


def test_a_model_without_uncertainty_is_refused_at_once():
    force, positions, expected, cell = molecule()
    bare = potential_of("ethanol-matern52")
    with pytest.raises(openmm.OpenMMException, match="the model has no uncertainty: train it again"):
        force.setPotential(bare)
    assert energy_and_forces(context_of(force, positions, cell))[0] == pytest.approx(expected.energy_std, rel=1e-9)
    force = molecule()[0]  # the System owns the other
    force.setOutput("energy")
    force.setPotential(bare)
    with pytest.raises(openmm.OpenMMException, match="the model has no uncertainty: train it again"):
        force.setOutput("uncertainty")
    assert force.getOutput() == "energy"


def test_a_file_whose_model_has_no_uncertainty_is_refused():
    text = openmm.XmlSerializer.serialize(KMLForce(potential_of("ethanol-matern52")))
    text = text.replace(' version="1"', ' output="uncertainty" version="3"', 1)
    with pytest.raises(openmm.OpenMMException, match="the model has no uncertainty: train it again"):
        openmm.XmlSerializer.deserialize(text)
