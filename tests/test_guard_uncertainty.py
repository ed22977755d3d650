"""``kml md --guard-uncertainty``: what stops a run or flags its frames, what is kept, and how it goes on."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from local_models import diamond, uncertain
from stillinger_weber import spline_model
from trained import ethanol_minimum, ethanol_potential

from openmm_kml import md
from openmm_kml.cli import main
from openmm_kml.doubt import AUTO_FACTOR, doubt_of
from openmm_kml.errors import DataError
from openmm_kml.md.guard import SimulationError
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import Weights, to_bytes

OPTIONS = {"temperature": 600, "timestep": 1.0, "interval": 10, "guard_interval": 5}


def model(provenance=None):
    weights = uncertain(spline_model(), 4, atom_floor=1e-3)
    if provenance:
        weights = Weights(**{**vars(weights), "provenance": provenance})
    return KernelPotential.from_bytes(to_bytes(weights))


@pytest.fixture
def crystal(tmp_path):
    """Return a start of two frames, the second of which is the more uncertain one."""
    positions, cell = diamond(5.43)
    rng = np.random.default_rng(3)
    frames = [
        Atoms("Si8", positions + rng.normal(0, size, positions.shape), cell=cell, pbc=True) for size in (0.02, 0.1)
    ]
    path = tmp_path / "si.xyz"
    ase.io.write(path, frames, format="extxyz")
    return path


def values(potential, path):
    return [doubt_of(potential, f.positions, f.numbers, f.cell.array).value for f in ase.io.read(path, ":")]


def run(potential, start, directory, resume=False, **options):
    settings = md.Settings(**(OPTIONS | {"steps": 40} | options))
    return md.run(potential, start, directory, settings, resume=resume, progress=False)


def table(directory):
    return np.genfromtxt(directory / "uncertainty.csv", delimiter=",", names=True)


def test_looks_are_written_and_a_high_threshold_stops_nothing(crystal, tmp_path):
    potential = model()
    summary = run(potential, crystal, tmp_path / "run", guard_uncertainty=1e3)
    rows = table(tmp_path / "run")
    assert list(rows["step"]) == list(range(0, 41, 5))
    assert rows["uncertainty_eV"][0] == pytest.approx(values(potential, crystal)[0], rel=1e-9)
    assert "0 of 9 looks above the uncertainty of 1e+03 eV (as given)" in summary.uncertainty
    assert not (tmp_path / "run" / "uncertain.xyz").exists()


def test_the_trajectory_is_that_of_a_run_without_the_guard(crystal, tmp_path):
    run(model(), crystal, tmp_path / "with", guard_uncertainty=1e3)
    run(model(), crystal, tmp_path / "without")
    assert (tmp_path / "with" / "energies.csv").read_bytes() == (tmp_path / "without" / "energies.csv").read_bytes()


def stopped(crystal, tmp_path, potential):
    """Return a threshold that a run reaches between its steps 5 and 35, and the first step above it."""
    run(potential, crystal, tmp_path / "free", guard_uncertainty=1e3)
    rows = table(tmp_path / "free")
    found = rows["uncertainty_eV"]
    k = next(k for k in range(1, 8) if found[k] > found[:k].max())
    return 0.5 * (found[k] + found[:k].max()), int(rows["step"][k])


def test_a_stopped_run_keeps_the_frame_and_goes_on_with_another_threshold(crystal, tmp_path):
    potential = model()
    threshold, step = stopped(crystal, tmp_path, potential)
    directory = tmp_path / "run"
    sentence = (
        f"stopped at step {step}: the standard deviation of the energy of atom Si[0-9]+ is .* above the threshold"
    )
    with pytest.raises(SimulationError, match=sentence):
        run(potential, crystal, directory, guard_uncertainty=threshold)
    frame = ase.io.read(directory / "uncertain.xyz")
    doubt = doubt_of(potential, frame.positions, frame.numbers, frame.cell.array)
    assert frame.info["step"] == step
    assert frame.info["atom"] == doubt.atom
    assert frame.info["uncertainty_eV"] == pytest.approx(doubt.value, rel=1e-9)
    assert doubt.value > threshold
    # The same threshold stops it at once, in the same words; a higher one lets it go on as if nothing had been.
    with pytest.raises(SimulationError, match=sentence):
        run(potential, crystal, directory, resume=True, guard_uncertainty=threshold)
    run(potential, crystal, directory, resume=True, guard_uncertainty=1e3)
    assert list(table(directory)["step"]) == list(range(0, 41, 5))
    energies = [np.genfromtxt(path / "energies.csv", delimiter=",") for path in (directory, tmp_path / "free")]
    np.testing.assert_allclose(*energies, rtol=1e-9)


def test_flagged_frames_are_kept_and_not_doubled_by_a_continuation(crystal, tmp_path):
    potential = model()
    options = {"guard_uncertainty": 1e-6, "guard_action": "flag"}
    run(potential, crystal, tmp_path / "run", steps=20, **options)
    summary = run(potential, crystal, tmp_path / "run", resume=True, **options)
    frames = ase.io.read(tmp_path / "run" / "uncertain.xyz", ":")
    assert [frame.info["step"] for frame in frames] == list(range(0, 41, 5))
    assert list(table(tmp_path / "run")["step"]) == list(range(0, 41, 5))
    assert "frames in" in summary.uncertainty
    assert tmp_path / "run" / "uncertain.xyz" in summary.files


def test_the_automatic_threshold_is_what_the_file_records_or_else_that_of_the_start(crystal, tmp_path):
    recorded = model({"uncertainty": {"n_frames": 3, "median": 0.1, "largest": 250.0}})
    summary = run(recorded, crystal, tmp_path / "recorded", guard_uncertainty="auto")
    assert f"above the uncertainty of {AUTO_FACTOR * 250:.3g} eV" in summary.uncertainty
    assert "the weight file records" in summary.uncertainty
    expected = AUTO_FACTOR * max(values(model(), crystal))
    summary = run(model(), crystal, tmp_path / "start", guard_uncertainty="auto", guard_action="flag")
    assert f"above the uncertainty of {expected:.3g} eV" in summary.uncertainty
    assert "2 frames of the start" in summary.uncertainty


def test_from_the_command_line_a_molecule(tmp_path, capsys):
    potential = ethanol_potential()
    (tmp_path / "m.safetensors").write_bytes(potential.to_bytes())
    order = [4, 0, 1, 2, 3, 5, 6, 7, 8]  # not the model's
    ase.io.write(tmp_path / "e.xyz", Atoms(potential.species, ethanol_minimum())[order])
    words = ["md", str(tmp_path / "m.safetensors"), str(tmp_path / "e.xyz"), "--steps", "20", "--interval", "10"]
    words += ["--guard-interval", "10", "--guard-uncertainty"]
    assert main([*words, "1e-9", "-o", str(tmp_path / "stopped"), "--quiet"]) == 2
    err = capsys.readouterr().err
    assert "stopped at step 0: the standard deviation of the energy is" in err
    assert "eV an atom, above the threshold" in err
    frame = ase.io.read(tmp_path / "stopped" / "uncertain.xyz")
    np.testing.assert_array_equal(frame.numbers, potential.species)  # in the model's order, ready to be labeled
    assert frame.info["uncertainty_eV"] == pytest.approx(doubt_of(potential, frame.positions).value, rel=1e-6)
    assert main([*words, "1e-9", "--guard-action", "flag", "-o", str(tmp_path / "flagged")]) == 0
    assert "3 of 3 looks above the uncertainty of 1e-09 eV" in capsys.readouterr().out
    assert main([*words, "auto", "-o", str(tmp_path / "auto"), "--quiet"]) == 0


def test_a_model_without_uncertainty_is_refused_before_anything_is_written(crystal, tmp_path):
    bare = KernelPotential.from_bytes(to_bytes(spline_model()))
    with pytest.raises(DataError, match="no uncertainty that a guard could compare"):
        run(bare, crystal, tmp_path / "run", guard_uncertainty=1.0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"guard_uncertainty": -1.0}, "the threshold must be auto or a finite number"),
        ({"guard_action": "shout"}, "guard_action must be one of stop, flag"),
        ({"guard_interval": 0}, "guard_interval must be a whole number of 1 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, text):
    with pytest.raises(ValueError, match=text):
        md.Settings(**change)
