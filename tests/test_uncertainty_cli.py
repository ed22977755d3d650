"""``kml test --uncertainty``, its picture, and what ``kml info`` and ``kml train`` say of the uncertainty."""

import json
from types import SimpleNamespace

import models
import numpy as np
import pytest
from ase.io import write
from datasets import write_xyz
from nbody_cases import frames, labeled
from test_nbody_structures import as_atoms
from test_uncertainty_training import TRUTH
from trained import DATA

from openmm_kml import weights as wf
from openmm_kml.cli.entry import main
from openmm_kml.cli.uncertainty_report import by_group, collect, measures
from openmm_kml.plots_uncertainty import coverage_curve
from openmm_kml.structures import MoleculeSet
from openmm_kml.uncertainty import Uncertainty

FAST = ["--cutoff2", "4.4", "--cutoff3", "3.0", "--spacing2", "0.5", "--spacing3", "0.5", "--threads", "1", "--quiet"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A directory with data of silica and a model of them."""
    directory = tmp_path_factory.mktemp("uncertainty")
    named = []
    for k, frame in enumerate(labeled(frames(1, 24, (8, 8, 14, 8, 8, 14)), TRUTH)):
        named.append(as_atoms(frame))
        named[-1].info["config_type"] = "melt" if k % 2 else "solid"
    write(directory / "data.xyz", named, format="extxyz")
    arguments = ["train", "nbody", str(directory / "data.xyz"), "-o", str(directory / "model.safetensors")]
    assert main([*arguments, "--n-test", "8", "--members", "4", *FAST]) == 0
    return directory


def test_test_holds_deviations_against_errors(trained, tmp_path, capsys):
    model, data = str(trained / "model.safetensors"), str(trained / "data.xyz")
    report, picture = tmp_path / "report.json", tmp_path / "reliability.png"
    arguments = ["test", model, data, "--held-out", "--uncertainty", "--json", str(report), "--plot", str(picture)]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert "uncertainty of force components" in output
    assert "rank corr." in output
    said = json.loads(report.read_text())["uncertainty"]
    assert said["energy_per_atom"]["n"] == 8
    assert said["forces"]["n"] == 8 * 18
    assert 0.3 < said["forces"]["coverage_95"] <= 1.0
    assert set(said["groups"]) == {"melt", "solid"}
    assert sum(part["forces"]["n"] for part in said["groups"].values()) == 8 * 18
    assert picture.stat().st_size > 1000


def test_info_says_what_the_uncertainty_is_made_of(trained, capsys):
    assert main(["info", str(trained / "model.safetensors")]) == 0
    assert "4 members; energies" in capsys.readouterr().out


def test_a_model_without_uncertainty_is_refused(trained, tmp_path, capsys):
    data, model = str(trained / "data.xyz"), str(tmp_path / "plain.safetensors")
    assert main(["train", "nbody", data, "-o", model, "--n-train", "6", "--no-uncertainty", *FAST]) == 0
    assert wf.load(model).uncertainty is None
    assert main(["test", model, data, "--uncertainty"]) != 0
    assert "no uncertainty" in capsys.readouterr().err
    assert main(["info", model]) == 0
    assert "uncertainty     none" in capsys.readouterr().out
    assert main(["train", "nbody", data, "-o", model, "--no-uncertainty", "--members", "3", *FAST]) != 0


def test_molecules_are_tested_too(tmp_path, capsys):
    weights = models.UNCERTAIN_MODELS["water, exchange"]
    wf.save(weights, tmp_path / "water.safetensors")
    rng = np.random.default_rng(0)
    positions = models.model_positions(weights, 12)
    data = MoleculeSet(weights.species, positions, rng.normal(size=12), rng.normal(size=positions.shape), "water")
    write_xyz(tmp_path / "water.xyz", data)
    arguments = ["test", str(tmp_path / "water.safetensors"), str(tmp_path / "water.xyz"), "--uncertainty"]
    assert main([*arguments, "--json", str(tmp_path / "report.json")]) == 0
    said = json.loads((tmp_path / "report.json").read_text())["uncertainty"]
    assert said["forces"]["n"] == 12 * 9
    assert said["energy_per_atom"]["n"] == 12
    assert main(["info", str(tmp_path / "water.safetensors")]) == 0
    assert "1 rows; energies 1.3 times" in capsys.readouterr().out


def test_components_that_vanish_by_symmetry_are_left_out_of_perfect_crystals_too():
    """Their deviations are rounding, all of one size: only those of other frames tell that."""
    rng = np.random.default_rng(5)
    said = [SimpleNamespace(energy_std=1.0, force_std=size * rng.uniform(1, 2, (4, 3))) for size in (1e-15, 0.1)]
    potential = SimpleNamespace(
        weights=SimpleNamespace(uncertainty=Uncertainty(2)), evaluate_uncertainty=lambda *_, forces: said.pop(0)
    )
    frames = [(np.zeros((4, 3)), None, None, None, 0.0, np.zeros((4, 3)))] * 2
    found = collect(potential, frames, [(0.0, np.full((4, 3), 0.1))] * 2, progress=False)
    assert [len(one["forces"][0]) for one in found] == [0, 12]
    assert measures(found, Uncertainty(2))["forces"]["n"] == 12
    assert by_group(found, ["perfect", "hot"], Uncertainty(2))["perfect"]["forces"] == {"n": 0}
    said.append(SimpleNamespace(energy_std=1.0, force_std=1e-14 * rng.uniform(1, 2, (4, 3))))
    alone = collect(potential, frames[:1], [(0.0, np.zeros((4, 3)))], progress=False)
    assert measures(alone, Uncertainty(2))["forces"] == {"n": 0}


def test_training_of_a_molecule_says_how_wide_deviations_by_some_rows_are(tmp_path, capsys):
    data, model = str(DATA), str(tmp_path / "model.safetensors")
    given = [
        "--n-train",
        "6",
        "--n-valid",
        "10",
        "--n-test",
        "0",
        "--power",
        "1",
        "--kernel",
        "matern52",
        "--threads",
        "1",
    ]
    for rank, words in (("20", "times ("), ("all", "exact: all rows of all training points")):
        assert main(["train", "gdml", data, "-o", model, *given, "--no-symmetries", "--uncertainty-rank", rank]) == 0
        assert words in capsys.readouterr().out
        assert main(["info", model]) == 0
        assert words in capsys.readouterr().out


def test_curves_and_groups_by_hand():
    rng = np.random.default_rng(3)
    errors = rng.normal(size=20_000)
    levels, shares = coverage_curve(errors, np.ones(20_000))
    np.testing.assert_allclose(shares, levels, atol=0.015)
    one, other = ({"forces": (factor * errors, np.ones(20_000))} for factor in (1.0, 2.0))
    groups = by_group([one, other], ["a", "b"], Uncertainty(0))
    assert np.isclose(groups["b"]["forces"]["ratio"], 2 * groups["a"]["forces"]["ratio"])
    together = measures([one, other], Uncertainty(0))
    assert np.isclose(together["forces"]["rmse"], np.sqrt(2.5) * groups["a"]["forces"]["rmse"])
