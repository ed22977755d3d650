"""Two-body functions as tables: the dimers of the reference, and what LAMMPS and OpenMM make of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lammps_helpers import OUTPUT, Result, boundary, lammps, needs_lammps, write_data
from local_models import LOCAL_MODELS, SILICA, diamond, numbers_for, random_repulsion, random_spline2

from openmm_kml.cli.entry import main
from openmm_kml.errors import WeightFileError
from openmm_kml.interfaces.tables import custom_nonbonded_force, pair_table, write_lammps_table
from openmm_kml.reference import evaluate_structure
from openmm_kml.weights import Baseline, Weights, save


def pairs_of_silica():
    rng = np.random.default_rng(3)
    return Weights(elements=SILICA, terms=(random_spline2(2, rng), random_repulsion(2, rng)))


WEIGHTS = pairs_of_silica()


def crystal():
    positions, cell = diamond(4.6, 2)
    return positions + np.random.default_rng(2).normal(0, 0.1, positions.shape), cell


def test_a_table_holds_the_energy_of_a_dimer():
    r = np.array([0.7, 1.3, 2.5, 3.9, 4.2])
    energies, forces = pair_table(WEIGHTS, 8, 14, r)
    for k, x in enumerate(r):
        positions = np.array([[0.0, 0, 0], [0, 0, x]])
        energy, expected, *_ = evaluate_structure(WEIGHTS, positions, np.array([8, 14]))
        assert energies[k] == pytest.approx(energy, abs=1e-10)
        assert forces[k] == pytest.approx(expected[1, 2], abs=1e-9)
    assert np.abs(energies[:4]).min() > 1e-4
    assert energies[4] == 0


@needs_lammps
def test_lammps_reads_the_table(tmp_path):
    positions, cell = crystal()
    numbers = numbers_for(WEIGHTS, len(positions))
    lines = write_lammps_table(WEIGHTS, tmp_path / "pairs.table")
    types = np.searchsorted(SILICA, numbers) + 1
    rotation = write_data(tmp_path / "data", positions, types, 2, cell, (True, True, True))
    deck = "\n".join(["units metal", f"boundary {boundary((True,) * 3)}", "read_data data", *lines, OUTPUT])
    result = Result(tmp_path, lammps(tmp_path, deck), rotation)
    energy, forces, virial, _ = evaluate_structure(WEIGHTS, positions, numbers, cell, True)
    assert result.energy == pytest.approx(energy, abs=1e-5 * len(positions))
    assert np.abs(result.forces - forces).max() < 1e-5 * np.abs(forces).max()
    assert np.abs(result.virial - virial).max() < 1e-5 * np.abs(virial).max()


@pytest.mark.parametrize("route", ["function", "command"])
@pytest.mark.parametrize("name", ["pairs of silicon", "pairs of silica"])
def test_openmm_takes_the_table(name, route, tmp_path, capsys):
    openmm = pytest.importorskip("openmm")
    weights = WEIGHTS if name == "pairs of silica" else LOCAL_MODELS[name]
    positions, cell = crystal()
    numbers = numbers_for(weights, len(positions))
    system = openmm.System()
    for _ in numbers:
        system.addParticle(28.0)
    system.setDefaultPeriodicBoxVectors(*(cell / 10))
    if route == "function":
        force = custom_nonbonded_force(weights, [int(z) for z in numbers])
    else:
        force = force_of_the_command(weights, numbers, tmp_path, capsys)
    force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    system.addForce(force)
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions / 10)
    state = context.getState(getEnergy=True, getForces=True)
    pairs = Weights(elements=weights.elements, terms=weights.terms)
    energy, forces, *_ = evaluate_structure(pairs, positions, numbers, cell, True)
    unit = openmm.unit
    ev = 96.48533212331001
    assert state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) / ev == pytest.approx(energy, abs=1e-4)
    found = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom) / ev
    assert np.abs(found - forces).max() < 1e-4 * np.abs(forces).max()


def force_of_the_command(weights, numbers, folder, capsys):
    """Return the Force that ``kml tables --for openmm`` writes, its particles added by the lines that it prints."""
    import openmm.app

    save(weights, folder / "model.safetensors")
    assert main(["tables", str(folder / "model.safetensors"), "-o", str(folder / "pairs.xml"), "--for", "openmm"]) == 0
    topology = openmm.app.Topology()
    residue = topology.addResidue("X", topology.addChain())
    for z in numbers:
        topology.addAtom("X", openmm.app.Element.getByAtomicNumber(int(z)), residue)
    names = {"openmm": openmm, "topology": topology, "Path": Path}
    exec(capsys.readouterr().out, names)
    return names["force"]


def test_the_command_writes_what_the_function_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(WEIGHTS, "model.safetensors")
    arguments = ["tables", "model.safetensors", "-o", "some pairs.table", "--start", "1", "--spacing", "0.01"]
    assert main([*arguments, "--json", "report.json"]) == 0
    lines = write_lammps_table(WEIGHTS, "again.table", 1.0, 0.01)
    assert capsys.readouterr().out.splitlines() == [line.replace("again.table", '"some pairs.table"') for line in lines]
    assert (tmp_path / "some pairs.table").read_bytes() == (tmp_path / "again.table").read_bytes()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["elements"] == ["O", "Si"]
    assert report["usage"][0].startswith("pair_style table spline ")


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("all terms of silica", [], "--leave-out-triples, drops them"),
        ("triples of silicon", [], "no two-body terms"),
        ("pairs of silicon", ["--start", "9"], "below the model's cutoff of 4.1 Å"),
        ("pairs of silicon", ["--spacing", "5"], "the steps shorter"),
    ],
)
def test_the_command_refuses(model, options, message, tmp_path, capsys):
    path, output = tmp_path / "model.safetensors", tmp_path / "pairs.table"
    save(LOCAL_MODELS[model], path)
    assert main(["tables", str(path), "-o", str(output), *options]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_the_command_says_what_is_left_out(tmp_path, capsys):
    path, output = tmp_path / "model.safetensors", tmp_path / "pairs.table"
    save(LOCAL_MODELS["all terms of silica"], path)
    assert main(["tables", str(path), "-o", str(output), "--leave-out-triples", "--spacing", "0.1"]) == 0
    assert "three-body functions of the model are left out" in capsys.readouterr().err


def test_what_a_table_cannot_hold_is_not_lost_silently(tmp_path):
    with_triples = LOCAL_MODELS["all terms of silica"]
    with pytest.raises(ValueError, match="three-body terms, which a table of pairs cannot hold"):
        write_lammps_table(with_triples, tmp_path / "pairs.table")
    assert not list(tmp_path.iterdir())
    energies, _ = pair_table(with_triples, 8, 14, [1.5, 2.0], leave_out_triples=True)
    assert np.abs(energies).min() > 0
    with pytest.raises(ValueError, match="no two-body terms"):
        pair_table(LOCAL_MODELS["triples of silicon"], 14, 14, [2.0])
    with pytest.raises(ValueError, match="does not know Ge"):
        custom_nonbonded_force(WEIGHTS, [8, 32])
    with pytest.raises(ValueError, match="above zero"):
        pair_table(WEIGHTS, 8, 14, [0.0, 1.0])
    with pytest.raises(ValueError, match="a model of one molecule"):
        write_lammps_table(Weights(species=(1,), terms=()), tmp_path / "pairs.table")
    difference = replace(WEIGHTS, baseline=Baseline("sha256:" + 64 * "0", "mm.xml"))
    with pytest.raises(WeightFileError, match="only the difference to the baseline"):
        pair_table(difference, 8, 14, [2.0])
