"""The SOAP trainer: against dense Gaussian processes, what it recovers, what it refuses, and the same bytes twice."""

import json
from dataclasses import replace

import numpy as np
import pytest
from soap_cases import drawn_model, frames, labeled, options, silica, silicon

from openmm_kml.errors import DataError, TrainingError
from openmm_kml.reference import evaluate_structure
from openmm_kml.structures import Structure, StructureSet
from openmm_kml.training.evaluation import model_errors
from openmm_kml.training.nbody.design import VIRIAL_ROWS
from openmm_kml.training.nbody.solve import solve
from openmm_kml.training.soap import SoapOptions, fit_soap, soap_learning_curve
from openmm_kml.training.soap.assembly import assemble, cut_chunks, tree_reduce
from openmm_kml.training.soap.basis import SoapBasis
from openmm_kml.training.soap.cross_validation import cross_validation_loss, smallest_amplitude
from openmm_kml.training.soap.environments import Environments
from openmm_kml.training.soap.prior import SoapHyperparameters
from openmm_kml.training.soap.trainer import _Training
from openmm_kml.weights import Weights, from_bytes, to_bytes

EXACT = {"noise_energy": 1e-5, "noise_force": 1e-4, "noise_virial": 1e-5}


@pytest.fixture(scope="module")
def one():
    return silicon()


@pytest.fixture(scope="module")
def two():
    return silica()


def labels_of(structures, noises):
    """Return all labels of a set, and their deviations, one after the other."""
    values, deviations = [], []
    for frame in structures:
        n = len(frame)
        parts = [[frame.energy], frame.forces.ravel(), [frame.virial[a, b] for a, b in VIRIAL_ROWS]]
        for part, noise in zip(parts, (n * noises[0], noises[1], n * noises[2]), strict=True):
            values.append(part)
            deviations.append(np.full(len(part), noise))
    return np.concatenate(values), np.concatenate(deviations)


def dense_rows(structures, elements, term):
    """Return the labels of a set for each sparse point alone with a coefficient of one, by the NumPy twin."""
    columns = []
    for s in range(term.n_sparse):
        alone = replace(term, sparse_points=term.sparse_points[[s]], coefficients=np.ones(1))
        model = Weights(elements=np.array(elements), terms=(alone,))
        columns.append(labels_of(labeled(StructureSet(structures), model), (1, 1, 1))[0])
    return np.array(columns).T


def posterior_of_dense_process(fit, train, test, noises):
    """Return the mean of all labels of the test frames, and the log likelihood, by full covariance matrices."""
    (part,) = fit.basis.parts
    elements, amplitude = fit.basis.elements, fit.report["hyperparameters"]["amplitude"]
    rows = [dense_rows(frames, elements, part.term) for frames in (train, test)]
    x, zeta = part.term.sparse_points, part.term.zeta
    inverse = amplitude**2 * np.linalg.pinv((x @ x.T) ** zeta, rcond=1e-13, hermitian=True)
    counts = [labels_of([replace(f, **_counted(f)) for f in frames], (1, 1, 1))[0] for frames in (train, test)]
    covariances = [a @ inverse @ rows[0].T + 1e6 * np.outer(c, counts[0]) for a, c in zip(rows, counts, strict=True)]
    y, deviations = labels_of(train, noises)
    total = covariances[0] + np.diag(deviations**2)
    solved = np.linalg.solve(total, y)
    likelihood = -0.5 * len(y) * np.log(y @ solved) - 0.5 * np.linalg.slogdet(total)[1]
    return covariances[1] @ solved, likelihood


def _counted(frame):
    return {"energy": float(len(frame)), "forces": np.zeros((len(frame), 3)), "virial": np.zeros((3, 3))}


def test_the_fit_is_the_dense_sparse_gaussian_process(one):
    structures, _ = one
    noises = 0.01, 0.1, 0.05
    train, test = structures[:5], structures[8:]
    given = options(n_sparse=8, pairs=False, repulsion=False)
    given = replace(given, noise_energy=noises[0], noise_force=noises[1], noise_virial=noises[2])
    fits = [fit_soap(train, None, replace(given, amplitude=amplitude)) for amplitude in (0.5, 2.0)]
    likelihoods = []
    for fit in fits:
        expected, likelihood = posterior_of_dense_process(fit, train, test, noises)
        found = labels_of(labeled(test, fit.weights), noises)[0]
        np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
        likelihoods.append(likelihood)
    # Without the constants, which are the same for both.
    difference = fits[1].report["log_likelihood"] - fits[0].report["log_likelihood"]
    assert abs(difference) > 1
    assert difference == pytest.approx(likelihoods[1] - likelihoods[0], abs=1e-5 * abs(likelihoods[0]))


@pytest.mark.parametrize("zeta", [1.0, 2.5, 4.0])
@pytest.mark.parametrize("free", [False, True])
def test_rows_are_those_of_single_sparse_points(two, zeta, free):
    structures, truth = two
    frame = structures.frames[0]
    if free:
        frame = replace(frame, cell=None, pbc=np.zeros(3, bool))
    for term in (replace(term, zeta=zeta) for term in truth.terms if term.kind == "soap"):
        energies, forces, virials = Environments(truth.elements, [term], native=False).rows(frame)
        expected = dense_rows([frame], truth.elements, term)
        found = np.vstack([energies, forces.reshape(len(energies), -1).T, *(virials[:, a, b] for a, b in VIRIAL_ROWS)])
        np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())


def test_the_engine_makes_the_same_rows(two):
    structures, truth = two
    terms = [term for term in truth.terms if term.kind == "soap"]
    native, plain = (Environments(truth.elements, terms, native=choice) for choice in (True, False))
    for number, _ in enumerate(terms):
        for frame in structures[:3]:
            for found, expected in zip(native.rows(frame, number), plain.rows(frame, number), strict=True):
                np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())
            for found, expected in zip(
                native.descriptors(frame, number), plain.descriptors(frame, number), strict=True
            ):
                np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_potential_of_the_model_is_recovered(one):
    structures, truth = one
    rng = np.random.default_rng(5)
    between = StructureSet(
        [replace(f, positions=f.positions + 0.02 * rng.standard_normal(f.positions.shape)) for f in structures]
    )
    between = labeled(between, truth)
    known = np.std(np.concatenate([f.forces.ravel() for f in between]))
    errors = []
    for n_sparse in (6, 72):
        fit = fit_soap(structures, None, options(n_sparse=n_sparse, repulsion=False, **EXACT))
        errors.append(model_errors(fit.weights, between)["forces_rmse"] / known)
    assert errors[1] < 0.01
    assert errors[1] < errors[0] / 5
    fit = fit_soap(structures, None, options(n_sparse=72, **EXACT))
    assert model_errors(fit.weights, between)["forces_rmse"] < 0.03 * known
    assert fit.weights.terms[-1].kind == "repulsion"


def test_atoms_that_would_fuse_are_noted(one):
    notes = {
        repulsion: fit_soap(one[0][:4], None, options(n_sparse=8, repulsion=repulsion, members=0)).report["notes"]
        for repulsion in (True, False)
    }
    assert notes[True] == []
    assert [note.startswith("Si and Si attract each other somewhere below") for note in notes[False]] == [True]


def test_missing_forces_and_a_wrong_unit_are_told(one):
    good = one[0][:4]
    bare = [replace(frame, forces=None) for frame in good]
    rough = [replace(frame, forces=frame.forces + 1e3 * k) for k, frame in enumerate(good)]
    told = []
    for data in (good, bare, rough):
        notes = " ".join(fit_soap(StructureSet(list(data)), None, options(n_sparse=8, members=0)).report["notes"])
        told.append(("training frames has forces" in notes, "name the unit of energy" in notes))
    assert told == [(False, False), (True, False), (False, True)]


def test_a_model_in_the_space_of_the_basis_is_recovered_to_the_noise(one):
    structures = one[0]
    truth = drawn_model(structures, pairs=False)
    structures = labeled(structures, truth)
    given = options(n_sparse=72, repulsion=False, pairs=False, noise_energy=1e-7, noise_force=1e-6, noise_virial=1e-6)
    fit = fit_soap(structures[:9], None, replace(given, n_sparse=54))
    fit_all = fit_soap(structures, None, given)
    known = np.std(np.concatenate([f.forces.ravel() for f in structures]))
    assert model_errors(fit_all.weights, structures)["forces_rmse"] < 1e-5 * known
    assert model_errors(fit.weights, structures[9:])["forces_rmse"] < 0.05 * known


def test_two_elements_have_sparse_points_of_their_own(two):
    structures, _ = two
    fit = fit_soap(structures[:8], structures[8:], options(n_sparse={8: 24, 14: 14}, **EXACT))
    terms = [term for term in fit.weights.terms if term.kind == "soap"]
    assert [term.n_sparse for term in terms] == [24, 14]
    assert [term.centers.tolist() for term in terms] == [[1, 0], [0, 1]]
    assert fit.report["sparse_points"] == {"O": 24, "Si": 14}
    errors = fit.report["validation_errors"]
    known = np.std(np.concatenate([f.forces.ravel() for f in structures]))
    assert errors["forces_rmse"] < 0.2 * known
    assert model_errors(fit.weights, structures[:8])["virial_mae_per_atom"] < 0.02
    json.dumps(fit.report, allow_nan=False)


def test_frames_may_lack_an_element(two):
    structures, truth = two
    oxygen = labeled(frames(7, 2, (8, 8, 8)), truth)
    fit = fit_soap(StructureSet([*structures, *oxygen]), None, options(n_sparse=40, **EXACT))
    known = np.std(np.concatenate([f.forces.ravel() for f in oxygen]))
    assert model_errors(fit.weights, oxygen)["forces_rmse"] < 0.2 * known
    assert not fit.basis.rows(oxygen.frames[0]).forces[:, fit.basis.parts[1].columns].any()


def test_each_label_is_used(one):
    """Energies, forces or virials alone lower their own errors; forces alone leave the zero of energies open."""
    structures, _ = one
    known = (
        np.mean([np.abs(f.forces).mean() for f in structures]),
        np.mean([np.abs(f.virial).mean() / 6 for f in structures]),
    )
    fits = {}
    for kept in ("energy", "forces", "virial"):
        alone = StructureSet(
            [replace(f, **{name: None for name in ("energy", "forces", "virial") if name != kept}) for f in structures]
        )
        fits[kept] = fit_soap(alone, None, options(n_sparse=72, repulsion=False, **EXACT)).weights
    measured = {kept: model_errors(weights, structures) for kept, weights in fits.items()}
    assert measured["energy"]["energy_mae_per_atom"] < 1e-3
    assert measured["forces"]["forces_mae"] < 0.01 * known[0]
    assert measured["virial"]["virial_mae_per_atom"] < 0.01 * known[1]
    assert fits["forces"].atom_energies == {14: 0.0}
    forced = fit_soap(structures, None, options(energies=False, virials=False, n_sparse=30, repulsion=False, **EXACT))
    assert forced.weights.atom_energies == {14: 0.0}
    assert model_errors(forced.weights, structures)["forces_mae"] < 0.02


def test_isolated_atoms_and_given_energies_are_kept(one):
    structures, _ = one
    lonely = Structure([14], [[0.0, 0.0, 0.0]], energy=-3.25)
    fit = fit_soap(StructureSet([*structures[:4], lonely]), None, options())
    assert fit.weights.atom_energies == {14: -3.25}
    fit = fit_soap(structures[:4], None, options(atom_energies={14: -1.5}))
    assert fit.weights.atom_energies == {14: -1.5}


def test_the_noise_of_a_group_decides_what_is_believed(one):
    structures, _ = one
    wrong = [replace(f, forces=-f.forces, energy=None, virial=None, group="wrong") for f in structures[:6]]
    mixed = StructureSet([*structures[6:], *wrong])
    trusted, doubted = (
        fit_soap(mixed, None, options(n_sparse=30, group_noise=noise)) for noise in ({}, {"wrong": 1000.0})
    )
    errors = [model_errors(fit.weights, structures[6:])["forces_rmse"] for fit in (trusted, doubted)]
    assert errors[1] < errors[0] / 5


@pytest.mark.parametrize("selection", ["cross_validation", "likelihood", "validation"])
def test_hyperparameters_are_chosen(one, selection):
    structures, _ = one
    free = {"amplitude": None, "length_scale2": None, "amplitude2": None, "selection": selection}
    fit = fit_soap(structures[:8], structures[8:], options(n_sparse=30, **free))
    assert len(fit.report["selection"]["trials"]) > 5
    assert fit.report["selection"]["criterion"] == selection
    losses = [trial["loss"] for trial in fit.report["selection"]["trials"]]
    assert min(losses) < losses[0]
    poor = fit_soap(structures[:8], structures[8:], options(n_sparse=30, amplitude=1e-3, amplitude2=1e-3))
    errors = [found.report["validation_errors"]["forces_rmse"] for found in (fit, poor)]
    assert errors[0] < errors[1] / 2


@pytest.mark.parametrize("count", [2, 10])
def test_frames_left_out_are_predicted_by_the_fit_to_the_others(two, count):
    """The loss of cross-validation is what fits to parts of the frames give; with few frames rows are too few."""
    structures = two[0][:count]
    given = options(n_sparse=10, folds=2, atom_energies={8: 0.0, 14: 0.0}, repulsion=False)
    training = _Training(structures, None, given, None)
    training.run()
    sets = [(structures[k::2], training.known.train_labels[k::2]) for k in range(2)]
    folds = assemble(training.basis, sets, given, None, by_kind=True)
    folds = [{kind: (training.whitening.apply_to_rows(r), n) for kind, (r, n) in fold.items()} for fold in folds]
    point = SoapHyperparameters(0.3, 0.9, 0.5)
    found = cross_validation_loss(training.basis, given, folds)(point)
    errors = dict.fromkeys(folds[0], 0.0)
    for k in range(2):
        rest = np.concatenate([factor for factor, _ in folds[1 - k].values()])
        count = sum(n for _, n in folds[1 - k].values())
        c = np.append(solve(rest, count, point.prior(training.basis, given)).coefficients, -1)
        for kind, (factor, _) in folds[k].items():
            errors[kind] += np.sum((factor @ c) ** 2)
    means = [error / sum(fold[kind][1] for fold in folds) for kind, error in errors.items()]
    assert len(means) == 3
    assert found == pytest.approx(np.prod(means) ** (1 / 3), rel=1e-4)


def test_an_amplitude_is_not_larger_than_errors_ask_for():
    """The loss is nearly flat above 4, and rises below."""
    log, start = [], SoapHyperparameters(32.0, 1.0, 1.0)
    found = smallest_amplitude(start, lambda point: 1.0 + 0.1 / point.amplitude**4, log)
    assert found == SoapHyperparameters(4.0, 1.0, 1.0)
    assert [trial["amplitude"] for trial in log] == [16, 8, 4, 2]
    assert smallest_amplitude(start, lambda _: 1.0, []).amplitude < 0.002


def test_the_same_data_give_the_same_bytes_and_they_survive_the_file(two):
    structures, _ = two
    first, again = (to_bytes(fit_soap(structures[:4], None, options(n_sparse=20)).weights) for _ in range(2))
    assert first == again
    frame = structures.frames[5]
    where = frame.positions, frame.numbers, frame.cell, frame.pbc
    assert np.isfinite(evaluate_structure(from_bytes(first), *where)[0])
    other = to_bytes(fit_soap(structures[:4], None, options(n_sparse=20, seed=1)).weights)
    assert other != first


def test_chunks_cover_the_frames_and_merge_to_the_factor_of_all_rows(one, monkeypatch):
    structures, truth = one
    monkeypatch.setattr("openmm_kml.training.soap.assembly.block_rows", lambda _: 60)
    training = _Training(structures, None, options(n_sparse=8), None)
    fit = training.run()
    labels, basis = training.known.train_labels, fit.basis
    chunks = cut_chunks(structures, labels, basis.n_columns)
    assert len(chunks) == 4
    assert [frame for chunk, _ in chunks for frame in chunk] == list(structures)
    (whole,) = assemble(basis, [(structures, labels)], training.options, None)
    (by_kind,) = assemble(basis, [(structures, labels)], training.options, None, by_kind=True)
    factor, n_rows = whole["all"]
    assert n_rows == sum(n for _, n in by_kind.values()) == 12 * (1 + 18 + 6)
    assert not np.tril(factor, -1).any()
    gram = sum(part.T @ part for part, _ in by_kind.values())
    np.testing.assert_allclose(factor.T @ factor, gram, atol=1e-12 * np.abs(gram).max())
    assert truth.terms[0].kind == "soap"


@pytest.mark.parametrize("count", [0, 1, 2, 5, 8, 13])
def test_a_tree_merges_neighbors_in_order(count):
    merged = tree_reduce(map(str, range(count)), "({}{})".format)
    assert (merged or "").replace("(", "").replace(")", "") == "".join(map(str, range(count)))
    if count == 5:
        assert merged == "(((01)(23))4)"


def test_dask_workers_give_the_same_bytes(two, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    monkeypatch.setattr("openmm_kml.training.soap.assembly.block_rows", lambda _: 60)
    structures, _ = two
    given = options(n_sparse=20, amplitude=None)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        for selection in ("validation", "cross_validation"):
            chosen = replace(given, selection=selection)
            alone = fit_soap(structures[:7], structures[7:], chosen)
            shared = fit_soap(structures[:7], structures[7:], replace(chosen, dask=cluster.scheduler_address))
            assert to_bytes(shared.weights) == to_bytes(alone.weights)


def test_a_silent_scheduler_is_named(one, monkeypatch):
    pytest.importorskip("distributed", reason="Dask is not installed")
    monkeypatch.setattr("openmm_kml.training.soap.distributed.TIMEOUT", 0.1)
    with pytest.raises(TrainingError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:1'"):
        fit_soap(one[0], None, options(dask="tcp://127.0.0.1:1"))


def test_a_learning_curve_falls():
    structures = frames(1, 16, (14,) * 6)
    structures = labeled(structures, drawn_model(structures))
    curve = soap_learning_curve(structures, [3, 12], options(n_sparse=18, repulsion=False, **EXACT))
    assert [point["n_train"] for point in curve] == [3, 12]
    assert curve[1]["test_errors"]["forces_rmse"] < curve[0]["test_errors"]["forces_rmse"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_sparse": 73}, "73 sparse points are wanted for Si, but its 72 environments hold only 72"),
        ({"n_sparse": 73, "sparse_method": "farthest"}, "hold only 72 different"),
        ({"n_sparse": {14: 5, 8: 5}}, "sparse points are wanted for O, which the training frames lack"),
        ({"n_sparse": {8: 5}}, "sparse points are wanted for O"),
        ({"atom_energies": {8: 1.0}}, "an energy is given for O"),
        ({"channels": 2}, "2 channels are to hold 1 elements"),
        ({"selection": "validation", "amplitude": None}, "but there are none"),
    ],
)
def test_what_the_data_do_not_support_is_refused(one, changes, message):
    with pytest.raises(DataError, match=message):
        fit_soap(one[0], None, options(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_sparse": 0}, "n_sparse of all elements must be a whole number of 1 or more"),
        ({"n_sparse": {14: 2.5}}, "n_sparse of 14"),
        ({"zeta": 0.0}, "zeta must be a finite number above zero"),
        ({"l_max": 21}, "l_max must be at most 20"),
        ({"cutoff_width": 4.0}, "cutoff_width must be at most the cutoff"),
        ({"radial_functions": 5}, "radial_functions must be at most n_max, 4"),
        ({"sparse_method": "random"}, "sparse_method must be one of cur, farthest"),
        ({"noise_force": -1.0}, "noise_force"),
        ({"central_weight": -1.0}, "central_weight"),
    ],
)
def test_bad_options_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        options(**changes)


def test_a_cutoff_beyond_all_distances_is_refused_by_its_name():
    dimers = [Structure([14, 14], [[0, 0, 0], [0, 0, d]], energy=-d) for d in (2.2, 2.5)]
    with pytest.raises(DataError, match=r"^cutoff is 3\.6 Å, but the longest distance"):
        fit_soap(StructureSet(dimers), None, options(n_sparse=2))


def test_sets_without_frames_or_with_new_elements_are_refused(one, two):
    with pytest.raises(DataError, match="there are no training frames"):
        fit_soap(StructureSet([]), None, options())
    with pytest.raises(DataError, match="the validation frames have O"):
        fit_soap(one[0], two[0], options())
    unlabeled = StructureSet([replace(f, energy=None, forces=None, virial=None) for f in one[0]])
    with pytest.raises(DataError, match="nothing to train on"):
        fit_soap(unlabeled, None, options())


def test_what_does_not_fit_into_memory_is_refused_with_the_number(one):
    with pytest.raises(TrainingError, match=r"takes 0\.2 GB .* 0\.1 GB are allowed"):
        fit_soap(one[0], None, options(memory_limit=100_000_000))


def test_defaults_are_the_usual_ones():
    recorded = SoapOptions().as_dict()
    assert recorded["n_sparse"] == 500
    assert not {"progress", "dask", "workers", "memory_limit", "n_threads"} & set(recorded)
    assert SoapOptions(n_sparse={14: 5}).as_dict()["n_sparse"] == {"14": 5}


def test_a_basis_travels_without_its_engine(one):
    import pickle

    basis = fit_soap(one[0], None, options()).basis
    again = pickle.loads(pickle.dumps(basis))
    assert isinstance(again, SoapBasis)
    frame = one[0].frames[0]
    np.testing.assert_array_equal(again.rows(frame).forces, basis.rows(frame).forces)
