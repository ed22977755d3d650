"""Errors and deviations of frames that a fit has not seen, without a fit for each, against fits without them."""

import numpy as np
import pytest
from nbody_cases import frames

from openmm_kml.training.nbody import left_out
from openmm_kml.training.nbody.design import Rows
from openmm_kml.training.nbody.left_out import FramesLeftOut, leverage, without_frame
from openmm_kml.training.nbody.solve import BlockPrior, solve


def root_of(posterior):
    """Return members whose covariance is that of the posterior, shape (n_columns, n_columns)."""
    n_columns = len(posterior.coefficients)
    values, vectors = np.linalg.eigh(leverage(posterior, np.eye(n_columns)))
    return posterior.scale * np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


@pytest.mark.parametrize("n_frames", [9, 2], ids=["more rows than columns", "fewer rows than columns"])
def test_a_frame_is_left_out_without_a_fit(n_frames):
    rng = np.random.default_rng(0)
    m, n_columns = 5, 14
    L = rng.normal(size=(11, 13)) / 3
    prior = BlockPrior(2, 5.0, [(slice(2, 13), L), (slice(13, 14), 0.7)])
    sets = rng.normal(size=(n_frames, m, n_columns + 1))
    whole = solve(sets.reshape(-1, n_columns + 1), n_frames * m, prior)
    rest = solve(sets[1:].reshape(-1, n_columns + 1), (n_frames - 1) * m, prior)
    rows, design = sets[0], sets[0][:, :-1]
    errors, spread = without_frame(rows, leverage(whole, design), whole.coefficients, root_of(whole))
    np.testing.assert_allclose(errors, design @ rest.coefficients - rows[:, -1], rtol=1e-8)
    expected = rest.variance(design) * (whole.scale / rest.scale) ** 2
    np.testing.assert_allclose(np.sum(spread**2, axis=0), expected, rtol=1e-8)
    assert (expected > 1.01 * whole.variance(design)).all()


def test_the_leverage_is_the_covariance():
    rng = np.random.default_rng(1)
    prior = BlockPrior(1, 3.0, [(slice(1, 8), rng.normal(size=(7, 6)))])
    for n_rows in (20, 4):
        posterior = solve(rng.normal(size=(n_rows, 9)), n_rows, prior)
        design = rng.normal(size=(5, 8))
        variance = posterior.scale**2 * np.diag(leverage(posterior, design))
        np.testing.assert_allclose(variance, posterior.variance(design), rtol=1e-9)


def test_rows_are_kept_within_bounds_and_made_once_more_beyond(monkeypatch):
    train, made = frames(3, 12), []

    def make(_basis, frame):
        made.append(frame)
        forces = np.zeros((18, 30))
        forces[:, [2, 7]] = len(made)
        return Rows(np.arange(30.0) == 4, forces, np.zeros((6, 30)), 3)

    monkeypatch.setattr(left_out, "_FEW_FRAMES", 4)
    monkeypatch.setattr(left_out, "KEPT", 8 * 3 * 25 * 7)  # seven frames of three columns that are not zero
    found = FramesLeftOut(train, make)
    rows = [found(None, frame) for frame in train]
    assert len(found.places) == 6  # half of twelve
    for place in found.places:
        again = found._rows(None, train.frames[place])
        np.testing.assert_array_equal(again.forces, rows[place].forces)
        np.testing.assert_array_equal(again.energy, rows[place].energy)
        assert again.n_triples == 3
    assert len(made) == 12
    other = FramesLeftOut(train, make, keep=False)
    other(None, train.frames[0])
    assert len(other.places) == 4
    other._rows(None, train.frames[other.places[0]])
    assert len(made) == 14
