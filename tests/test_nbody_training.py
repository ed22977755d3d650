"""The two- and three-body trainer: what it recovers, what it must not do, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
from nbody_cases import TRICLINIC, frames, labeled, weights_of

from openmm_kml.errors import DataError, TrainingError
from openmm_kml.local_terms import RepulsionTerm, Spline2Term
from openmm_kml.metrics import structure_errors
from openmm_kml.reference import evaluate_structure
from openmm_kml.structures import Structure, StructureSet
from openmm_kml.training.evaluation import model_errors
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.training.nbody.basis import SplineBasis
from openmm_kml.training.nbody.selection import Hyperparameters
from openmm_kml.training.nbody.survey import reach_warnings, shell_warnings, survey
from openmm_kml.training.repulsion import local_repulsion, wall_notes
from openmm_kml.units import KCAL_PER_MOL
from openmm_kml.weights import Weights, from_bytes, to_bytes

SMALL = {
    "cutoff2": 4.5,
    "cutoff3": 3.2,
    "spacing2": 0.4,
    "spacing3": 0.45,
    "n_threads": 1,
    "progress": False,
    "length_scale2": 0.7,
    "length_scale3": 0.9,
    "amplitude2": 1.0,
    "amplitude3": 0.5,
}


def drawn_model(structures, options, seed=0):
    """Return a model drawn from the prior in the very basis that the trainer will use, and its hyperparameters."""
    found = survey(structures, options)
    basis = SplineBasis.for_data(found.elements, found.shortest.min(), options)
    guess = Hyperparameters(options.length_scale2, options.length_scale3, options.amplitude2, options.amplitude3)
    prior = guess.prior(basis, options)
    rng = np.random.default_rng(seed)
    size = basis.n_elements + sum(L.shape[1] for _, L in prior.blocks)
    solution = prior.coefficients(rng.standard_normal(size))
    solution[: basis.n_elements] = rng.standard_normal(basis.n_elements)
    terms = (local_repulsion(found.elements, found.shortest),) if options.repulsion else ()
    return weights_of(basis, solution, terms)


@pytest.fixture(scope="module")
def binary():
    """Frames of an alloy with the labels of a model in the spline space, the options, and the model."""
    options = NBodyOptions(**SMALL, noise_energy=1e-7, noise_force=1e-7, noise_virial=1e-7)
    structures = frames(1, 14, (14, 14, 14, 32, 32, 8, 14, 32), least=1.9)
    weights = drawn_model(structures, options)
    return labeled(structures, weights), options, weights


def test_a_potential_in_the_spline_space_is_recovered(binary):
    structures, options, truth = binary
    fit = fit_nbody(structures, None, options)
    # Functions are known where the data are, and with them the energies of frames between those of the training.
    rng = np.random.default_rng(2)
    between = StructureSet(
        [replace(f, positions=f.positions + 0.01 * rng.standard_normal(f.positions.shape)) for f in structures]
    )
    errors = model_errors(fit.weights, labeled(between, truth))
    known = np.std(np.concatenate([f.forces.ravel() for f in structures]))
    assert errors["forces_rmse"] < 1e-2 * known
    errors = model_errors(fit.weights, structures)
    assert errors["forces_rmse"] < 1e-6 * known
    assert errors["energy_mae_per_atom"] < 1e-6
    assert errors["virial_mae_per_atom"] < 1e-6


def test_enough_data_determine_one_element_everywhere():
    options = NBodyOptions(**SMALL, noise_energy=1e-7, noise_force=1e-7, noise_virial=1e-7)
    structures = frames(3, 40, (14,) * 8, least=1.9)
    truth = drawn_model(structures, options, 1)
    fit = fit_nbody(labeled(structures[:32], truth), None, options)
    errors = model_errors(fit.weights, labeled(structures[32:], truth))
    scale = np.std(np.concatenate([f.forces.ravel() for f in labeled(structures, truth)]))
    assert errors["forces_rmse"] < 2e-3 * scale
    assert fit.weights.atom_energies[14] == pytest.approx(truth.atom_energies[14], abs=1e-2)


def test_weights_survive_their_file_and_the_report_is_json(binary):
    structures, options, _ = binary
    fit = fit_nbody(structures[:3], structures[3:5], options)
    json.dumps(fit.report, allow_nan=False)
    again = from_bytes(to_bytes(fit.weights))
    frame = structures.frames[6]
    one, other = (
        evaluate_structure(w, frame.positions, frame.numbers, frame.cell, frame.pbc)[0] for w in (fit.weights, again)
    )
    assert one == other
    assert fit.report["validation_errors"]["n_structures"] == 2
    assert fit.report["elements"] == ["O", "Si", "Ge"]


def test_the_same_data_give_the_same_bytes(binary):
    structures, options, _ = binary
    assert to_bytes(fit_nbody(structures[:3], None, options).weights) == to_bytes(
        fit_nbody(structures[:3], None, options).weights
    )


@pytest.mark.parametrize("selection", ["likelihood", "gradient", "validation"])
def test_hyperparameters_are_chosen(selection):
    options = NBodyOptions(**SMALL)
    structures = frames(12, 14)
    structures = labeled(structures, drawn_model(structures, options))
    rng = np.random.default_rng(4)
    noisy = StructureSet([replace(f, forces=f.forces + 0.05 * rng.standard_normal(f.forces.shape)) for f in structures])
    free = replace(
        options,
        selection=selection,
        noise_energy=0.001,
        noise_force=0.1,
        noise_virial=0.05,
        **dict.fromkeys(("length_scale2", "length_scale3", "amplitude2", "amplitude3")),
    )
    chosen = fit_nbody(noisy[:5], noisy[5:9], free)
    assert chosen.report["selection"]["criterion"] == selection
    trials = [trial["loss"] for trial in chosen.report["selection"]["trials"]]
    assert len(trials) > 6
    assert min(trials) < trials[0]
    fixed = replace(
        options, noise_energy=0.001, noise_force=0.1, noise_virial=0.05, length_scale2=5.0, length_scale3=5.0
    )
    poor = fit_nbody(noisy[:5], noisy[5:9], fixed)
    test = noisy[9:]
    errors = [model_errors(fit.weights, test)["forces_rmse"] for fit in (chosen, poor)]
    assert errors[0] < errors[1]


def test_the_noise_scale_is_learned():
    options = NBodyOptions(**SMALL, noise_energy=1e-3, noise_force=0.01, noise_virial=0.01)
    structures = frames(5, 20)
    clean = labeled(structures, drawn_model(structures, options))
    rng = np.random.default_rng(0)
    noisy = StructureSet([replace(f, forces=f.forces + 0.03 * rng.standard_normal(f.forces.shape)) for f in clean])
    scale = fit_nbody(noisy, None, replace(options, energies=False, virials=False, repulsion=True)).report[
        "noise_scale"
    ]
    # The forces carry three times the noise that was assumed; the prior, which also scales, has few directions.
    assert 2.0 < scale < 3.6


def test_forces_alone_train_forces(binary):
    structures, options, _ = binary
    bare = StructureSet([replace(f, energy=None, virial=None) for f in structures])
    fit = fit_nbody(bare, None, replace(options, energies=False, virials=False))
    errors = model_errors(fit.weights, structures)
    assert errors["forces_rmse"] < 1e-6 * np.std(np.concatenate([f.forces.ravel() for f in structures]))
    assert set(fit.weights.atom_energies.values()) == {0.0}


def test_frames_without_energy_are_told(binary):
    structures, options, _ = binary
    bare = [replace(f, energy=None) for f in structures.frames[:3]]
    some = fit_nbody(StructureSet([*bare, *structures.frames[3:5]]), None, options)
    assert "3 of 5 training frames have no energy" in some.report["notes"]
    none = fit_nbody(StructureSet(bare), None, options)
    assert any("3 of 3 training frames have no energy, so that" in note for note in none.report["notes"])
    meant = fit_nbody(StructureSet(bare), None, replace(options, energies=False))
    assert not any("no energy" in note for note in meant.report["notes"])


def test_a_forgotten_unit_of_energy_is_told():
    options = NBodyOptions(**SMALL)
    structures = frames(5, 10)
    right = labeled(structures, drawn_model(structures, options))
    rng = np.random.default_rng(0)
    right = StructureSet([replace(f, forces=f.forces + 0.2 * rng.standard_normal(f.forces.shape)) for f in right])
    wrong = [
        replace(f, energy=f.energy / KCAL_PER_MOL, forces=f.forces / KCAL_PER_MOL, virial=f.virial / KCAL_PER_MOL)
        for f in right
    ]
    told = [
        any("name the unit of energy" in note for note in fit_nbody(data, None, options).report["notes"])
        for data in (right, StructureSet(wrong))
    ]
    assert told == [False, True]


def test_frames_without_any_forces_are_told(binary):
    structures, options, _ = binary
    bare = [replace(f, forces=None) for f in structures]
    for data, told in ((bare, True), ([structures.frames[0], *bare[1:]], False)):
        notes = fit_nbody(StructureSet(data), None, options).report["notes"]
        assert told == any("training frames has forces" in note for note in notes)


def test_a_group_with_large_noise_is_ignored(binary):
    structures, options, _ = binary
    rng = np.random.default_rng(6)
    spoiled = [
        replace(f, group="bad", energy=f.energy + 10 * rng.standard_normal(), forces=-f.forces, virial=None)
        for f in structures.frames[:3]
    ]
    mixed = StructureSet([*spoiled, *structures.frames[3:]])
    factors = {"bad": (1e9, 1e9, 1e9)}
    trusted = fit_nbody(mixed, None, options)
    doubted = fit_nbody(mixed, None, replace(options, group_noise=factors))
    rest = structures[3:]
    # So many functions fit any labels of so few frames: the bad frames tell who was believed.
    assert model_errors(doubted.weights, rest)["forces_rmse"] < 1e-4
    bad = StructureSet(spoiled)
    assert model_errors(trusted.weights, bad)["forces_rmse"] < 1e-3
    assert model_errors(doubted.weights, bad)["forces_rmse"] > 0.1


def test_isolated_atoms_fix_the_one_body_energies(binary):
    options = binary[1]
    silicon = labeled(frames(8, 4), drawn_model(frames(8, 4), options))
    for cell in (None, 20 * np.eye(3)):
        atom = Structure([14], [[0, 0, 0]], cell, energy=-3.25, forces=[[0, 0, 0]])
        fit = fit_nbody(StructureSet([atom, *silicon]), None, options)
        assert fit.weights.atom_energies[14] == -3.25
    given = fit_nbody(silicon, None, replace(options, atom_energies={14: -1.5}))
    assert given.weights.atom_energies[14] == -1.5


def test_a_given_one_body_energy_is_what_the_rest_is_fitted_to(binary):
    """Off by 0.05 eV, it is made up for by the pairs, not by a one-body energy that nobody will evaluate."""
    options = replace(binary[1], noise_energy=1e-4, noise_force=0.1, noise_virial=0.1)
    silicon = frames(8, 6)
    truth = drawn_model(silicon, options)
    silicon = labeled(silicon, truth)
    fit = fit_nbody(silicon, None, replace(options, atom_energies={14: truth.atom_energies[14] + 0.05}))
    assert model_errors(fit.weights, silicon)["energy_mae_per_atom"] < 1e-3


@pytest.mark.parametrize("numbers", [(14, 14), (14, 32), (8, 8)])
def test_repulsion_wins_at_short_distances(binary, numbers):
    structures, options, _ = binary
    realistic = replace(options, noise_energy=0.002, noise_force=0.1, noise_virial=0.05)
    weights = fit_nbody(structures, None, realistic).weights
    r = np.linspace(0.2, 0.9, 30)
    energies = [evaluate_structure(weights, [[0, 0, 0], [0, 0, d]], numbers)[0] for d in r]
    assert (np.diff(energies) < 0).all()
    assert energies[0] - energies[-1] > 50
    # A third atom anywhere changes nothing of that: three-body energies vanish below the shortest distance seen.
    for angle in (60, 110, 180):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        energies = [
            evaluate_structure(weights, [[0, 0, 0], [0, 0, d], [d * s, 0, d * c]], (*numbers, numbers[1]))[0] for d in r
        ]
        assert (np.diff(energies) < 0).all()


def test_three_body_energy_vanishes_inside_the_taper(binary):
    structures, options, _ = binary
    weights = fit_nbody(structures, None, options).weights
    three = next(term for term in weights.terms if term.kind == "spline3")
    only = replace(weights, terms=(three,), atom_energies={})
    inside, outside = three.taper_start - 0.01, three.taper_start + three.taper_width + 0.3
    for r in (inside, outside):
        positions = [[0, 0, 0], [0, 0, r], [2.4, 0, 0]]
        energy = evaluate_structure(only, positions, [14, 14, 14])[3][0]
        assert (energy == 0.0) == (r == inside)


def diamond(lattice, repeat=2):
    cell = lattice / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    shifts = np.array(list(np.ndindex(repeat, repeat, repeat))) @ cell
    positions = np.concatenate([shifts, shifts + lattice / 4])
    rng = np.random.default_rng(0)
    positions += 0.03 * rng.standard_normal(positions.shape)
    return Structure([14] * len(positions), positions, repeat * cell, forces=np.zeros(positions.shape))


def test_a_cutoff_just_outside_a_shell_is_told():
    crystal = StructureSet([diamond(5.43)])
    options = NBodyOptions(cutoff3=4.0, progress=False)
    (sentence,) = shell_warnings(survey(crystal, options), options)
    assert "just outside a shell" in sentence
    assert "120 triples" in sentence  # 16 neighbors
    assert "would leave 6" in sentence
    options = NBodyOptions(cutoff3=3.5, progress=False)
    assert shell_warnings(survey(crystal, options), options) == []


def test_what_periodic_data_leave_open_below_a_cutoff_is_told():
    """A cold crystal has no pairs between its first two shells, 2.35 and 3.84 Å; a melt has."""
    options = NBodyOptions(cutoff2=5.0, cutoff3=3.5, progress=False)
    cold = survey(StructureSet([diamond(5.43)]), options)
    assert cold.longest["cutoff3"][0] < 2.6
    (sentence,) = reach_warnings(cold, options)
    assert sentence.startswith(
        f"cutoff3 is 3.5 Å, but inside it the data have no Si-Si beyond {cold.longest['cutoff3'][0]:.2f}"
    )
    assert reach_warnings(cold, replace(options, cutoff3=2.7)) == []
    melt = survey(frames(4, 6), replace(options, cutoff3=0))
    assert reach_warnings(melt, replace(options, cutoff3=0)) == []
    alloy = replace(frames(4, 1).frames[0], numbers=[14, 14, 14, 14, 14, 14, 14, 32])
    (sentence,) = reach_warnings(
        survey(StructureSet([alloy]), replace(options, cutoff3=0)), replace(options, cutoff3=0)
    )
    assert "no Ge-Ge at all" in sentence


def test_a_cutoff_beyond_the_own_image_of_all_frames_is_told():
    """The primitive cell repeats after 3.84 Å, two of them after 7.68."""
    small, large = (StructureSet([diamond(5.43, repeat)]) for repeat in (1, 2))
    options = NBodyOptions(cutoff2=5.0, cutoff3=0, progress=False)
    (sentence,) = reach_warnings(survey(small, options), options)
    assert "from 3.84 Å on every atom of every frame sees its own image" in sentence
    both = StructureSet([*small, *large])
    assert reach_warnings(survey(both, options), options) == []
    assert reach_warnings(survey(small, options), replace(options, cutoff2=3.8)) == []
    cluster = [replace(f, cell=None, pbc=False) for f in frames(4, 2)]
    assert survey(StructureSet(cluster), options).own_image == np.inf


def test_the_trainer_passes_the_warnings_on(binary):
    structures, options, _ = binary
    bare = StructureSet([replace(f, numbers=np.where(f.numbers == 8, 14, f.numbers)) for f in structures.frames[:2]])
    fit = fit_nbody(bare, None, replace(options, cutoff2=8.0))
    assert any("cutoff2 is 8 Å, but from" in note for note in fit.report["notes"])


@pytest.mark.parametrize("edge", [4.5, 5.43])  # shortest distances of 1.95 and 2.35 Å, about the sum of radii of 2.22
def test_the_repulsion_leaves_the_data_alone(edge):
    crystal = StructureSet([diamond(edge)])
    found = survey(crystal, NBodyOptions(progress=False))
    term = local_repulsion(found.elements, found.shortest)
    np.testing.assert_allclose(term.switch, [[0.7 * min(found.shortest[0], 2.22), found.shortest[0]]], atol=1e-9)
    alone = Weights(elements=np.array([14]), terms=(term,))
    below, there = (
        evaluate_structure(alone, [[0, 0, 0], [0, 0, x * found.shortest[0]]], [14, 14])[0] for x in (0.85, 1)
    )
    assert below > 1
    assert there == 0


def test_the_repulsion_of_elements_that_never_meet_ends_at_the_sum_of_their_radii():
    term = local_repulsion((8, 14), np.array([np.inf, 1.6, 2.3]))
    np.testing.assert_allclose(term.switch[:, 1], [2 * 0.66, 1.6, 2.3], atol=1e-9)
    assert (term.switch[:, 0] < term.switch[:, 1]).all()


@pytest.mark.parametrize("repulsion", [True, False])
def test_atoms_that_attract_each_other_below_the_data_are_noted(repulsion):
    """A straight line uphill with the distance; ZBL begins to win only below it."""
    slope = Spline2Term(2.0, 5.0, 40 * np.linspace(1.0, 4.0, 8)[None])
    added = (RepulsionTerm(np.array([[0.5, 0.7]])),) if repulsion else ()
    weights = Weights(elements=np.array([14]), terms=(slope, *added))
    (note,) = wall_notes(weights, 2.0)
    assert "Si and Si attract each other somewhere below 2.00 Å" in note
    assert note.endswith("or the repulsion") is not repulsion
    downhill = replace(slope, coefficients=-slope.coefficients)
    assert wall_notes(Weights(elements=np.array([14]), terms=(downhill, *added)), 2.0) == []


def bad_cases():
    structures = frames(9, 3)
    forced = [replace(f, energy=-1.0, forces=np.zeros((8, 3))) for f in structures]
    oxide = [replace(f, numbers=np.full(8, 8)) for f in forced]
    small = [Structure([14, 14], [[0, 0, 0], [0, 0, d]], energy=-1.0, forces=np.zeros((2, 3))) for d in (2.2, 2.6)]
    nanometers = [replace(f, positions=f.positions / 10, cell=f.cell / 10) for f in forced]
    half = [replace(forced[0], forces=None), forced[1]]
    return {
        "no frames": ([], [], {}, "no training frames"),
        "unknown species": (forced, oxide, {}, "have O, which the training frames lack"),
        "cutoff beyond the data": (small, [], {}, "longest distance between two atoms of the data is 2.60"),
        "cutoff below the data": (forced, [], {"cutoff3": 1.5}, "choose a larger cutoff"),
        "forgotten unit": (nanometers, [], {}, "name the unit of length"),
        "forces alone without forces": (half, [], {"energies": False}, "frame 1 has no forces"),
        "nothing to train on": (list(structures), [], {}, "nothing to train on"),
        "an element without frames": (forced, [], {"atom_energies": {8: 1.0}}, "given for O"),
        "validation without frames": (
            forced,
            [],
            {"selection": "validation", "length_scale2": None},
            "validation frames, but there are none",
        ),
    }


@pytest.mark.parametrize("name", bad_cases())
def test_bad_data_are_refused(name):
    train, validation, changes, message = bad_cases()[name]
    options = NBodyOptions(**(SMALL | changes))
    with pytest.raises(DataError, match=message):
        fit_nbody(StructureSet(train), StructureSet(validation), options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutoff2": -1}, "cutoff2 must be a finite number above zero"),
        ({"kernel": "linear"}, "kernel must be one of"),
        ({"noise_force": 0}, "noise_force"),
        ({"group_noise": {"Liquid": (1, 2)}}, "one factor or three"),
        ({"selection": "best"}, "selection must be one of"),
        ({"amplitude2": np.nan}, "amplitude2"),
    ],
)
def test_bad_options_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        NBodyOptions(**changes)


def test_pairs_alone_and_compact_triangles_train(binary):
    structures, options, _ = binary
    errors = {}
    for name, changes in (("pairs", {"cutoff3": 0}), ("compact", {"compact": True}), ("centered", {})):
        fit = fit_nbody(structures, None, replace(options, **changes))
        assert len(fit.weights.terms) == (2 if name == "pairs" else 3)
        errors[name] = model_errors(fit.weights, structures)["forces_rmse"]
    assert errors["centered"] < errors["compact"] < errors["pairs"]


def test_errors_of_structures_skip_what_is_missing():
    a = Structure([14], [[0, 0, 0]], energy=1.0, forces=[[0, 0, 1]])
    b = Structure([14, 14], [[0, 0, 0], [0, 0, 2]], forces=np.zeros((2, 3)))
    predictions = [(1.5, np.zeros((1, 3)), np.zeros((3, 3))), (0.0, np.full((2, 3), 0.5), np.zeros((3, 3)))]
    errors = structure_errors(predictions, StructureSet([a, b]))
    assert errors["energy_mae"] == 0.5
    assert errors["forces_mae"] == pytest.approx((1 + 3.0) / 9)
    assert errors["virial_mae_per_atom"] is None
    with pytest.raises(ValueError, match="0 predictions"):
        structure_errors([], StructureSet([a]))


def test_cells_smaller_than_the_cutoff_train():
    options = NBodyOptions(**SMALL)
    structures = frames(11, 6, (14,), cell=0.5 * TRICLINIC)
    fit = fit_nbody(labeled(structures, drawn_model(structures, options)), None, options)
    assert fit.report["triples_per_atom"] > 1


def test_more_splines_than_memory_are_refused(binary):
    structures, options, _ = binary
    with pytest.raises(TrainingError, match="choose a smaller cutoff3, a larger spacing3"):
        fit_nbody(structures, None, replace(options, spacing3=0.02))
