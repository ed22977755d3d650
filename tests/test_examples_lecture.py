"""The pictures of the lecture say what is true: every script runs, small, and its claim is in its numbers."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
LECTURE = ROOT / "examples" / "lecture"


@pytest.fixture(scope="module", autouse=True)
def lecture():
    """Let the scripts import each other, and leave no trace of their short names."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(LECTURE))
        yield
    for name in {path.stem for path in LECTURE.glob("*.py")} - before:
        sys.modules.pop(name, None)


def run(name, folder, *arguments):
    """Return what a script's main returns; its pictures must be there."""
    script = importlib.import_module(name)
    result = script.main(["--folder", str(folder), *arguments])
    pictures = sorted(folder.glob("*.png"))
    assert pictures
    for picture in pictures:
        with Image.open(picture) as image:
            image.verify()
    return script, result


def test_the_polynomial_through_all_points_is_the_worst(tmp_path):
    _, result = run("overfitting", tmp_path, "--draws", "20")
    training, true = result["polynomials"].T
    assert np.all(np.diff(training) < 0)
    assert training[-1] < 1e-9
    assert true[-1] == true.max()
    assert true[-1] > 3 * result["smooth_errors"][1]
    assert result["smooth_errors"][1] < true.min()


def test_kernel_regression_is_the_mean_of_the_gaussian_process(tmp_path):
    script, result = run("kernel_regression", tmp_path, "--draws", "40")
    process = result["process"]
    assert result["bumps"].sum(axis=1) + process.y.mean() == pytest.approx(result["mean"], abs=1e-12)
    given, chosen = result["coverage"]
    assert given == pytest.approx(0.95, abs=0.05)
    assert chosen < given
    places, deviation = script.PLACES, result["deviation"]
    at_points = np.interp(places, script.FINE, deviation)
    assert np.interp((places[3] + places[4]) / 2, script.FINE, deviation) > 4 * at_points.max()


def test_a_gaussian_process_without_noise_passes_through_its_points():
    regression = importlib.import_module("regression")
    x = np.linspace(-0.6, 0.6, 7)
    mean, covariance = regression.GaussianProcess(x, regression.landscape(x), 1e-6, 0.2, 0.2).predict(x)
    assert mean == pytest.approx(regression.landscape(x), abs=1e-5)
    assert np.abs(covariance).max() < 1e-10


def test_points_in_the_well_know_nothing_of_the_wall(tmp_path):
    _, result = run("missing_repulsion", tmp_path)
    argon = importlib.import_module("argon")
    turn = argon.closest_approach(argon.lennard_jones(argon.REACH)[0])
    assert result["well"]["turn"] is None
    assert result["well and wall"]["turn"] == pytest.approx(turn, abs=0.02)
    assert result["well"]["error"] > 50 * result["well and wall"]["error"]
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_the_points_that_are_drawn_are_those_that_are_learned_from():
    """Their noise, too, and none is out of sight without a word."""
    argon, plots = importlib.import_module("argon"), importlib.import_module("style")
    distances = np.append(argon.WALL, argon.WELL)
    _, ax = plots.new_figure()
    argon.plot_curve(ax, argon.fit(distances, repulsion=False), distances, "black", "learned")
    drawn = next(line.get_ydata() for line in ax.lines if line.get_marker() == "o") / 1e3
    assert drawn == pytest.approx([pair.energy for pair in argon.labeled(distances)])
    assert np.abs(drawn - argon.lennard_jones(distances)[0]).max() > argon.NOISE_ENERGY
    hidden = int((drawn > ax.get_ylim()[1] / 1e3).sum())
    assert hidden == 2
    assert f"↑ {hidden} more points" in [text.get_text() for text in ax.texts]


def test_the_reference_forces_are_derivatives():
    argon = importlib.import_module("argon")
    r, step = np.linspace(2.8, argon.CUTOFF, 30), 1e-4
    slope = (argon.lennard_jones(r + step)[0] - argon.lennard_jones(r - step)[0]) / (2 * step)
    assert argon.lennard_jones(r)[1] == pytest.approx(-slope, abs=1e-6)
    assert argon.lennard_jones(argon.CUTOFF) == pytest.approx((0, 0), abs=1e-15)


def test_walls_hold_a_molecule_together(tmp_path):
    _, result = run("walls_prior", tmp_path)
    for name in ("the kernel alone", "with repulsion"):
        assert result[name]["apart"] < 1  # eV; a bond costs some 4
        assert result[name]["longest"] > 10
    walls = result["with repulsion and walls"]
    assert walls["apart"] > 100
    assert walls["longest"] < 2


def test_the_repulsion_prior_brings_atoms_back(tmp_path):
    _, result = run("repulsion_prior", tmp_path)
    plain, prior = result["no prior"], result["repulsion prior"]
    assert prior["error"] < 0.5 * plain["error"]
    assert (plain["turn"], plain["attracts"]) == (None, True)
    assert prior["turn"] == pytest.approx(3.0, abs=0.15)
    assert not prior["attracts"]
    for found in (plain, prior):  # between the points the band is right; where there are none it is far too narrow
        assert found["coverage"] > 0.8
        assert found["coverage_left_out"] < 0.1


def test_each_symmetry_lowers_the_learning_curve(tmp_path):
    arguments = ("--sizes", "10", "20", "--seeds", "0", "--n-test", "60")
    script, result = run("symmetry", tmp_path, *arguments)
    turned, straight, distances, permuted = (result["errors"][name][0] for name in script.NAMES)
    assert np.all(turned > 0.9 * result["zero"])
    assert np.all(straight > 0.8 * result["zero"])  # so few frames are too few
    assert np.all(distances < 0.6 * turned)
    assert np.all(permuted < 0.7 * distances)
    assert script.points_for((10, 20), np.array([0.4, 0.2]), 0.4 / np.sqrt(2)) == pytest.approx(np.sqrt(200))


def test_cartesian_kernels_see_orientations_and_inverse_distances_do_not():
    ethanol = importlib.import_module("ethanol")
    frames = ethanol.ethanol()[:12]
    model = ethanol.CartesianModel(frames, 4.0)
    assert model.error(frames) < 1e-3
    turned = ethanol.turned(frames, np.random.default_rng(0))
    assert model.error(turned) > 0.3
    aligned = ethanol.aligned(turned, frames.positions[0]).positions
    assert aligned == pytest.approx(ethanol.aligned(frames, frames.positions[0]).positions, abs=1e-9)
    assert np.linalg.norm(turned.forces, axis=2) == pytest.approx(np.linalg.norm(frames.forces, axis=2))
    components = ethanol.ComponentModel(frames, np.arange(9)[None])
    energies, forces = components.evaluate(turned.positions)
    assert energies == pytest.approx(frames.energies, abs=1e-3)
    assert np.abs(forces - turned.forces).mean() < 2e-3


def test_gradients_conserve_the_energy_and_components_do_not(tmp_path):
    _, result = run("energy_conservation", tmp_path, "--length", "0.4", "--runs", "2", "--loops", "20")
    # Not for want of accuracy.
    assert result["errors"]["components"] < 1.1 * result["errors"]["gradient"] < 0.07
    assert np.median(result["work"]["components"]) > 5e-3
    assert result["work"]["gradient"].max() < 1e-8
    largest = {name: [np.abs(one).max() for one in runs] for name, runs in result["energies"].items()}
    assert max(largest["gradient"]) < 0.02
    assert min(largest["components"]) > 5 * max(largest["gradient"])


def test_the_ladder_is_measured_on_one_and_the_same_potential(tmp_path):
    arguments = ("--n-train", "120", "--seconds", "0.02", "--copies", "1", "4")
    script, result = run("timescales", tmp_path, *arguments)
    assert set(result["gains"]) == set(script.SCHEMES)
    assert all(150 < temperature < 600 for temperature in result["temperatures"].values())
    bench = script.Bench(60, 0.0)
    plain, costly = (bench._costlier(copies).evaluate(bench.start) for copies in (1, 3))
    assert costly.energy == pytest.approx(plain.energy, abs=1e-7)
    assert costly.forces == pytest.approx(plain.forces, abs=1e-6)


def test_all_scripts_are_made_and_all_pictures_shown():
    make_all = importlib.import_module("make_all")
    scripts = {path.stem for path in LECTURE.glob("*.py") if "def main(" in path.read_text(encoding="utf-8")}
    assert scripts == {*make_all.SCRIPTS, "make_all"}
    guide = (ROOT / "docs" / "lecture.md").read_text(encoding="utf-8")
    pictures = list((ROOT / "docs" / "lecture").glob("*.png"))
    assert len(pictures) == len(make_all.SCRIPTS) + 1
    assert all(f"](lecture/{picture.name})" in guide for picture in pictures)
    assert sum(picture.stat().st_size for picture in pictures) < 400_000
