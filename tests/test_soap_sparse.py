"""Sparse points, their shares among elements, and compressed descriptors."""

from dataclasses import replace

import numpy as np
import pytest
from soap_cases import drawn_model, frames, options, small_descriptor

from openmm_kml.errors import DataError, TrainingError
from openmm_kml.training.soap import fit_soap
from openmm_kml.training.soap.descriptors import compress_radial, make_descriptors, mixed_channels
from openmm_kml.training.soap.jacobians import descriptors
from openmm_kml.training.soap.memory import check, estimate
from openmm_kml.training.soap.sparse import cur_points, draw_pool, farthest_points, share_points, sparse_points


def spectra(seed=0, count=40, size=6):
    """Return random unit vectors of positive entries."""
    p = np.random.default_rng(seed).random((count, size))
    return p / np.linalg.norm(p, axis=1, keepdims=True)


def test_each_point_is_the_farthest_from_those_before():
    p = spectra()
    chosen = farthest_points(p, 7, np.random.default_rng(1))
    distances = np.linalg.norm(p[:, None] - p, axis=2)
    for k in range(1, 7):
        assert distances[chosen[k], chosen[:k]].min() == distances[:, chosen[:k]].min(axis=1).max()


def test_leverage_scores_find_what_is_unlike_the_rest():
    """Two hundred copies, nearly, of one direction and two points that stand alone: those are drawn far more often."""
    rng = np.random.default_rng(0)
    p = np.eye(4)[[0] * 200 + [1, 2]] + 1e-4 * rng.random((202, 4))
    drawn = [set(cur_points(p, 3, np.random.default_rng(seed)).tolist()) for seed in range(20)]
    assert sum(len({200, 201} & points) for points in drawn) >= 25  # of 40; 0.6 were the scores all alike
    assert all(len(points) == 3 for points in drawn)


def test_leverage_scores_of_wide_spectra_find_it_too(monkeypatch):
    """With 50 entries, of which random combinations are taken instead."""
    monkeypatch.setattr("openmm_kml.training.soap.sparse._WIDE", 40)
    p = np.eye(50)[[0] * 200 + [1, 2]] + 1e-4 * np.random.default_rng(0).random((202, 50))
    drawn = [set(cur_points(p, 3, np.random.default_rng(seed)).tolist()) for seed in range(20)]
    assert sum(len({200, 201} & points) for points in drawn) >= 20


@pytest.mark.parametrize("method", ["cur", "farthest"])
def test_repeated_environments_are_taken_once(method):
    p = np.repeat(spectra(count=5), 4, axis=0)
    chosen = sparse_points(p, 5, method, np.random.default_rng(0), 14)
    assert len(np.unique(chosen.round(9), axis=0)) == 5
    with pytest.raises(DataError, match="6 sparse points are wanted for Si, but its 20 environments hold only 5"):
        sparse_points(p, 6, method, np.random.default_rng(0), 14)


def test_points_are_shared_as_environments_are():
    assert share_points(100, {8: 200, 14: 100}) == {8: 66, 14: 34}
    assert share_points(2, {8: 1_000_000, 14: 1}) == {8: 1, 14: 1}
    assert share_points({14: 3, 8: 5}, {8: 10, 14: 10}) == {8: 5, 14: 3}
    assert sum(share_points(101, {1: 7, 8: 11, 14: 13}).values()) == 101
    with pytest.raises(DataError, match="1 sparse points came for 2 elements"):
        share_points(1, {8: 10, 14: 10})
    with pytest.raises(DataError, match="no number of sparse points is given for O"):
        share_points({14: 3}, {8: 10, 14: 10})


def test_the_pool_is_drawn_without_repetition():
    parts = draw_pool([3, 0, 5, 2], 6, np.random.default_rng(0))
    assert sum(map(len, parts)) == 6
    for part, count in zip(parts, [3, 0, 5, 2], strict=True):
        assert len(set(part.tolist())) == len(part)
        assert all(0 <= place < count for place in part)
    assert [part.tolist() for part in draw_pool([2, 0, 1], 6, np.random.default_rng(0))] == [[0, 1], [], [0]]


def test_all_combinations_of_radial_functions_leave_the_kernel_alone():
    structures = frames(3, 2, (8, 14, 14, 8, 8, 14))
    descriptor = small_descriptor((8, 14), 14)
    distances = np.linspace(1.9, 3.5, 50)
    before = np.concatenate([descriptors(descriptor, (8, 14), frame)[1] for frame in structures])
    losses = []
    for count in (4, 3, 2):
        compressed, loss = compress_radial(descriptor, count, distances, 5.0)
        assert compressed.n_radial == count
        after = np.concatenate([descriptors(compressed, (8, 14), frame)[1] for frame in structures])
        losses.append((loss, np.abs(after @ after.T - before @ before.T).max()))
    assert losses[0][0] == 0
    assert losses[0][1] < 1e-12
    assert 0 < losses[1][0] < losses[2][0] < 0.5
    assert losses[1][1] < losses[2][1]


def test_compressed_models_are_trained(tmp_path):
    structures = frames(1, 8, (14,) * 6)
    from nbody_cases import labeled

    structures = labeled(structures, drawn_model(structures))
    fit = fit_soap(structures, None, options(radial_functions=3, n_sparse=30))
    assert fit.report["dimension"] == 6 * 4
    assert 0 < fit.report["radial_loss"] < 0.1
    assert fit.weights.terms[1].sparse_points.shape == (30, 24)


def test_elements_share_channels():
    structures = frames(1, 2, (8, 13, 14, 8, 13, 14))
    made, loss = make_descriptors(structures, replace(options(), channels=2))
    assert loss == 0
    assert made[0].species_weights.shape == (3, 2)
    np.testing.assert_allclose(np.linalg.norm(made[0].species_weights, axis=1), 1)
    np.testing.assert_array_equal(made[0].species_weights, made[2].species_weights)
    np.testing.assert_array_equal(mixed_channels([8, 13, 14], 2, 0), mixed_channels([8, 13, 14], 2, 0))
    with pytest.raises(DataError, match="3 channels are to hold 3 elements"):
        mixed_channels([8, 13, 14], 3, 0)


def test_memory_grows_with_columns_not_with_frames():
    arguments = {"largest_frame": 100, "pools": {14: (1000, 324)}, "points": {14: (500, 324)}}
    small, many, wide = (
        max(estimate(n_columns=columns, n_rows=rows, **arguments).values())
        for columns, rows in ((500, 10_000), (500, 10_000_000), (5000, 10_000))
    )
    assert small < many < 1.2 * small
    assert wide > 5 * small
    with pytest.raises(TrainingError, match=r"takes \d+\.\d GB \(.*\), but 1\.0 GB are allowed"):
        check(estimate(n_columns=20_000, n_rows=10_000, **arguments), 10**9)
