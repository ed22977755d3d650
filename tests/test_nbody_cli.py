"""`kml train nbody`, `info`, `test` and `learning-curve` on two- and three-body models."""

import json
from dataclasses import replace

import pytest
from ase.io import write
from nbody_cases import frames, labeled, random_model, small_basis, weights_of
from test_nbody_structures import as_atoms

from openmm_kml.cli.entry import main
from openmm_kml.structures import Structure, StructureSet
from openmm_kml.weights import Baseline, load, save

FAST = ["--cutoff2", "4.4", "--cutoff3", "3.0", "--spacing2", "0.4", "--spacing3", "0.5", "--threads", "1", "--quiet"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A file of 20 frames of two groups."""
    basis = small_basis((14,))
    structures = labeled(frames(1, 20, (14,) * 6), weights_of(basis, random_model(basis, 0, 0.3, 0.05)))
    named = [
        Structure(f.numbers, f.positions, f.cell, f.pbc, f.energy, f.forces, f.virial, "melt" if k % 3 else "solid")
        for k, f in enumerate(structures)
    ]
    path = tmp_path_factory.mktemp("nbody") / "data.xyz"
    write(path, [as_atoms(f) for f in StructureSet(named)], format="extxyz")
    return path


@pytest.fixture(scope="module")
def model(data):
    path = data.with_name("model.safetensors")
    arguments = ["train", "nbody", str(data), "-o", str(path), "--json", str(data.with_name("report.json"))]
    assert main([*arguments, *FAST, "--group-noise", "melt=2"]) == 0
    return path


def test_training_writes_model_report_and_provenance(model, data):
    weights = load(model)
    assert [term.kind for term in weights.terms] == ["spline2", "spline3", "repulsion"]
    assert weights.provenance["split"] == {"n_train": 18, "n_validation": 0, "n_test": 2, "seed": 0}
    assert str(data.parent) not in json.dumps(weights.provenance)
    assert weights.provenance["command"].startswith("kml train nbody data.xyz --cutoff2 4.4")
    report = json.loads(data.with_name("report.json").read_text())
    assert report["errors"]["test"]["n_structures"] == 2
    assert report["options"]["group_noise"] == {"melt": 2.0}


def test_training_again_gives_the_same_bytes(model, data, tmp_path):
    again = tmp_path / "again.safetensors"
    assert main(["train", "nbody", str(data), "-o", str(again), *FAST, "--group-noise", "melt=2"]) == 0
    assert again.read_bytes() == model.read_bytes()


def test_info_prints_and_draws(model, tmp_path, capsys):
    picture, report = tmp_path / "f.png", tmp_path / "info.json"
    assert main(["info", str(model), "--plot", str(picture), "--json", str(report)]) == 0
    shown = capsys.readouterr().out
    assert "spline3" in shown
    assert "ZBL" in shown
    assert picture.read_bytes()[:4] == b"\x89PNG"
    content = json.loads(report.read_text())
    assert content["elements"] == ["Si"]
    energies = content["pair_energies"]["Si-Si"]
    assert energies[0] > 100
    assert energies[-1] == 0


def test_info_of_a_difference_to_a_baseline(model, tmp_path, capsys):
    """A Δ-model's functions are shown as they are; nothing of it is evaluated as the whole energy."""
    path, picture, reports = tmp_path / "delta.safetensors", tmp_path / "f.png", []
    save(replace(load(model), baseline=Baseline("sha256:" + 64 * "a", "mm.xml")), path)
    for name in (path, model):
        report = tmp_path / "info.json"
        assert main(["info", str(name), "--plot", str(picture), "--json", str(report)]) == 0
        reports.append(json.loads(report.read_text()))
    assert reports[0]["pair_energies"] == reports[1]["pair_energies"]
    assert reports[0]["baseline"] == {"name": "mm.xml", "digest": "sha256:" + 64 * "a"}
    assert "baseline" not in reports[1]
    assert capsys.readouterr().out.count("only the difference to mm.xml") == 1


def test_test_shows_groups_and_keeps_the_held_out_apart(model, data, tmp_path, capsys):
    report, picture = tmp_path / "errors.json", tmp_path / "parity.png"
    assert main(["test", str(model), str(data), "--json", str(report), "--plot", str(picture)]) == 0
    output = capsys.readouterr()
    assert "--held-out" in output.err
    assert "solid" in output.out
    errors = json.loads(report.read_text())
    assert errors["n_structures"] == 20
    assert set(errors["groups"]) == {"melt", "solid"}
    assert picture.stat().st_size > 1000
    assert main(["test", str(model), str(data), "--held-out", "--json", str(report)]) == 0
    held_out = json.loads(report.read_text())
    trained = json.loads(data.with_name("report.json").read_text())["errors"]["test"]
    assert held_out["forces_mae"] == pytest.approx(trained["forces_mae"], rel=1e-9)


def test_learning_curve(data, tmp_path):
    report = tmp_path / "curve.json"
    arguments = ["learning-curve", str(data), "--kind", "nbody", "--sizes", "4,12", "--json", str(report)]
    assert main([*arguments, *FAST]) == 0
    points = json.loads(report.read_text())
    assert [point["n_train"] for point in points] == [4, 12]
    assert points[1]["forces_rmse"] < points[0]["forces_rmse"]


def test_learning_curve_takes_the_options_of_the_trainer(data, tmp_path):
    errors = {}
    for name, options in (
        ("triples", []),
        ("pairs", ["--cutoff3", "0"]),
        ("smooth", ["--length-scale2", "5", "--length-scale3", "5"]),
        ("validated", ["--selection", "validation", "--n-valid", "4"]),
    ):
        report = tmp_path / "curve.json"
        words = f"learning-curve {data} --kind nbody --sizes 12 --n-test 4 --json {report}"
        assert main([*words.split(), *FAST, *options]) == 0
        (point,) = json.loads(report.read_text())
        errors[name] = point["forces_rmse"]
    assert len(set(errors.values())) == 4
    assert errors["triples"] < min(errors["pairs"], errors["smooth"])


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("nbody", ["--ard", "--solver", "iterative"], "unrecognized arguments: --ard --solver"),
        ("nbody", ["--no-energies"], "unrecognized arguments: --no-energies"),
        ("nbody", ["--seed", "3"], "unrecognized arguments: --seed"),
        ("soap", ["--cutoff3", "3"], "unrecognized arguments: --cutoff3"),
        ("gdml", ["--cutoff3", "0"], "unrecognized arguments: --cutoff3"),
        ("gdml", ["--virial-key", "w"], "unrecognized arguments: --virial-key"),
        ("sgdml", [], "invalid choice: 'sgdml'"),
    ],
)
def test_learning_curve_refuses_options_of_another_kind(kind, options, message, data, capsys):
    with pytest.raises(SystemExit):
        main(["learning-curve", str(data), "--kind", kind, "--sizes", "4", *options])
    assert message in capsys.readouterr().err


def test_learning_curve_helps_with_the_options_of_a_kind(capsys):
    with pytest.raises(SystemExit):
        main(["learning-curve", "--kind", "soap", "--help"])
    assert "--l-max" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--atom-energy", "Xx=1"], "not an element and its energy"),
        (["--group-noise", "melt=1,2"], "not a group and one or three factors"),
        (["--cutoff3", "-1"], "not a length"),
    ],
)
def test_bad_options_are_refused(data, tmp_path, arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(["train", "nbody", str(data), "-o", str(tmp_path / "m.safetensors"), *arguments])
    assert message in capsys.readouterr().err


def test_a_cutoff_that_the_data_do_not_support_is_refused(tmp_path, capsys):
    dimer = [Structure([14, 14], [[0, 0, 0], [0, 0, d]], energy=-d, forces=[[0, 0, 1], [0, 0, -1]]) for d in (2.2, 2.5)]
    path = tmp_path / "dimers.xyz"
    write(path, [as_atoms(f, None) for f in dimer], format="extxyz")
    assert main(["train", "nbody", str(path), "-o", str(tmp_path / "m.safetensors"), "--quiet"]) == 2
    assert "longest distance" in capsys.readouterr().err
    assert not (tmp_path / "m.safetensors").exists()
