"""Reporters of the uncertainty in OpenMM's Simulation, and the guard that stops or flags."""

import ase.io
import numpy as np
import openmm
import pytest
from local_models import diamond, uncertain
from openmm import app, unit
from stillinger_weber import spline_model
from trained import ethanol_minimum, ethanol_potential

from openmm_kml.doubt import AUTO_FACTOR, UncertaintyError, doubt_of
from openmm_kml.errors import DataError
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.interfaces.uncertainty_reporter import COLUMNS, UncertaintyGuard, UncertaintyReporter
from openmm_kml.md.start import start_of_atoms
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import to_bytes


def silicon():
    """Return a model with uncertainty, and a crystal of 8 atoms."""
    potential = KernelPotential.from_bytes(to_bytes(uncertain(spline_model(), 4, atom_floor=1e-3)))
    positions, cell = diamond(5.43)
    rattled = positions + np.random.default_rng(0).normal(0, 0.05, positions.shape)
    return potential, ase.Atoms("Si8", rattled, cell=cell, pbc=True)


def molecule():
    potential = ethanol_potential()
    return potential, ase.Atoms(potential.species, ethanol_minimum())


def simulation_of(potential, atoms):
    start = start_of_atoms(atoms, molecule=potential.species is not None)
    system = openmm.System()
    for atom in start.topology.atoms():
        system.addParticle(atom.element.mass)
    if start.box is not None:
        system.setDefaultPeriodicBoxVectors(*(start.box * 0.1))
    system.addForce(KMLForce(potential, topology=start.topology))
    integrator = openmm.VerletIntegrator(0.0005)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(start.topology, system, integrator, platform)
    simulation.context.setPositions(start.positions * 0.1)
    simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
    return simulation


def now(simulation):
    state = simulation.context.getState(positions=True)
    return state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)


def table(path):
    return np.genfromtxt(path, delimiter=",", names=True)


def test_a_line_for_each_frame_of_a_crystal(tmp_path):
    potential, atoms = silicon()
    simulation = simulation_of(potential, atoms)
    reporter = UncertaintyReporter(tmp_path / "u.csv", 5, potential, per_atom=tmp_path / "u.xyz")
    simulation.reporters.append(reporter)
    expected = []
    for _ in range(3):
        simulation.step(5)
        expected.append(doubt_of(potential, now(simulation), atoms.numbers, atoms.cell.array))
    rows = table(tmp_path / "u.csv")
    assert rows.dtype.names == COLUMNS
    assert list(rows["step"]) == [5, 10, 15]
    np.testing.assert_allclose(rows["time_ps"], [0.0025, 0.005, 0.0075], rtol=1e-6)
    np.testing.assert_allclose(rows["energy_std_eV"], [one.energy_std for one in expected], rtol=1e-6)
    np.testing.assert_allclose(rows["energy_std_per_atom_eV"], rows["energy_std_eV"] / 8, rtol=1e-6)
    np.testing.assert_allclose(rows["largest_atomic_std_eV"], [one.atomic_std.max() for one in expected], rtol=1e-6)
    assert list(rows["atom"]) == [one.atom for one in expected]
    frames = ase.io.read(tmp_path / "u.xyz", ":")
    assert [frame.info["step"] for frame in frames] == [5, 10, 15]
    for frame, one in zip(frames, expected, strict=True):
        np.testing.assert_allclose(frame.arrays["energy_std"], one.atomic_std, rtol=1e-6)
        assert frame.pbc.all()


def test_of_a_molecule_the_energy_alone_is_known(tmp_path):
    potential, atoms = molecule()
    simulation = simulation_of(potential, atoms)
    simulation.reporters.append(UncertaintyReporter(tmp_path / "u.csv", 4, potential))
    simulation.step(4)
    rows = table(tmp_path / "u.csv")
    assert rows["energy_std_eV"] == pytest.approx(doubt_of(potential, now(simulation)).energy_std, rel=1e-6)
    assert np.isnan(rows["largest_atomic_std_eV"])
    with pytest.raises(ValueError, match="no energies of single atoms"):
        UncertaintyReporter(tmp_path / "v.csv", 4, potential, per_atom=tmp_path / "v.xyz")


def test_files_are_replaced_or_appended_to(tmp_path):
    potential, atoms = molecule()
    path = tmp_path / "u.csv"
    for append, expected in ((False, [5]), (True, [5, 5]), (False, [5])):
        simulation = simulation_of(potential, atoms)
        simulation.reporters.append(UncertaintyReporter(path, 5, potential, append=append))
        simulation.step(5)
        assert list(np.atleast_1d(table(path)["step"])) == expected


def test_a_molecule_in_a_larger_system_in_another_order(tmp_path):
    potential, atoms = molecule()
    order = [4, 0, 1, 2, 3, 5, 6, 7, 8]
    mixed = ase.Atoms("He", [[30.0, 0, 0]]) + atoms[order]
    particles = [1 + order.index(k) for k in range(9)]
    simulation = simulation_of(potential, atoms)
    larger = start_of_atoms(mixed)
    system = openmm.System()
    for atom in larger.topology.atoms():
        system.addParticle(atom.element.mass)
    system.addForce(KMLForce(potential, particles, topology=larger.topology))
    simulation = app.Simulation(
        larger.topology, system, openmm.VerletIntegrator(0.0005), openmm.Platform.getPlatformByName("Reference")
    )
    simulation.context.setPositions(mixed.positions * 0.1)
    simulation.reporters.append(UncertaintyReporter(tmp_path / "u.csv", 1, potential, particles))
    simulation.step(1)
    expected = doubt_of(potential, now(simulation)[particles]).energy_std
    assert table(tmp_path / "u.csv")["energy_std_eV"] == pytest.approx(expected, rel=1e-6)


def test_the_guard_stops_names_what_it_saw_and_keeps_the_frame(tmp_path):
    potential, atoms = silicon()
    simulation = simulation_of(potential, atoms)
    level = doubt_of(potential, atoms.positions, atoms.numbers, atoms.cell.array).value
    guard = UncertaintyGuard(0.5 * level, 5, potential, file=tmp_path / "uncertain.xyz")
    simulation.reporters.append(guard)
    with pytest.raises(UncertaintyError) as caught:
        simulation.step(20)
    assert simulation.currentStep == 5
    error = caught.value
    assert (error.step, error.threshold) == (5, 0.5 * level)
    expected = doubt_of(potential, now(simulation), atoms.numbers, atoms.cell.array)
    assert error.doubt.value == pytest.approx(expected.value, rel=1e-9)
    for part in (
        "at step 5",
        f"atom Si{expected.atom + 1} is",
        "above the threshold of",
        "uncertain.xyz has the frame",
    ):
        assert part in str(error)
    frame = ase.io.read(tmp_path / "uncertain.xyz")
    np.testing.assert_allclose(frame.positions, now(simulation), atol=1e-6)
    assert frame.info["atom"] == expected.atom
    assert frame.info["step"] == 5


def test_the_guard_flags_and_goes_on(tmp_path):
    potential, atoms = silicon()
    simulation = simulation_of(potential, atoms)
    guard = UncertaintyGuard(1e-9, 5, potential, action="flag", file=tmp_path / "uncertain.xyz", most_frames=2)
    simulation.reporters.append(guard)
    simulation.step(20)
    assert [step for step, _ in guard.flagged] == [5, 10, 15, 20]
    assert guard.n_looks == 4
    assert [frame.info["step"] for frame in ase.io.read(tmp_path / "uncertain.xyz", ":")] == [5, 10]


def test_a_guard_goes_on_with_the_frames_of_a_file(tmp_path):
    potential, atoms = silicon()
    for append, steps in ((False, [5]), (True, [5, 10]), (False, [15])):
        options = {"action": "flag", "file": tmp_path / "uncertain.xyz", "append": append}
        simulation = simulation_of(potential, atoms)
        simulation.currentStep = steps[-1] - 5
        simulation.reporters.append(UncertaintyGuard(1e-9, 5, potential, **options))
        simulation.step(5)
        assert [frame.info["step"] for frame in ase.io.read(tmp_path / "uncertain.xyz", ":")] == steps


def test_a_folder_or_a_particle_that_is_not_there_is_noticed_before_a_run_or_at_its_first_look(tmp_path):
    potential, atoms = silicon()
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere for the frames of uncertain\.xyz"):
        UncertaintyGuard(1.0, 5, potential, file=tmp_path / "nowhere" / "uncertain.xyz")
    simulation = simulation_of(potential, atoms)
    simulation.reporters.append(UncertaintyGuard(1.0, 5, potential, particles=[0, 99]))
    with pytest.raises(DataError, match=r"particles are counted from 0 to 7; \[0, 99\] were given"):
        simulation.step(5)


def test_below_the_threshold_nothing_happens(tmp_path):
    potential, atoms = silicon()
    simulation = simulation_of(potential, atoms)
    guard = UncertaintyGuard(1e3, 5, potential, file=tmp_path / "uncertain.xyz")
    simulation.reporters.append(guard)
    simulation.step(10)
    assert guard.n_looks == 2
    assert not guard.flagged
    assert not (tmp_path / "uncertain.xyz").exists()


def test_the_automatic_threshold_of_a_file_without_a_record_is_that_of_the_first_look():
    potential, atoms = molecule()
    simulation = simulation_of(potential, atoms)
    guard = UncertaintyGuard("auto", 5, potential)
    simulation.reporters.append(guard)
    simulation.step(5)
    assert guard.threshold == pytest.approx(AUTO_FACTOR * doubt_of(potential, now(simulation)).value, rel=1e-9)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"threshold": 0.0}, "the threshold must be auto or a finite number"),
        ({"threshold": float("nan")}, "the threshold must be auto or a finite number"),
        ({"threshold": "low"}, "the threshold must be auto or a finite number"),
        ({"action": "shout"}, "action must be one of stop, flag"),
        ({"interval": 0}, "interval must be a whole number of 1 or more"),
        ({"interval": 10.5}, "interval must be a whole number of 1 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        UncertaintyGuard(**({"threshold": 1.0, "interval": 5, "potential": silicon()[0]} | options))


def test_a_model_without_uncertainty_is_refused(tmp_path):
    bare = KernelPotential.from_bytes(to_bytes(spline_model()))
    with pytest.raises(DataError, match="no uncertainty"):
        UncertaintyReporter(tmp_path / "u.csv", 5, bare)
    assert not (tmp_path / "u.csv").exists()
