"""Exploring in LAMMPS: runs that halt where the model is unsure, the frames of their dumps, and what is missing."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from lammps_helpers import needs_lammps, plugin_line
from references import MorseMolecule
from synthetic import template

from openmm_kml.active_learning import Recipe, Settings, learn
from openmm_kml.active_learning.explore import FINISHED, UNCERTAIN, UNSTABLE, Explorer, Walk
from openmm_kml.active_learning.journal import read_state
from openmm_kml.active_learning.uncertainty import ModelUncertainty, score
from openmm_kml.errors import DataError
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import Structure
from openmm_kml.training import GDMLOptions
from openmm_kml.training.nbody import NBodyOptions

SETTINGS = Settings(
    temperatures=(300, 900),
    walkers=1,
    steps=60,
    interval=10,
    timestep=3.0,
    budget=8,
    initial=4,
    rattle=0.05,
    engine="lammps",
)
COPPER = Recipe(
    "nbody", NBodyOptions(cutoff2=4.0, cutoff3=0, length_scale2=0.7, amplitude2=1.0, spacing2=0.3, progress=False)
)


def crystal():
    atoms = bulk("Cu", "fcc", 3.61, cubic=True) * (2, 2, 1)
    return Structure(atoms.numbers, atoms.positions, atoms.cell.array, True)


def quiet(directory, recipe, settings, calculator, start):
    return learn(directory, recipe, settings, calculator, start, say=lambda _: None, progress=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the directory of a campaign of copper, and its summary."""
    plugin_line()
    directory = tmp_path_factory.mktemp("campaign") / "run"
    return directory, quiet(directory, COPPER, SETTINGS, EMT(), [crystal()])


@needs_lammps
def test_a_campaign_learns_copper_at_two_temperatures(finished):
    directory, summary = finished
    assert summary.calls == 8
    for known in read_state(directory)["rounds"]:
        folder = directory / f"round-{known['round']:03d}"
        for number, kelvin in ((1, "300"), (2, "900")):
            run = folder / f"run-{number:02d}"
            assert f"fix bath all langevin {kelvin} {kelvin}" in (run / "deck").read_text()
            walk = Walk.from_bytes((folder / f"walk-{number:02d}.json").read_bytes())
            assert walk.looks
        for pick in known["picks"]:
            assert pick["uncertainty"] > known["threshold"]


@needs_lammps
def test_a_campaign_goes_on_and_makes_half_a_run_anew(finished, tmp_path):
    directory, _ = finished
    shutil.copytree(directory, tmp_path / "run")
    half = tmp_path / "run" / f"round-{len(read_state(directory)['rounds']) + 1:03d}" / "run-01"
    half.mkdir()
    (half / "frames.dump").write_text("ITEM: TIMESTEP\n")
    summary = quiet(tmp_path / "run", COPPER, replace(SETTINGS, budget=9), EMT(), None)
    assert summary.calls == 9
    assert (half / "frames.dump").read_text().count("ITEM: TIMESTEP") > 1


@pytest.fixture
def explorer(finished):
    """Return a function that makes an explorer of the campaign's last model with some bounds."""
    _, summary = finished
    potential = KernelPotential.load(summary.model)

    def make(threshold, bound, **changes):
        settings = replace(SETTINGS, **changes)
        uncertainty = ModelUncertainty(potential)
        return Explorer(potential, uncertainty, threshold, bound, settings, model=summary.model)

    return make, potential


@needs_lammps
def test_looks_are_those_of_the_engine(explorer, tmp_path):
    make, potential = explorer
    kept = []
    walk = make(np.inf, np.inf).walk(crystal(), 300, 5, tmp_path / "run", kept.append)
    assert (walk.reason, walk.step) == (FINISHED, 60)
    assert [step for step, *_ in walk.looks] == [10, 20, 30, 40, 50, 60]
    for frame, (_, energy, value) in zip(kept, walk.looks, strict=True):
        assert energy == pytest.approx(potential.evaluate(frame.positions, frame.numbers, frame.cell, True).energy)
        assert value == score(ModelUncertainty(potential), frame)
    again = make(np.inf, np.inf).walk(crystal(), 300, 5, tmp_path / "run")
    assert again.to_bytes() == walk.to_bytes()
    other = make(np.inf, np.inf).walk(crystal(), 300, 6, tmp_path / "run")
    assert other.to_bytes() != walk.to_bytes()


@needs_lammps
def test_lammps_halts_above_the_bound(explorer, tmp_path):
    make, _ = explorer
    free = make(np.inf, np.inf).walk(crystal(), 900, 5, tmp_path / "free")
    values = [value for *_, value in free.looks]
    bound = 0.999 * max(values[:-1])  # crossed on the way
    place = next(k for k, value in enumerate(values) if value > bound)
    assert place < len(values) - 1
    walk = make(0.0, bound).walk(crystal(), 900, 5, tmp_path / "run")
    assert (walk.reason, walk.step) == (UNCERTAIN, 10 * (place + 1))
    dumped = (tmp_path / "run" / "frames.dump").read_text().count("ITEM: TIMESTEP")
    assert dumped == place + 2  # the start, and nothing after the halt


@needs_lammps
def test_a_run_that_leaves_physics_is_told(explorer, tmp_path):
    make, _ = explorer
    walk = make(0.0, np.inf, timestep=10.0).walk(crystal(), 30000, 5, tmp_path / "run")
    assert walk.reason == UNSTABLE
    assert walk.end is None


@needs_lammps
def test_the_barostat_changes_the_box(explorer, tmp_path):
    make, _ = explorer
    kept = []
    make(np.inf, np.inf, pressure=1.0).walk(crystal(), 300, 5, tmp_path / "run", kept.append)
    volumes = [frame.volume for frame in kept]
    assert len(set(volumes)) == len(volumes)
    np.testing.assert_allclose(volumes, crystal().volume, rtol=0.2)


@needs_lammps
def test_a_molecule_learns(tmp_path):
    plugin_line()
    numbers, positions = template("H2O")
    fixed = {"power": 1.0, "kernel": "matern52", "length_scale": 1.0, "regularization": 1e-8, "energies": True}
    recipe = Recipe("gdml", GDMLOptions(**fixed, symmetries=False, n_threads=1, progress=False))
    settings = replace(SETTINGS, timestep=1.0, initial=6, every=3, rattle=0.02, temperatures=(300,), budget=8)
    summary = quiet(tmp_path / "run", recipe, settings, MorseMolecule(), [Structure(numbers, positions)])
    assert summary.calls == 8
    assert "kml/global" in (tmp_path / "run" / "round-001" / "run-01" / "deck").read_text()
    walk = Walk.from_bytes((tmp_path / "run" / "round-001" / "walk-01.json").read_bytes())
    potential = KernelPotential.load(tmp_path / "run" / "round-001" / "model.safetensors")
    step, energy, _ = walk.looks[-1]
    assert step == walk.step
    assert walk.reason in (FINISHED, UNCERTAIN)
    assert energy == pytest.approx(potential.evaluate(walk.end.positions).energy, abs=1e-8)


def test_without_lammps_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    from openmm_kml.interfaces import _lammps_installation

    monkeypatch.setattr(_lammps_installation, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"exploring needs LAMMPS and its plugin, but .*pip install 'lammps\[mpi\]'"):
        quiet(tmp_path / "run", COPPER, SETTINGS, EMT(), [crystal()])
    assert not (tmp_path / "run").exists()
