"""Soap terms at the ends of their range: atoms alone, crowds, distances near zero and at the cutoff."""

from dataclasses import replace

import numpy as np
import pytest
from local_models import SILICA, SOAP_MODELS, numbers_for, random_soap

from openmm_kml._engine import Engine
from openmm_kml.errors import EvaluationError
from openmm_kml.reference import evaluate_structure
from openmm_kml.weights import Weights, to_bytes


def both(weights, positions, numbers=None, tolerance=1e-11):
    """Return what the engine finds, after a comparison with its twin."""
    numbers = numbers_for(weights, len(positions)) if numbers is None else numbers
    result = Engine(to_bytes(weights)).evaluate_structure(positions, numbers, None, False, 1, atomic=True)
    twin = evaluate_structure(weights, positions, numbers)
    scale = max(1.0, np.abs(twin[1]).max())
    for value, expected in zip(result, twin, strict=True):
        np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance * scale)
    return result


@pytest.mark.parametrize("name", SOAP_MODELS)
def test_an_atom_alone_has_the_energy_of_its_own_density(name):
    weights = SOAP_MODELS[name]
    for number in weights.elements:
        energy, forces, virial, _ = both(weights, np.array([[3.0, 4.0, 5.0]]), [number])
        assert np.isfinite(energy)
        assert not forces.any()
        assert not virial.any()


def test_without_any_density_the_energy_is_that_of_zero():
    """|P| = 0: no neighbor of the only channel and no weight of the center. E = Σ a_s b_s^ζ, no force."""
    options = {"channels": [(8,)], "centers": (14,), "central_weight": 0.0}
    term = random_soap(SILICA, np.random.default_rng(1), 3.0, offsets=True, **options)
    weights = Weights(elements=SILICA, terms=(term,))
    expected = float(term.coefficients @ term.sparse_offsets**3)
    for positions in ([[0, 0, 0]], [[0, 0, 0], [0, 0, 2.0]]):
        energy, forces, *_ = both(weights, np.array(positions, dtype=float), [14] * len(positions))
        assert energy == pytest.approx(len(positions) * expected, rel=1e-13)
        assert not forces.any()
    assert both(weights, np.array([[0, 0, 0], [0, 0, 2.0]]), [8, 14])[0] != pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["soap of mixed channels", "raw soap", "smallest soap"])
def test_a_crowd_of_neighbors(name):
    """500 atoms within the cutoff of one; they are no centers themselves."""
    weights = SOAP_MODELS[name]
    rng = np.random.default_rng(2)
    shell = rng.normal(size=(500, 3))
    shell *= rng.uniform(2.0, 3.5, (500, 1)) / np.linalg.norm(shell, axis=1, keepdims=True)
    only = np.zeros(len(weights.elements), np.int32)
    only[-1] = 1
    weights = Weights(elements=weights.elements, terms=(replace(weights.terms[0], centers=only),))
    numbers = [weights.elements[0]] * 500 + [weights.elements[-1]]
    energies = both(weights, np.vstack([shell, np.zeros((1, 3))]), numbers)[3]
    assert not energies[:-1].any()
    assert abs(energies[-1]) > 1e-3


@pytest.mark.parametrize("name", SOAP_MODELS)
def test_distances_near_zero_and_at_the_cutoff(name):
    """The radial functions stay exact where tables begin and end; the energy has no step at the cutoff."""
    weights = SOAP_MODELS[name]
    numbers = numbers_for(weights, 2)
    apart = sum(both(weights, np.zeros((1, 3)), [number])[0] for number in numbers)
    reach = max(term.reach for term in weights.terms)
    for r in (0.02, 0.1, 0.39, 0.4, 0.41, 3.0999, 3.1, 3.1001, reach - 1e-6, reach, reach + 1e-9):
        energy, *_ = both(weights, np.array([[0, 0, 0], [0.6 * r, 0, 0.8 * r]]), numbers, 1e-10)
    assert energy == pytest.approx(apart, abs=1e-12)
    near = both(weights, np.array([[0, 0, 0], [0, 0, reach - 1e-5]]), numbers)
    assert near[0] == pytest.approx(apart, abs=1e-7)


def test_coincident_atoms_and_unknown_elements_are_errors():
    weights = SOAP_MODELS["soap of silicon"]
    engine = Engine(to_bytes(weights))
    with pytest.raises(EvaluationError, match="atoms 0 and 1 coincide"):
        engine.evaluate_structure(np.zeros((2, 3)), [14, 14], None, False)
    with pytest.raises(ValueError, match="element 29"):
        engine.evaluate_structure(np.zeros((1, 3)), [29], None, False)
