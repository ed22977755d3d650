"""``kml md``: what it writes, how it goes on after a kill, what stops it, and what it refuses."""

import json
import signal
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trained import ethanol_minimum, ethanol_potential

from openmm_kml import md
from openmm_kml.cli import main
from openmm_kml.elements import symbol
from openmm_kml.md.checkpoint import read_checkpoint
from openmm_kml.md.guard import Guard
from openmm_kml.md.outputs import DCD, Table
from openmm_kml.md.start import model_order, pdb_text, read_start
from openmm_kml.md.system import build_integrator
from openmm_kml.weights import save

KML = (sys.executable, "-c", "from openmm_kml.cli import main; raise SystemExit(main())")
DCD_HEADER = 276  # bytes; the time of writing is among them


def write_xyz(path, numbers, positions):
    lines = [str(len(numbers)), ""]
    lines += [f"{symbol(z)} {x:.10f} {y:.10f} {w:.10f}" for z, (x, y, w) in zip(numbers, positions, strict=True)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def inputs(tmp_path):
    """Return the paths of a model and a start, as the command line takes them."""
    potential = ethanol_potential()
    model, start = tmp_path / "ethanol.safetensors", tmp_path / "ethanol.xyz"
    model.write_bytes(potential.to_bytes())
    write_xyz(start, potential.species, ethanol_minimum())
    return [str(model), str(start)]


def options(directory, steps, **more):
    words = ["-o", str(directory), "--steps", str(steps), "--interval", "20", "--quiet"]
    for name, value in more.items():
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return words


def table(directory):
    return np.genfromtxt(directory / "energies.csv", delimiter=",", names=True)


def dcd_frames(path, n_atoms=9):
    """Return the frame count of the header and the positions of shape (frames, n_atoms, 3), Å."""
    data = path.read_bytes()
    record = np.frombuffer(data[DCD_HEADER:], "<f4").reshape(-1, 3, n_atoms + 2)
    return struct.unpack("<i", data[8:12])[0], record[:, :, 1:-1].transpose(0, 2, 1)


def test_constant_energy_is_constant_and_the_files_agree(inputs, tmp_path):
    run = tmp_path / "run"
    assert main(["md", *inputs, *options(run, 400, ensemble="nve", timestep=0.25)]) == 0
    rows = table(run)
    assert list(rows["step"]) == list(range(0, 401, 20))
    total = rows["total_energy_eV"]
    assert rows["potential_energy_eV"].std() > 0.02
    assert np.abs(total - total[0]).max() < 0.003
    np.testing.assert_allclose(total, rows["potential_energy_eV"] + rows["kinetic_energy_eV"], rtol=1e-9)
    count, frames = dcd_frames(run / "trajectory.dcd")
    assert count == len(frames) == len(rows)
    energies = ethanol_potential().evaluate_batch(frames.astype(float)).energy
    np.testing.assert_allclose(energies, rows["potential_energy_eV"], atol=2e-5)  # frames are in single precision


def test_the_thermostat_holds_the_temperature(inputs, tmp_path):
    run = tmp_path / "run"
    assert main(["md", *inputs, *options(run, 6000, temperature=250, friction=50)]) == 0
    assert table(run)["temperature_K"][50:].mean() == pytest.approx(250, rel=0.08)


@pytest.mark.parametrize("trajectory", ["dcd", "xtc"])
def test_a_killed_run_continues_bit_for_bit(inputs, tmp_path, trajectory):
    command = [*KML, "md", *inputs]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = options(killed, 10**9, trajectory=trajectory, checkpoint_seconds=0.05)
    process = subprocess.Popen(command + words, cwd=tmp_path)
    try:
        _wait_for_step(killed / "checkpoint", 100)
    finally:
        process.kill()
        process.wait()
    step = read_checkpoint(killed / "checkpoint")[0]
    # What a kill may leave behind: lines and frames after the checkpoint, the last of them torn.
    for name in ("energies.csv", f"trajectory.{trajectory}"):
        with (killed / name).open("ab") as file:
            file.write(b"torn")
    steps = step + 110
    assert main(["md", *inputs, *options(killed, steps, trajectory=trajectory), "--resume"]) == 0
    assert main(["md", *inputs, *options(whole, steps, trajectory=trajectory)]) == 0
    assert (killed / "energies.csv").read_bytes() == (whole / "energies.csv").read_bytes()
    frames = [(path / f"trajectory.{trajectory}").read_bytes() for path in (killed, whole)]
    if trajectory == "dcd":
        assert dcd_frames(killed / "trajectory.dcd")[0] == steps // 20 + 1
        assert frames[0][:DCD_HEADER][:24] == frames[1][:DCD_HEADER][:24]
        frames = [data[DCD_HEADER:] for data in frames]
    assert frames[0] == frames[1]
    states = [read_checkpoint(path / "checkpoint")[3] for path in (killed, whole)]
    assert states[0] == states[1]


def _wait_for_step(checkpoint, step, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if checkpoint.exists() and read_checkpoint(checkpoint)[0] >= step:
            return
        time.sleep(0.02)
    raise AssertionError(f"{checkpoint} did not reach step {step} in {seconds} s")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_a_checkpoint_of_its_last_step(inputs, tmp_path, number):
    run = tmp_path / "run"
    command = [*KML, "md", *inputs, *options(run, 10**9)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    _wait_for_rows(run / "energies.csv", 3)
    process.send_signal(number)
    message = process.communicate(timeout=30)[1]
    assert process.returncode == 128 + number
    step = read_checkpoint(run / "checkpoint")[0]
    assert f"interrupted at step {step}; --resume" in message
    assert table(run)["step"][-1] == step // 20 * 20


def _wait_for_rows(path, n, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b"\n") > n:
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} did not get {n} lines in {seconds} s")


def test_noise_is_not_repeated_after_a_continuation():
    """Platforms whose checkpoints lack the random state would repeat the noise of step 0."""
    settings = md.Settings(seed=3)
    seeds = [build_integrator(settings, step).getRandomNumberSeed() for step in (0, 0, 100)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_a_run_continues_on_the_cpu_platform(inputs, tmp_path):
    run = tmp_path / "run"
    assert main(["md", *inputs, *options(run, 60, platform="cpu")]) == 0
    assert main(["md", *inputs, *options(run, 120, platform="CPU"), "--resume"]) == 0
    assert list(table(run)["step"]) == list(range(0, 121, 20))
    assert dcd_frames(run / "trajectory.dcd")[0] == 7


# --- the guard


@pytest.fixture(scope="module")
def guard(tmp_path_factory):
    path = tmp_path_factory.mktemp("guard") / "ethanol.xyz"
    write_xyz(path, ethanol_potential().species, ethanol_minimum())
    masses = np.array([12.0, 12.0, 16.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    return Guard(read_start(path), masses, 27, md.Settings())


def test_the_guard_accepts_what_is_well(guard):
    assert guard.complaint(ethanol_minimum(), np.zeros((9, 3))) is None


def test_the_guard_names_a_broken_bond(guard):
    positions = ethanol_minimum().copy()
    partner = np.argsort(np.linalg.norm(positions - positions[2], axis=1))[1]  # the hydrogen of the hydroxyl group
    positions[partner] += 2 * (positions[partner] - positions[2])
    assert f"the bond O3–H{partner + 1} is 2.9" in guard.complaint(positions, np.zeros((9, 3)))


def test_the_guard_names_atoms_that_are_too_close(guard):
    positions = ethanol_minimum().copy()
    positions[4] = positions[5] + [0.2, 0, 0]  # two hydrogens of one carbon
    assert guard.complaint(positions, np.zeros((9, 3))) == "H5–H6 are 0.20 Å apart, below 0.31 Å"


def test_the_guard_notices_heat(guard):
    assert "the temperature is" in guard.complaint(ethanol_minimum(), np.full((9, 3), 10.0))


@pytest.mark.parametrize("what", ["positions", "velocities", "energy"])
def test_the_guard_notices_what_is_not_finite(guard, what):
    values = {"positions": ethanol_minimum().copy(), "velocities": np.zeros((9, 3)), "energy": 0.0}
    if what == "energy":
        values[what] = np.nan
    else:
        values[what][4, 1] = np.inf
    assert "not finite" in guard.complaint(**values)


def test_a_run_that_leaves_physics_is_stopped(inputs, tmp_path, capsys):
    run, model = tmp_path / "run", tmp_path / "no_walls.safetensors"
    weights = ethanol_potential().weights
    save(replace(weights, terms=tuple(term for term in weights.terms if term.kind != "walls")), model)
    words = [
        "md",
        str(model),
        inputs[1],
        *options(run, 10000, temperature=3000, friction=50, max_temperature=20000, timestep=1),
    ]
    assert main(words) == 2
    message = capsys.readouterr().err
    rows = table(run)["step"]
    step = int(message.split("was stopped at step ")[1].split(":")[0])
    assert rows[-1] < step <= rows[-1] + 20
    frames = (run / "last_good.xyz").read_text()
    assert frames.count("step=") == min(10, len(rows))
    assert f"step={int(rows[-1])}\n" in frames
    assert dcd_frames(run / "trajectory.dcd")[0] == len(rows)


def test_a_continuation_that_fails_at_once_tells_where_the_run_was_still_good(inputs, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["md", *inputs, *options(run, 20)]) == 0
    assert main(["md", *inputs, *options(run, 40, max_temperature=0.1), "--resume"]) == 2
    assert "was stopped at step 40: the temperature is" in (message := capsys.readouterr().err)
    assert "it was good at step 20, and" in message
    frames = (run / "last_good.xyz").read_text()
    assert frames.count("step=") == 1
    assert "step=20\n" in frames


# --- what is refused


def refused(capsys, words, text):
    assert main(["md", *words]) == 2
    message = capsys.readouterr().err
    assert message.startswith("kml: error: ")
    assert message.count("\n") == 1
    assert text in message


def test_an_unknown_platform_is_refused(inputs, tmp_path, capsys):
    text = "OpenMM has no platform 'Abacus' here; choose one of Reference, CPU"
    refused(capsys, [*inputs, *options(tmp_path / "run", 10, platform="Abacus")], text)


def test_constant_pressure_is_refused_with_the_reason(inputs, tmp_path, capsys):
    refused(capsys, [*inputs, *options(tmp_path / "run", 10, ensemble="npt")], "npt is not possible for a lone")


def test_another_molecule_is_refused(inputs, tmp_path, capsys):
    start = tmp_path / "water.xyz"
    write_xyz(start, [8, 1, 1], np.eye(3))
    words = [inputs[0], str(start), *options(tmp_path / "run", 10)]
    refused(capsys, words, "the model is for C2H6O, but the start is H2O")
    assert not (tmp_path / "run").exists()


def test_atoms_in_another_order_find_their_places(inputs, tmp_path):
    """The table of energies is the same, and the frames stay in the order of the start."""
    order = [8, 2, 4, 0, 3, 6, 1, 7, 5]
    words = options(tmp_path / "one", 40, ensemble="nve")
    assert main(["md", *inputs, *words]) == 0
    start = read_start(inputs[1])
    write_xyz(tmp_path / "other.xyz", start.numbers[order], start.positions[order])
    assert main(["md", inputs[0], str(tmp_path / "other.xyz"), *options(tmp_path / "two", 20, ensemble="nve")]) == 0
    first, second = table(tmp_path / "one"), table(tmp_path / "two")
    assert first["potential_energy_eV"][0] == pytest.approx(second["potential_energy_eV"][0], abs=1e-9)
    frames = [dcd_frames(tmp_path / name / "trajectory.dcd")[1] for name in ("one", "two")]
    np.testing.assert_allclose(frames[0][0][order], frames[1][0], atol=1e-6)


def test_hydrogens_exchanged_within_the_order_of_elements_find_their_places(inputs, tmp_path):
    """Elements and bonds are those of the model in its order, but no frame of the training data looks like that."""
    start = read_start(inputs[1])
    order = [0, 1, 2, 3, 5, 4, 6, 7, 8]
    write_xyz(tmp_path / "other.xyz", start.numbers, start.positions[order])
    exchanged = read_start(tmp_path / "other.xyz")
    potential = ethanol_potential()
    particles = list(model_order(potential, exchanged))
    expected = potential.evaluate(start.positions).energy
    assert potential.evaluate(exchanged.positions).energy != pytest.approx(expected, abs=1e-3)
    assert potential.evaluate(exchanged.positions[particles]).energy == pytest.approx(expected, abs=1e-8)


def test_a_start_in_the_order_of_the_model_stays_in_it(inputs):
    """Also where the bonds or the distances would do for another labeling."""
    start = read_start(inputs[1])
    potential = ethanol_potential()
    assert model_order(potential, start) == tuple(range(9))
    for row in potential.weights.terms[0].permutations:
        assert model_order(potential, replace(start, positions=start.positions[row])) == tuple(range(9))
    far = replace(start, positions=start.positions * 1.08)
    assert model_order(potential, far) == tuple(range(9))


def test_a_start_with_other_bonds_is_refused(inputs, tmp_path, capsys):
    """Dimethyl ether has the formula of ethanol."""
    from ase.build import molecule

    ether = molecule("CH3OCH3")
    write_xyz(tmp_path / "ether.xyz", ether.numbers, ether.positions)
    refused(capsys, [inputs[0], str(tmp_path / "ether.xyz"), *options(tmp_path / "run", 10)], "bonds")


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("start.xyz", "no numbers here", "cannot be read by ASE"),
        ("start.pdb", "no atoms here", "start.pdb is not a PDB file with atoms"),
        ("missing.xyz", None, "no such file or directory"),
        ("missing.pdb", None, "no such file or directory"),
    ],
)
def test_a_start_that_cannot_be_read_is_refused(inputs, tmp_path, capsys, name, content, text):
    if content is not None:
        (tmp_path / name).write_text(content)
    refused(capsys, [inputs[0], str(tmp_path / name), *options(tmp_path / "run", 10)], text)


def test_a_pdb_file_starts_a_run(inputs, tmp_path):
    (tmp_path / "start.pdb").write_text(pdb_text(read_start(inputs[1])))
    assert main(["md", inputs[0], str(tmp_path / "start.pdb"), *options(tmp_path / "run", 20, minimize=True)]) == 0
    assert "HETATM" in (tmp_path / "run" / "start.pdb").read_text()


def test_a_start_with_coincident_atoms_is_refused(inputs, tmp_path, capsys):
    positions = ethanol_minimum().copy()
    positions[3] = positions[4] + [0.1, 0, 0]
    write_xyz(tmp_path / "bad.xyz", ethanol_potential().species, positions)
    refused(capsys, [inputs[0], str(tmp_path / "bad.xyz"), *options(tmp_path / "run", 10)], "bonds")


def test_a_start_outside_the_bounds_is_refused(inputs, tmp_path, capsys):
    words = [*inputs, *options(tmp_path / "run", 10, max_temperature=10)]
    refused(capsys, words, "the run cannot start: the temperature is")


def test_an_output_that_is_a_file_is_refused(inputs, tmp_path, capsys):
    (tmp_path / "run").write_text("mine")
    refused(capsys, [*inputs, *options(tmp_path / "run", 10)], "run is a file; name a directory")
    refused(capsys, [*inputs, *options(tmp_path / "run" / "below", 10)], "not a directory")
    assert (tmp_path / "run").read_text() == "mine"


def test_nothing_is_overwritten(inputs, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "energies.csv").write_text("mine")
    refused(capsys, [*inputs, *options(run, 10)], "energies.csv exists already and is kept")
    (run / "energies.csv").unlink()
    assert main(["md", *inputs, *options(run, 20)]) == 0
    refused(capsys, [*inputs, *options(run, 20)], "holds a run already: --resume")
    refused(capsys, [*inputs, *options(run, 20), "--resume"], "the run is already at step 20")


def test_resuming_needs_a_run(inputs, tmp_path, capsys):
    refused(capsys, [*inputs, *options(tmp_path / "run", 10), "--resume"], "has no run to resume")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"temperature": 310}, "its temperature is 300.0, now it would be 310.0"),
        ({"ensemble": "nve"}, "its ensemble is 'nvt'"),
        ({"platform": "CPU"}, "its platform is 'Reference'"),
        ({"seed": 1}, "its seed is 0"),
    ],
)
def test_resuming_with_other_options_is_refused(inputs, tmp_path, capsys, change, text):
    run = tmp_path / "run"
    assert main(["md", *inputs, *options(run, 20)]) == 0
    before = (run / "energies.csv").read_bytes()
    refused(capsys, [*inputs, *options(run, 40, **change), "--resume"], text)
    assert (run / "energies.csv").read_bytes() == before


def test_resuming_another_systems_run_is_refused(inputs, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["md", *inputs, *options(run, 20)]) == 0
    weights = ethanol_potential().weights
    other = tmp_path / "other.safetensors"
    save(replace(weights, terms=(replace(weights.terms[0], energy_offset=0.0),)), other)
    refused(capsys, [str(other), inputs[1], *options(run, 40), "--resume"], "its model is 'sha256:")


def test_damaged_files_are_not_resumed(inputs, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["md", *inputs, *options(run, 20)]) == 0
    words = [*inputs, *options(run, 40), "--resume"]
    rows = (run / "energies.csv").read_bytes()
    (run / "energies.csv").write_bytes(rows[:-10])
    refused(capsys, words, "energies.csv has")
    (run / "energies.csv").write_bytes(rows)
    checkpoint = (run / "checkpoint").read_bytes()
    moved = checkpoint.replace(b'"step": 20', b'"step": 10')
    assert moved != checkpoint
    for damaged in (b"", b"{}\n", json.dumps([]).encode() + b"\n", checkpoint[:-1], b"\xff" + checkpoint, moved):
        (run / "checkpoint").write_bytes(damaged)
        refused(capsys, words, "checkpoint is damaged or no checkpoint of kml md")


def test_two_processes_do_not_write_one_run(inputs, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["md", *inputs, *options(run, 20)]) == 0
    size = (run / "energies.csv").stat().st_size
    table = Table(run / "energies.csv", size)
    refused(capsys, [*inputs, *options(run, 40), "--resume"], "another process is writing to")
    table.close()
    assert main(["md", *inputs, *options(run, 40), "--resume"]) == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"ensemble": "nvp"}, "ensemble must be one of nve, nvt, npt"),
        ({"temperature": -1.0}, "temperature must be a finite number above zero"),
        ({"timestep": 50.0}, "timestep is in femtoseconds and at most 10"),
        ({"steps": 0}, "steps must be a whole number of 1 or more"),
        ({"checkpoint_seconds": float("nan")}, "checkpoint_seconds must be a finite number"),
        ({"trajectory": "gif"}, "trajectory must be one of dcd, xtc"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, text):
    with pytest.raises(ValueError, match=text):
        md.Settings(**change)


def test_the_directory_of_the_summary_is_where_the_files_are(inputs, tmp_path, capsys):
    words = [word for word in options(tmp_path / "run", 20) if word != "--quiet"]
    assert main(["md", *inputs, *words]) == 0
    out, err = capsys.readouterr()
    assert "steps 0 to 20" in out
    assert "ns/day" in err
    for line in out.splitlines()[1:]:
        assert Path(line.split()[0]).exists()


def test_a_trajectory_goes_on_past_the_steps_that_its_header_can_count(inputs, tmp_path):
    """The header of DCD has 31 bits for the step."""
    topology, path = read_start(inputs[1]).topology, tmp_path / "long.dcd"
    interval, mark = 2**30, {"size": 0, "frames": 0}
    for n_frames in (3, 6):
        trajectory = DCD(path, topology, 0.0005, interval, **mark)
        while mark["frames"] < n_frames:
            trajectory.write(ethanol_minimum())
            mark = trajectory.mark()
        trajectory.close()
    count, frames = dcd_frames(path)
    assert count == len(frames) == 6
