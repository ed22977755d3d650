"""Calibration, members of a posterior, and the trainers of local models that bring both together."""

import local_models
import numpy as np
import pytest
from nbody_cases import frames, labeled

from openmm_kml import weights as wf
from openmm_kml.calibration import fit_calibration, measure, rank_correlation, reliability
from openmm_kml.reference import evaluate_structure
from openmm_kml.reference_uncertainty import evaluate_uncertainty
from openmm_kml.structures import StructureSet
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.training.nbody.solve import BlockPrior, solve
from openmm_kml.training.uncertainty import composition_projector, removable

SMALL = {"cutoff2": 4.4, "cutoff3": 3.0, "spacing2": 0.5, "spacing3": 0.5, "progress": False}
TRUTH = local_models.LOCAL_MODELS["all terms of silica, compact"]


def silica(count, seed=0):
    return labeled(frames(seed, count, (8, 8, 14, 8, 8, 14)), TRUTH)


def drawn(scale, floor, n=20_000, counts=1, seed=3):
    """Return errors and raw variances of a model that is calibrated with this scale and floor."""
    rng = np.random.default_rng(seed)
    variances = rng.gamma(0.7, 1.0, n) * 1e-4
    return scale * np.sqrt(variances + counts * floor**2) * rng.standard_normal(n), variances


def test_scale_and_floor_are_found():
    errors, variances = drawn(7.0, 0.003)
    found = fit_calibration(errors, variances)
    assert np.isclose(found.scale, 7.0, rtol=0.03)
    assert np.isclose(found.floor, 0.003, rtol=0.1)
    counts = np.random.default_rng(0).integers(1, 90, 20_000)
    errors, variances = drawn(0.3, 0.001, counts=counts)
    found = fit_calibration(errors, variances, counts)
    assert np.isclose(found.scale, 0.3, rtol=0.03)
    assert np.isclose(found.floor, 0.001, rtol=0.1)


def test_without_a_floor_the_scale_is_the_ratio():
    errors, variances = drawn(2.5, 0.0)
    found = fit_calibration(errors, variances)
    assert np.isclose(found.scale, 2.5, rtol=0.02)
    assert found.floor < 1e-4


def test_components_that_vanish_by_symmetry_do_not_count():
    errors, variances = drawn(7.0, 0.003)
    mixed = fit_calibration(np.append(errors, np.full(5000, 1e-15)), np.append(variances, np.full(5000, 1e-32)))
    assert np.isclose(mixed.scale, fit_calibration(errors, variances).scale, rtol=1e-3)


def test_few_errors_teach_nothing():
    assert fit_calibration([1.0, 2.0], [0.1, 0.1]) == (1.0, 0.0, 0.0, 0)


def test_measures_of_a_calibrated_model():
    errors, variances = drawn(1.0, 0.01)
    deviations = np.sqrt(variances + 1e-4)
    found = measure(errors, deviations)
    assert abs(found["coverage_68"] - 0.68) < 0.015
    assert abs(found["coverage_95"] - 0.95) < 0.008
    assert np.isclose(found["ratio"], 1.0, rtol=0.02)
    assert found["nll"] < measure(errors, 1.5 * deviations)["nll"]
    assert found["nll"] < measure(errors, deviations / 1.5)["nll"]
    predicted, seen = reliability(errors, deviations)
    assert len(predicted) == 10
    np.testing.assert_allclose(seen, predicted, rtol=0.1)
    assert (np.diff(predicted) > 0).all()


def test_rank_correlation_by_hand():
    assert rank_correlation([1.0, 2.0, 3.0], [10.0, 20.0, 30.0]) == pytest.approx(1.0)
    assert rank_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1.0)
    assert rank_correlation([1.0, 2.0, 2.0, 3.0], [1.0, 2.5, 2.5, 9.0]) == pytest.approx(1.0)
    assert rank_correlation([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]) is None


@pytest.mark.parametrize("n_rows", [40, 7], ids=["more rows than columns", "fewer rows than columns"])
def test_samples_have_the_covariance_of_the_posterior(n_rows):
    rng = np.random.default_rng(4)
    k = 12
    L = rng.normal(size=(9, 9)) / 3
    prior = BlockPrior(2, 5.0, [(slice(2, 11), L), (slice(11, 12), 0.7)])
    posterior = solve(rng.normal(size=(n_rows, k + 1)), n_rows, prior)
    samples = posterior.samples(40_000, np.random.default_rng(1))
    rows = rng.normal(size=(6, k))
    np.testing.assert_allclose(np.sum((rows @ samples.T) ** 2, axis=1), posterior.variance(rows), rtol=0.04)


def test_frames_left_out_take_no_element_away():
    few = [*frames(1, 20), *frames(2, 1, (8, 14)), *frames(3, 1, (14,))]
    assert removable(StructureSet(few)).tolist() == list(range(20))  # not the only one with oxygen, nor a single atom
    assert len(removable(StructureSet(few[:2]))) == 0


def test_one_composition_tells_one_combination_of_energies():
    water = frames(3, 4, (1, 1, 8))
    projector = composition_projector(water, (1, 8))
    np.testing.assert_allclose(projector @ projector, projector, atol=1e-12)
    np.testing.assert_allclose(np.array([2, 1]) @ projector, [2, 1], atol=1e-12)
    assert np.isclose(np.trace(projector), 1.0)
    np.testing.assert_allclose(composition_projector(water, (1, 8), known=(8,)), [[1, 0], [0, 0]], atol=1e-12)


@pytest.fixture(scope="module")
def fitted():
    return fit_nbody(silica(24), options=NBodyOptions(members=8, **SMALL))


def test_a_trained_model_knows_its_uncertainty(fitted):
    report = fitted.report["uncertainty"]
    assert report["members"] == 8
    assert report["n_frames"] == 24
    assert report["n_energies"] == 24
    assert report["n_force_components"] == 24 * 18
    assert report["energy_scale"] != 1.0
    frame = silica(1, seed=9)[0].frames[0]
    found = evaluate_uncertainty(fitted.weights, frame.positions, frame.numbers, frame.cell, frame.pbc)
    # a model of eight samples knows its own error of the forces to a factor of a few
    assert 0.2 < np.sqrt(np.mean(found.force_std**2)) / force_error(fitted.weights, frame) < 5
    # one composition: the parts of oxygen and silicon cannot be told apart, but do not spoil single atoms
    assert found.atomic_std.max() < 10 * found.energy_std


def force_error(weights, frame):
    forces = evaluate_structure(weights, frame.positions, frame.numbers, frame.cell, frame.pbc)[1]
    return np.sqrt(np.mean((forces - frame.forces) ** 2))


def test_uncertainty_leaves_the_energy_alone(fitted):
    without = fit_nbody(silica(24), options=NBodyOptions(members=0, **SMALL))
    assert without.weights.uncertainty is None
    assert without.report["uncertainty"] is None
    for ours, theirs in zip(fitted.weights.terms, without.weights.terms, strict=True):
        if ours.kind != "repulsion":
            scale = np.abs(theirs.coefficients).max()
            np.testing.assert_allclose(ours.coefficients, theirs.coefficients, atol=1e-6 * scale)
    assert wf.to_bytes(fit_nbody(silica(24), options=NBodyOptions(members=8, **SMALL)).weights) == wf.to_bytes(
        fitted.weights
    )


def test_validation_frames_calibrate():
    fit = fit_nbody(silica(12), silica(9, seed=5), NBodyOptions(members=4, **SMALL))
    assert fit.report["uncertainty"]["calibrated_on"] == "validation frames"
    assert fit.report["uncertainty"]["n_frames"] == 9


def test_two_frames_cannot_calibrate():
    fit = fit_nbody(silica(2), options=NBodyOptions(members=4, **SMALL))
    assert fit.weights.uncertainty.energy_scale == 1.0
    assert any("not calibrated" in note for note in fit.report["notes"])


def test_a_scale_that_is_likely_beforehand_holds_where_errors_are_few():
    rng = np.random.default_rng(6)
    few = rng.normal(size=8)
    rms = np.sqrt(np.mean(few**2))
    near = fit_calibration(few, np.full(8, 1.0), near=5.0)
    assert near.floor == 0  # which would leave less to grow outside of the data
    assert 1.1 * rms < near.scale < 5.0
    errors, variances = drawn(2.5, 0.003)
    assert np.isclose(fit_calibration(errors, variances, near=25.0).scale, 2.5, rtol=0.03)


def test_forces_alone_scale_the_energies_too():
    fit = fit_nbody(silica(12), options=NBodyOptions(members=4, energies=False, virials=False, **SMALL))
    uncertainty = fit.weights.uncertainty
    assert uncertainty.energy_scale == uncertainty.force_scale != 1.0
    assert not uncertainty.atom_energies.any()
