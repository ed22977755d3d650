"""The quickstart, the script it leaves behind, and the examples, on the bundled data."""

import base64
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from openmm_kml import plots
from openmm_kml.bonds import bonds_from_positions
from openmm_kml.cli import main
from openmm_kml.potential import KernelPotential
from openmm_kml.quickstart import Settings, run_quickstart
from openmm_kml.quickstart import run as steps
from openmm_kml.quickstart.observables import bond_lengths, energy_drift
from openmm_kml.structures import duplicate_of, read_molecules

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "examples" / "data" / "ethanol_pbe.npz"
FILES = {
    "ethanol.pdb",
    "ethanol.safetensors",
    "langevin.csv",
    "langevin.dcd",
    "nve.csv",
    "nve.dcd",
    "report.html",
    "simulate.py",
}


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """Return the directory of a quickstart with tiny sizes, and what it printed."""
    directory = tmp_path_factory.mktemp("work")
    done = subprocess.run(
        [sys.executable, "-c", "from openmm_kml.cli import main; raise SystemExit(main())", "quickstart", "--quick"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return directory / "quickstart", done.stdout


def run_script(*words, cwd):
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def n_dcd_frames(path):
    """Return the number of frames that the header of a DCD file states."""
    return int.from_bytes(path.read_bytes()[8:12], "little")


# --- the bundled data


def test_the_bundled_data_are_ethanol_with_consistent_forces():
    molecules = read_molecules(DATA)
    assert DATA.stat().st_size <= 2_000_000
    assert molecules.formula == "C2OH6"
    assert len(molecules) >= 500
    assert (duplicate_of(molecules) == np.arange(len(molecules))).all()
    # A molecule in free space: forces and torques add up to nothing, up to the numerical noise of the DFT.
    assert np.abs(molecules.forces.sum(axis=1)).max() < 5e-3
    assert np.abs(np.cross(molecules.positions, molecules.forces).sum(axis=1)).max() < 2e-2


def test_the_command_finds_the_bundled_data():
    assert read_molecules(steps.bundled_data()).digest == read_molecules(DATA).digest


# --- what it leaves behind


def test_it_leaves_the_files_it_promises_and_nothing_else(quickstart):
    directory, printed = quickstart
    assert {path.name for path in directory.iterdir()} == FILES
    assert [path.name for path in directory.parent.iterdir()] == ["quickstart"]
    for name in FILES:
        assert name in printed
    assert "python quickstart/simulate.py" in printed


def test_its_model_is_better_than_nothing(quickstart):
    molecules = read_molecules(DATA)
    forces = KernelPotential.load(quickstart[0] / "ethanol.safetensors").evaluate_batch(molecules.positions).forces
    assert np.abs(forces - molecules.forces).mean() < 0.3 * np.abs(molecules.forces).mean()


def test_its_trajectories_are_whole(quickstart):
    for name in ("langevin", "nve"):
        table = np.genfromtxt(quickstart[0] / f"{name}.csv", delimiter=",", skip_header=1)
        assert len(table) == n_dcd_frames(quickstart[0] / f"{name}.dcd") == 20
        assert np.isfinite(table).all()
    total = table[:, 4]  # kJ/mol, of the run at constant energy
    potential = table[:, 2]
    assert np.ptp(total) < 0.2 * np.ptp(potential)


def test_report_is_self_contained(quickstart):
    page = (quickstart[0] / "report.html").read_text()
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!data:)", page)
    assert "://" not in page
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 4
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    for words in ("In short", "meV/Å", "ns a day", "Would more data help", "Is energy conserved", "O–H", "PBE"):
        assert words in page
    text = re.sub(r"\"data:[^\"]*\"|<[^>]*>", "", page)
    assert not re.search(r"\b(nan|inf)\b", text, re.IGNORECASE)
    _Balanced().feed(page)


class _Balanced(HTMLParser):
    """Check that every tag that is opened is closed in order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_second_run_keeps_an_edited_script(quickstart, tmp_path):
    output = tmp_path / "quickstart"
    output.mkdir()
    (output / "simulate.py").write_text("# mine\n")
    (output / "notes.txt").write_text("mine too\n")
    said = []
    settings = Settings(n_train=10, n_validation=5, sizes=(5,), picoseconds=0.1, options={"preset": "sgdml"})
    run_quickstart(output, settings, seed=2**40, data=DATA, say=said.append)  # a seed that is too large for OpenMM
    # How the bundled geometries were sampled is not said of other data.
    assert "GFN2" not in (output / "report.html").read_text(encoding="utf-8")
    assert "GFN2" in (quickstart[0] / "report.html").read_text(encoding="utf-8")
    assert (output / "simulate.py").read_text() == "# mine\n"
    assert (output / "simulate.new.py").read_bytes() == (quickstart[0] / "simulate.py").read_bytes()
    assert (output / "notes.txt").read_text() == "mine too\n"
    assert any("differs from the new one and is kept" in line for line in said)


def test_a_run_that_dies_leaves_nothing(tmp_path, monkeypatch, capsys):
    from openmm_kml.quickstart import report

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "write_report", interrupted)
    monkeypatch.setattr(Settings, "quick", lambda: Settings(10, 5, (5,), 0.1, {"preset": "sgdml"}))
    assert main(["quickstart", "--quick", "--output", str(tmp_path / "out")]) == 130
    assert list(tmp_path.iterdir()) == []
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("ensemble", ["langevin", "nve"])
def test_the_script_runs_from_anywhere(quickstart, tmp_path, ensemble):
    output = tmp_path / "mine"
    script = quickstart[0] / "simulate.py"
    printed = run_script(
        script, "--ensemble", ensemble, "--picoseconds", 0.05, "--temperature", 300, "--output", output, cwd=tmp_path
    )
    assert "Speed (ns/day)" in printed
    assert n_dcd_frames(output.with_suffix(".dcd")) == 10
    assert {path.name for path in tmp_path.iterdir()} == {"mine.csv", "mine.dcd"}


# --- examples


@pytest.mark.parametrize(
    ("name", "sizes", "shown"),
    [("run_openmm", [50, 12], "system.xml would have"), ("ase_md", [20], "relaxed: -42")],
)
def test_examples_run(quickstart, tmp_path, name, sizes, shown):
    script = ROOT / "examples" / f"{name}.py"
    assert shown in run_script(script, quickstart[0] / "ethanol.safetensors", *sizes, cwd=tmp_path)


def test_example_of_training_runs(tmp_path):
    printed = run_script(ROOT / "examples" / "train_from_python.py", DATA, "m.safetensors", 15, 10, cwd=tmp_path)
    assert "forces_mae" in printed
    assert KernelPotential.load(tmp_path / "m.safetensors").species.tolist() == [6, 6, 8, 1, 1, 1, 1, 1, 1]


# --- numbers of the report


def test_drift_of_a_known_line():
    time = np.linspace(0, 5, 1001)
    ripple = 1e-3 * np.sin(200 * time)
    slope, error, scatter = energy_drift(time, -4000 + 2e-5 * time + ripple, 4)
    assert slope == pytest.approx(1e6 * 2e-5 / 4, abs=3 * error)
    assert scatter == pytest.approx(np.sqrt(0.5), rel=0.02)  # meV
    assert energy_drift(time, np.full(1001, -4000.0) + ripple, 4)[0] == pytest.approx(0, abs=3 * error)


def test_the_error_of_a_drift_covers_the_truth_where_the_energy_wanders():
    """Noise that remembers itself for a tenth of the run, without a drift: nearly all intervals hold the zero."""
    rng = np.random.default_rng(0)
    time = np.linspace(0, 5, 1001)
    memory = np.exp(-(time[1] - time[0]) / 0.5)
    covered = 0
    for _ in range(200):
        total = np.zeros(1001)
        for k, kick in enumerate(rng.normal(size=1000)):
            total[k + 1] = memory * total[k] + kick
        slope, error, _ = energy_drift(time, 1e-4 * total, 9)
        covered += abs(slope) < error
    assert covered > 0.85 * 200


def test_bonds_of_ethanol():
    molecules = read_molecules(DATA)
    pairs = bonds_from_positions(molecules.numbers, molecules.positions[np.argmin(molecules.energies)])
    assert len(pairs) == 8
    lengths = bond_lengths(molecules.numbers, pairs, molecules.positions)
    assert list(lengths) == ["C–C", "C–O", "C–H", "O–H"]
    assert len(lengths["C–H"]) == 5 * len(molecules)
    means = {kind: round(float(values.mean()), 1) for kind, values in lengths.items()}
    assert means == {"C–C": 1.5, "C–O": 1.4, "C–H": 1.1, "O–H": 1.0}


def test_the_same_picture_gives_the_same_bytes():
    points = [{"n_train": n, "seed": 0, "energy_mae": 1 / n, "forces_mae": 2 / n} for n in (10, 20, 40)]
    for suffix in ("png", "svg"):
        assert plots.figure_bytes(plots.curve(points), suffix) == plots.figure_bytes(plots.curve(points), suffix)
