"""Predictive uncertainty by the NumPy twin: closed forms, differences, invariances; round trips of its files."""

from dataclasses import replace

import local_models
import models
import numpy as np
import pytest
from checks import check_rigid_motion, check_virial, four_point_difference
from local_models import STRUCTURES, numbers_for

from openmm_kml import weights as wf
from openmm_kml.descriptors.inverse_distances import descriptor
from openmm_kml.errors import WeightFileError
from openmm_kml.reference import evaluate, evaluate_structure
from openmm_kml.reference_uncertainty import evaluate_uncertainty, member, raw_gdml, raw_local

LOCAL, MOLECULES = local_models.UNCERTAIN_MODELS, models.UNCERTAIN_MODELS
ALL = LOCAL | MOLECULES


def case(name):
    """Return positions and the other arguments of a structure for a model with uncertainty."""
    weights = ALL[name]
    if weights.species is not None:
        return models.model_positions(weights)[0], ()
    positions, cell, pbc = STRUCTURES["triclinic cell, atoms outside"]
    return positions, (numbers_for(weights, len(positions)), cell, pbc)


@pytest.mark.parametrize("name", ALL)
def test_round_trip_keeps_every_number_and_every_byte(name):
    data = wf.to_bytes(ALL[name])
    read = wf.from_bytes(data)
    assert wf.to_bytes(read) == data
    positions, arguments = case(name)
    ours, theirs = (evaluate_uncertainty(weights, positions, *arguments) for weights in (read, ALL[name]))
    assert ours.energy_std == theirs.energy_std
    assert np.array_equal(ours.force_std, theirs.force_std)


@pytest.mark.parametrize("name", ALL)
def test_gradient_and_virial_are_differences_of_the_standard_deviation(name):
    positions, arguments = case(name)
    weights = ALL[name]
    found = evaluate_uncertainty(weights, positions, *arguments)
    assert found.energy_std > 1e-3
    rng = np.random.default_rng(2)
    for _ in range(2):
        direction = rng.normal(size=positions.shape)
        direction /= np.linalg.norm(direction)

        def along(t, direction=direction):
            return evaluate_uncertainty(weights, positions + t * direction, *arguments).energy_std

        slope = np.sum(found.gradient * direction)
        assert abs(slope) > 1e-4
        # splines jump in their third derivative: over 1e-4 Å that gives 1e-8 Å² of it
        assert abs(four_point_difference(along, 1e-4) - slope) < 1e-6 * np.linalg.norm(found.gradient)


@pytest.mark.parametrize("name", ["pairs and triples of silica", "raw soap of one center, two terms"])
def test_virial_of_the_standard_deviation(name):
    weights, (positions, cell, _) = ALL[name], STRUCTURES["two atoms in a primitive cell"]

    def evaluate_std(r, c):
        found = evaluate_uncertainty(weights, r, numbers_for(weights, len(r)), c, True)
        return found.energy_std, None, found.virial

    check_virial(evaluate_std, positions, cell)


@pytest.mark.parametrize("name", MOLECULES)
def test_a_molecule_may_move_and_turn(name):
    weights, (positions, _) = ALL[name], case(name)

    def evaluate_std(r):
        found = evaluate_uncertainty(weights, r)
        return found.energy_std, -found.gradient, found.virial

    check_rigid_motion(evaluate_std, positions, np.random.default_rng(0))
    check_virial(evaluate_std, positions)


@pytest.mark.parametrize("name", LOCAL)
def test_members_sum_to_the_variances(name):
    weights, (positions, arguments) = LOCAL[name], case(name)
    results = [
        evaluate_structure(member(weights, s), positions, *arguments) for s in range(weights.uncertainty.members)
    ]
    raw = raw_local(weights, positions, *arguments)
    assert np.isclose(raw.forces.sum(), sum((forces**2).sum() for _, forces, _, _ in results), rtol=1e-12)
    unexplained = raw.atomic - sum(energies**2 for _, _, _, energies in results)
    assert np.isclose(raw.energy, sum(energy**2 for energy, *_ in results) + unexplained.sum(), rtol=1e-12)
    explained = any(term.kind == "soap" and term.explained is not None for term in weights.terms)
    assert (unexplained.max() > 1e-3) == explained
    assert unexplained.min() > -1e-12


def test_floors_and_scales_by_hand():
    weights = LOCAL["pairs and triples of silica"]
    positions, arguments = case("pairs and triples of silica")
    raw = raw_local(weights, positions, *arguments)
    found, scales = raw.calibrated(weights.uncertainty), weights.uncertainty
    assert np.isclose(found.energy_std, 1.7 * np.sqrt(raw.energy + len(positions) * 0.02**2), rtol=1e-12)
    np.testing.assert_allclose(found.atomic_std, 0.9 * np.sqrt(raw.atomic + 0.04**2), rtol=1e-12)
    np.testing.assert_allclose(found.force_std, 2.5 * np.sqrt(raw.forces + 0.06**2), rtol=1e-12)
    assert raw.calibrated(replace(scales, energy_scale=3.4)).energy_std == 2 * found.energy_std


def test_the_variance_of_a_lonely_pair_by_hand():
    """Two atoms, one spline: E_s is the deviation's spline at the distance plus two one-body deviations."""
    weights = LOCAL["pairs of silicon"]
    term, atom = weights.terms[0], weights.uncertainty.atom_energies[:, 0]
    b = 4
    positions = np.array([[0, 0, 0], [0, 0, term.start + b * term.spacing]])  # on a knot: 1/6, 4/6, 1/6
    energies = term.deviations[:, 0, b : b + 3] @ np.array([1, 4, 1]) / 6 + 2 * atom
    raw = raw_local(weights, positions, [14, 14])
    assert np.isclose(raw.energy, energies @ energies, rtol=1e-12)
    np.testing.assert_allclose(raw.atomic, 0.25 * energies @ energies, rtol=1e-12)


@pytest.mark.parametrize("name", MOLECULES)
def test_the_prior_of_forces_is_that_of_the_kernel(name):
    """cov(E(r), E(r')) of the prior, by differences in both arguments, is the prior variance of a force."""
    weights, (positions, _) = MOLECULES[name], case(name)
    nothing = {"explained_descriptor_coefficients": 0.0, "explained_energy_coefficients": 0.0}
    terms = tuple(
        replace(
            term,
            **{name: zero * getattr(term, name) for name, zero in nothing.items() if getattr(term, name) is not None},
        )
        for term in weights.terms
    )
    raw = raw_gdml(replace(weights, terms=terms), positions)

    def covariance(first, second):
        total = 0.0
        for term in weights.terms:
            x = descriptor(second, term.power, term.descriptor_weights)
            point = replace(
                term,
                energy_offset=0.0,
                training_descriptors=x[None],
                descriptor_coefficients=0 * x[None],
                energy_coefficients=np.ones(1),
            )
            total += term.prior_variance * evaluate(wf.Weights(weights.species, (point,)), first)[0]
        return total

    assert np.isclose(covariance(positions, positions), raw.energy, rtol=1e-12)
    step = np.zeros_like(positions)
    step[1, 2] = 1.0
    variance = four_point_difference(
        lambda t: four_point_difference(lambda u: covariance(positions + t * step, positions + u * step), 0.01), 0.01
    )
    assert np.isclose(variance, raw.forces[1, 2], rtol=1e-3)


@pytest.mark.parametrize("name", MOLECULES)
def test_explained_rows_are_models(name):
    """The variance is what the prior has, less the squares of energies that rows give as coefficients."""
    weights, (positions, _) = MOLECULES[name], case(name)
    explained = 0.0
    for term in weights.terms:
        n_points = term.explained_descriptor_coefficients.shape[1]
        for r, u in enumerate(term.explained_descriptor_coefficients):
            beta = term.explained_energy_coefficients
            row = replace(
                term,
                energy_offset=0.0,
                training_descriptors=term.training_descriptors[:n_points],
                descriptor_coefficients=u,
                energy_coefficients=None if beta is None else beta[r],
            )
            explained += evaluate(wf.Weights(weights.species, (row,)), positions)[0] ** 2
    nothing = [
        replace(
            term,
            explained_descriptor_coefficients=0 * term.explained_descriptor_coefficients,
            explained_energy_coefficients=None,
        )
        for term in weights.terms
    ]
    prior = raw_gdml(replace(weights, terms=tuple(nothing)), positions).energy
    assert explained > 0.01 * prior
    assert np.isclose(raw_gdml(weights, positions).energy, prior - explained, rtol=1e-10)


def test_a_variance_below_zero_is_zero():
    weights = MOLECULES["water, exchange"]
    positions, _ = case("water, exchange")
    low = replace(weights, terms=tuple(replace(term, prior_variance=1e-9) for term in weights.terms))
    raw = raw_gdml(low, positions)
    assert raw.energy == 0
    assert not raw.half_gradient.any()
    bare = replace(low, uncertainty=wf.Uncertainty(0))
    found = evaluate_uncertainty(bare, positions)
    assert found.energy_std == 0
    assert not found.gradient.any()


def test_a_model_without_uncertainty_says_so():
    with pytest.raises(WeightFileError, match="no uncertainty"):
        evaluate_uncertainty(models.MODELS["water-exchange"], np.eye(3))
