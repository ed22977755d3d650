"""Uncertainty of trained SOAP models and of models of one molecule against dense Gaussian processes."""

from dataclasses import replace

import numpy as np
import pytest
from datasets import water_set
from soap_cases import options, silicon

from openmm_kml import weights as wf
from openmm_kml.reference import evaluate_structure
from openmm_kml.reference_uncertainty import member, raw_gdml, raw_local
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.training.gdml_uncertainty import Explained, choose_sizes
from openmm_kml.training.soap import fit_soap, uncertainty
from openmm_kml.training.soap.prior import jittered_kernel
from openmm_kml.training.soap.uncertainty import unexplained
from openmm_kml.training.uncertainty import Predictions


@pytest.fixture(scope="module")
def soap():
    structures, _ = silicon(count=10)
    return structures, fit_soap(structures, options=options(members=3))


def test_a_soap_model_holds_members_and_what_its_points_explain(soap):
    structures, fit = soap
    weights = fit.weights
    assert wf.from_bytes(wf.to_bytes(weights)).uncertainty.members == 3
    assert fit.report["uncertainty"]["n_frames"] > 0
    frame = structures.frames[0]
    where = frame.positions, frame.numbers, frame.cell, frame.pbc
    raw = raw_local(weights, *where)
    energies = [evaluate_structure(member(weights, s), *where)[0] for s in range(3)]
    terms = [term for term in weights.terms if term.kind == "soap"]
    left_open = unexplained(fit.basis, terms, frame)
    assert left_open > 0
    assert np.isclose(raw.energy, np.sum(np.square(energies)) + left_open, rtol=1e-8)


def test_rows_of_soap_are_the_inverse_covariance(soap):
    _, fit = soap
    term = next(term for term in fit.weights.terms if term.kind == "soap")
    K = (term.sparse_points @ term.sparse_points.T) ** term.zeta
    explained = np.sum((K @ term.explained.T) ** 2, axis=1)  # at the sparse points all is explained
    np.testing.assert_allclose(explained, term.prior_variance * np.diag(K), rtol=1e-6)


def test_few_rows_of_soap_are_those_of_leading_eigenvectors(soap, monkeypatch):
    _, fit = soap
    term = next(term for term in fit.weights.terms if term.kind == "soap")
    K = jittered_kernel(term, 1e-8)
    values, vectors = np.linalg.eigh(K)
    monkeypatch.setattr(uncertainty, "MOST_ROWS", 3)
    rows = uncertainty.explained_rows(term, 0.7, 1e-8)
    assert rows.shape == (3, len(K))
    assert np.all(rows[[0, 0, 1], [0, 1, 0]] == 0)  # point m has the last m + 1 rows
    expected = (vectors[:, -3:] / values[-3:]) @ vectors[:, -3:].T
    np.testing.assert_allclose(rows.T @ rows, 0.7 * expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


def test_what_is_left_open_gets_its_share(soap):
    _, fit = soap
    share = fit.report["uncertainty"]["open_share"]
    assert 0 < share <= 1
    prior = (fit.report["hyperparameters"]["amplitude"] * fit.posterior.scale) ** 2
    (term,) = (term for term in fit.weights.terms if term.kind == "soap")
    assert np.isclose(term.prior_variance, share * prior, rtol=1e-12)


def left_out_energies(times, n=40):
    """Return `Predictions` of energies whose variances that members do not hold are multiplied by a factor."""
    rng = np.random.default_rng(3)
    by_members, left_open = rng.uniform(1, 2, (2, n))
    errors = rng.normal(size=n) * np.sqrt(by_members + left_open)
    energies = [(error, variance, 8) for error, variance in zip(errors, by_members, strict=True)]
    return Predictions(energies, unexplained=list(times * left_open))


def test_a_prior_that_outweighs_the_members_does_not_set_the_scale():
    much, more = left_out_energies(50.0), left_out_energies(5000.0)
    assert np.isclose(much.open_share(), 100 * more.open_share(), rtol=1e-12)
    assert much.open_share() * sum(much.unexplained) == pytest.approx(sum(entry[1] for entry in much.energy))
    np.testing.assert_allclose(much.calibrations()[0], more.calibrations()[0], rtol=1e-6)


def test_a_prior_below_the_members_stays():
    little = left_out_energies(0.1)
    assert little.open_share() == 1.0
    assert little.calibrations()[0].scale > left_out_energies(0.5).calibrations()[0].scale
    assert Predictions(left_out_energies(0.0).energy, unexplained=[0.0] * 40).open_share() == 1.0
    assert Predictions().open_share() == 1.0


def test_no_members_no_uncertainty():
    structures, _ = silicon(count=4)
    fit = fit_soap(structures, options=options(members=0, n_sparse=6))
    assert fit.weights.uncertainty is None
    assert all(term.explained is None for term in fit.weights.terms if term.kind == "soap")


@pytest.fixture(scope="module", params=["energies and forces", "forces alone"])
def water(request):
    chosen = {"kernel": "matern52", "power": 1.0, "length_scale": 3.0, "regularization": 1e-4, "symmetries": False}
    chosen |= {"energies": request.param == "energies and forces", "progress": False, "n_threads": 1}
    return fit_gdml(water_set(12, 1), water_set(20, 2), GDMLOptions(uncertainty_rank="all", **chosen))


def test_all_rows_of_a_molecule_are_exact(water):
    report = water.report["uncertainty"]
    assert report["exact"]
    assert report["std_over_all_rows"]["median"] == pytest.approx(1.0, rel=1e-3)
    explained = Explained(water.model, np.arange(12), 10**6)
    test = water_set(4, 3).positions
    few, full = explained.variances(test)
    np.testing.assert_allclose(few, full, rtol=1e-4)
    forces, _ = explained.variances(test, forces=True)
    for k, positions in enumerate(test):
        raw = raw_gdml(water.weights, positions)
        assert np.isclose(raw.energy, full[k], rtol=1e-4)
        np.testing.assert_allclose(raw.forces.ravel(), forces.reshape(4, -1)[k], rtol=1e-4)


def test_fewer_rows_leave_more_open(water):
    test = water_set(5, 4).positions
    exact = Explained(water.model, np.arange(12), 10**6).variances(test)[0]
    for n_rows in (60, 20, 5):
        fewer = Explained(water.model, np.arange(12), n_rows).variances(test)[0]
        assert (fewer >= exact * (1 - 1e-6)).all()
        exact = fewer


def test_the_first_points_are_those_of_the_rows(water):
    part = Explained(water.model, np.array([1, 5, 9]), 12).term()
    whole = replace(water.weights, terms=(part, *water.weights.terms[1:]), uncertainty=wf.Uncertainty(0))
    read = wf.from_bytes(wf.to_bytes(whole))
    assert read.terms[0].explained_descriptor_coefficients.shape[:2] == (12, 3)
    np.testing.assert_array_equal(part.training_descriptors[:3], water.model.geometry.x[[1, 5, 9]])
    test = water_set(1, 6).positions[0]
    expected = Explained(water.model, np.array([1, 5, 9]), 12).variances(test[None])[0][0]
    assert np.isclose(raw_gdml(read, test).energy, expected, rtol=1e-6)


def test_sizes_fill_the_file():
    assert choose_sizes(10, 9, "all") == (10, 280)
    points, rows = choose_sizes(1000, 9)
    assert 9e6 < 8 * points * rows * 37 < 11e6
    assert choose_sizes(1000, 9, 100) == (11, 100)
    assert choose_sizes(3, 9, 10_000) == (3, 84)
