"""Errors and deviations of frames that a fit has not seen, without a fit for each, against fits without them."""

import numpy as np
import pytest

from openmm_kml.training.nbody.left_out import Halves, without_frame
from openmm_kml.training.nbody.solve import BlockPrior, solve


@pytest.mark.parametrize("n_frames", [9, 2], ids=["more rows than columns", "fewer rows than columns"])
def test_a_frame_is_left_out_without_a_fit(n_frames):
    rng = np.random.default_rng(0)
    m, n_columns = 5, 14
    L = rng.normal(size=(11, 13)) / 3
    prior = BlockPrior(2, 5.0, [(slice(2, 13), L), (slice(13, 14), 0.7)])
    frames = rng.normal(size=(n_frames, m, n_columns + 1))
    whole = solve(frames.reshape(-1, n_columns + 1), frames.shape[0] * m, prior)
    rest = solve(frames[1:].reshape(-1, n_columns + 1), (n_frames - 1) * m, prior)
    rows = frames[0]
    # As many members as the covariance has directions: its root itself.
    half = Halves(whole)(np.eye(n_columns))
    members = whole.scale * half.T
    errors, spread = without_frame(rows, rows[:, :-1] @ half, whole.coefficients, members)
    np.testing.assert_allclose(errors, rows[:, :-1] @ rest.coefficients - rows[:, -1], rtol=1e-8)
    expected = rest.variance(rows[:, :-1]) * (whole.scale / rest.scale) ** 2
    np.testing.assert_allclose(np.sum(spread**2, axis=0), expected, rtol=1e-8)
    assert (expected > 1.01 * whole.variance(rows[:, :-1])).all()


def test_halves_have_the_covariance():
    rng = np.random.default_rng(1)
    prior = BlockPrior(1, 3.0, [(slice(1, 8), rng.normal(size=(7, 6)))])
    for n_rows in (20, 4):
        posterior = solve(rng.normal(size=(n_rows, 9)), n_rows, prior)
        design = rng.normal(size=(5, 8))
        variance = posterior.scale**2 * np.sum(Halves(posterior)(design) ** 2, axis=1)
        np.testing.assert_allclose(variance, posterior.variance(design), rtol=1e-9)
