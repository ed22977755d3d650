"""One table: models × engines, and the laws that each combination must obey."""

import numpy as np
import pytest
from checks import check_forces, check_no_curl, check_permutation, check_rigid_motion, check_virial
from models import LARGE, MODELS, model_positions

from openmm_kml import reference
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import to_bytes


def numpy_twin(weights):
    return lambda positions: reference.evaluate(weights, positions)


def engine(weights):
    potential = KernelPotential.from_bytes(to_bytes(weights))
    return lambda positions: potential.evaluate(positions, n_threads=1)


def engine_with_two_threads(weights):
    potential = KernelPotential.from_bytes(to_bytes(weights))
    return lambda positions: potential.evaluate(positions, n_threads=2)


def engine_in_a_batch(weights):
    potential = KernelPotential.from_bytes(to_bytes(weights))

    def evaluate(positions):
        batch = np.stack([positions + 0.01, positions, positions[::-1]])
        return tuple(result[1] for result in potential.evaluate_batch(batch, n_threads=1))

    return evaluate


ENGINES = {f.__name__.replace("_", " "): f for f in (numpy_twin, engine, engine_with_two_threads, engine_in_a_batch)}


MODELS_OF = dict.fromkeys(ENGINES, MODELS) | {"engine with two threads": {"twelve-atoms-many-points": LARGE}}
TABLE = [(model, driver) for driver in ENGINES for model in MODELS_OF[driver]]


@pytest.fixture(params=TABLE, ids=lambda pair: f"{pair[0]} by {pair[1]}")
def case(request):
    """Return (evaluate, positions, weights) of one model in one engine."""
    model, driver = request.param
    weights = MODELS_OF[driver][model]
    return ENGINES[driver](weights), model_positions(weights)[0], weights


def test_forces_are_minus_the_derivative_of_the_energy(case):
    evaluate, positions, _ = case
    check_forces(evaluate, positions)


def test_virial_is_minus_the_derivative_by_strain(case):
    evaluate, positions, _ = case
    check_virial(evaluate, positions)


def test_energy_knows_no_origin_and_no_orientation(case):
    evaluate, positions, _ = case
    check_rigid_motion(evaluate, positions, np.random.default_rng(2))


def test_equivalent_atoms_may_be_exchanged(case):
    evaluate, positions, weights = case
    for permutation in weights.terms[0].permutations[1:]:
        check_permutation(evaluate, positions, permutation)


def test_forces_are_conservative(case):
    evaluate, positions, _ = case
    check_no_curl(evaluate, positions, np.random.default_rng(3))


@pytest.mark.parametrize(("model", "driver"), [pair for pair in TABLE if pair[1] != "numpy twin"])
def test_engine_equals_its_numpy_twin(model, driver):
    weights = MODELS_OF[driver][model]
    evaluate = ENGINES[driver](weights)
    for positions in model_positions(weights, n_frames=5):
        for result, expected in zip(evaluate(positions), reference.evaluate(weights, positions), strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-11, atol=1e-11 * np.abs(expected).max())


def test_one_training_point_by_hand():
    """A diatomic molecule, one training point, two equal permutations: a number a reader can redo."""
    weights = MODELS["diatomic-one-point"]
    term = weights.terms[0]
    x0, u, beta = term.training_descriptors[0, 0], term.descriptor_coefficients[0, 0], term.energy_coefficients[0]
    r = 1.7
    s = np.sqrt(5) / term.length_scale
    a = s * abs(1 / r - x0)
    h = (1 / r - x0) * u
    by_hand = 2 * np.exp(-a) * (s**2 / 3 * (1 + a) * h + beta * (1 + a + a * a / 3))
    by_hand += term.energy_offset + 2 * weights.atom_energies[7]
    energy, forces, _ = engine(weights)(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, r]]))
    assert energy == pytest.approx(by_hand, rel=1e-13)
    assert forces[0] == pytest.approx(-forces[1])
