"""``kml md`` with a model of local terms: a crystal in its box."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from local_models import diamond
from openmm.app.internal.xtc_utils import read_xtc
from stillinger_weber import spline_model

from openmm_kml import md
from openmm_kml.errors import DataError
from openmm_kml.md.guard import SimulationError
from openmm_kml.md.start import pdb_text, read_start
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import to_bytes

POTENTIAL = KernelPotential.from_bytes(to_bytes(spline_model()))


def crystal(repeat=1, a=5.43):
    positions, cell = diamond(a, repeat)
    return Atoms("Si" * len(positions), positions, cell=cell, pbc=True)


def write(atoms, path):
    ase.io.write(path, atoms, format="extxyz" if path.suffix == ".xyz" else None)
    return path


def column(directory, name):
    return np.genfromtxt(directory / "energies.csv", delimiter=",", names=True)[name]


def test_a_crystal_conserves_its_energy(tmp_path):
    start = write(crystal(2), tmp_path / "si.xyz")
    settings = md.Settings(ensemble="nve", temperature=600, timestep=1.0, steps=400, interval=50)
    summary = md.run(POTENTIAL, start, tmp_path / "run", settings, progress=False)
    assert summary.last_step == 400
    total = column(tmp_path / "run", "total_energy_eV")
    kinetic = column(tmp_path / "run", "kinetic_energy_eV")
    assert np.ptp(kinetic[1:]) > 0
    assert np.ptp(total) < 1e-3 * 64
    atoms = crystal(2)
    expected = POTENTIAL.evaluate(atoms.positions, atoms.numbers, atoms.cell.array).energy
    assert column(tmp_path / "run", "potential_energy_eV")[0] == pytest.approx(expected, abs=1e-5)


def test_a_continued_run_goes_on(tmp_path):
    start = write(crystal(), tmp_path / "si.xyz")
    options = {"temperature": 300, "timestep": 1.0, "interval": 10}
    md.run(POTENTIAL, start, tmp_path / "whole", md.Settings(steps=60, **options), progress=False)
    md.run(POTENTIAL, start, tmp_path / "parts", md.Settings(steps=30, **options), progress=False)
    md.run(POTENTIAL, start, tmp_path / "parts", md.Settings(steps=60, **options), resume=True, progress=False)
    # The list of neighbors is made anew, so that sums have another order: equal to rounding.
    whole, parts = (column(tmp_path / name, "total_energy_eV") for name in ("whole", "parts"))
    np.testing.assert_allclose(parts, whole, rtol=1e-9)
    write(crystal(a=5.5), start)
    with pytest.raises(DataError):
        md.run(POTENTIAL, start, tmp_path / "parts", md.Settings(steps=90, **options), resume=True, progress=False)


def test_a_turned_and_skewed_cell_keeps_its_energy(tmp_path):
    atoms = crystal()
    atoms.rattle(0.1, seed=3)
    atoms.set_cell(atoms.cell.array + np.array([[0, 0, 0], [5.43, 0, 0], [0, -5.43, 0]]))  # the same lattice
    expected = POTENTIAL.evaluate(atoms.positions, atoms.numbers, atoms.cell.array).energy
    atoms.rotate(40, (1, 2, 3), rotate_cell=True)
    start = read_start(write(atoms, tmp_path / "turned.xyz"), molecule=False)
    assert start.box[0, 1] == start.box[0, 2] == start.box[1, 2] == 0
    assert start.bonds == []
    assert POTENTIAL.evaluate(start.positions, start.numbers, start.box).energy == pytest.approx(expected, abs=1e-5)
    path = tmp_path / "start.pdb"
    path.write_text(pdb_text(start))
    again = read_start(path, molecule=False)
    np.testing.assert_allclose(again.box, start.box, atol=2e-3)


def test_a_cluster_needs_no_box(tmp_path):
    atoms = crystal()
    atoms.pbc = False
    start = write(atoms, tmp_path / "cluster.xyz")
    assert read_start(start, molecule=False).box is None
    md.run(POTENTIAL, start, tmp_path / "run", md.Settings(steps=20, interval=10), progress=False)
    expected = POTENTIAL.evaluate(atoms.positions, atoms.numbers).energy
    assert column(tmp_path / "run", "potential_energy_eV")[0] == pytest.approx(expected, abs=1e-5)


def test_starts_that_do_not_fit_are_refused(tmp_path):
    slab = crystal()
    slab.pbc = (True, True, False)
    with pytest.raises(DataError, match="periodic in some directions only"):
        md.run(POTENTIAL, write(slab, tmp_path / "a.xyz"), tmp_path / "run", md.Settings(), progress=False)
    other = crystal()
    other.numbers[2] = 6
    with pytest.raises(ValueError, match=r"element 6 \(C, atom 2\) is not in the model, which knows Si"):
        md.run(POTENTIAL, write(other, tmp_path / "b.xyz"), tmp_path / "run", md.Settings(), progress=False)
    left = crystal()
    left.set_cell(left.cell.array[[1, 0, 2]])
    with pytest.raises(DataError, match="left-handed"):
        md.run(POTENTIAL, write(left, tmp_path / "c.xyz"), tmp_path / "run", md.Settings(), progress=False)
    assert not (tmp_path / "run").exists()


def test_the_guard_sees_contacts_through_the_border_of_the_box(tmp_path):
    atoms = crystal()
    atoms.positions[0] = atoms.positions[4] + [0.3, 0.2, 5.43]
    with pytest.raises(DataError, match=r"Si1 and Si5 are 0\.36 Å apart, below 1\.11 Å"):
        md.run(POTENTIAL, write(atoms, tmp_path / "a.xyz"), tmp_path / "run", md.Settings(), progress=False)


def test_a_run_that_gets_too_hot_is_stopped(tmp_path):
    start = write(crystal(), tmp_path / "si.xyz")
    settings = md.Settings(temperature=900, timestep=1.0, steps=2000, interval=10, max_temperature=500, friction=50)
    with pytest.raises((SimulationError, DataError), match="above the bound of 500 K"):
        md.run(POTENTIAL, start, tmp_path / "run", settings, progress=False)


@pytest.mark.parametrize("trajectory", ["dcd", "xtc"])
def test_constant_pressure_brings_a_stretched_crystal_to_its_volume(tmp_path, trajectory):
    start = write(crystal(2, a=5.6), tmp_path / "si.xyz")
    options = {"ensemble": "npt", "temperature": 100, "friction": 20, "timestep": 2.0, "interval": 100}
    settings = md.Settings(steps=6000, trajectory=trajectory, **options)
    md.run(POTENTIAL, start, tmp_path / "run", settings, progress=False)
    volume = column(tmp_path / "run", "volume_A3")
    assert volume[0] == pytest.approx(8 * 5.6**3)
    assert volume[-20:].mean() == pytest.approx(8 * 5.43**3, rel=0.01)
    positions, boxes = read_trajectory(tmp_path / "run" / f"trajectory.{trajectory}")
    assert len(positions) == len(volume)
    np.testing.assert_allclose(np.linalg.det(boxes), volume, rtol=1e-4)
    longer = md.Settings(steps=6200, trajectory=trajectory, **options)
    md.run(POTENTIAL, start, tmp_path / "run", longer, resume=True, progress=False)
    assert len(column(tmp_path / "run", "volume_A3")) == len(volume) + 2


def read_trajectory(path):
    """Return the positions and the box vectors of every frame, Å."""
    if path.suffix == ".xtc":
        coordinates, boxes, *_ = read_xtc(str(path).encode())
        return coordinates.transpose(2, 0, 1) * 10, boxes.transpose(2, 0, 1) * 10
    frames = []
    data = path.read_bytes()
    n_atoms = 64
    size = 4 + 48 + 4 + 3 * (4 + 4 * n_atoms + 4)  # a cell, then x, y and z, each between two counts of its bytes
    for offset in range(len(data) % size, len(data), size):
        a, _, b, _, _, c = np.frombuffer(data, "<f8", 6, offset + 4)
        frames.append(np.diag([a, b, c]))
    return frames, np.array(frames)


def test_constant_pressure_needs_a_box(tmp_path):
    atoms = crystal()
    atoms.pbc = False
    atoms.cell = None
    start = write(atoms, tmp_path / "cluster.xyz")
    with pytest.raises(ValueError, match="npt is not possible for a lone molecule"):
        md.run(POTENTIAL, start, tmp_path / "run", md.Settings(ensemble="npt", steps=10), progress=False)
    with pytest.raises(ValueError, match="pressure must be a finite number"):
        md.Settings(ensemble="npt", pressure=float("nan"))
