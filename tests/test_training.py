"""The trainer from data to weights: accuracy on exact data, choices, reproducibility, errors."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest
import synthetic
from checks import check_forces

from openmm_kml import reference
from openmm_kml.errors import DataError, TrainingError
from openmm_kml.structures import MoleculeSet
from openmm_kml.training import GDMLOptions, ard, fit_gdml, learning_curve
from openmm_kml.training import model as model_module
from openmm_kml.training.model import Problem
from openmm_kml.training.permutations import close_group
from openmm_kml.training.published import LENGTH_SCALES
from openmm_kml.weights import from_bytes, to_bytes

# The package has a function of the same name.
learning_curve_module = importlib.import_module("openmm_kml.training.learning_curve")

FIXED = {"power": 0.5, "kernel": "matern92", "length_scale": 1.3, "regularization": 1e-8, "energies": True}
QUIET = {"n_threads": 1, "progress": False}


@pytest.fixture(scope="module")
def methanol():
    """Training, validation and test frames."""
    return synthetic.frames("CH3OH", 40, 1), synthetic.frames("CH3OH", 20, 2), synthetic.frames("CH3OH", 30, 3)


@pytest.fixture(scope="module")
def default(methanol):
    return fit_gdml(*methanol[:2], GDMLOptions(**QUIET))


@pytest.fixture(scope="module")
def published(methanol):
    return fit_gdml(*methanol[:2], GDMLOptions(preset="sgdml", **QUIET))


def without(molecules, **changes):
    fields = {name: getattr(molecules, name) for name in ("numbers", "positions", "energies", "forces")}
    return MoleculeSet(**fields | changes)


@pytest.mark.parametrize("kernel", ["matern52", "matern72", "matern92", "squared_exponential"])
@pytest.mark.parametrize("energies", [True, False])
def test_the_training_forces_are_interpolated_at_vanishing_noise(methanol, kernel, energies):
    train, validation, _ = methanol
    changes = {"kernel": kernel, "energies": energies, "regularization": 1e-11, "length_scale": 0.7}
    options = GDMLOptions(**FIXED | changes, **QUIET)
    model = fit_gdml(train[:15], validation, options).model
    predicted_energies, forces = model.predict(train.positions[:15])
    assert np.abs(forces - train.forces[:15]).max() < 1e-4 * np.abs(train.forces).max()
    assert np.abs(predicted_energies - train.energies[:15]).max() < (1e-4 if energies else 0.2)


def test_many_structures_are_predicted_in_parts(published, methanol, monkeypatch):
    test = methanol[2]
    whole = published.model.predict(test.positions)
    monkeypatch.setattr(model_module, "_CHUNK_BYTES", 8 * 200 * test.n_atoms)
    geometry, sizes = Problem.geometry, []

    def noted(problem, hyperparameters, positions=None):
        sizes.append(len(positions))
        return geometry(problem, hyperparameters, positions)

    monkeypatch.setattr(Problem, "geometry", noted)
    for a, b in zip(published.model.predict(test.positions), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    assert sum(sizes) == len(test)
    assert max(sizes) < len(test) / 3
    assert [len(array) for array in published.model.predict(test.positions[:0])] == [0, 0]


def test_more_regularization_interpolates_less(methanol):
    train, validation, _ = methanol
    residuals = []
    for regularization in (1e-8, 1e-4, 1e-1):
        model = fit_gdml(train, validation, GDMLOptions(**FIXED | {"regularization": regularization}, **QUIET)).model
        residuals.append(np.abs(model.predict(train.positions)[1] - train.forces).max())
    assert residuals[0] < 0.1 * residuals[1] < 0.1 * residuals[2]


@pytest.mark.parametrize("fit", ["default", "published"])
def test_weights_give_what_the_trainer_predicts(methanol, fit, request):
    fit = request.getfixturevalue(fit)
    test = methanol[2]
    weights = from_bytes(to_bytes(fit.weights))
    kernel = replace(weights, terms=weights.terms[:1])  # the priors may act on test frames
    energies, forces, _ = reference.evaluate(kernel, test.positions)
    predicted_energies, predicted_forces = fit.model.predict(test.positions)
    np.testing.assert_allclose(predicted_energies, energies, atol=1e-8)
    np.testing.assert_allclose(predicted_forces, forces, atol=1e-8)
    assert np.abs(forces - test.forces).mean() < 0.1 * np.abs(test.forces).mean()


@pytest.mark.parametrize("energies", [True, False])
def test_predicted_forces_are_those_of_the_predicted_energy(methanol, energies):
    train, validation, test = methanol
    # Not the chosen model: exact data want hardly any regularization, and the energy then is a sum of large terms whose
    # rounding shows in differences.
    model = fit_gdml(
        train, validation, GDMLOptions(**FIXED | {"regularization": 1e-5, "energies": energies}, **QUIET)
    ).model

    def evaluate(positions):
        predicted, forces = model.predict(positions[None])
        return predicted[0], forces[0]

    check_forces(evaluate, test.positions[0], tolerance=1e-6)


def test_the_model_does_not_see_which_of_the_like_atoms_is_which(methanol, default):
    positions = methanol[2].positions[:5]
    energies, forces = default.model.predict(positions)
    for row in close_group(synthetic.geometric_group("CH3OH")):
        moved_energies, moved_forces = default.model.predict(positions[:, row])
        np.testing.assert_allclose(moved_energies, energies, atol=1e-9)
        np.testing.assert_allclose(moved_forces, forces[:, row], atol=1e-9)


# --- choices


def test_the_default_is_chosen_on_validation_and_never_worse_than_the_published_model(default, published):
    ours, theirs = (fit.report["validation_errors"] for fit in (default, published))
    assert ours["forces_mae"] <= theirs["forces_mae"]
    trained = [entry for entry in default.report["log"] if entry["stage"] == "training"]
    assert ours["forces_mae"] == min(entry["forces_mae"] for entry in trained)
    tried = [entry for entry in default.report["log"] if entry["stage"] == "search"]
    assert {0.25, 0.5, 1.0, 2.0} <= {entry["power"] for entry in tried}
    assert len({entry["kernel"] for entry in tried}) == 4
    assert default.report["symmetries"]["n_permutations"] == 6


def test_where_the_published_model_is_best_it_is_taken(methanol, monkeypatch):
    """The search is spoilt: the published model is then the better candidate and must win."""
    from openmm_kml.training import selection

    monkeypatch.setattr(selection, "START_RATIO", dict.fromkeys(selection.START_RATIO, 0.02))
    fit = fit_gdml(*methanol[:2], GDMLOptions(**QUIET))
    chosen = fit.report["hyperparameters"]
    assert (chosen["power"], chosen["kernel"], chosen["regularization_relative_to"]) == (1.0, "matern52", "1")


def test_the_preset_is_the_published_model(methanol, published):
    """The linear system written out once more: (K + 1e-10) α = F / std(F), no energies, K in Å without a factor."""
    train = methanol[0]
    chosen = published.report["hyperparameters"]
    term = published.weights.terms[0]
    assert (term.power, term.kernel, chosen["regularization"]) == (1.0, "matern52", 1e-10)
    assert term.energy_coefficients is None
    assert term.length_scale in LENGTH_SCALES
    tried = [(entry["forces_rmse"], entry["length_scale"]) for entry in published.report["log"]]
    assert term.length_scale == min(tried)[1]
    from openmm_kml.kernels.radial import KERNELS
    from openmm_kml.training.assembly import kernel_columns
    from openmm_kml.training.geometry import build_geometry

    group = close_group(synthetic.geometric_group("CH3OH"))
    geometry = build_geometry(train.positions, group)
    K = kernel_columns(geometry, KERNELS["matern52"], term.length_scale, np.arange(train.forces.size), energies=False)
    scale = train.forces.std()
    alpha = np.linalg.solve(K + 1e-10 * np.eye(len(K)), -train.forces.ravel() / scale) * scale
    u = geometry.push(alpha.reshape(len(train), -1))
    assert np.abs(term.descriptor_coefficients - u).max() < 1e-3 * np.abs(u).max()  # K is nearly singular
    energies, _ = published.model.predict(train.positions)
    assert np.mean(energies - train.energies) == pytest.approx(0.0, abs=1e-8)


def test_fixed_hyperparameters_are_used_as_given(methanol):
    report = fit_gdml(*methanol[:2], GDMLOptions(**FIXED, **QUIET)).report
    for name, value in FIXED.items():
        assert report["hyperparameters"][name] == value
    assert len(report["log"]) == 1


@pytest.mark.parametrize("name", ["power", "kernel", "length_scale", "regularization"])
def test_one_fixed_hyperparameter_is_kept_while_the_others_are_chosen(methanol, name):
    train, validation, _ = methanol
    report = fit_gdml(train[:12], validation[:8], GDMLOptions(**{name: FIXED[name]}, **QUIET)).report
    assert report["hyperparameters"][name] == FIXED[name]
    assert len(report["log"]) > 3


def test_symmetries_may_be_given_or_left_out(methanol):
    train, validation, _ = methanol
    turn = synthetic.geometric_group("CH3OH")[-1]
    sizes = [
        fit_gdml(train, validation, GDMLOptions(**FIXED, **QUIET, symmetries=given)).weights.terms[0].permutations.shape
        for given in (False, True, [turn])
    ]
    assert [size[0] for size in sizes] == [1, 6, 3]


def test_without_energies_the_forces_are_trained_and_the_report_says_so(methanol):
    train, validation = (without(molecules, energies=None) for molecules in methanol[:2])
    fit = fit_gdml(train, validation, GDMLOptions(**FIXED | {"energies": "auto"}, **QUIET))
    assert fit.weights.terms[0].energy_coefficients is None
    assert fit.weights.terms[0].energy_offset == 0.0
    assert fit.report["validation_errors"]["energy_mae"] is None
    assert any("no energies were given" in note for note in fit.report["notes"])
    to_bytes(fit.weights)


def test_energies_that_are_asked_for_must_be_there(methanol):
    train, validation = (without(molecules, energies=None) for molecules in methanol[:2])
    with pytest.raises(DataError, match=r"has no energies.*leave out energies=True"):
        fit_gdml(train, validation, GDMLOptions(**FIXED, **QUIET))


def test_options_without_effect_are_named(methanol, tmp_path):
    train, validation, _ = methanol
    options = GDMLOptions(**FIXED, **QUIET, ard=True, checkpoint=tmp_path / "c")
    notes = fit_gdml(train[:8], validation, options).report["notes"]
    assert any("weights of pairs" in note and "10 training points" in note for note in notes)
    assert any("checkpoint" in note and "direct solver" in note for note in notes)


# --- descriptor weights


def test_pair_classes_are_elements_and_bonds_and_unchanged_by_the_group(methanol):
    train = methanol[0]
    group = close_group(synthetic.geometric_group("CH3OH"))
    classes = ard.pair_classes(train.positions, train.numbers, group)
    from openmm_kml.descriptors.inverse_distances import pair_indices, permuted_pairs

    for index in permuted_pairs(group):
        np.testing.assert_array_equal(classes[index], classes)
    i, j = pair_indices(6)
    elements = np.sort([train.numbers[i], train.numbers[j]], axis=0).T
    # C-O, C-H over one and two bonds, O-H over one and two bonds, H-H over two and three bonds
    assert len(np.unique(classes)) == 7
    assert all(len(np.unique(elements[classes == k], axis=0)) == 1 for k in range(7))


def test_descriptor_weights_are_kept_where_they_help(methanol, monkeypatch):
    monkeypatch.setattr(ard, "STEPS", (1.5,))
    train, validation, test = methanol
    plain = fit_gdml(train, validation, GDMLOptions(**FIXED, **QUIET))
    fitted = fit_gdml(train, validation, GDMLOptions(**FIXED, **QUIET, ard=True))
    errors = [fit.report["validation_errors"]["forces_mae"] for fit in (plain, fitted)]
    assert errors[1] < errors[0]
    weights = fitted.weights.terms[0].descriptor_weights
    assert len(np.unique(weights)) > 1
    _, forces, _ = reference.evaluate(from_bytes(to_bytes(fitted.weights)), test.positions[:3])
    np.testing.assert_allclose(fitted.model.predict(test.positions[:3])[1], forces, atol=1e-8)


# --- the same bytes, the report, the learning curve


def test_the_same_input_and_seed_give_the_same_bytes_with_any_number_of_threads(methanol):
    train, validation, _ = methanol
    options = GDMLOptions(power=0.5, progress=False, n_threads=1)
    one, again, threads = (
        to_bytes(fit_gdml(train[:20], validation[:10], replace(options, n_threads=n)).weights) for n in (1, 1, 3)
    )
    assert one == again
    assert one == threads


def test_the_report_and_the_provenance_are_json_and_name_what_matters(methanol, default):
    text = json.loads(json.dumps(default.report, allow_nan=False))
    assert text["n_train"] == 40
    assert text["solver"]["name"] == "direct"
    assert text["symmetries"]["exchanges"] == ["H3 H5 H6 exchange"]
    assert text["peak_memory_estimate"] > 0
    provenance = default.weights.provenance
    assert provenance["program"].startswith("openmm_kml")
    assert provenance["data_digest"].startswith("sha256:")
    assert provenance["errors"]["validation"]["forces_mae"] == default.report["validation_errors"]["forces_mae"]
    assert "seconds" not in json.dumps(provenance)


def test_the_learning_curve_falls():
    molecules = synthetic.frames("NH3", 80, 5)
    options = GDMLOptions(**FIXED, **QUIET)
    curve = learning_curve(molecules, [30, 10], options, n_validation=10, n_test=20, seeds=(0, 1))
    assert [(entry["seed"], entry["n_train"]) for entry in curve] == [(0, 10), (0, 30), (1, 10), (1, 30)]
    for small, large in (curve[:2], curve[2:]):
        assert large["test_errors"]["forces_mae"] < small["test_errors"]["forces_mae"]
    json.dumps(curve)


def test_more_points_than_frames_are_an_error():
    with pytest.raises(DataError, match="ask for fewer"):
        learning_curve(synthetic.frames("H2O", 20), [30], GDMLOptions(**FIXED, **QUIET), n_validation=5)


def test_a_curve_without_test_frames_is_refused_before_any_training(monkeypatch):
    monkeypatch.setattr(learning_curve_module, "fit_gdml", None)
    with pytest.raises(DataError, match=r"none of the 20 frames is left for the test.*ask for fewer"):
        learning_curve(synthetic.frames("H2O", 20), [10, 15], GDMLOptions(**FIXED, **QUIET), n_validation=5)


def test_a_size_that_is_named_twice_is_trained_once():
    options = GDMLOptions(**FIXED, **QUIET)
    curve = learning_curve(synthetic.frames("NH3", 20), [6, 6], options, n_validation=5)
    assert [entry["n_train"] for entry in curve] == [6]


@pytest.mark.parametrize("frames", [[0], [0, 1], [0] * 8], ids=["one frame", "two frames", "one frame eight times"])
@pytest.mark.parametrize("options", [{}, {"preset": "sgdml", "length_scale": 20.0}, {"ard": True}], ids=str)
def test_small_and_degenerate_sets_give_finite_weights(frames, options):
    molecules = synthetic.frames("H2O", 20)
    if options and "preset" in options and len(frames) == 8:
        options = options | {"regularization": 1e-6}  # equal frames are singular for the published 1e-10
    fit = fit_gdml(molecules[frames], molecules[10:], GDMLOptions(**options, **QUIET))
    to_bytes(fit.weights)  # refuses what is not finite
    assert fit.report["choice"]


def test_two_atoms_of_two_elements():
    rng = np.random.default_rng(0)
    positions = np.zeros((12, 2, 3))
    positions[:, 1, 0] = rng.uniform(0.8, 1.3, 12)
    stretch = positions[:, 1, 0] - 1.0
    forces = np.zeros_like(positions)
    forces[:, 0, 0], forces[:, 1, 0] = 10 * stretch, -10 * stretch
    molecules = MoleculeSet([1, 9], positions, 5 * stretch**2, forces)
    fit = fit_gdml(molecules[:8], molecules[8:], GDMLOptions(**QUIET))
    assert fit.report["validation_errors"]["forces_mae"] < 0.05
    assert fit.report["symmetries"]["n_permutations"] == 1


# --- bad input


def test_sets_that_cannot_be_trained_on_are_refused(methanol):
    train, validation, _ = methanol
    options = GDMLOptions(**FIXED, **QUIET)
    with pytest.raises(DataError, match="training set is empty"):
        fit_gdml(train[:0], validation, options)
    with pytest.raises(DataError, match="validation set is empty"):
        fit_gdml(train, validation[:0], options)
    with pytest.raises(DataError, match="has no forces"):
        fit_gdml(without(train, forces=None), validation, options)
    with pytest.raises(DataError, match="the same atoms in the same order"):
        fit_gdml(train, synthetic.frames("NH3", 5), options)


class Unchecked:
    """A set with fields that MoleculeSet itself would refuse."""

    def __init__(self, molecules, **changes):
        self.__dict__.update(
            {name: getattr(molecules, name) for name in ("numbers", "positions", "energies", "forces")} | changes
        )

    def __len__(self):
        return len(self.positions)


@pytest.mark.parametrize(
    ("field", "place", "message"),
    [
        ("forces", (3, 2, 1), "forces of atom 3 in frame 4 of the training set are not finite"),
        ("positions", (0, 5, 0), "positions of atom 6 in frame 1 of the training set are not finite"),
        ("energies", (7,), "the energy of frame 8 of the training set is not finite"),
    ],
)
def test_numbers_that_are_not_finite_name_frame_and_atom(methanol, field, place, message):
    train, validation, _ = methanol
    array = getattr(train, field).copy()
    array[place] = np.nan
    with pytest.raises(DataError, match=message):
        fit_gdml(Unchecked(train, **{field: array}), validation, GDMLOptions(**FIXED, **QUIET))


def test_frames_that_repeat_are_named_as_the_reason(methanol):
    train, validation, _ = methanol
    options = GDMLOptions(**FIXED | {"regularization": 0.0}, **QUIET)
    with pytest.raises(TrainingError, match=r"not positive definite.*repeat each other"):
        fit_gdml(train[[0, 0, 0, 1]], validation, options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "gap"}, "preset must be one of default, sgdml"),
        ({"kernel": "matern32"}, "kernel must be one of"),
        ({"solver": "lu"}, "solver must be one of"),
        ({"power": -1.0}, r"power must be a finite number above zero; -1\.0 was given"),
        ({"length_scale": 0}, "length_scale must be"),
        ({"regularization": -1e-9}, "regularization must be a finite number of zero or more"),
        ({"regularization": float("nan")}, "regularization must be"),
        ({"energies": "perhaps"}, "energies must be True, False or 'auto'"),
        ({"n_threads": 0}, "n_threads must be"),
        ({"preset": "sgdml", "power": 2.0}, "preset sgdml has power 1"),
        ({"preset": "sgdml", "ard": True}, "preset sgdml trains on forces alone"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GDMLOptions(**options)
