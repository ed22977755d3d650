"""Learning on the fly: what a campaign leaves behind, how it goes on after a kill, and what it refuses."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from nbody_cases import frames as spread_frames
from references import MorseMolecule
from synthetic import template

from openmm_kml.active_learning import Recipe, Settings, learn, load_reference
from openmm_kml.active_learning.exploration import FACTORS, adapted
from openmm_kml.active_learning.explore import FINISHED, UNCERTAIN, UNSTABLE, Explorer, Walk
from openmm_kml.active_learning.frames import LabeledFrames
from openmm_kml.active_learning.journal import read_log, read_state
from openmm_kml.active_learning.models import _sparse_points
from openmm_kml.active_learning.reference import LabelError, label
from openmm_kml.active_learning.rounds import Round
from openmm_kml.active_learning.uncertainty import Committee
from openmm_kml.cli import main
from openmm_kml.errors import DataError
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import Structure, read_structures
from openmm_kml.structures.extended_xyz import frame_text, write_frames
from openmm_kml.training import GDMLOptions
from openmm_kml.training.nbody import NBodyOptions
from openmm_kml.training.soap import SoapOptions
from openmm_kml.weights import load, save, to_bytes

TESTS = Path(__file__).parent
KML = (sys.executable, "-c", "from openmm_kml.cli import main; raise SystemExit(main())")
REFERENCE = f"{TESTS / 'references.py'}:morse"
FIXED = {"power": 1.0, "kernel": "matern52", "length_scale": 1.0, "regularization": 1e-8, "energies": True}
GDML = Recipe("gdml", GDMLOptions(**FIXED, symmetries=False, n_threads=1, progress=False))
SETTINGS = Settings(
    temperatures=(300, 500),
    walkers=1,
    steps=60,
    interval=10,
    timestep=1.0,
    budget=14,
    initial=6,
    every=3,
    uncertainty="committee",
)
WORDS = ["--temperatures", "300,500", "--walkers", "1", "--steps", "60", "--interval", "10", "--budget", "14"]
WORDS += ["--timestep", "1"]
WORDS += ["--initial", "6", "--every", "3", "--uncertainty", "committee", "--threads", "1", "--quiet"]
WORDS += ["--power", "1", "--kernel", "matern52", "--length-scale", "1", "--regularization", "1e-8", "--energies"]


def water(**labels):
    numbers, positions = template("H2O")
    return Structure(numbers, positions, **labels)


def quiet(directory, recipe=GDML, settings=SETTINGS, calculator=None, start=None, **more):
    """Run a campaign without a word."""
    calculator = MorseMolecule() if calculator is None else calculator
    return learn(directory, recipe, settings, calculator, start, say=lambda _: None, progress=False, **more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the directory of a campaign that has used its budget, and its summary."""
    directory = tmp_path_factory.mktemp("campaign") / "run"
    return directory, quiet(directory, start=[water()], compare=6)


def labeled_files(directory):
    return {path.name: path.read_bytes() for path in (directory / "labeled").iterdir()}


# --- what a campaign does


def test_a_campaign_uses_its_budget_and_learns(finished):
    directory, summary = finished
    assert summary.calls == 14
    assert summary.failures == 0
    assert summary.labeled == len(read_structures(directory / "labeled.xyz")) == 14
    trained = [event for event in read_log(directory) if event["event"] == "trained"]
    assert summary.errors["forces_mae"] == trained[-1]["errors"]["forces_mae"]
    test = read_structures(directory / "random" / "6+8" / "frames.xyz")
    potential = KernelPotential.load(summary.model)
    reference = MorseMolecule()
    truth = [label(reference, frame, 1e3).forces for frame in test]
    errors = [np.abs(potential.evaluate(f.positions).forces - t).mean() for f, t in zip(test, truth, strict=True)]
    first = KernelPotential.load(directory / "round-001" / "model.safetensors")
    before = [np.abs(first.evaluate(f.positions).forces - t).mean() for f, t in zip(test, truth, strict=True)]
    assert np.median(errors) < 0.5 * np.median(before)  # one far frame makes most of either mean
    assert np.mean(errors) < np.mean(before)


def test_what_was_labeled_is_what_the_reference_says(finished):
    directory, _ = finished
    for path in sorted((directory / "labeled").iterdir()):
        frame = read_structures(path).frames[0]
        found = label(MorseMolecule(), frame, 1e3)
        assert frame.energy == found.energy
        assert np.array_equal(frame.forces, found.forces)


def test_frames_are_labeled_above_the_threshold_only(finished):
    directory, _ = finished
    state = read_state(directory)
    assert state["rounds"]
    for known in state["rounds"]:
        threshold = known["threshold"]
        for pick in known["picks"]:
            walk = Walk.from_bytes(
                (directory / f"round-{known['round']:03d}/walk-{pick['walker'] + 1:02d}.json").read_bytes()
            )
            assert pick["uncertainty"] > threshold
            bound = SETTINGS.margin * threshold
            stopped = [value > bound for _, _, value in walk.looks]
            assert not any(stopped[:-1])
            assert stopped[-1] == (walk.reason == UNCERTAIN)
    assert not any(path.name.startswith(".") for path in directory.rglob("*"))


def test_random_sampling_has_the_same_numbers_of_frames(finished):
    directory, summary = finished
    comparison = summary.comparison
    assert json.loads((directory / "comparison.json").read_text()) == comparison
    assert [point["labeled"] for point in comparison["active"]][-1] == 14
    sizes = [point["labeled"] for point in comparison["random"]]
    assert sizes[0] == 6
    assert sizes[-1] == 14
    # Both begin with the same frames, but for the rounding of one search.
    assert comparison["random"][0]["forces_mae"] == pytest.approx(comparison["active"][0]["forces_mae"], rel=1e-6)
    assert comparison["test_frames"] == 6
    assert comparison["reference_calls"] == 6 + 14 - 6
    assert summary.calls == 14  # the comparison is no part of the budget


def test_there_are_pictures_and_a_log_in_words(finished):
    directory, summary = finished
    for name in ("errors.png", "uncertainty.png", "energies.png"):
        assert (directory / name).read_bytes().startswith(b"\x89PNG")
    events = read_log(directory)
    assert {"started", "trained", "exploring", "explored", "labeled", "finished", "compared"} == {
        e["event"] for e in events
    }
    assert all(event["text"] for event in events)
    assert next(event for event in events if event["event"] == "finished")["reason"] == summary.reason


def test_a_finished_campaign_goes_on_with_more_budget(finished, tmp_path):
    directory, _ = finished
    shutil.copytree(directory, tmp_path / "copy")
    before = labeled_files(directory)
    summary = quiet(tmp_path / "copy", settings=replace(SETTINGS, budget=16), compare=2)
    assert summary.calls == 16
    assert summary.comparison["reference_calls"] == 2 + 10
    after = labeled_files(tmp_path / "copy")
    assert {name: after[name] for name in before} == before


def test_a_target_that_is_reached_ends_it(tmp_path):
    summary = quiet(tmp_path / "run", settings=replace(SETTINGS, target=5.0), start=[water()])
    assert "the target is reached" in summary.reason
    assert summary.calls == 6
    assert summary.rounds == 0


def test_without_uncertainty_a_frame_of_each_run_is_drawn(tmp_path):
    summary = quiet(tmp_path / "run", settings=replace(SETTINGS, uncertainty="none", budget=10), start=[water()])
    assert summary.calls == 10
    picks = [pick for known in read_state(tmp_path / "run")["rounds"] for pick in known["picks"]]
    assert len(picks) == 4
    assert all(0 < pick["uncertainty"] < 1 for pick in picks)


def test_periodic_structures_learn_with_their_virials(tmp_path):
    argon = spread_frames(0, 3, (18,) * 8, least=3.3, cell=np.diag([8.0, 8.2, 8.1]))
    calculator = LennardJones(sigma=3.0, epsilon=0.02, rc=6.0, smooth=True)
    options = NBodyOptions(cutoff2=6.0, cutoff3=0, length_scale2=1.0, amplitude2=3.0, progress=False)
    settings = replace(SETTINGS, temperatures=(80,), walkers=2, timestep=4.0, budget=9, pressure=1.0)
    summary = quiet(tmp_path / "run", Recipe("nbody", options), settings, calculator, list(argon))
    assert summary.calls == 9
    frames = read_structures(tmp_path / "run" / "labeled.xyz")
    assert all(frame.virial is not None and frame.pbc.all() for frame in frames)
    last = frames.frames[-1]
    assert np.array_equal(label(calculator, last, 1e3).virial, last.virial)


def test_sparse_points_are_never_more_than_there_are_environments():
    frames = list(spread_frames(0, 2, (8, 8, 14, 14, 8, 14)))
    assert _sparse_points(500, frames) == 6
    assert _sparse_points(4, frames) == 4
    assert _sparse_points({8: 500, 14: 2}, frames) == {8: 3, 14: 2}


def test_a_many_body_model_learns(tmp_path):
    crystal = bulk("Cu", "fcc", 3.61, cubic=True)
    start = [Structure(crystal.numbers, crystal.positions, crystal.cell.array, True)]
    options = SoapOptions(
        cutoff=4.0, n_max=3, l_max=2, amplitude=1.0, length_scale2=0.7, amplitude2=1.0, progress=False
    )
    settings = replace(SETTINGS, temperatures=(300,), timestep=3.0, budget=8, uncertainty="auto", rattle=0.05)
    summary = quiet(tmp_path / "run", Recipe("soap", options), settings, EMT(), start)
    assert summary.calls == 8
    counts = []
    for number in (1, summary.rounds + 1):
        terms = load(tmp_path / "run" / f"round-{number:03d}" / "model.safetensors").terms
        counts += [term.n_sparse for term in terms if term.kind == "soap"]
    assert counts[0] == 8  # half of the environments of four frames
    assert counts[1] > 8


def test_failures_of_the_reference_are_counted_and_skipped(tmp_path):
    calculator = MorseMolecule(fail=3)
    summary = quiet(tmp_path / "run", calculator=calculator, start=[water()], settings=replace(SETTINGS, initial=10))
    assert summary.calls == 14
    assert summary.failures > 0
    assert summary.labeled == 14 - summary.failures
    failed = [event for event in read_log(tmp_path / "run") if event["event"] == "labeled" and not event["labeled"]]
    assert len(failed) == summary.failures
    assert all("no convergence" in event["text"] for event in failed)


def test_given_labels_cost_one_call(tmp_path):
    start = [label(MorseMolecule(), frame, 1e3) for frame in rattled(6)]
    counter = tmp_path / "calls"
    summary = quiet(
        tmp_path / "run",
        calculator=MorseMolecule(counter=str(counter)),
        settings=replace(SETTINGS, budget=1),
        start=start,
    )
    assert summary.calls == 1
    assert summary.labeled == 6
    assert len(counter.read_text().splitlines()) == 1


def rattled(count, seed=0):
    rng = np.random.default_rng(seed)
    first = water()
    return [replace(first, positions=first.positions + 0.05 * rng.standard_normal((3, 3))) for _ in range(count)]


# --- updates


def trained(directory):
    """Return how, and why so, the model of each round was made."""
    return [(event["how"], event["why"]) for event in read_log(directory) if event["event"] == "trained"]


@pytest.fixture(scope="module")
def updating(tmp_path_factory):
    """Return the directory of a campaign that chooses hyperparameters once."""
    directory = tmp_path_factory.mktemp("updating") / "run"
    quiet(directory, settings=replace(SETTINGS, growth=10.0, budget=10), start=[water()])
    return directory


def test_updates_and_refits_are_told_with_their_times(tmp_path):
    said = []
    settings = replace(SETTINGS, growth=10.0, budget=8)
    learn(tmp_path / "run", GDML, settings, MorseMolecule(), [water()], say=said.append, progress=False)
    assert any(re.fullmatch(r"  updated in [\d.e-]+ s", text) for text in said)
    assert re.search(r"of \d+ models, \d updated in [\d.]+ s and 1 refitted in [\d.]+ s", "\n".join(said))
    assert not any("seconds" in event for event in read_log(tmp_path / "run"))


def test_later_rounds_update_the_factorization(updating):
    first, *later = trained(updating)
    assert first == ("refitted", "hyperparameters were due to be chosen")
    assert later
    assert set(later) <= {("updated", ""), ("kept", "there are no new frames")}
    assert ("updated", "") in later
    factors = sorted(path.relative_to(updating).as_posix() for path in updating.rglob("*.npz"))
    last = f"round-{len(later) + 1:03d}"
    assert factors == [f"{last}/{name}.npz" for name in ("member-1", "member-2", "member-3", "model")]
    # As good as from nothing, with the same frames and hyperparameters.
    frames = list(read_structures(updating / "labeled.xyz"))
    held = frames[2::3]
    weights = GDML.fit([frame for k, frame in enumerate(frames) if k % 3 != 2], held).weights
    full, mine = KernelPotential(to_bytes(weights)), KernelPotential.load(updating / "model.safetensors")
    for frame in held:
        forces = full.evaluate(frame.positions).forces
        np.testing.assert_allclose(mine.evaluate(frame.positions).forces, forces, atol=1e-2 * np.abs(forces).max())


@pytest.mark.parametrize("damage", [None, b"PK damaged"])
def test_without_a_whole_factor_a_campaign_goes_on_by_a_refit(updating, tmp_path, damage):
    shutil.copytree(updating, tmp_path / "run")
    for path in (tmp_path / "run").rglob("*.npz"):
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
    before = len(trained(tmp_path / "run"))
    quiet(tmp_path / "run", settings=replace(SETTINGS, growth=10.0, budget=12))
    later = [made for made in trained(tmp_path / "run")[before:] if made[0] != "kept"]
    assert later[0] == ("refitted", "no factorization of the round before is there")


def test_the_iterative_solver_is_never_updated():
    frames = [label(MorseMolecule(), frame, 1e3) for frame in rattled(6)]
    assert GDML.fit(frames[:4], frames[4:]).factored is not None
    iterative = replace(GDML.options, solver="iterative", regularization=1e-6)
    assert Recipe("gdml", iterative).fit(frames[:4], frames[4:]).factored is None


def test_updates_may_be_left_out_and_growth_chooses_anew(tmp_path):
    settings = replace(SETTINGS, budget=10, growth=10.0, updates=False)
    quiet(tmp_path / "without", settings=settings, start=[water()])
    assert ("refitted", "updates were not wanted") in trained(tmp_path / "without")
    assert not list((tmp_path / "without").rglob("*.npz"))
    quiet(tmp_path / "growing", settings=replace(SETTINGS, budget=10, growth=1.0), start=[water()])
    assert {how for how, _ in trained(tmp_path / "growing")} <= {"refitted", "kept"}


def test_hyperparameters_are_chosen_anew_where_errors_grow(updating, tmp_path, monkeypatch):
    from openmm_kml.active_learning import training

    monkeypatch.setattr(training, "_WORSE", 0.0)
    monkeypatch.setattr(Recipe, "chooses", True)
    shutil.copytree(updating, tmp_path / "run")
    quiet(tmp_path / "run", settings=replace(SETTINGS, growth=10.0, budget=12))
    assert ("refitted", "on frames that no training saw, errors grew") in trained(tmp_path / "run")


# --- exploring


class _Fixed:
    """An uncertainty that follows a list, its last value for ever."""

    unit = what = "eV"

    def __init__(self, *values):
        self.values = list(values)

    def __call__(self, *_):
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


@pytest.fixture(scope="module")
def potential(finished):
    return KernelPotential.load(finished[1].model)


def walk(potential, *values, threshold=1.0, bound=2.0, **changes):
    settings = replace(SETTINGS, **changes)
    return Explorer(potential, _Fixed(*values), threshold, bound, settings, water()).walk(water(), 300, 5)


def test_a_run_is_stopped_above_the_bound(potential):
    found = walk(potential, 0.1, 1.5, 3.0)
    assert (found.reason, found.step, found.uncertainty) == (UNCERTAIN, 30, 3.0)
    assert found.frame is found.end
    assert [value for _, _, value in found.looks] == [0.1, 1.5, 3.0]


def test_a_run_that_is_not_stopped_gives_its_most_uncertain_frame(potential):
    found = walk(potential, 0.1, 1.5, 0.2)
    assert (found.reason, found.step, found.uncertainty) == (FINISHED, 60, 1.5)
    assert not np.array_equal(found.frame.positions, found.end.positions)
    energy = potential.evaluate(found.frame.positions).energy
    assert energy == pytest.approx(found.looks[1][1], abs=1e-9)


def test_a_certain_run_gives_nothing(potential):
    found = walk(potential, 0.1)
    assert (found.reason, found.frame) == (FINISHED, None)
    assert found.end is not None


def test_a_campaign_whose_runs_all_leave_physics_says_so(tmp_path, monkeypatch):
    lost = Walk(UNSTABLE, "left physics", 10, None, None, 0.0, [])
    monkeypatch.setattr(Explorer, "walk", lambda *_, **__: lost)
    summary = quiet(tmp_path / "run", start=[water()])
    assert summary.reason.startswith("5 rounds gave no new frame: all runs left physics before the first look; give")
    certain = replace(lost, reason=FINISHED, end=water())
    monkeypatch.setattr(Explorer, "walk", lambda *_, **__: certain)
    assert quiet(tmp_path / "other", start=[water()]).reason == "5 rounds gave no new frame"


def test_a_run_that_leaves_physics_gives_the_most_uncertain_frame_before(potential):
    found = walk(potential, 0.1, 0.3, 0.2, timestep=10.0, steps=3000)
    assert found.reason == UNSTABLE
    assert found.end is None
    if found.looks:
        assert found.uncertainty == max(value for _, _, value in found.looks)


def test_walks_survive_the_disk_and_their_seeds_decide(potential):
    found = walk(potential, 0.1, 3.0)
    again = walk(potential, 0.1, 3.0)
    assert found.to_bytes() == again.to_bytes() == Walk.from_bytes(found.to_bytes()).to_bytes()
    other = Explorer(potential, _Fixed(0.1, 3.0), 1, 2, SETTINGS, water()).walk(water(), 300, 6)
    assert other.to_bytes() != found.to_bytes()


def test_a_committee_of_equals_is_certain(potential):
    assert Committee([potential, potential])(water().positions, water().numbers) == 0
    with pytest.raises(ValueError, match="at least two members; 1 came"):
        Committee([potential])


def test_a_committee_tells_the_largest_deviation_of_a_force(finished):
    members = [KernelPotential.load(p) for p in sorted((finished[0] / "round-001").glob("member-*"))]
    positions = rattled(1)[0].positions
    forces = np.array([one.evaluate(positions).forces for one in members])
    expected = max(np.sqrt(forces[:, k].var(axis=0, ddof=1).sum()) for k in range(3))
    assert Committee(members)(positions, None) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("walks", "change"),
    [
        ([(FINISHED, 60, False), (FINISHED, 60, False), (UNCERTAIN, 40, True)], -1),
        ([(UNCERTAIN, 10, True), (UNCERTAIN, 10, True), (FINISHED, 60, True)], 1),
        ([(UNCERTAIN, 50, True), (UNCERTAIN, 40, True), (FINISHED, 60, True)], 0),
    ],
)
def test_the_threshold_adapts(walks, change):
    made = [Walk(reason, "", step, water() if frame else None, None, 0.0, []) for reason, step, frame in walks]
    assert np.sign(adapted(1.0, made, SETTINGS.steps) - 1) == change
    assert FACTORS[0] <= adapted(FACTORS[0], made, SETTINGS.steps) <= FACTORS[1]


# --- a kill at any moment


def command(directory, *more):
    start = directory.parent / "water.xyz"
    if not start.exists():
        write_frames(start, [water()])
    return ["active-learn", "--reference", REFERENCE, "--start", str(start), "-o", str(directory), *WORDS, *more]


def test_a_killed_campaign_labels_the_same_frames_and_loses_none(tmp_path):
    whole, killed, counter = tmp_path / "whole", tmp_path / "killed", tmp_path / "calls"
    plain = {"seconds": 0.02}
    assert main(command(whole, "--reference-options", json.dumps(plain))) == 0
    slow = json.dumps(plain | {"counter": str(counter)})
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    words, rng, kills, done = command(killed, "--reference-options", slow), np.random.default_rng(0), 0, {}
    while True:
        process = subprocess.Popen([*KML, *words], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
        if kills < 3:
            _wait_for_more(killed / "labeled", len(done) + int(rng.integers(1, 4)), process)
            time.sleep(rng.uniform(0, 0.1))
            process.kill()
            kills += 1
        message = process.communicate(timeout=60)[1].decode()
        found = labeled_files(killed)
        assert {name: found.get(name) for name in done} == done  # nothing is lost, nothing is labeled anew
        done = {name: content for name, content in found.items() if not name.startswith(".")}
        words = ["active-learn", "--resume", str(killed), "--quiet"]
        if process.returncode == 0:
            break
        assert process.returncode == -9, message
    assert labeled_files(killed) == labeled_files(whole)
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (killed / "log.jsonl").read_bytes() == (whole / "log.jsonl").read_bytes()
    # A call that was under way when the kill came is made again; no other is.
    assert 14 <= len(counter.read_text().splitlines()) <= 14 + kills


def test_digits_do_not_depend_on_what_was_evaluated_before(tmp_path):
    """Lists of neighbors outlast an evaluation, and their order is in the last digits of the next."""
    crystal = bulk("Cu", "fcc", 3.61, cubic=True)
    rng = np.random.default_rng(0)
    frames = [
        label(EMT(), Structure(crystal.numbers, crystal.positions + shift, crystal.cell.array, True), 1e3)
        for shift in 0.02 * rng.normal(size=(8, 4, 3))
    ]
    options = NBodyOptions(cutoff2=4.0, cutoff3=0, spacing2=0.4, length_scale2=0.7, amplitude2=1.0, progress=False)
    recipe = Recipe("nbody", options)
    campaign = SimpleNamespace(recipe=recipe, directory=tmp_path, settings=replace(SETTINGS, uncertainty="none"))
    now = Round(campaign, 1)  # sees all frames, one after the other
    now.directory.mkdir()
    now.chosen = {"committee": False}
    save(recipe.fit(frames, frames[:2]).weights, now.model_path)
    for frame in frames:
        fresh = Round(campaign, 1)
        fresh.chosen = now.chosen
        assert now.force_error(frame) == fresh.force_error(frame)


def _wait_for_more(directory, count, process, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if directory.exists() and len(list(directory.glob("[0-9]*"))) >= count:
            return
        time.sleep(0.005)


def test_a_half_written_frame_does_not_count(tmp_path):
    store = LabeledFrames(tmp_path / "labeled")
    store.add(1, label(MorseMolecule(), water(), 1e3), {"round": 0})
    (tmp_path / "labeled" / ".000002.xyz.abc.partial").write_text("3\nhalf")
    again = LabeledFrames(tmp_path / "labeled")
    assert 1 in again
    assert 2 not in again
    assert [path.name for path in (tmp_path / "labeled").iterdir()] == ["000001.xyz"]


def test_frames_keep_every_digit(tmp_path):
    rng = np.random.default_rng(3)
    cell = np.eye(3) * 5 + 0.1 * rng.standard_normal((3, 3))
    virial = rng.standard_normal((3, 3))
    virial += virial.T
    frame = Structure(
        [8, 1], rng.standard_normal((2, 3)), cell, True, 0.1 + 0.2, rng.standard_normal((2, 3)), virial, "a b"
    )
    write_frames(tmp_path / "frame.xyz", [frame])
    again = read_structures(tmp_path / "frame.xyz").frames[0]
    for name in ("numbers", "positions", "cell", "pbc", "energy", "forces", "virial", "group"):
        assert np.array_equal(getattr(again, name), getattr(frame, name)), name
    assert frame_text(again) == frame_text(frame)


# --- what is refused


def refused(capsys, words, text):
    assert main(["active-learn", *words]) == 2
    message = capsys.readouterr().err
    assert message.startswith("kml: error: ")
    assert message.count("\n") == 1
    assert text in message


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("dftb", {}, "there is no reference 'dftb'; give tblite, pyscf or MODULE:FUNCTION"),
        ("no_such_module:make", {}, "the module no_such_module of the reference cannot be imported"),
        ("missing.py:make", {}, "there is no file missing.py"),
        ("ase.calculators.lj:Nothing", {}, "has no function 'Nothing'"),
        ("references:no_calculator", {}, "gave ndarray, not an ASE calculator"),
        ("references:EnergyAlone", {}, "has no forces, which learning needs"),
        ("references:morse", {"depth": 3}, "does not take {'depth': 3}"),
    ],
)
def test_an_unfit_reference_is_refused(name, options, text):
    with pytest.raises(DataError) as error:
        load_reference(name, options)
    assert text in str(error.value)


def test_a_reference_in_a_file_is_found(tmp_path):
    (tmp_path / "mine.py").write_text("from ase.calculators.lj import LennardJones as make\n")
    assert isinstance(load_reference(f"{tmp_path / 'mine.py'}:make", {"rc": 5.0}), LennardJones)


@pytest.mark.parametrize(
    ("calculator", "bound", "text"),
    [
        (MorseMolecule(fail=1), 50, "no convergence"),
        (MorseMolecule(fail=1, value=np.nan), 50, "the forces of the reference is not finite"),
        (MorseMolecule(), 1e-9, "is above the bound of 1e-09"),
    ],
)
def test_an_unusable_label_says_why(calculator, bound, text):
    with pytest.raises(LabelError) as error:
        label(calculator, rattled(1)[0], bound)
    assert text in str(error.value)


def test_a_reference_that_always_fails_is_noticed_at_once(tmp_path):
    with pytest.raises(DataError, match=r"only 0 start frames have labels.* 6 reference calls failed.*no convergence"):
        quiet(tmp_path / "run", calculator=MorseMolecule(fail=1), start=[water()])


def test_frames_of_another_molecule_are_refused(tmp_path):
    other = Structure([1, 8, 1], template("H2O")[1])
    with pytest.raises(DataError, match="frame 2 is H2O, frame 1 H2O, or the order of atoms differs"):
        quiet(tmp_path / "run", start=[water(), other])
    assert not (tmp_path / "run").exists()


def test_models_without_uncertainty_are_not_to_tell_it(tmp_path):
    recipe = Recipe("gdml", replace(GDML.options, uncertainty=False))
    with pytest.raises(DataError, match="--no-uncertainty leaves out; take committee"):
        quiet(tmp_path / "run", recipe, replace(SETTINGS, uncertainty="model"), start=[water()])
    assert not (tmp_path / "run").exists()


def test_a_periodic_molecule_is_refused(tmp_path):
    with pytest.raises(DataError, match="frame 1 is periodic, but a gdml model is for one molecule"):
        quiet(tmp_path / "run", start=[replace(water(), cell=np.eye(3) * 9, pbc=True)])


def test_labels_of_another_reference_are_refused(tmp_path):
    start = [label(MorseMolecule(), frame, 1e3) for frame in rattled(6)]
    start[0] = replace(start[0], energy=start[0].energy + 1)
    with pytest.raises(DataError, match="labels of the start frames are of another reference"):
        quiet(tmp_path / "run", start=start)


def test_a_budget_below_the_start_is_refused(tmp_path):
    with pytest.raises(
        DataError, match="budget of 3 reference calls does not suffice for the start frames, of which 6"
    ):
        quiet(tmp_path / "run", settings=replace(SETTINGS, budget=3), start=[water()])


def test_a_directory_with_something_else_is_kept(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match="is not empty and holds no campaign"):
        quiet(tmp_path, start=[water()])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_directory_of_a_campaign_is_not_begun_anew(finished):
    before = labeled_files(finished[0])
    with pytest.raises(DataError, match="holds a campaign already: --resume"):
        quiet(finished[0], start=[water()])
    assert labeled_files(finished[0]) == before


def test_a_campaign_does_not_go_on_with_other_options(finished):
    with pytest.raises(DataError, match="is of another campaign: its settings"):
        quiet(finished[0], settings=replace(SETTINGS, seed=1))
    with pytest.raises(DataError, match="is of another campaign: its model options"):
        quiet(finished[0], recipe=Recipe("gdml", replace(GDML.options, length_scale=2.0)))


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": "openmm-kml active learning 1"}', b"[" * 9999, b"\xff"])
def test_a_damaged_state_is_noticed(tmp_path, capsys, content):
    (tmp_path / "state.json").write_bytes(content)
    refused(capsys, ["--resume", str(tmp_path)], "is damaged or no state of kml active-learn")


def test_a_second_process_is_kept_out(finished):
    from openmm_kml.active_learning.journal import Journal

    journal = Journal(finished[0], read_state(finished[0])["log_size"], lambda _: None)
    try:
        with pytest.raises(DataError, match="another process is learning in"):
            quiet(finished[0])
    finally:
        journal.close()
    quiet(finished[0])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "--reference is missing; a campaign begins with --reference, --start and -o"),
        (["--reference", "tblite"], "--start is missing"),
        (["--resume", "nowhere"], "nowhere has no campaign to resume"),
        (["--resume", "nowhere", "--temperatures", "300"], "leave --temperatures out"),
        (["--resume", "nowhere", "-o", "x"], "leave -o out"),
    ],
)
def test_an_incomplete_command_is_refused(capsys, words, text):
    refused(capsys, words, text)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"temperatures": ()}, "temperatures must be"),
        ({"budget": 0}, "budget must be a whole number of 1 or more"),
        ({"every": 1}, "every must be a whole number of 2 or more"),
        ({"quantile": 1.5}, "quantile must be above 0 and at most 1"),
        ({"uncertainty": "guess"}, "uncertainty must be one of auto, model, committee, none"),
        ({"growth": 0.5}, "growth must be at least 1"),
        ({"margin": 0.5}, "margin must be at least 1"),
        ({"timestep": 50.0}, "at most 10"),
        ({"target": float("nan")}, "target must be a finite number"),
        ({"interval": 100}, "interval must be at most steps"),
    ],
)
def test_settings_are_checked(changes, text):
    with pytest.raises(ValueError, match=text):
        replace(SETTINGS, **changes)


def test_a_kind_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="kind must be one of gdml, nbody, soap; 'neural' was given"):
        Recipe("neural")


def test_the_model_says_where_it_comes_from(finished):
    weights = load(finished[1].model)
    assert weights.provenance["active_learning"]["reference_calls"] == 14


def test_the_example_learns_copper(tmp_path, monkeypatch, capsys):
    specification = importlib.util.spec_from_file_location("example", TESTS.parent / "examples" / "active_learning.py")
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    words = ["--output", str(tmp_path / "run"), "--budget", "7", "--steps", "75", "--test-frames", "2"]
    monkeypatch.setattr("sys.argv", ["active_learning.py", *words])
    example.main()
    output = capsys.readouterr().out
    assert "the budget of 7 reference calls is used" in output
    first, *_, last = json.loads((tmp_path / "run" / "comparison.json").read_text())["active"]
    assert last["forces_mae"] < first["forces_mae"]


# --- optional references


def test_tblite_labels_a_molecule():
    pytest.importorskip("tblite", reason="the optional reference tblite is not installed")
    check_reference(load_reference("tblite"))


def test_pyscf_labels_a_molecule():
    pytest.importorskip("pyscf", reason="the optional reference pyscf is not installed")
    check_reference(load_reference("pyscf", {"basis": "sto-3g"}))


def check_reference(calculator):
    frame = rattled(1)[0]
    found = label(calculator, frame, 50)
    step = 1e-3
    sides = []
    for sign in (1, -1):
        moved = frame.positions.copy()
        moved[1, 2] += sign * step
        sides.append(label(calculator, replace(frame, positions=moved), 50).energy)
    assert (sides[1] - sides[0]) / (2 * step) == pytest.approx(found.forces[1, 2], abs=2e-3)
