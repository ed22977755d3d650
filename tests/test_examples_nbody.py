"""The examples of two- and three-body models run; their reference potential has exact derivatives."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from checks import check_forces, check_virial

from openmm_kml.reference import evaluate_structure
from openmm_kml.weights import load

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def load_example(name):
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def silicon():
    return load_example("silicon")


def test_stillinger_weber_has_its_published_crystal(silicon):
    crystal = bulk("Si", "diamond", 5.431)
    crystal.calc = silicon.StillingerWeber()
    # -2 ε an atom at the lattice constant of the paper: each atom has four bonds of -ε and perfect angles.
    assert crystal.get_potential_energy() / 2 == pytest.approx(-2 * silicon.EPSILON, abs=1e-4)
    np.testing.assert_allclose(crystal.get_stress(), 0, atol=1e-4)


def test_stillinger_weber_has_exact_forces_and_virial(silicon):
    atoms = bulk("Si", "diamond", 5.3, cubic=True)
    atoms.rattle(0.25, seed=1)
    cell = atoms.cell.array.copy()
    atoms.calc = silicon.StillingerWeber()

    def evaluate(positions):
        atoms.positions = positions
        virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
        return atoms.get_potential_energy(), atoms.get_forces(), virial

    check_forces(evaluate, atoms.positions.copy())
    free = bulk("Si", "diamond", 5.3, cubic=True)
    free.rattle(0.25, seed=1)
    free.center(vacuum=6)
    free.calc = silicon.StillingerWeber()

    def evaluate_free(positions):
        free.positions = positions
        virial = -free.get_stress(voigt=False) * free.get_volume()
        return free.get_potential_energy(), free.get_forces(), virial

    check_virial(evaluate_free, free.positions.copy())
    np.testing.assert_array_equal(atoms.cell.array, cell)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_noisy_forces_give_the_lennard_jones_potential(tmp_path, monkeypatch, capsys):
    example = load_example("lennard_jones")
    path = tmp_path / "argon.safetensors"
    arguments = ["lennard_jones.py", "--output", str(path), "--frames", "5", "--fluid-frames", "0"]
    monkeypatch.setattr("sys.argv", arguments)
    example.main()
    output = capsys.readouterr().out
    found = float(output.split("noise found ")[1].split()[0])
    assert found == pytest.approx(20, rel=0.06)  # 1,620 forces tell a deviation to 2 %, and the splines take a few
    weights = load(path)
    r = np.linspace(3.4, 7.0, 20)
    learned = [evaluate_structure(weights, [[0, 0, 0], [0, 0, d]], [18, 18])[1][1, 2] for d in r]
    assert np.abs(learned - example.pair_force(r)).max() < 5e-3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_beads_of_water_are_trained_and_move(tmp_path, monkeypatch, capsys):
    example = load_example("coarse_grained_water")
    counts = ["--frames", "3", "--steps", "5", "--equilibration", "20", "--coarse-frames", "1"]
    monkeypatch.setattr("sys.argv", ["coarse_grained_water.py", "--folder", str(tmp_path), *counts])
    example.main()
    assert "unexplained" in capsys.readouterr().out
    assert [term.kind for term in load(tmp_path / "water_pairs.safetensors").terms] == ["spline2"]
    assert [term.kind for term in load(tmp_path / "water_triples.safetensors").terms] == ["spline2", "spline3"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_silicon_is_learned(silicon, tmp_path, monkeypatch, capsys):
    path = tmp_path / "silicon.safetensors"
    arguments = [
        "silicon.py",
        "--output",
        str(path),
        "--frames",
        "3",
        "--steps",
        "5",
        "--melt-frames",
        "0",
        "--spacing3",
        "0.7",
    ]
    monkeypatch.setattr("sys.argv", arguments)
    silicon.main()
    output = capsys.readouterr().out
    assert "all unseen" in output
    assert [term.kind for term in load(path).terms] == ["spline2", "spline3", "repulsion"]
