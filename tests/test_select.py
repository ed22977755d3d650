"""Selecting frames from a pool: farthest points and conditional variances."""

import json
from dataclasses import replace

import numpy as np
import pytest
from local_models import UNCERTAIN_MODELS, uncertain
from models import UNCERTAIN_MODELS as UNCERTAIN_MOLECULES
from models import model_positions
from nbody_cases import frames as spread_frames
from nbody_cases import random_model, small_basis, weights_of
from synthetic import frames as molecule_frames

from openmm_kml.cli import main
from openmm_kml.descriptors.inverse_distances import descriptor, permuted_pairs
from openmm_kml.errors import DataError, WeightFileError
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.potential import KernelPotential
from openmm_kml.selection import farthest_frames, most_uncertain_frames
from openmm_kml.selection.covariances import MoleculeCovariance
from openmm_kml.selection.distances import averaged_spectra, frame_distances, sorted_inverse_distances
from openmm_kml.selection.frames import NamedFrames
from openmm_kml.selection.variance import pivoted_choice
from openmm_kml.structures import Structure, StructureSet, read_structures
from openmm_kml.structures.extended_xyz import write_frames
from openmm_kml.weights import Baseline, Weights, to_bytes

ETHANOL = UNCERTAIN_MOLECULES["ethanol with its group and energies"]


def molecules(count=12, name="CH3CH2OH", seed=0):
    data = molecule_frames(name, count, seed)
    return StructureSet([Structure(data.numbers, r) for r in data.positions])


def shuffled(frame, seed):
    """Return a frame turned, moved, and with its atoms in another order."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    order = rng.permutation(len(frame))
    return Structure(frame.numbers[order], (frame.positions @ turn.T + rng.standard_normal(3))[order])


# --- farthest points


def test_each_frame_is_the_farthest_from_all_before():
    pool = molecules()
    rows = sorted_inverse_distances(NamedFrames(pool))
    distances = np.linalg.norm(rows[:, None] - rows, axis=2)
    places, radii = farthest_frames(pool, 5)
    assert places[0] == np.linalg.norm(rows - rows.mean(axis=0), axis=1).argmin()
    for k in range(1, 5):
        nearest = distances[:, places[:k]].min(axis=1)
        assert places[k] == nearest.argmax()
        assert radii[k] == pytest.approx(nearest.max(), rel=1e-12)


def test_start_frames_are_kept_away_from():
    pool = molecules()
    places, radii = farthest_frames(pool, len(pool), start=pool[[3, 7]])
    assert len(places) == len(pool) - 2
    assert not {3, 7} & set(places.tolist())
    assert np.all(np.diff(radii) <= 1e-12)


def test_turned_and_renumbered_molecules_are_one():
    first, second = molecules(2)
    pool = StructureSet([first, shuffled(first, 1), second, shuffled(second, 2), shuffled(first, 3)])
    places, _ = farthest_frames(pool, 5)
    assert len(places) == 2
    assert len(set(places.tolist()) & {2, 3}) == 1


def test_a_model_measures_with_its_symmetries():
    """The group of the model says which exchanges count; sorting alone would let any hydrogens exchange."""
    term = ETHANOL.terms[0]
    positions = model_positions(ETHANOL, 3)
    frames = [Structure(ETHANOL.species, r) for r in positions]
    own = Structure(ETHANOL.species, positions[0][term.permutations[1]])
    other = positions[0].copy()
    other[[3, 6]] = other[[6, 3]]
    pool = StructureSet([frames[0], own, Structure(ETHANOL.species, other), frames[1]])
    metric = frame_distances(NamedFrames(pool), weights=ETHANOL)
    assert metric.to(0)[1] == pytest.approx(0, abs=1e-12)
    assert metric.to(0)[2] > 1e-3
    assert sorted(farthest_frames(pool, 4, weights=ETHANOL)[0]) in ([0, 2, 3], [1, 2, 3])
    assert len(farthest_frames(pool, 4)[0]) == 2


def test_the_first_by_a_model_is_the_middle_of_the_pool_whatever_the_order_of_atoms():
    group = ETHANOL.terms[0].permutations
    positions = model_positions(ETHANOL, 5)
    places = []
    for orders in (np.zeros(5, dtype=int), np.arange(5) % len(group)):
        pool = StructureSet([Structure(ETHANOL.species, r[group[k]]) for r, k in zip(positions, orders, strict=True)])
        places.append(farthest_frames(pool, 5, weights=ETHANOL)[0].tolist())
    assert places[0] == places[1]


def test_a_pool_of_one_molecule_turned_is_one_frame():
    first = molecules(1).frames[0]
    pool = StructureSet([shuffled(first, seed) for seed in range(4)])
    assert len(farthest_frames(pool, 4)[0]) == 1
    assert len(farthest_frames(pool, 4, start=StructureSet([first]))[0]) == 0


def test_structures_are_compared_by_spectra():
    pool = spread_frames(2, 6, (8, 8, 14, 14, 8, 14))
    first = pool.frames[0]
    moved = Structure(first.numbers[::-1], first.positions[::-1] + np.array([0.3, 0.2, -1.0]), first.cell)
    rows = averaged_spectra(NamedFrames([*pool, moved]))
    assert np.allclose(rows[0], rows[-1], atol=1e-12)
    places, _ = farthest_frames(StructureSet([*pool, moved]), 7)
    assert len(places) == 6
    distances = np.linalg.norm(rows[:, None] - rows, axis=2)
    assert places[1] == distances[places[0]].argmax()


def test_a_soap_model_measures_with_its_descriptors():
    weights = UNCERTAIN_MODELS["soap, pairs and repulsion of silica"]
    pool = spread_frames(3, 4, (8, 8, 14, 14))
    own = averaged_spectra(NamedFrames(pool), weights)
    assert own.shape[1] == weights.terms[0].sparse_points.shape[1]


def test_frames_that_the_model_is_not_for_are_refused():
    carbon, silica = spread_frames(3, 1, (6, 14)), spread_frames(3, 2, (8, 14))
    local = UNCERTAIN_MODELS["soap, pairs and repulsion of silica"]
    own = StructureSet([Structure(ETHANOL.species, model_positions(ETHANOL, 1)[0])])
    for weights, pool, start, text in [
        (ETHANOL, molecules(3, "H2O"), None, "frame 1 of the pool is not the free molecule of the model"),
        (ETHANOL, own, molecules(1, "H2O"), "frame 1 of the start is not the free molecule of the model"),
        (local, StructureSet([*silica, *carbon]), None, "frame 3 of the pool has C, which the model does not know"),
        (local, silica, carbon, "frame 1 of the start has C, which the model does not know"),
    ]:
        with pytest.raises(DataError, match=text):
            farthest_frames(pool, 2, start=start, weights=weights)
        with pytest.raises(DataError, match=text):
            most_uncertain_frames(pool, 2, KernelPotential.from_bytes(to_bytes(weights)), start=start)


def test_a_frame_with_coincident_atoms_is_named():
    pool = molecules(2)
    broken = replace(pool.frames[1], positions=np.zeros_like(pool.frames[1].positions))
    with pytest.raises(DataError, match=r"^frame 2 of the pool: atoms 0 and 1 coincide"):
        farthest_frames(StructureSet([pool.frames[0], broken]), 1)


# --- variances


def reference_choice(covariance, count):
    """Return places by conditional variances from inverses, one after the other."""
    chosen, variances = [], []
    for _ in range(count):
        left = np.diag(covariance).copy()
        if chosen:
            block = covariance[np.ix_(chosen, chosen)]
            left -= np.einsum("kn,kn->n", covariance[chosen], np.linalg.solve(block, covariance[chosen]))
        left[chosen] = -np.inf
        chosen.append(int(left.argmax()))
        variances.append(left.max())
    return chosen, variances


class Matrix:
    """A covariance; places with equal rows are one."""

    def __init__(self, rows):
        self._rows, self.matrix = rows, rows @ rows.T
        self.variances = np.diag(self.matrix)

    def column(self, place):
        return self.matrix[place]

    def same(self, place):
        return (self._rows == self._rows[place]).all(axis=1)


def test_the_pivoted_choice_conditions_on_what_was_chosen():
    rng = np.random.default_rng(5)
    covariance = Matrix(rng.standard_normal((9, 6)) * rng.uniform(0.1, 2, 9)[:, None])
    places, variances = pivoted_choice(covariance, 6)
    expected = reference_choice(covariance.matrix, 6)
    assert places.tolist() == expected[0]
    assert np.allclose(variances, expected[1], rtol=1e-9)
    known, _ = pivoted_choice(covariance, 3, first=[7, 8])
    m = covariance.matrix
    conditioned = m - m[:, 7:] @ np.linalg.solve(m[7:, 7:], m[7:])
    assert known.tolist() == reference_choice(conditioned[:7, :7], 3)[0]


def test_the_choice_goes_on_when_nothing_is_left():
    places, variances = pivoted_choice(Matrix(np.array([[2.0, 0], [1.0, 0], [0, 1.5], [0, 3.0]])), 4)
    assert places.tolist() == [3, 0, 2, 1]  # the last two carry no news, and come by their variance
    assert np.allclose(variances, [9, 4, 2.25, 1])
    known = Matrix(np.array([[0.0], [1.0], [-1.0]]))
    known.variances = np.zeros(3)
    assert sorted(pivoted_choice(known, 3)[0]) == [0, 1, 2]


def test_repeated_places_are_chosen_once():
    """Also where nothing is left of any variance and the choice begins anew."""
    rows = np.array([[3.0, 0], [3.0, 0], [1.0, 0], [0, 1.5], [0, 1.5], [3.0, 0]])
    places, variances = pivoted_choice(Matrix(rows), 6)
    assert places.tolist() == [0, 3, 2]
    assert np.allclose(variances, [9, 2.25, 1])
    assert pivoted_choice(Matrix(rows), 6, first=[5])[0].tolist() == [3, 2]


FLOOR = {"energy_scale": 1.5, "energy_floor": 0.3}  # as large as what the members say


@pytest.mark.parametrize("scales", [{}, FLOOR], ids=["no floor", "a floor"])
@pytest.mark.parametrize("kind", ["splines", "soap"])
def test_a_copy_is_not_worth_a_second_label(kind, scales):
    if kind == "splines":
        weights = uncertain(weights_of(small_basis(), random_model(small_basis(), 1)), members=12, seed=4, **scales)
    else:
        weights = UNCERTAIN_MODELS["soap, pairs and repulsion of silica"]
        weights = replace(weights, uncertainty=replace(weights.uncertainty, **{"energy_floor": 0.0} | scales))
    potential = KernelPotential.from_bytes(to_bytes(weights))
    pool = spread_frames(6, 8)
    stds = [potential.evaluate_uncertainty(f.positions, f.numbers, f.cell).energy_std / len(f) for f in pool]
    worst = int(np.argmax(stds))
    copies = StructureSet([*pool, replace(pool.frames[worst], positions=pool.frames[worst].positions + 1.0)])
    places, deviations = most_uncertain_frames(copies, 9, potential)
    assert len(places) == 8
    assert places[0] in {worst, 8}
    assert deviations[0] == pytest.approx(stds[worst], rel=1e-9)
    floor = potential.weights.uncertainty.energy_scale * scales.get("energy_floor", 0.0) / np.sqrt(len(pool.frames[0]))
    assert deviations.min() >= floor
    after, _ = most_uncertain_frames(copies, 3, potential, start=pool[[worst]])
    assert not {worst, 8} & set(after.tolist())


def test_of_a_molecule_the_most_uncertain_comes_first():
    potential = KernelPotential.from_bytes(to_bytes(ETHANOL))
    pool = StructureSet([Structure(ETHANOL.species, r) for r in model_positions(ETHANOL, 6)])
    stds = [potential.evaluate_uncertainty(f.positions, f.numbers).energy_std / len(f) for f in pool]
    worst = int(np.argmax(stds))
    group = ETHANOL.terms[0].permutations
    copy = Structure(ETHANOL.species, pool.frames[worst].positions[group[1]])
    places, deviations = most_uncertain_frames(StructureSet([*pool, copy]), 7, potential)
    assert places[0] in {worst, 6}
    assert len(places) == 6
    assert deviations[0] == pytest.approx(max(stds), rel=1e-6)


@pytest.mark.parametrize("name", UNCERTAIN_MOLECULES)
def test_the_covariance_of_a_molecule_has_the_variances_of_its_frames(name):
    weights = UNCERTAIN_MOLECULES[name]
    potential = KernelPotential.from_bytes(to_bytes(weights))
    frames = NamedFrames([Structure(weights.species, r) for r in model_positions(weights, 5)])
    covariance = MoleculeCovariance(potential, frames)
    stds = [potential.evaluate_uncertainty(frame.positions).energy_std / len(frame) for frame in frames]
    assert np.sqrt(covariance.variances + covariance.floors) == pytest.approx(np.array(stds), rel=1e-6)
    full = np.array([covariance.column(k) for k in range(5)])
    assert np.diag(full) == pytest.approx(covariance.variances, rel=1e-6)
    assert np.allclose(full, full.T, rtol=1e-9, atol=1e-12 * full.max())


def test_the_covariance_of_a_molecule_is_the_prior_less_what_its_rows_explain():
    """Each row by the engine, as a model of its own; the prior from its formula."""
    term, scales = ETHANOL.terms[0], ETHANOL.uncertainty
    positions = model_positions(ETHANOL, 3)
    covariance = MoleculeCovariance(
        KernelPotential.from_bytes(to_bytes(ETHANOL)),
        NamedFrames([Structure(ETHANOL.species, r) for r in positions]),
    )
    explained = []
    none = dict.fromkeys(("explained_descriptor_coefficients", "explained_energy_coefficients", "prior_variance"))
    for u, beta in zip(term.explained_descriptor_coefficients, term.explained_energy_coefficients, strict=True):
        row = replace(
            term,
            training_descriptors=term.training_descriptors[: len(u)],
            descriptor_coefficients=u,
            energy_coefficients=beta,
            energy_offset=0.0,
            **none,
        )
        one = KernelPotential.from_bytes(to_bytes(Weights(species=ETHANOL.species, terms=(row,))))
        explained.append(one.evaluate_batch(positions).energy)
    x = descriptor(positions, term.power, term.descriptor_weights)
    kernel = KERNELS[term.kernel]
    prior = np.zeros((3, 3))
    for index in permuted_pairs(term.permutations):
        radii = np.linalg.norm(x[:, None] - x[None, :, index], axis=-1)
        prior += term.prior_variance * kernel.functions(kernel.scale(term.length_scale) * radii)[0]
    expected = (scales.energy_scale / 9) ** 2 * (prior - np.transpose(explained) @ explained)
    columns = np.array([covariance.column(k) for k in range(3)])
    assert np.allclose(columns, expected, rtol=1e-9, atol=1e-12 * expected.max())
    assert np.abs(expected[0, 1]) > 1e-3 * expected[0, 0]


def test_a_model_without_uncertainty_is_refused():
    potential = KernelPotential.from_bytes(to_bytes(weights_of(small_basis(), random_model(small_basis(), 1))))
    with pytest.raises(WeightFileError, match="this model has no uncertainty"):
        most_uncertain_frames(spread_frames(1, 3), 2, potential)


# --- the command


@pytest.fixture
def pool(tmp_path):
    path = tmp_path / "pool.xyz"
    frames = [replace(frame, energy=float(k)) for k, frame in enumerate(molecules())]
    write_frames(path, frames)
    return path


def test_the_command_writes_the_chosen_frames_with_their_labels(pool, tmp_path, capsys):
    out, report = tmp_path / "selected.xyz", tmp_path / "report.json"
    assert main(["select", str(pool), "-n", "4", "-o", str(out), "--json", str(report)]) == 0
    places = json.loads(report.read_text())["places"]
    assert places == farthest_frames(molecules(), 4)[0].tolist()
    chosen = read_structures(out)
    assert [frame.energy for frame in chosen] == places
    assert f"{out}: 4 of 12 frames" in capsys.readouterr().out


def test_the_command_asks_a_model(pool, tmp_path):
    model, out = tmp_path / "model.safetensors", tmp_path / "selected.xyz"
    potential = ETHANOL
    model.write_bytes(to_bytes(potential))
    frames = [Structure(ETHANOL.species, r) for r in model_positions(ETHANOL, 5)]
    write_frames(tmp_path / "own.xyz", frames)
    words = [str(tmp_path / "own.xyz"), "-n", "2", "-o", str(out), "--method", "variance", "--model", str(model)]
    assert main(["select", *words, "--quiet"]) == 0
    expected, _ = most_uncertain_frames(StructureSet(frames), 2, KernelPotential.load(model))
    assert [f.positions.tolist() for f in read_structures(out)] == [frames[k].positions.tolist() for k in expected]


def test_a_difference_to_a_baseline_is_asked_without_it(tmp_path):
    frames = [Structure(ETHANOL.species, r) for r in model_positions(ETHANOL, 5)]
    write_frames(tmp_path / "own.xyz", frames)
    chosen = []
    for name, baseline in (("whole", None), ("delta", Baseline("sha256:" + 64 * "0", "mm.xml"))):
        model, report = tmp_path / name, tmp_path / f"{name}.json"
        model.write_bytes(to_bytes(replace(ETHANOL, baseline=baseline)))
        words = [str(tmp_path / "own.xyz"), "-n", "3", "-o", str(tmp_path / "out.xyz"), "--model", str(model)]
        assert main(["select", *words, "--method", "variance", "--quiet", "--json", str(report)]) == 0
        chosen.append(json.loads(report.read_text()))
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-n", "13"], "has 12 frames; 13 cannot be chosen"),
        (["-n", "2", "--method", "variance"], "name its weight file with --model"),
        (["-n", "2", "--start", "missing.xyz"], "missing.xyz: no such file or directory"),
        (["-n", "2", "--model", "pool.xyz"], "pool.xyz"),
        (["-n", "2", "--start", "pool.xyz"], "has no frame that pool.xyz does not have"),
    ],
)
def test_wrong_requests_are_refused(pool, tmp_path, capsys, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    assert main(["select", str(pool), "-o", str(tmp_path / "out.xyz"), *words]) == 2
    message = capsys.readouterr().err
    assert message.startswith("kml: error: ")
    assert message.count("\n") == 1
    assert text in message
    assert not (tmp_path / "out.xyz").exists()
