"""Every command of ``kml``: what it prints, what it writes, and what it says of wrong input."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import water_set, write_npz, write_xyz
from models import MODELS

from openmm_kml import __version__, metrics
from openmm_kml.cli import main
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import read_molecules, split
from openmm_kml.weights import load, save

ERROR_KEYS = {"energy_mae", "energy_rmse", "energy_mae_per_atom", "forces_mae", "forces_rmse", "n_structures"}
# A test run in the background may have inherited that Ctrl-C is ignored; a command typed by a user has not.
KML = [
    sys.executable,
    "-c",
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from openmm_kml.cli import main; sys.exit(main())",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return the path of sixty frames of water."""
    return write_xyz(tmp_path_factory.mktemp("data") / "water.xyz", water_set(60))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Return the path of a model trained by the command line, and what the command reported."""
    path = tmp_path_factory.mktemp("model")
    model, report = path / "water.safetensors", path / "train.json"
    argv = ["train", "gdml", data, "-o", model, "--n-train", 20, "--n-valid", 10, "--kernel", "matern92"]
    assert kml(*argv, "--quiet", "--threads", 1, "--json", report) == 0
    return model, json.loads(report.read_text())


def kml(*words):
    """Return the exit status of a command run in this process."""
    return main([str(word) for word in words])


def leftovers(directory):
    return sorted(path.name for path in directory.iterdir())


# --- commands as a user runs them: in a process of their own


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--help"], "kml quickstart"),
        (["train", "--help"], "gdml"),
        (["train", "gdml", "--help"], "kml train gdml ethanol.xyz -o ethanol.safetensors --n-train 200"),
        (["test", "--help"], "kml test ethanol.safetensors ethanol.xyz"),
        (["learning-curve", "--help"], "kml learning-curve ethanol.xyz --sizes 50,100,200"),
        (["info", "--help"], "kml info ethanol.safetensors"),
        (["convert", "--help"], "kml convert model.npz model.safetensors"),
        (["quickstart", "--help"], "kml quickstart --output ethanol_run --seed 1"),
        (["--version"], f"kml {__version__}"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_help_shows_an_example(capsys, words, shown):
    with pytest.raises(SystemExit) as exit_info:
        kml(*words)
    assert exit_info.value.code == 0
    assert shown in capsys.readouterr().out


def test_help_needs_no_heavy_import(tmp_path):
    code = (
        "import sys\nfrom openmm_kml.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('numpy', 'scipy', 'openmm', 'ase', 'matplotlib') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr.strip() == "[]"


def test_train_then_test_then_info_in_processes_of_their_own(data, tmp_path):
    def run(*words):
        done = subprocess.run([*KML, *map(str, words)], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    printed = run(
        *("train", "gdml", data, "-o", "m.safetensors", "--n-train", 15, "--n-valid", 10, "--seed", 3),
        *("--kernel", "matern92", "--threads", 1),
    )
    assert "15 for training, 10 for validation, 35 for the test" in printed
    assert "kernel matern92" in printed
    assert "H2 H3 exchange" in printed
    next_command = next(line for line in printed.splitlines() if line.strip().startswith("kml test"))
    printed = run(*next_command.split()[1:])  # what the program proposes works as it stands
    assert "35 frames" in printed
    assert (tmp_path / "parity.png").read_bytes().startswith(b"\x89PNG")
    printed = run("info", "m.safetensors")
    for words in ("H2O", "matern92", "15 training points", "(H2 H3)", "water, 60 frames", "kml train gdml water.xyz"):
        assert words in printed
    assert leftovers(tmp_path) == ["m.safetensors", "parity.png"]


# --- train


def test_train_reports_the_errors_that_the_weight_file_has(data, trained):
    model, report = trained
    test = split(read_molecules(data), 20, 10, seed=0)[2]
    result = KernelPotential.load(model).evaluate_batch(test.positions)
    expected = metrics.errors(result.energy, result.forces, test)
    assert report["errors"]["test"] == pytest.approx(expected)
    assert report["errors"]["test"]["forces_mae"] < 0.25 * np.abs(test.forces).mean()
    assert set(report["errors"]["validation"]) == ERROR_KEYS
    assert report["symmetries"]["n_permutations"] == 2
    assert report["split"] == {"n_train": 20, "n_validation": 10, "n_test": 30, "seed": 0}
    assert load(model).provenance["errors"]["test"] == pytest.approx(expected)


def test_same_input_and_seed_give_the_same_bytes(data, trained, tmp_path):
    again = tmp_path / "again.safetensors"
    argv = ["train", "gdml", data, "-o", again, "--n-train", 20, "--n-valid", 10, "--kernel", "matern92"]
    assert kml(*argv, "--quiet", "--threads", 1, "--json", tmp_path / "r.json") == 0
    assert again.read_bytes() == trained[0].read_bytes()


@pytest.mark.parametrize("spelled", [["-o", "{}"], ["-o{}"], ["--output={}"], ["--output", "{}"]], ids=" ".join)
def test_the_command_is_recorded_without_outputs_and_directories(data, tmp_path, monkeypatch, spelled):
    monkeypatch.chdir(data.parent)
    model = tmp_path / "m.safetensors"
    output = [word.format(model) for word in spelled]
    argv = ["train", "gdml", f"./{data.name}", *output, "--n-train", 5, "--n-valid", 5, "--preset", "sgdml", "--quiet"]
    assert kml(*argv) == 0
    expected = "kml train gdml water.xyz --n-train 5 --n-valid 5 --preset sgdml --quiet"
    assert load(model).provenance["command"] == expected


def test_options_reach_the_trainer(data, tmp_path):
    model = tmp_path / "m.safetensors"
    options = "--preset sgdml --length-scale 3 --regularization 1e-9 --no-symmetries --solver direct --memory-limit 2GB"
    assert kml("train", "gdml", data, "-o", model, "--n-train", 8, "--n-valid", 8, "--quiet", *options.split()) == 0
    term = load(model).terms[0]
    assert (term.kernel, term.power, term.length_scale) == ("matern52", 1.0, 3.0)
    assert len(term.permutations) == 1
    assert term.energy_coefficients is None


def test_train_replaces_an_older_file(data, tmp_path):
    model = tmp_path / "m.safetensors"
    model.write_text("old")
    argv = ["train", "gdml", data, "-o", model, "--n-train", 5, "--n-valid", 5, "--preset", "sgdml", "--quiet"]
    assert kml(*argv) == 0
    assert load(model).terms[0].n_atoms == 3
    assert leftovers(tmp_path) == ["m.safetensors"]


def test_train_from_npz_in_kcal_without_energies(tmp_path, capsys):
    water = water_set(40)
    path = write_npz(tmp_path / "w.npz", water, E=None, e_unit=None, F=water.forces / 0.0433641043)
    model = tmp_path / "m.safetensors"
    argv = ["train", "gdml", path, "-o", model, "--n-train", 15, "--n-valid", 10, "--energy-unit", "kcal/mol"]
    assert kml(*argv, "--kernel", "matern92", "--quiet", "--json", tmp_path / "r.json") == 0
    assert "has no energies" in capsys.readouterr().err
    measured = json.loads((tmp_path / "r.json").read_text())["errors"]["test"]
    assert measured["energy_mae"] is None
    assert kml("test", model, write_npz(tmp_path / "e.npz", water)) == 0
    assert "trained without energies: they have no common zero with those of" in capsys.readouterr().err
    assert measured["forces_mae"] < 0.25 * np.abs(water.forces).mean()


def test_a_missing_engine_is_found_before_the_training(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openmm_kml.potential", None)
    assert kml("train", "gdml", data, "-o", tmp_path / "m.safetensors", "--n-train", 5, "--n-valid", 5) == 2
    captured = capsys.readouterr()
    assert "chosen" not in captured.out
    assert leftovers(tmp_path) == []


# --- test


def test_test_writes_exactly_the_six_numbers(data, trained, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert kml("test", trained[0], data, "--json", out, "--plot", tmp_path / "p.svg") == 0
    captured = capsys.readouterr()
    written = json.loads(out.read_text())
    assert set(written) == ERROR_KEYS
    molecules = read_molecules(data)
    result = KernelPotential.load(trained[0]).evaluate_batch(molecules.positions)
    assert written == pytest.approx(metrics.errors(result.energy, result.forces, molecules))
    assert "30 of its frames were used" in captured.err
    assert f"{1e3 * written['forces_mae']:.2f}" in captured.out
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")


def test_held_out_frames_are_those_of_the_training(data, trained, tmp_path):
    out = tmp_path / "out.json"
    assert kml("test", trained[0], data, "--held-out", "--json", out) == 0
    assert json.loads(out.read_text()) == pytest.approx(trained[1]["errors"]["test"])


# --- learning-curve, info, convert


def test_learning_curve(data, tmp_path, capsys):
    out, plot = tmp_path / "c.json", tmp_path / "c.png"
    argv = ["--sizes", "5,20", "--seeds", "0,1", "--n-valid", 10, "--kernel", "matern92", "--quiet", "--threads", 1]
    assert kml("learning-curve", data, *argv, "--json", out, "--plot", plot) == 0
    points = json.loads(out.read_text())
    assert [(point["seed"], point["n_train"]) for point in points] == [(0, 5), (0, 20), (1, 5), (1, 20)]
    for few, many in (points[:2], points[2:]):
        assert many["forces_mae"] < few["forces_mae"]
        assert many["n_structures"] == 30
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", MODELS)
def test_info_of_every_kind_of_model(name, tmp_path, capsys):
    path = tmp_path / "m.safetensors"
    save(MODELS[name], path)
    assert kml("info", path, "--json", tmp_path / "i.json") == 0
    term = MODELS[name].terms[0]
    assert term.kernel in capsys.readouterr().out
    described = json.loads((tmp_path / "i.json").read_text())["terms"][0]
    assert described["symmetries"]["n_permutations"] == len(term.permutations)
    assert described["trained_on_energies"] == (term.energy_coefficients is not None)


@pytest.mark.parametrize(
    "provenance",
    [
        {"data": [1], "split": "x", "errors": {"test": 5}, "converted_from": 3, "command": ["a"], "program": None},
        {"data": {"digest": 1}, "split": {"n_train": "many"}, "errors": {"test": {}}, "command": "\x1b[31mred\n"},
    ],
    ids=["other types", "control characters"],
)
def test_strange_provenance_does_no_harm(provenance, data, tmp_path, capsys):
    path = tmp_path / "m.safetensors"
    save(replace(MODELS["water-exchange"], provenance=provenance), path)
    assert kml("info", path) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert kml("test", path, data) == 0
    assert kml("test", path, data, "--held-out") == 2


def test_convert(tmp_path, capsys):
    from test_convert import as_of_2018, sgdml_arrays, write

    source = write(tmp_path / "m.npz", as_of_2018(sgdml_arrays()[0]))
    assert kml("convert", source, tmp_path / "m.safetensors", "--json", tmp_path / "c.json") == 0
    assert "11 training points, 6 permutations, in kcal/mol and Angstrom" in capsys.readouterr().out
    assert json.loads((tmp_path / "c.json").read_text())["n_training_points"] == 11
    assert kml("info", tmp_path / "m.safetensors") == 0
    assert "converted from  sGDML, ethanol" in capsys.readouterr().out


# --- wrong input: one sentence, exit status 2, nothing written


def _train(data, *more):
    return ["train", "gdml", data, "-o", "m.safetensors", "--n-train", 5, "--n-valid", 5, *more]


WRONG = {
    "no such file": (lambda d, m: _train("no.xyz"), r"no.xyz: no such file or directory"),
    "directory as data": (lambda d, m: _train("."), "is a directory; name a file of reference data"),
    "too many frames": (lambda d, m: _train(d, "--n-train", 100), "100 frames for training, 5 for validation"),
    "output in a missing directory": (lambda d, m: _train(d, "-o", "no/m.safetensors"), "there is no directory no"),
    "output is a directory": (lambda d, m: _train(d, "-o", "."), "is a directory; name a file for the weight file"),
    "report in a missing directory": (lambda d, m: _train(d, "--json", "no/r.json"), "there is no directory no"),
    "output below a file": (lambda d, m: _train(d, "-o", f"{d}/m.safetensors"), "there is no directory"),
    "preset against an option": (lambda d, m: _train(d, "--preset", "sgdml", "--power", 2), "sgdml has power 1.0"),
    "too little memory": (lambda d, m: _train(d, "--solver", "direct", "--memory-limit", "1kB"), "iterative"),
    "output is the data": (lambda d, m: _train(d, "-o", d), "water.xyz is an input, too; name another file"),
    "report is the output": (lambda d, m: _train(d, "--json", "./m.safetensors"), "is the weight file, too"),
    "output is a device": (lambda d, m: _train(d, "-o", "/dev/null"), "/dev/null is a device or a pipe"),
    "report is the model": (lambda d, m: ["info", m, "--json", m], "water.safetensors is an input, too"),
    "report is the picture": (lambda d, m: ["test", m, d, "--json", "p.png", "--plot", "p.png"], "is the report, too"),
    "converted onto itself": (lambda d, m: ["convert", d, d], "water.xyz is an input, too"),
    "unknown unit": (lambda d, m: _train(d, "--energy-unit", "erg"), "'erg' is not a unit of energy known here"),
    "unknown option": (lambda d, m: _train(d, "--frobnicate"), "unrecognized arguments: --frobnicate"),
    "no number at all": (lambda d, m: _train(d, "--n-train", "many"), "many is not a whole number above zero"),
    "no number for a length": (lambda d, m: _train(d, "--length-scale", "far"), "far is not a number above zero"),
    "a list with a gap": (lambda d, m: ["learning-curve", d, "--sizes", "5,,9"], "5,,9 is not a list of whole numbers"),
    "a shortened option": (lambda d, m: _train(d, "--length", 3), "unrecognized arguments: --length 3"),
    "data of no known format": (lambda d, m: _train("other.safetensors"), "no format that it knows"),
    "not a number": (lambda d, m: _train(d, "--length-scale", "-3"), "-3 is not a number above zero"),
    "no training points": (lambda d, m: _train(d, "--n-train", 0), "0 is not a whole number above zero"),
    "no key of that name": (lambda d, m: _train(d, "--energy-key", "u0"), "has no energy 'u0'"),
    "model is not a weight file": (lambda d, m: ["test", d, d], "water.xyz: "),
    "truncated weight file": (
        lambda d, m: ["info", "cut.safetensors"],
        "cut.safetensors: the tensors of the weight file are damaged",
    ),
    "empty weight file": (lambda d, m: ["info", "empty.safetensors"], "at least 8 bytes"),
    "data of another molecule": (lambda d, m: ["test", "other.safetensors", d], "the model is for the atoms C2OH6"),
    "held-out of another file": (lambda d, m: ["test", m, "other.xyz", "--held-out"], "is not the file that"),
    "picture of no kind": (lambda d, m: ["test", m, d, "--plot", "p.abc"], "p.abc has no ending of a picture"),
    "curve of no kind": (
        lambda d, m: ["learning-curve", d, "--sizes", "5000", "--plot", "p.abc"],
        "p.abc has no ending of a picture",  # and not that there are too few frames: found before any work
    ),
    "curve without sizes": (lambda d, m: ["learning-curve", d], "required: --sizes"),
    "curve of size zero": (lambda d, m: ["learning-curve", d, "--sizes", "0,5"], "above zero; 0 came"),
    "convert something else": (lambda d, m: ["convert", d, "m.safetensors"], "is not a .npz archive"),
    "quickstart into a file": (lambda d, m: ["quickstart", "--output", "other.xyz"], "other.xyz is a file"),
    "quickstart on no data": (lambda d, m: ["quickstart", "--data", "no.npz"], "no.npz: no such file"),
    "no command": (lambda d, m: [], "required: COMMAND"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gives_one_sentence_and_status_2(case, data, trained, tmp_path, monkeypatch, capsys):
    words, message = WRONG[case]
    monkeypatch.chdir(tmp_path)
    Path("cut.safetensors").write_bytes(trained[0].read_bytes()[:-8])
    Path("empty.safetensors").touch()
    save(MODELS["ethanol-matern52"], "other.safetensors")
    write_xyz(Path("other.xyz"), water_set(5, seed=9))
    before = leftovers(tmp_path)
    try:
        status = kml(*words(data, trained[0]))
    except SystemExit as error:  # argparse leaves this way, with the same status
        status = error.code
    captured = capsys.readouterr()
    assert status == 2
    assert message in captured.err
    last = captured.err.strip().splitlines()[-1]
    assert message in last
    assert "Traceback" not in captured.err
    assert leftovers(tmp_path) == before


def test_debug_shows_where_an_error_comes_from(tmp_path):
    with pytest.raises(FileNotFoundError):
        kml("info", tmp_path / "no.safetensors", "--debug")


def test_a_directory_that_cannot_be_written_is_found_before_the_training(data, capsys):
    # Nobody makes files in /proc, the superuser included.
    assert kml(*_train(data, "-o", "/proc/m.safetensors")) == 2
    captured = capsys.readouterr()
    assert "the weight file /proc/m.safetensors cannot be written" in captured.err
    assert "frames" not in captured.out


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("delay", [0.0, 1.0], ids=["at once", "a second later"])
def test_a_stopped_training_changes_nothing(number, status, delay, tmp_path):
    data = write_npz(tmp_path / "w.npz", water_set(1500, seed=2))
    model = tmp_path / "m.safetensors"
    model.write_text("old")
    argv = ["train", "gdml", data, "-o", model, "--n-train", 900, "--n-valid", 300, "--json", tmp_path / "r.json"]
    process = subprocess.Popen(
        [*KML, *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert "900 for training" in process.stdout.readline()
    time.sleep(delay)
    assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    assert model.read_text() == "old"
    assert leftovers(tmp_path) == ["m.safetensors", "w.npz"]
