"""`fix kml/global`: a model of one molecule in LAMMPS, wherever its atoms are and however they are numbered."""

from itertools import permutations

import numpy as np
import pytest
from lammps_helpers import OUTPUT, Result, boundary, lammps, needs_lammps, plugin_line, read_dump, write_data
from models import MODELS, model_positions, random_weights

from openmm_kml.reference import evaluate
from openmm_kml.weights import save

pytestmark = needs_lammps

WEIGHTS = MODELS["ethanol-matern92-energies-weighted"]
ELEMENTS = (6, 8, 1)
CELL = np.array([[7.0, 0, 0], [1.5, 7.5, 0], [-1.0, 2.0, 8.0]])
NOTHING = "pair_style zero 3.0\npair_coeff * *\n"


def start(folder, positions, cell=CELL, pbc=(True, True, True), units="metal", weights=WEIGHTS, extra=0):
    """Write model and molecule, with some atoms of a fourth type after it; return a deck and the rotation."""
    save(weights, folder / "model.safetensors")
    types = [ELEMENTS.index(z) + 1 for z in weights.species] + extra * [4]
    others = np.random.default_rng(8).uniform(0, 5, (extra, 3))
    rotation = write_data(folder / "data", np.concatenate([positions, others]), types, 4, cell, pbc, [12, 16, 1, 4])
    deck = f"{plugin_line()}\nunits {units}\nboundary {boundary(pbc)}\natom_modify map yes\nread_data data\n{NOTHING}"
    deck += f"group molecule id 1:{len(positions)}\n"
    return deck + "fix kml molecule kml/global model.safetensors C O H NULL\n", rotation


def check(result, positions, weights=WEIGHTS):
    energies, forces, virials = evaluate(weights, positions)
    n = len(positions)
    assert result.energy == pytest.approx(float(energies), rel=1e-12)
    assert np.abs(result.forces[:n] - forces).max() < 1e-11 * np.abs(forces).max()
    assert not result.forces[n:].any()
    assert np.abs(result.virial - virials).max() < 1e-10 * np.abs(virials).max()
    assert np.abs(result.virials.sum(axis=0) - virials).max() < 1e-10 * np.abs(virials).max()


@pytest.mark.parametrize(("ranks", "threads"), [(1, 1), (2, 1), (4, 1), (1, 2)])
def test_a_molecule_across_periodic_boundaries(ranks, threads, tmp_path):
    positions = model_positions(WEIGHTS)[0] + [6.0, 8.5, 7.0]
    deck, rotation = start(tmp_path, positions, extra=20)
    check(Result(tmp_path, lammps(tmp_path, deck + OUTPUT, ranks, threads), rotation), positions)


def test_without_periodicity_and_in_units_real(tmp_path):
    positions = model_positions(WEIGHTS)[0]
    deck, rotation = start(tmp_path, positions, None, (False, False, False), "real")
    check(Result(tmp_path, lammps(tmp_path, deck + OUTPUT, 2), rotation, "real"), positions)


def test_a_large_model_is_shared_by_processors_and_threads(tmp_path):
    group = np.array([np.r_[0, 1, 2, 3, 4, p] for p in permutations((5, 6, 7, 8))])
    weights = random_weights(permutations=group, n_train=1200, energies=True)
    positions = model_positions(weights)[0]
    for ranks, threads in ((1, 1), (2, 2)):
        deck, rotation = start(tmp_path, positions, weights=weights)
        check(Result(tmp_path, lammps(tmp_path, deck + OUTPUT, ranks, threads), rotation), positions, weights)


@pytest.mark.parametrize("ranks", [1, 2])
def test_repulsion_and_walls_count_once(ranks, tmp_path):
    weights = MODELS["ethanol-repulsion-walls"]
    positions = model_positions(weights)[0]
    deck, rotation = start(tmp_path, positions, weights=weights)
    check(Result(tmp_path, lammps(tmp_path, deck + OUTPUT, ranks), rotation), positions, weights)


def test_fix_modify_takes_energy_and_virial_out(tmp_path):
    positions = model_positions(WEIGHTS)[0]
    deck, rotation = start(tmp_path, positions)
    result = Result(tmp_path, lammps(tmp_path, deck + "fix_modify kml energy no virial no\n" + OUTPUT), rotation)
    _, forces, _ = evaluate(WEIGHTS, positions)
    assert result.energy == 0
    assert not result.virial.any()
    assert np.abs(result.forces - forces).max() < 1e-11 * np.abs(forces).max()


def test_dynamics_conserve_energy_across_boundaries(tmp_path):
    weights = random_weights(n_train=8, seed=3)
    positions = model_positions(weights)[0] + 6.0
    deck, _ = start(tmp_path, positions, weights=weights)
    # Fast as a whole: atoms cross the boundary before the molecule, whose model is random, falls apart.
    deck += "neighbor 1.0 bin\ntimestep 0.00002\nvelocity all set 0 0 300\nfix 1 all nve\nrun 0\n"
    deck += "variable e equal $(etotal:%.15g)\nvariable p equal $(pe:%.15g)\nrun 400\n"
    said = lammps(tmp_path, deck + 'print "DRIFT $(etotal-v_e:%.12g) $(abs(pe-v_p):%.12g)"\n', 2)
    drift, change = (float(x) for x in said.split("DRIFT ")[-1].split()[:2])
    assert change > 0.05
    assert abs(drift) < 1e-3 * change


def test_minimize_and_restart(tmp_path):
    positions = model_positions(WEIGHTS)[0]
    deck, rotation = start(tmp_path, positions)
    said = lammps(tmp_path, deck + "minimize 0 1e-4 40 400\nwrite_restart rest\n" + OUTPUT)
    lowered = Result(tmp_path, said, rotation)
    assert lowered.energy < float(evaluate(WEIGHTS, positions)[0]) - 0.01
    frame = read_dump(tmp_path / "dump")[-1]
    again = deck.split("\n")
    again = "\n".join([again[0], "read_restart rest", NOTHING, again[-2], OUTPUT])
    lammps(tmp_path, again)
    assert np.abs(read_dump(tmp_path / "dump")[-1] - frame)[:, 2:8].max() < 1e-12


WRONG = {
    "too few elements": (("C O H NULL", "C O H"), "one element for each of the 4 atom types"),
    "an unknown element": (("C O H NULL", "C O Hy NULL"), "'Hy' is not the symbol of an element"),
    "another element": (("C O H NULL", "C N H NULL"), "atom 3 is N, but the model expects O there"),
    "an atom without element": (("C O H NULL", "C NULL H NULL"), "atom 3 is of a type without element"),
    "too large a group": (("id 1:9", "id 1:10"), "molecule of 9 atoms, but group molecule has 10"),
    "too small a group": (("id 1:9", "id 1:8"), "molecule of 9 atoms, but group molecule has 8"),
    "no model": (("model.safetensors", "nothing.safetensors"), "nothing.safetensors cannot be read: No such file"),
    "no arguments": ((" model.safetensors C O H NULL", ""), "fix ID group kml/global FILE"),
    "another unit": (("units metal", "units lj"), "'units metal' or 'units real'; 'lj' was chosen"),
    "respa": (("group molecule", "run_style respa 2 2 pair 1\ngroup molecule"), "run_style verlet"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_refused_with_a_sentence(case, tmp_path):
    (old, new), words = WRONG[case]
    deck, _ = start(tmp_path, model_positions(WEIGHTS)[0], extra=3)
    assert old in deck
    said = " ".join(lammps(tmp_path, deck.replace(old, new, 1) + OUTPUT, ranks=2, check=False).split())
    assert words in said
    assert "RESULT" not in said


def test_atoms_that_coincide_are_named(tmp_path):
    positions = model_positions(WEIGHTS)[0]
    positions[5] = positions[4]
    deck, _ = start(tmp_path, positions)
    assert "atom 6 and atom 5 coincide" in " ".join(lammps(tmp_path, deck + OUTPUT, 2, check=False).split())


def test_an_atom_that_joins_the_group_ends_the_run(tmp_path):
    deck, _ = start(tmp_path, model_positions(WEIGHTS)[0], extra=3)
    deck += "fix 1 all nve\ntimestep 1e-9\nrun 1\ngroup molecule id 10\nrun 1 pre no\nprint ALIVE\n"
    said = " ".join(lammps(tmp_path, deck, check=False).split())
    assert "atom 10 joined the group" in said
    assert "ALIVE" not in said
