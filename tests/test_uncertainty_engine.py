"""Standard deviations by the engine against their NumPy twin, for every kind of model; threads; odd structures."""

from dataclasses import replace

import local_models
import models
import numpy as np
import pytest
from checks import four_point_difference
from local_models import STRUCTURES, diamond, numbers_for

from openmm_kml._engine import Engine
from openmm_kml.errors import EvaluationError, WeightFileError
from openmm_kml.potential import KernelPotential
from openmm_kml.reference_uncertainty import evaluate_uncertainty
from openmm_kml.weights import to_bytes

INSTRUCTION_SETS = ("baseline", "avx2", "avx512")
LOCAL, MOLECULES = local_models.UNCERTAIN_MODELS, models.UNCERTAIN_MODELS


def engine_of(weights, isa=None):
    try:
        return Engine(to_bytes(weights), isa)
    except ValueError as error:
        pytest.skip(str(error))


def check_against_twin(found, expected):
    assert found["energy_std"] == pytest.approx(expected.energy_std, rel=1e-10)
    if expected.atomic_std is not None:
        np.testing.assert_allclose(found["atomic_std"], expected.atomic_std, rtol=1e-10, atol=1e-12)
    scale = 1e-10 * (1 + np.abs(expected.gradient).max())
    np.testing.assert_allclose(found["std_forces"], -expected.gradient, atol=scale)
    np.testing.assert_allclose(found["std_virial"], expected.virial, atol=1e-9 * (1 + np.abs(expected.virial).max()))
    np.testing.assert_allclose(found["force_std"], expected.force_std, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@pytest.mark.parametrize("name", LOCAL)
def test_local_models_agree_with_the_twin(name, isa):
    weights = LOCAL[name]
    engine = engine_of(weights, isa)
    for positions, cell, pbc in STRUCTURES.values():
        numbers = numbers_for(weights, len(positions))
        found = engine.evaluate_uncertainty(positions, numbers, cell, pbc, gradient=True, forces=True)
        check_against_twin(found, twin(name, positions, numbers, cell, pbc))


_TWINS = {}  # slow, and the same for all instruction sets


def twin(name, positions, numbers, cell, pbc):
    key = (name, positions.tobytes(), None if cell is None else cell.tobytes())
    if key not in _TWINS:
        _TWINS[key] = evaluate_uncertainty(LOCAL[name], positions, numbers, cell, pbc)
    return _TWINS[key]


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@pytest.mark.parametrize("name", MOLECULES)
def test_models_of_molecules_agree_with_the_twin(name, isa):
    weights = MOLECULES[name]
    engine = engine_of(weights, isa)
    for positions in models.model_positions(weights)[:2]:
        found = engine.evaluate_uncertainty(positions, gradient=True, forces=True)
        check_against_twin(found, evaluate_uncertainty(weights, positions))


@pytest.mark.parametrize("name", LOCAL)
def test_the_prediction_comes_along_unchanged(name):
    weights = LOCAL[name]
    positions, cell, pbc = STRUCTURES["distorted crystal"]
    engine, numbers = engine_of(weights), numbers_for(weights, len(positions))
    plain = engine.evaluate_structure(positions, numbers, cell, pbc)
    found = engine.evaluate_uncertainty(positions, numbers, cell, pbc, energy=True, gradient=True, forces=True)
    again = engine.evaluate_structure(positions, numbers, cell, pbc)
    assert found["energy"] == plain[0] == again[0]
    for key, before, after in zip(("forces", "virial"), plain[1:3], again[1:3], strict=True):
        assert np.array_equal(found[key], before)
        assert np.array_equal(before, after)


@pytest.mark.parametrize("name", LOCAL)
def test_no_digit_depends_on_the_number_of_threads(name):
    weights = LOCAL[name]
    positions, cell = diamond(repeat=4)
    positions = positions + np.random.default_rng(3).normal(0, 0.1, positions.shape)
    numbers = numbers_for(weights, len(positions))
    one, three = (
        engine_of(weights).evaluate_uncertainty(positions, numbers, cell, True, n_threads, gradient=True)
        for n_threads in (1, 3)
    )
    for key in one:
        assert np.array_equal(one[key], three[key]), key


@pytest.mark.parametrize("name", LOCAL | MOLECULES)
def test_the_gradient_is_the_difference_of_the_standard_deviation(name):
    weights = (LOCAL | MOLECULES)[name]
    if weights.species is None:
        positions, cell, pbc = STRUCTURES["slab"]
        arguments = (numbers_for(weights, len(positions)), cell, pbc)
    else:
        positions, arguments = models.model_positions(weights)[0], ()
    engine = engine_of(weights)
    forces = engine.evaluate_uncertainty(positions, *arguments, gradient=True)["std_forces"]
    direction = np.random.default_rng(4).normal(size=positions.shape)
    direction /= np.linalg.norm(direction)

    def along(t):
        return engine.evaluate_uncertainty(positions + t * direction, *arguments)["energy_std"]

    slope = -np.sum(forces * direction)
    assert abs(slope) > 1e-4
    assert abs(four_point_difference(along, 1e-4) - slope) < 1e-6 * np.linalg.norm(forces)


def test_a_lone_atom_has_the_deviations_of_its_one_body_energy():
    weights = LOCAL["pairs and triples of silica"]
    found = engine_of(weights).evaluate_uncertainty([[1.0, 2.0, 3.0]], [14], gradient=True, forces=True)
    scales, deviations = weights.uncertainty, weights.uncertainty.atom_energies[:, 1]
    square = deviations @ deviations
    assert found["energy_std"] == pytest.approx(scales.energy_scale * np.sqrt(square + scales.energy_floor**2))
    assert found["atomic_std"] == pytest.approx([scales.atom_scale * np.sqrt(square + scales.atom_floor**2)])
    assert np.all(found["std_forces"] == 0)
    assert found["force_std"] == pytest.approx(scales.force_scale * scales.force_floor)


def test_a_variance_of_zero_has_no_gradient():
    weights = LOCAL["pairs of silicon"]
    none = np.zeros_like(weights.uncertainty.atom_energies)
    weights = replace(weights, uncertainty=replace(weights.uncertainty, atom_energies=none))
    found = engine_of(weights).evaluate_uncertainty([[0, 0, 0], [0, 0, 9.0]], [14, 14], gradient=True, forces=True)
    assert found["energy_std"] == 0
    for value in found.values():
        assert np.all(np.asarray(value) == 0)


def test_a_molecule_that_is_fully_explained_has_no_variance():
    weights = MOLECULES["water, exchange"]
    terms = [replace(term, prior_variance=1e-9) for term in weights.terms]
    weights = replace(weights, terms=tuple(terms), uncertainty=replace(weights.uncertainty, energy_floor=0.0))
    positions = models.model_positions(weights)[0]
    found = engine_of(weights).evaluate_uncertainty(positions, gradient=True)
    assert found["energy_std"] == evaluate_uncertainty(weights, positions).energy_std == 0
    assert np.all(found["std_forces"] == 0)
    assert np.all(found["std_virial"] == 0)


def test_failures_are_those_of_the_energy():
    weights = LOCAL["pairs and triples of silica"]
    engine = engine_of(weights)
    with pytest.raises(EvaluationError, match="atoms 0 and 1 coincide"):
        engine.evaluate_uncertainty(np.zeros((2, 3)), [8, 14])
    positions, cell, pbc = STRUCTURES["distorted crystal"]
    numbers = numbers_for(weights, len(positions))
    found = engine.evaluate_uncertainty(positions, numbers, cell, pbc, gradient=True, forces=True)
    check_against_twin(found, evaluate_uncertainty(weights, positions, numbers, cell, pbc))
    with pytest.raises(EvaluationError, match="atoms 1 and 0 coincide"):
        engine_of(MOLECULES["water, exchange"]).evaluate_uncertainty(np.zeros((3, 3)))


@pytest.mark.parametrize("floor", ["energy_floor", "atom_floor", "force_floor"])
def test_a_standard_deviation_that_overflows_is_a_failure(floor):
    weights = LOCAL["pairs and triples of silica"]
    weights = replace(weights, uncertainty=replace(weights.uncertainty, **{floor: 1e200}))
    positions, cell, pbc = STRUCTURES["distorted crystal"]
    with pytest.raises(EvaluationError, match="is not finite: the structure is far outside"):
        Engine(to_bytes(weights)).evaluate_uncertainty(
            positions, numbers_for(weights, len(positions)), cell, pbc, forces=True
        )


def test_models_without_uncertainty_say_so():
    weights = replace(MOLECULES["water, exchange"], uncertainty=None, terms=models.MODELS["water-exchange"].terms)
    sentence = "this model has no uncertainty: train it again, or evaluate its energy alone"
    with pytest.raises(ValueError, match=sentence):
        engine_of(weights).evaluate_uncertainty(np.eye(3))
    potential = KernelPotential.from_bytes(to_bytes(weights))
    assert not potential.has_uncertainty
    with pytest.raises(WeightFileError, match=sentence):
        potential.evaluate_uncertainty(np.eye(3))


@pytest.mark.parametrize("name", ["pairs and triples of silica", "soap, pairs and repulsion of silica"])
def test_the_potential_returns_what_was_asked_for(name):
    weights = LOCAL[name]
    potential = KernelPotential.from_bytes(to_bytes(weights))
    positions, cell, _ = STRUCTURES["two atoms in a primitive cell"]
    numbers = numbers_for(weights, 2)
    expected = evaluate_uncertainty(weights, positions, numbers, cell, True)
    found = potential.evaluate_uncertainty(positions, numbers, cell)
    assert found.gradient is None
    assert found.force_std is None
    np.testing.assert_allclose(found.atomic_std, expected.atomic_std, rtol=1e-9)
    found = potential.evaluate_uncertainty(positions, numbers, cell, gradient=True, forces=True, n_threads=1)
    np.testing.assert_allclose(found.gradient, expected.gradient, atol=1e-9)
    np.testing.assert_allclose(found.virial, expected.virial, atol=1e-9)
    np.testing.assert_allclose(found.force_std, expected.force_std, rtol=1e-9)


@pytest.mark.parametrize("name", ["water, exchange", "pairs and triples of silica"])
def test_the_prediction_comes_along_with_its_standard_deviations(name):
    if name in MOLECULES:
        weights = MOLECULES[name]
        structure = (models.model_positions(weights)[0],)
    else:
        weights, (positions, cell, pbc) = LOCAL[name], STRUCTURES["distorted crystal"]
        structure = (positions, numbers_for(weights, len(positions)), cell, pbc)
    potential = KernelPotential.from_bytes(to_bytes(weights))
    expected, found = potential.evaluate(*structure), potential.evaluate_uncertainty(*structure, prediction=True)
    for one, other in zip(expected, found.prediction, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)
    assert potential.evaluate_uncertainty(*structure).prediction is None


def test_ase_computes_standard_deviations_when_asked():
    ase = pytest.importorskip("ase")
    from openmm_kml.interfaces.ase import KMLCalculator

    weights = LOCAL["pairs and triples of silica"]
    positions, cell, pbc = STRUCTURES["distorted crystal"]
    numbers = numbers_for(weights, len(positions))
    expected = evaluate_uncertainty(weights, positions, numbers, cell, pbc)
    potential = KernelPotential.from_bytes(to_bytes(weights))
    atoms = ase.Atoms(numbers, positions, cell=cell, pbc=pbc, calculator=KMLCalculator(potential))
    atoms.get_potential_energy()
    assert "energy_std" not in atoms.calc.results
    assert atoms.calc.get_property("energy_std", atoms) == pytest.approx(expected.energy_std, rel=1e-9)
    np.testing.assert_allclose(atoms.calc.results["energies_std"], expected.atomic_std, rtol=1e-9)
    atoms.calc = KMLCalculator(potential, uncertainty=True)
    atoms.get_forces()
    assert atoms.calc.results["energy_std"] == pytest.approx(expected.energy_std, rel=1e-9)
    plain = KernelPotential.from_bytes(to_bytes(local_models.LOCAL_MODELS["pairs of silicon"]))
    with pytest.raises(WeightFileError, match="this model has no uncertainty"):
        KMLCalculator(plain, uncertainty=True)


def test_ase_gives_a_molecule_no_energies_of_atoms():
    ase = pytest.importorskip("ase")
    from openmm_kml.interfaces.ase import KMLCalculator

    weights = MOLECULES["water, exchange"]
    positions = models.model_positions(weights)[0]
    calculator = KMLCalculator(KernelPotential.from_bytes(to_bytes(weights)), uncertainty=True)
    atoms = ase.Atoms(weights.species, positions, calculator=calculator)
    atoms.get_potential_energy()
    expected = evaluate_uncertainty(weights, positions)
    assert atoms.calc.results["energy_std"] == pytest.approx(expected.energy_std, rel=1e-9)
    assert "energies_std" not in atoms.calc.results
