"""openmm-ml makes Systems with our models, whole or mixed with a force field."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import openmm
import pytest
from delta_case import classical, delta_bytes
from ethanol_case import (
    BONDS,
    NUMBERS,
    SYMMETRIES,
    ethanol_alone,
    ethanol_in_water,
    ethanol_potential,
    ethanol_weights,
    geometry,
    reordered,
    topology_of,
)
from local_models import random_spline2
from openmm import unit
from openmm_helpers import KJ_PER_MOL, context_for, energy_and_forces, route
from trained import ethanol_minimum

from openmm_kml.errors import DataError, WeightFileError
from openmm_kml.interfaces.baseline_forces import check_placeable
from openmm_kml.interfaces.baselines import SumPotential, record, resolve_baseline
from openmm_kml.interfaces.checks import kml_forces
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import Weights, save, to_bytes

openmmml = pytest.importorskip("openmmml", reason="openmm-ml is not installed (pip install openmmml)")

EXACT = 1e-9  # eV, double precision


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the path of a model of ethanol."""
    path = tmp_path_factory.mktemp("model") / "ethanol.safetensors"
    save(ethanol_weights(), path)
    return path


@pytest.fixture
def potential(model):
    return openmmml.MLPotential("kml", model=str(model))


def ethanol_atoms(topology):
    return [atom.index for atom in topology.atoms() if atom.residue.name == "ETH"]


def energy(system, positions, **parameters):
    """Return the energy in kJ/mol at positions in nm, on Reference."""
    context = context_for(system, positions * 10)
    for name, value in parameters.items():
        context.setParameter(name, value)
    return context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def test_importing_openmm_ml_loads_neither_engine_nor_trainer():
    code = (
        "import sys, openmmml\n"
        "assert 'kml' in openmmml.MLPotential._implFactories\n"
        "print(sorted(name for name in sys.modules if name.startswith('openmm_kml')))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=sys.prefix, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['openmm_kml', 'openmm_kml.interfaces', 'openmm_kml.interfaces.openmmml']"


def test_our_module_may_be_imported_before_openmm_ml():
    code = "import openmm_kml.interfaces.openmmml_potential, openmmml; openmmml.MLPotential._implFactories['kml']"
    subprocess.run([sys.executable, "-c", code], cwd=sys.prefix, check=True, capture_output=True)


def test_a_shuffled_molecule_has_the_energy_and_forces_of_the_model(potential):
    order = np.random.default_rng(2).permutation(9)
    positions = geometry() + np.random.default_rng(3).normal(0, 0.04, (9, 3))
    system = potential.createSystem(topology_of(reordered(order)), positions=positions[order] * unit.angstrom)
    expected = ethanol_potential().evaluate(positions)
    found, forces = energy_and_forces(context_for(system, positions[order]))
    assert found == pytest.approx(expected.energy, abs=EXACT)
    np.testing.assert_allclose(forces, expected.forces[order], atol=1e-9)


def test_positions_may_be_given_to_the_potential(model):
    potential = openmmml.MLPotential("kml", model=str(model), positions=geometry() / 10, nThreads=1)
    system = potential.createSystem(topology_of((NUMBERS, BONDS)))
    (force,) = kml_forces(system)
    assert force.getNumThreads() == 1
    assert list(force.getParticles()) in SYMMETRIES.tolist()


def test_two_molecules_give_two_forces_in_the_group_asked_for(potential):
    positions = np.concatenate([geometry(), geometry() + 10.0])
    system = potential.createSystem(topology_of((NUMBERS, BONDS), (NUMBERS, BONDS)), positions=positions / 10)
    assert len(kml_forces(system)) == 2
    assert energy_and_forces(context_for(system, positions))[0] == pytest.approx(
        2 * ethanol_potential().evaluate(geometry()).energy, abs=EXACT
    )


def test_atoms_in_the_order_of_the_model_need_no_matching(potential):
    system = potential.createSystem(topology_of((NUMBERS, ()), (NUMBERS, ())), inModelOrder=True)
    assert [force.getParticles() for force in kml_forces(system)] == [tuple(range(9)), tuple(range(9, 18))]


@pytest.mark.parametrize(
    ("topology", "options", "message"),
    [
        (topology_of((NUMBERS, BONDS)), {}, "pass positions="),
        (topology_of(((8, 1, 1), ((0, 1), (0, 2)))), {}, "describes C2H6O, but .* are H2O"),
        (topology_of(((8, 1, 1), ())), {"inModelOrder": True}, "describes 9 atoms, 3 were chosen"),
        (topology_of((NUMBERS[::-1], ())), {"inModelOrder": True}, "atom 0 of the topology is H, atom 0 .* is C"),
    ],
    ids=["no positions", "water", "too few in order", "other elements in order"],
)
def test_a_topology_without_the_molecule_is_refused(potential, topology, options, message):
    with pytest.raises(ValueError, match=message):
        potential.createSystem(topology, **options)


def test_a_potential_without_a_model_is_refused():
    with pytest.raises(ValueError, match=r"needs a weight file: MLPotential\('kml', model="):
        openmmml.MLPotential("kml")


def test_the_model_replaces_what_the_force_field_has_inside_the_molecule(potential):
    # E_mixed = E_MM - E_MM(molecule in vacuum) + E_model; its periodic images are the force field's on both sides.
    topology, positions, classical = ethanol_in_water()
    mixed = potential.createMixedSystem(topology, classical, ethanol_atoms(topology), positions=positions)
    for seed in (1, 2):
        moved = positions.copy()
        moved[:9] += np.random.default_rng(seed).normal(0, 0.004, (9, 3))
        inside = energy(ethanol_alone(), moved[:9])
        model = ethanol_potential().evaluate(moved[:9] * 10).energy * KJ_PER_MOL
        assert energy(mixed, moved) == pytest.approx(energy(classical, moved) - inside + model, abs=5e-3)


@pytest.mark.parametrize("route_name", ["CPU", "base-class", "OpenCL"])
def test_a_molecule_over_the_border_of_the_box_stays_whole_on_every_platform(potential, route_name):
    # Platforms may move molecules by box vectors and reorder them; the model must never see a molecule cut.
    topology, positions, classical = ethanol_in_water()
    mixed = potential.createMixedSystem(topology, classical, ethanol_atoms(topology), positions=positions)
    width = mixed.getDefaultPeriodicBoxVectors()[1][1].value_in_unit(unit.nanometer)
    at_border = positions - positions[1] + [0.0, width, 0.3]
    found = []
    for name in ("Reference", route_name):
        with route(name):
            context = context_for(mixed, at_border * 10, name, time_step=1e-4)
            before, forces = energy_and_forces(context)
            context.getIntegrator().step(5)
            found.append((before, forces, energy_and_forces(context)[0]))
    (before, forces, after), (other_before, other_forces, other_after) = found
    # PME and Lennard-Jones in single precision.
    assert other_before == pytest.approx(before, abs=2e-3)
    np.testing.assert_allclose(other_forces, forces, atol=1e-3 * np.abs(forces).max())
    assert other_after == pytest.approx(after, abs=5e-3)


def test_constraints_within_the_molecule_are_removed_and_no_others(potential):
    topology, positions, classical = ethanol_in_water()
    mixed = potential.createMixedSystem(topology, classical, ethanol_atoms(topology), positions=positions)
    assert classical.getNumConstraints() - mixed.getNumConstraints() == 6  # its hydrogens
    assert mixed.getNumConstraints() == 3 * 80  # rigid water


def test_constraints_that_were_kept_are_refused_by_the_context(potential):
    topology, positions, classical = ethanol_in_water()
    mixed = potential.createMixedSystem(
        topology, classical, ethanol_atoms(topology), removeConstraints=False, positions=positions
    )
    with pytest.raises(openmm.OpenMMException, match=r"KMLForce: the distance of particles \d and \d is constrained"):
        energy(mixed, positions)


@pytest.mark.parametrize("n_ethanol", [1, 2])
def test_interpolation_has_both_ends_and_a_straight_line_between(potential, n_ethanol):
    topology, positions, classical = ethanol_in_water(n_ethanol, constraints=None)
    atoms = ethanol_atoms(topology)
    plain = potential.createMixedSystem(topology, classical, atoms, positions=positions)
    system = potential.createMixedSystem(topology, classical, atoms, interpolate=True, positions=positions)
    at_0, at_half, at_1 = (energy(system, positions, lambda_interpolate=value) for value in (0.0, 0.5, 1.0))
    assert at_0 == pytest.approx(energy(classical, positions), abs=0.01)
    assert at_1 == pytest.approx(energy(plain, positions), abs=0.01)
    assert at_half == pytest.approx((at_0 + at_1) / 2, abs=0.01)


def test_two_embedded_molecules_still_feel_each_other(potential):
    # One molecule is pushed towards the other: the force field between them must answer as it does without a model.
    topology, positions, classical = ethanol_in_water(2)
    mixed = potential.createMixedSystem(topology, classical, ethanol_atoms(topology), positions=positions)
    assert len(kml_forces(mixed)) == 2
    pushed = positions.copy()
    pushed[9:18, 2] -= 0.13
    repulsion = energy(classical, pushed) - energy(classical, positions)
    assert repulsion > 20.0
    assert energy(mixed, pushed) - energy(mixed, positions) == pytest.approx(repulsion, rel=1e-4)


def test_a_barostat_moves_the_molecule_as_one(potential):
    topology, positions, classical = ethanol_in_water(constraints=None)
    for interpolate in (False, True):
        system = potential.createMixedSystem(
            topology, classical, ethanol_atoms(topology), interpolate=interpolate, positions=positions
        )
        system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))
        molecules = context_for(system, positions * 10).getMolecules()
        assert tuple(range(9)) in molecules
        assert len(molecules) == 81


def test_bonds_that_only_a_constraint_holds_cannot_be_interpolated(potential):
    topology, positions, classical = ethanol_in_water()
    with pytest.raises(ValueError, match=r"nothing holds the bond at lambda_interpolate = 0; .* constraints=None"):
        potential.createMixedSystem(topology, classical, ethanol_atoms(topology), interpolate=True, positions=positions)


def test_a_molecule_that_is_cut_is_refused(potential):
    topology, positions, classical = ethanol_in_water()
    with pytest.raises(ValueError, match="choose all atoms of the molecule"):
        potential.createMixedSystem(topology, classical, ethanol_atoms(topology)[:5], positions=positions)


def test_a_mixed_system_survives_serialization(potential):
    topology, positions, classical = ethanol_in_water()
    mixed = potential.createMixedSystem(topology, classical, ethanol_atoms(topology), positions=positions)
    copy = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(mixed))
    assert energy(copy, positions) == energy(mixed, positions)


# --- Δ-models


@pytest.fixture(scope="module")
def difference(tmp_path_factory):
    """Return the path of a model of the difference to a classical force field, and of that baseline."""
    folder = tmp_path_factory.mktemp("difference")
    model, baseline = folder / "delta.safetensors", folder / "mm.xml"
    model.write_bytes(delta_bytes())
    baseline.write_text(openmm.XmlSerializer.serialize(classical()), encoding="utf-8")
    return str(model), str(baseline)


def test_the_baseline_of_a_difference_is_added_to_every_molecule(difference):
    model, baseline = difference
    order = np.random.default_rng(2).permutation(9)
    first = ethanol_minimum() + np.random.default_rng(3).normal(0, 0.04, (9, 3))
    positions = np.concatenate([first[order], ethanol_minimum() + 10.0])
    topology = topology_of(reordered(order), (NUMBERS, BONDS))
    potential = openmmml.MLPotential("kml", model=model, baseline=baseline)
    found, forces = energy_and_forces(
        context_for(potential.createSystem(topology, positions=positions / 10), positions)
    )
    alone = KernelPotential.load(model, delta=True)
    expected = [alone.evaluate(molecule) for molecule in (first, ethanol_minimum())]
    parts = [energy_and_forces(context_for(classical(), molecule)) for molecule in (first, ethanol_minimum())]
    assert found == pytest.approx(sum(e.energy for e in expected) + sum(energy for energy, _ in parts), abs=EXACT)
    np.testing.assert_allclose(forces[:9], (expected[0].forces + parts[0][1])[order], atol=1e-8)


def test_a_mixed_system_adds_the_baseline_back(difference):
    # The force field around the molecule is the baseline's own, so the model comes on top of it.
    model, _ = difference
    topology, positions, surroundings = ethanol_in_water(constraints=None)
    atoms = ethanol_atoms(topology)
    potential = openmmml.MLPotential("kml", model=model, baseline=openmm.XmlSerializer.clone(classical()))
    mixed = potential.createMixedSystem(topology, surroundings, atoms, positions=positions)
    both = potential.createMixedSystem(topology, surroundings, atoms, positions=positions, interpolate=True)
    moved = positions.copy()
    moved[:9] += np.random.default_rng(1).normal(0, 0.004, (9, 3))
    extra = KernelPotential.load(model, delta=True).evaluate(moved[:9] * 10).energy * KJ_PER_MOL
    without = energy(surroundings, moved)
    assert abs(extra) > 1.0
    assert energy(mixed, moved) == pytest.approx(without + extra, abs=5e-3)
    assert energy(both, moved, lambda_interpolate=1.0) == pytest.approx(without + extra, abs=0.01)
    assert energy(both, moved, lambda_interpolate=0.0) == pytest.approx(without, abs=0.01)


def test_a_model_of_any_structure_is_a_baseline_of_molecules(tmp_path):
    """Each molecule has it for itself, without periodic images, as in the training."""
    elements = tuple(int(z) for z in np.unique(NUMBERS))
    pairs = Weights(elements=elements, terms=(random_spline2(len(elements), np.random.default_rng(4), cutoff=6.0),))
    baseline = resolve_baseline(KernelPotential.from_bytes(to_bytes(pairs)))
    save(replace(ethanol_weights(), baseline=record(baseline)), tmp_path / "delta.safetensors")
    potential = openmmml.MLPotential("kml", model=tmp_path / "delta.safetensors", baseline=baseline.potential)
    positions = np.concatenate([ethanol_minimum(), ethanol_minimum() + 3.0])
    topology = topology_of((NUMBERS, BONDS), (NUMBERS, BONDS))
    topology.setPeriodicBoxVectors(1.2 * np.eye(3))
    found, forces = energy_and_forces(
        context_for(potential.createSystem(topology, positions=positions / 10), positions)
    )
    total = SumPotential.load(tmp_path / "delta.safetensors", baseline)
    expected = [total.evaluate(molecule) for molecule in np.split(positions, 2)]
    assert found == pytest.approx(sum(e.energy for e in expected), abs=EXACT)
    np.testing.assert_allclose(forces, np.concatenate([e.forces for e in expected]), atol=1e-8)


def test_a_difference_without_its_baseline_is_refused(difference, model):
    delta, baseline = difference
    other = classical()
    other.removeForce(0)
    for options, text in (
        ({"model": delta}, "is only the difference to the baseline 'mm.xml'"),
        ({"model": delta, "baseline": other}, "this System is not the baseline of the model"),
        ({"model": model, "baseline": baseline}, "this model is the whole energy"),
    ):
        with pytest.raises(WeightFileError, match=text):
            openmmml.MLPotential("kml", **options)


def test_a_baseline_that_cannot_be_moved_to_other_particles_is_refused():
    system = classical()
    force = openmm.CustomNonbondedForce("1/r")
    for _ in range(9):
        force.addParticle([])
    system.addForce(force)
    with pytest.raises(DataError, match=r"CustomNonbondedForce of the baseline .* cannot be moved .* baseline_added"):
        check_placeable(system)
    check_placeable(classical())
