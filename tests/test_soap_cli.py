"""`kml train soap`, `info`, `test` and `learning-curve` on many-body models."""

import json

import pytest
from ase.io import write
from soap_cases import silica
from test_nbody_structures import as_atoms

from openmm_kml.cli.entry import main
from openmm_kml.structures import Structure, StructureSet
from openmm_kml.weights import load

SIZES = ["--cutoff", "3.6", "--n-max", "4", "--l-max", "3", "--threads", "1", "--quiet"]
FAST = [*SIZES, "--amplitude", "1", "--amplitude2", "1", "--length-scale2", "0.7"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A file of 10 frames of two groups."""
    named = [
        Structure(f.numbers, f.positions, f.cell, f.pbc, f.energy, f.forces, f.virial, "melt" if k % 3 else "solid")
        for k, f in enumerate(silica()[0])
    ]
    path = tmp_path_factory.mktemp("soap") / "data.xyz"
    write(path, [as_atoms(f) for f in StructureSet(named)], format="extxyz")
    return path


@pytest.fixture(scope="module")
def model(data):
    path = data.with_name("model.safetensors")
    arguments = ["train", "soap", str(data), "-o", str(path), "--json", str(data.with_name("report.json"))]
    assert main([*arguments, *FAST, "--sparse", "O=16", "--sparse", "Si=8", "--group-noise", "melt=2"]) == 0
    return path


def test_training_writes_model_report_and_provenance(model, data):
    weights = load(model)
    assert [term.kind for term in weights.terms] == ["spline2", "soap", "soap", "repulsion"]
    assert weights.provenance["split"] == {"n_train": 9, "n_validation": 0, "n_test": 1, "seed": 0}
    assert weights.provenance["command"].startswith("kml train soap data.xyz --cutoff 3.6")
    report = json.loads(data.with_name("report.json").read_text())
    assert report["errors"]["test"]["n_structures"] == 1
    assert report["options"]["n_sparse"] == {"8": 16, "14": 8}
    assert report["sparse_points"] == {"O": 16, "Si": 8}


def test_what_was_chosen_is_printed(data, tmp_path, capsys):
    arguments = ["train", "soap", str(data), "-o", str(tmp_path / "m.safetensors"), "--sparse", "24"]
    assert main([*arguments, *(word for word in FAST if word != "--quiet"), "--radial-functions", "3"]) == 0
    shown = capsys.readouterr().out
    for line in ("O 16 of 36, Si 8 of 18 environments", "3 radial functions", "power 4, amplitude 1 eV", "kml test"):
        assert line in shown


def test_training_on_dask_gives_the_same_model(model, data, tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed")
    again = tmp_path / "again.safetensors"
    arguments = ["train", "soap", str(data), "-o", str(again), *FAST, "--sparse", "O=16", "--sparse", "Si=8"]
    assert main([*arguments, "--group-noise", "melt=2", "--dask", "--workers", "1"]) == 0
    one, other = load(model), load(again)
    for term, twin in zip(one.terms, other.terms, strict=True):
        for name in term.tensors:
            assert getattr(term, name).tobytes() == getattr(twin, name).tobytes()


def test_info_prints(model, tmp_path, capsys):
    report = tmp_path / "info.json"
    assert main(["info", str(model), "--json", str(report)]) == 0
    assert "16 sparse points" in capsys.readouterr().out
    assert json.loads(report.read_text())["elements"] == ["O", "Si"]


def test_test_shows_the_same_errors(model, data, tmp_path, capsys):
    report = tmp_path / "errors.json"
    assert main(["test", str(model), str(data), "--held-out", "--json", str(report)]) == 0
    trained = json.loads(data.with_name("report.json").read_text())["errors"]["test"]
    assert json.loads(report.read_text())["forces_mae"] == pytest.approx(trained["forces_mae"], rel=1e-6)
    assert "errors" in capsys.readouterr().out


def test_learning_curve(data, tmp_path):
    report = tmp_path / "curve.json"
    arguments = ["learning-curve", str(data), "--kind", "soap", "--sizes", "4,8", "--json", str(report)]
    assert main([*arguments, *SIZES, "--sparse", "16"]) == 0
    points = json.loads(report.read_text())
    assert [point["n_train"] for point in points] == [4, 8]
    assert set(points[0]["hyperparameters"]) == {"amplitude", "length_scale2", "amplitude2"}


def test_an_interrupt_leaves_the_old_model(data, tmp_path, monkeypatch, capsys):
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("openmm_kml.training.soap.basis.SoapBasis.rows", interrupted)
    assert main(["train", "soap", str(data), "-o", str(path), *FAST, "--sparse", "8"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sparse", "Xx=3"], "not a number of sparse points"),
        (["--sparse", "Si=0"], "not a number of sparse points"),
        (["--memory-limit", "much"], "not a size"),
    ],
)
def test_bad_options_are_refused(data, tmp_path, arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(["train", "soap", str(data), "-o", str(tmp_path / "m.safetensors"), *arguments])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sparse", "30", "--sparse", "Si=3"], "a total or numbers for the elements"),
        (["--sparse", "5000"], "sparse points are wanted for O, but its"),
        (["--memory-limit", "100MB"], "GB are allowed"),
    ],
)
def test_what_cannot_be_trained_is_refused(data, tmp_path, arguments, message, capsys):
    path = tmp_path / "m.safetensors"
    assert main(["train", "soap", str(data), "-o", str(path), *FAST, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not path.exists()
