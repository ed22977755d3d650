"""Δ-learning: what is subtracted, what the weight file says, and that the baseline cannot be forgotten."""

from dataclasses import replace

import numpy as np
import openmm
import pytest
from delta_case import FOLDER, classical, delta_bytes
from openmm import app, unit
from openmm_helpers import KJ_PER_MOL, NM, context_for, energy_and_forces
from trained import DATA, ethanol_data, ethanol_minimum, ethanol_potential

from openmm_kml import reference
from openmm_kml._engine import Engine
from openmm_kml.cli import main
from openmm_kml.elements import symbol
from openmm_kml.errors import DataError, WeightFileError
from openmm_kml.interfaces import baseline as baselines
from openmm_kml.interfaces.ase import KMLCalculator
from openmm_kml.interfaces.baselines import resolve_baseline, subtract_from
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.md.start import read_start
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import Baseline, baseline_of, from_bytes, save, to_bytes, with_baseline_added


@pytest.fixture
def delta(tmp_path):
    path = tmp_path / "delta.safetensors"
    path.write_bytes(delta_bytes())
    return path


# --- the difference


def test_what_is_subtracted_is_the_systems_energy_and_forces():
    _, validation = ethanol_data()
    rest = subtract_from(validation, resolve_baseline(classical()))
    for m in range(3):
        energy, forces = energy_and_forces(context_for(classical(), validation.positions[m]))
        assert abs(energy) > 0.01
        assert rest.energies[m] + energy == pytest.approx(validation.energies[m], abs=1e-9)
        np.testing.assert_allclose(rest.forces[m] + forces, validation.forces[m], atol=1e-9)


def test_forces_of_the_baseline_are_its_energys_derivative():
    positions = ethanol_data()[1].positions[:1]
    step = np.zeros_like(positions)
    step[0, 4, 1] = 1e-4
    energies = baselines.evaluate_baseline(classical(), np.concatenate([positions - step, positions + step]))[0]
    forces = baselines.evaluate_baseline(classical(), positions)[1]
    assert -(energies[1] - energies[0]) / 2e-4 == pytest.approx(forces[0, 4, 1], rel=1e-5)


def test_model_and_baseline_together_are_the_reference(delta):
    """In a System with both, energies and forces are those of the held-out reference."""
    _, validation = ethanol_data()
    system = classical()
    system.addForce(KMLForce(delta, baseline_system=system))
    context = context_for(system, validation.positions[0])
    difference = KernelPotential.load(delta, delta=True)
    for m in range(len(validation)):
        context.setPositions(validation.positions[m] * NM)
        energy, forces = energy_and_forces(context)
        assert energy == pytest.approx(validation.energies[m], abs=0.1)
        assert np.abs(forces - validation.forces[m]).mean() < 0.15
        rest = difference.evaluate(validation.positions[m])
        alone = energy_and_forces(context_for(classical(), validation.positions[m]))
        assert energy == pytest.approx(rest.energy + alone[0], rel=1e-12)
        np.testing.assert_allclose(forces, rest.forces + alone[1], atol=1e-9)


def test_a_system_with_both_survives_its_xml(delta):
    system = classical()
    system.addForce(KMLForce(delta, baseline_system=system))
    copy = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    positions = ethanol_minimum()
    assert energy_and_forces(context_for(copy, positions))[0] == energy_and_forces(context_for(system, positions))[0]


# --- what the weight file says


def test_the_file_records_the_baseline(delta):
    recorded = baseline_of(delta.read_bytes())
    assert recorded == from_bytes(delta.read_bytes()).baseline == Baseline(baselines.digest(classical()), "mm.xml")
    assert not recorded.added
    assert to_bytes(from_bytes(delta_bytes())) == delta_bytes()


def test_a_model_without_a_baseline_has_no_such_field():
    assert b"baseline" not in ethanol_potential().to_bytes()
    assert baseline_of(ethanol_potential().to_bytes()) is None


def test_the_statement_changes_nothing_but_itself(delta):
    stated = with_baseline_added(delta_bytes())
    assert baseline_of(stated).added
    weights = from_bytes(stated)
    assert to_bytes(replace(weights, baseline=replace(weights.baseline, added=False))) == delta_bytes()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"digest": "sha256:12"}, "baseline.digest must be"),
        ({"digest": 7}, "baseline.digest must be"),
        ({"name": None}, "baseline.name must be a string"),
        ({"added": 1}, "baseline.added must be true or false"),
    ],
)
def test_a_damaged_record_is_refused(change, text):
    weights = ethanol_potential().weights
    with pytest.raises(WeightFileError, match=text):
        to_bytes(replace(weights, baseline=replace(Baseline("sha256:" + 64 * "0", "mm.xml"), **change)))


# --- what the digest depends on


def with_mass():
    system = classical()
    system.setParticleMass(3, 4.0)
    return system


def with_groups_and_names():
    system = classical()
    for k, force in enumerate(system.getForces()):
        force.setForceGroup(k)
        force.setName(f"force {k}")
    return system


def with_forces_reversed():
    original, system = classical(), openmm.System()
    for _ in range(9):
        system.addParticle(1.0)
    for force in reversed(original.getForces()):
        system.addForce(openmm.XmlSerializer.clone(force))
    return system


def with_model():
    system = classical()
    system.addForce(KMLForce(ethanol_potential()))
    return system


def with_force_constant():
    system = classical()
    bonds = next(force for force in system.getForces() if isinstance(force, openmm.HarmonicBondForce))
    *atoms, length, constant = bonds.getBondParameters(0)
    bonds.setBondParameters(0, *atoms, length, constant * (1 + 1e-12))
    return system


def with_a_force_less():
    system = classical()
    system.removeForce(0)
    return system


def with_a_particle_more():
    system = classical()
    system.addParticle(1.0)
    return system


SAME_ENERGY = {
    "nothing": classical,
    "the remover of the center's motion": lambda: classical(removeCMMotion=True),
    "masses": with_mass,
    "groups and names": with_groups_and_names,
    "the order of the forces": with_forces_reversed,
    "a model beside it": with_model,
}
ANOTHER_ENERGY = {
    "a force constant": with_force_constant,
    "a force less": with_a_force_less,
    "a particle more": with_a_particle_more,
}


@pytest.mark.parametrize("change", SAME_ENERGY)
def test_the_digest_does_not_depend_on(change):
    assert baselines.digest(SAME_ENERGY[change]()) == baselines.digest(classical())


@pytest.mark.parametrize("change", ANOTHER_ENERGY)
def test_the_digest_depends_on(change):
    assert baselines.digest(ANOTHER_ENERGY[change]()) != baselines.digest(classical())


# --- the ways of forgetting


def unstated_plugin_bytes(path):
    """Smuggle the file as it is past the Python class, into the plugin."""
    force = KMLForce(path, baseline_added=True)
    system = openmm.System()
    for _ in range(9):
        system.addParticle(12.0)
    system.addForce(force)
    from openmm_kml.interfaces._openmm_library import load_library

    load_library().set_model(int(force.this), path.read_bytes(), path.stat().st_size)
    openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))


FORGETTING = {
    "KernelPotential.load": KernelPotential.load,
    "KernelPotential.from_bytes": lambda path: KernelPotential.from_bytes(path.read_bytes()),
    "the constructor": lambda path: KernelPotential(path.read_bytes()),
    "the engine": lambda path: Engine(path.read_bytes()),
    "the twin": lambda path: reference.evaluate(from_bytes(path.read_bytes()), ethanol_minimum()),
    "ASE": KMLCalculator,
    "KMLForce of a path": KMLForce,
    "KMLForce of a loaded difference": lambda path: KMLForce(KernelPotential.load(path, delta=True)),
    "a difference put into another KMLForce": lambda path: KMLForce(ethanol_potential()).setPotential(
        KernelPotential.load(path, delta=True)
    ),
    "a path put into another KMLForce": lambda path: KMLForce(ethanol_potential()).setPotential(path),
}


@pytest.mark.parametrize("way", FORGETTING)
def test_the_baseline_cannot_be_forgotten(delta, way):
    with pytest.raises(WeightFileError, match=r"only the difference to the baseline 'mm\.xml' \(sha256:"):
        FORGETTING[way](delta)


def test_the_plugin_refuses_the_bytes_of_the_file(delta):
    with pytest.raises(openmm.OpenMMException, match="only the difference to the baseline"):
        unstated_plugin_bytes(delta)


def test_another_baseline_is_refused(delta):
    with pytest.raises(WeightFileError, match="this System is not the baseline of the model"):
        KMLForce(delta, baseline_system=with_a_force_less())


def test_an_empty_system_is_no_baseline(delta):
    system = openmm.System()
    for _ in range(9):
        system.addParticle(1.0)
    with pytest.raises(WeightFileError, match="this System is not the baseline of the model"):
        KMLForce(delta, baseline_system=system)


def test_particles_in_another_order_are_refused(delta):
    with pytest.raises(ValueError, match="in the order of the baseline"):
        KMLForce(delta, [1, 0, *range(2, 9)], baseline_system=classical())


@pytest.mark.parametrize("statement", [{"baseline_system": None}, {"baseline_added": True}])
def test_a_baseline_for_a_whole_model_is_refused(statement):
    if "baseline_system" in statement:
        statement = {"baseline_system": classical()}
    with pytest.raises(WeightFileError, match="the whole energy and not the difference"):
        KMLForce(ethanol_potential(), **statement)


def test_delta_for_a_whole_model_is_refused(tmp_path):
    save(ethanol_potential().weights, tmp_path / "whole.safetensors")
    with pytest.raises(WeightFileError, match="the whole energy and not the difference"):
        KernelPotential.load(tmp_path / "whole.safetensors", delta=True)


def test_a_difference_may_be_replaced_by_another_to_the_same_baseline(delta):
    force = KMLForce(delta, baseline_added=True)
    other = replace(from_bytes(delta_bytes()), provenance={"other": 1})
    force.setPotential(KernelPotential.from_bytes(to_bytes(other), delta=True))
    assert force.getPotential().weights.provenance == {"other": 1}
    foreign = replace(other, baseline=Baseline("sha256:" + 64 * "0", "other.xml"))
    with pytest.raises(WeightFileError, match="only the difference to the baseline"):
        force.setPotential(KernelPotential.from_bytes(to_bytes(foreign), delta=True))


def test_a_difference_acts_inside_a_larger_system(delta):
    """The statement is the user's: the System holds the baseline's terms among others."""
    particles = [9, 8, 7, 6, 5, 4, 3, 2, 1]
    system = openmm.System()
    for _ in range(10):
        system.addParticle(1.0)
    system.addForce(KMLForce(delta, particles, baseline_added=True))
    positions = np.zeros((10, 3))
    positions[particles] = ethanol_minimum()
    expected = KernelPotential.load(delta, delta=True).evaluate(ethanol_minimum())
    energy, forces = energy_and_forces(context_for(system, positions))
    assert energy == pytest.approx(expected.energy, rel=1e-12)
    np.testing.assert_allclose(forces[particles], expected.forces, atol=1e-9)


# --- what cannot be a baseline


def with_virtual_site():
    system = classical()
    system.setParticleMass(3, 0.0)
    system.setVirtualSite(3, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    return system


def periodic():
    system = classical()
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    return system


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: classical(constraints=app.HBonds), "the baseline has constraints"),
        (with_virtual_site, "the baseline has virtual sites"),
        (periodic, "of the baseline is periodic"),
        (openmm.System, "no force with an energy"),
        (lambda: classical(hydrogenMass=4 * unit.dalton), "without mass repartitioning"),
    ],
)
def test_what_cannot_be_a_baseline_is_refused(make, text):
    with pytest.raises(DataError, match=text):
        baselines.check_baseline(make(), ethanol_data()[0].numbers)


def test_a_baseline_of_another_molecule_is_refused():
    with pytest.raises(DataError, match="the baseline has 9 particles, the molecule 3 atoms"):
        baselines.check_baseline(classical(), np.array([8, 1, 1]))
    numbers = ethanol_data()[0].numbers.copy()[[0, 1, 3, 2, 4, 5, 6, 7, 8]]
    with pytest.raises(DataError, match=r"particle 2 of the baseline has the mass 15\.9.*atom 3 of the molecule is H"):
        baselines.check_baseline(classical(), numbers)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "is not a serialized OpenMM System"),
        ("<System", "is not a serialized OpenMM System"),
        (openmm.XmlSerializer.serialize(openmm.VerletIntegrator(0.001)), "holds a VerletIntegrator, not"),
        (openmm.XmlSerializer.serialize(openmm.System()), "no force with an energy"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(tmp_path, content, text):
    (tmp_path / "mm.xml").write_text(content)
    with pytest.raises(DataError, match=text):
        baselines.load_baseline(tmp_path / "mm.xml")


def test_a_baseline_that_explodes_names_the_frame():
    positions = np.stack([ethanol_minimum()] * 2)
    positions[1, 4] = positions[1, 0]
    with pytest.raises(DataError, match="frame 2: the baseline's energy or a force is not finite"):
        baselines.evaluate_baseline(classical(), positions)


# --- the command line


@pytest.fixture
def mm(tmp_path):
    path = tmp_path / "mm.xml"
    path.write_text(openmm.XmlSerializer.serialize(classical()))
    return path


def fixed(output, *more):
    words = ["train", "gdml", str(DATA), "-o", str(output), "--n-train", "40", "--n-valid", "20", "--n-test", "40"]
    words += [
        "--power",
        "0.5",
        "--kernel",
        "matern92",
        "--length-scale",
        "2.5",
        "--regularization",
        "1e-6",
        "--energies",
    ]
    return [*words, "--quiet", "--threads", "1", *map(str, more)]


def test_the_command_line_trains_tests_and_runs(tmp_path, mm, capsys):
    model, start = tmp_path / "delta.safetensors", FOLDER / "ethanol.pdb"
    assert main(fixed(model, "--baseline", mm)) == 0
    assert baseline_of(model.read_bytes()) == Baseline(baselines.digest(classical()), "mm.xml")
    trained = capsys.readouterr().out
    assert main(["test", str(model), str(DATA), "--held-out", "--baseline", str(mm)]) == 0
    tested = capsys.readouterr().out
    assert trained.splitlines()[-1].split()[1:] == tested.splitlines()[-1].split()[1:]  # the same errors, both ways
    run = tmp_path / "run"
    words = ["md", str(model), str(start), "-o", str(run), "--steps", "100", "--interval", "50", "--quiet"]
    assert main([*words, "--ensemble", "nve", "--minimize", "--timestep", "0.25", "--baseline", str(mm)]) == 0
    rows = np.genfromtxt(run / "energies.csv", delimiter=",", names=True)
    assert np.ptp(rows["total_energy_eV"]) < 0.01
    pdb = app.PDBFile(str(run / "start.pdb"))
    assert pdb.topology.getNumAtoms() == 9
    difference = KernelPotential.load(model, delta=True)
    frames = np.frombuffer((run / "trajectory.dcd").read_bytes()[276:], "<f4").reshape(-1, 3, 11)[:, :, 1:-1]
    frames = frames.transpose(0, 2, 1).astype(float)
    expected = difference.evaluate_batch(frames).energy + baselines.evaluate_baseline(classical(), frames)[0]
    np.testing.assert_allclose(rows["potential_energy_eV"], expected, atol=1e-4)  # frames in single precision


def test_a_run_with_a_baseline_needs_the_models_order(tmp_path, mm, delta, capsys):
    atoms = read_start(FOLDER / "ethanol.pdb")
    order = [8, 2, 4, 0, 3, 6, 1, 7, 5]
    lines = [f"{symbol(atoms.numbers[k])} " + " ".join(map(str, atoms.positions[k])) for k in order]
    (tmp_path / "start.xyz").write_text("9\n\n" + "\n".join(lines) + "\n")
    words = ["md", str(delta), str(tmp_path / "start.xyz"), "-o", str(tmp_path / "run"), "--baseline", str(mm)]
    assert main(words) == 2
    assert "must stand in the model's order" in capsys.readouterr().err


def test_the_command_line_does_not_forget(tmp_path, mm, delta, capsys):
    whole = tmp_path / "whole.safetensors"
    whole.write_bytes(ethanol_potential().to_bytes())
    other = tmp_path / "other.xml"
    other.write_text(openmm.XmlSerializer.serialize(with_a_force_less()))
    start = str(FOLDER / "ethanol.pdb")
    for words, text in (
        (["test", delta, DATA], "--baseline"),
        (["md", delta, start, "-o", tmp_path / "a"], "--baseline"),
        (["test", delta, DATA, "--baseline", other], "is not the baseline of the model"),
        (["md", delta, start, "-o", tmp_path / "b", "--baseline", other], "is not the baseline of the model"),
        (["test", whole, DATA, "--baseline", mm], "the whole energy"),
        (["md", whole, start, "-o", tmp_path / "c", "--baseline", mm], "the whole energy"),
    ):
        assert main([str(word) for word in words]) == 2
        assert text in capsys.readouterr().err
    assert not any((tmp_path / name).exists() for name in "abc")


def test_the_command_line_shows_the_baseline(delta, capsys):
    assert main(["info", str(delta)]) == 0
    assert "mm.xml" in capsys.readouterr().out


def test_energies_are_in_the_units_of_the_package():
    energy = baselines.evaluate_baseline(classical(), ethanol_minimum()[None])[0][0]
    context = context_for(classical(), ethanol_minimum())
    expected = context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    assert energy * KJ_PER_MOL == pytest.approx(expected, rel=1e-9)
