"""Student's t as the distribution of errors: intervals, densities, and its tail found from errors."""

import numpy as np
import pytest
from scipy.integrate import quad

from openmm_kml.calibration import fit_calibration, measure
from openmm_kml.predictive import LARGEST_TAIL, describe_tail, half_width, log_density
from openmm_kml.uncertainty import Uncertainty

TAILS = (0.0, 1e-6, 0.05, 0.2, LARGEST_TAIL, 0.4)


@pytest.mark.parametrize("tail", TAILS)
def test_the_density_has_unit_variance_and_its_intervals(tail):
    def moment(power, ends):
        return 2 * quad(lambda z: z**power * np.exp(log_density(z, tail)), 0, ends, limit=200)[0]

    assert np.isclose(moment(0, np.inf), 1, rtol=1e-7)
    assert np.isclose(moment(2, np.inf), 1, rtol=1e-4)
    for level in (0.1, 0.68, 0.95, 0.999):
        assert np.isclose(moment(0, float(half_width(level, tail))), level, rtol=1e-7)


def test_known_half_widths():
    assert np.isclose(half_width(0.95), 1.959963985, rtol=1e-9)
    assert np.isclose(half_width(0.95, 0.2), 2.570581836 * np.sqrt(3 / 5), rtol=1e-9)  # tables of t: five degrees
    assert np.isclose(half_width(0.95, 2e-9), half_width(0.95), rtol=1e-8)
    np.testing.assert_allclose(log_density(np.array([0.5, 3.0]), 2e-9), log_density(np.array([0.5, 3.0])), rtol=1e-7)
    found = Uncertainty(16, energy_tail=0.2, force_tail=0.1).half_widths(0.95)
    assert found == tuple(half_width(0.95, tail) for tail in (0.2, 0.0, 0.1))
    assert describe_tail(0.0) == "normal"
    assert describe_tail(0.125) == "Student's t with 8 degrees of freedom"


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, np.nan])
def test_a_level_is_a_probability(level):
    with pytest.raises(ValueError, match="probability above 0 and below 1"):
        half_width(level)


def heavy(count, nu=5, seed=1):
    """Return errors from Student's t, of a model whose raw variances are a ninth of theirs, and these variances."""
    rng = np.random.default_rng(seed)
    variances = rng.gamma(2.0, 1.0, count) * 1e-4
    return 3 * np.sqrt(variances * (nu - 2) / nu) * rng.standard_t(nu, count), variances


def test_scale_and_tail_are_found():
    errors, variances = heavy(20_000)
    found = fit_calibration(errors, variances)
    assert np.isclose(found.scale, 3, rtol=0.04)
    assert np.isclose(found.tail, 0.2, atol=0.015)


def test_both_intervals_hold_where_those_of_a_normal_distribution_do_not():
    errors, variances = heavy(20_000)
    found = fit_calibration(errors, variances)
    deviations = found.scale * np.sqrt(variances + found.floor**2)
    said, normal = measure(errors, deviations, found.tail), measure(errors, deviations)
    assert abs(said["coverage_68"] - 0.68) < 0.01
    assert abs(said["coverage_95"] - 0.95) < 0.005
    assert normal["coverage_68"] > 0.72
    assert said["nll"] < normal["nll"] - 0.02


def test_normal_errors_have_no_tail_and_few_errors_no_wild_one():
    rng = np.random.default_rng(2)
    assert fit_calibration(rng.normal(size=20_000), np.ones(20_000)).tail < 0.01
    tails = [fit_calibration(rng.normal(size=20), np.ones(20)).tail for _ in range(40)]
    assert np.mean(tails) < 0.05
    one_outlier = np.append(rng.normal(size=19), 12.0)
    assert fit_calibration(one_outlier, np.ones(20)).tail <= LARGEST_TAIL


def test_the_likeliest_calibration_cannot_be_bettered():
    errors, variances = heavy(3000)
    found = fit_calibration(errors, variances, counts=4)

    def loss(scale, floor, tail):
        return measure(errors, scale * np.sqrt(variances + 4 * floor**2), tail)["nll"] + 10 * tail / len(errors)

    best = loss(found.scale, found.floor, found.tail)
    for scale, floor, tail in ((1.02, 0, 0), (0.98, 0, 0), (1, 5e-4, 0), (1, 0, 0.02), (1, 0, -0.02), (1.02, 0, 0.02)):
        assert loss(found.scale * scale, found.floor + floor, found.tail + tail) > best
