"""`pair_style kml`: energies, forces and virials of the NumPy twin, by any number of processors and threads."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lammps_helpers import (
    OUTPUT,
    Result,
    boundary,
    lammps,
    needs_lammps,
    plugin_line,
    potentials_folder,
    read_dump,
    write_data,
)
from local_models import LOCAL_MODELS, STRUCTURES, diamond, numbers_for
from models import MODELS
from stillinger_weber import spline_model

from openmm_kml.elements import symbol
from openmm_kml.reference import evaluate_structure
from openmm_kml.weights import Baseline, save

pytestmark = needs_lammps


def start(folder, weights, structure, numbers, units="metal", pair=None):
    """Write model and structure; return the beginning of a deck and the rotation into LAMMPS's axes."""
    positions, cell, pbc = structure
    save(weights, folder / "model.safetensors")
    types = np.searchsorted(weights.elements, numbers) + 1
    names = " ".join(symbol(z) for z in weights.elements)
    rotation = write_data(folder / "data", positions, types, len(weights.elements), cell, pbc)
    pair = pair or f"pair_style kml\npair_coeff * * model.safetensors {names}"
    deck = f"{plugin_line()}\nunits {units}\nboundary {boundary(pbc)}\nbox tilt large\nread_data data\n{pair}\n"
    return deck, rotation


def check(result, weights, structure, numbers, tolerance=1e-11):
    """Compare everything with the NumPy twin."""
    positions, cell, pbc = structure
    energy, forces, virial, energies = evaluate_structure(weights, positions, numbers, cell, pbc)
    size = np.abs(forces).max() + 1
    assert result.energy == pytest.approx(energy, abs=tolerance * np.abs(energies).sum() + 1e-12)
    assert np.abs(result.forces - forces).max() < tolerance * size
    assert np.abs(result.energies - energies).max() < tolerance * (np.abs(energies).max() + 1)
    assert np.abs(result.virial - virial).max() < 1e-10 * (np.abs(virial).max() + size)
    assert np.abs(result.virials.sum(axis=0) - virial).max() < 1e-10 * (np.abs(virial).max() + size)


SPLINES, SOAP = "all terms of silica", "soap, pairs and repulsion of silica"
both = pytest.mark.parametrize("model", [SPLINES, SOAP])


@pytest.mark.parametrize("structure", ["triclinic cell, atoms outside", "one atom in a tiny cell", "slab", "trimer"])
@pytest.mark.parametrize("model", [SPLINES, SOAP, "two terms of each kind"])
def test_results_are_those_of_the_reference(model, structure, tmp_path):
    weights, structure = LOCAL_MODELS[model], STRUCTURES[structure]
    numbers = numbers_for(weights, len(structure[0]))
    deck, rotation = start(tmp_path, weights, structure, numbers)
    result = Result(tmp_path, lammps(tmp_path, deck + OUTPUT), rotation)
    check(result, weights, structure, numbers)


@pytest.mark.parametrize("model", sorted(set(LOCAL_MODELS) - {SPLINES, SOAP, "two terms of each kind"}))
def test_every_kind_of_term(model, tmp_path):
    weights, structure = LOCAL_MODELS[model], STRUCTURES["distorted crystal"]
    numbers = numbers_for(weights, len(structure[0]))
    deck, rotation = start(tmp_path, weights, structure, numbers)
    check(Result(tmp_path, lammps(tmp_path, deck + OUTPUT), rotation), weights, structure, numbers)


def crystal(repeat=3):
    """Return a distorted crystal of silica's elements: enough atoms for several processors."""
    positions, cell = diamond(repeat=repeat)
    return positions + np.random.default_rng(4).normal(0, 0.12, positions.shape), cell, (True, True, True)


@pytest.mark.parametrize(("ranks", "threads"), [(2, 1), (4, 1), (1, 2), (2, 3)])
@both
def test_processors_and_threads_agree_with_the_reference(model, ranks, threads, tmp_path):
    weights, structure = LOCAL_MODELS[model], crystal()
    numbers = numbers_for(weights, len(structure[0]))
    deck, rotation = start(tmp_path, weights, structure, numbers)
    said = lammps(tmp_path, deck + OUTPUT, ranks, threads)
    assert f"on {ranks * threads} procs" in said
    check(Result(tmp_path, said, rotation), weights, structure, numbers)


@both
def test_threads_give_the_same_digits_each_time(model, tmp_path):
    weights, structure = LOCAL_MODELS[model], crystal()
    numbers = numbers_for(weights, len(structure[0]))
    deck, _ = start(tmp_path, weights, structure, numbers)
    dumps = []
    for _ in range(2):
        lammps(tmp_path, deck + OUTPUT, threads=3)
        dumps.append((tmp_path / "dump").read_bytes())
    assert dumps[0] == dumps[1]


def test_units_real_are_converted(tmp_path):
    weights, structure = LOCAL_MODELS[SPLINES], STRUCTURES["distorted crystal"]
    numbers = numbers_for(weights, len(structure[0]))
    deck, rotation = start(tmp_path, weights, structure, numbers, units="real")
    result = Result(tmp_path, lammps(tmp_path, deck + OUTPUT), rotation, units="real")
    check(result, weights, structure, numbers)


@both
def test_hybrid_overlay_adds_another_style(model, tmp_path):
    weights, structure = LOCAL_MODELS[model], crystal(2)
    numbers = numbers_for(weights, len(structure[0]))
    other = "{} 3.0\npair_coeff * * {} 0.01 2.5 3.0\n"
    results = {}
    for name, pair in {
        "kml": "pair_style kml\npair_coeff * * model.safetensors O Si",
        "other": "pair_style " + other.format("lj/cut", ""),
        "both": "pair_style hybrid/overlay kml "
        + other.format("lj/cut", "lj/cut")
        + "pair_coeff * * kml model.safetensors O Si",
    }.items():
        deck, rotation = start(tmp_path, weights, structure, numbers, pair=pair)
        results[name] = Result(tmp_path, lammps(tmp_path, deck + OUTPUT, ranks=2), rotation)
    for what in ("energy", "forces", "virial", "energies", "virials"):
        together = getattr(results["kml"], what) + getattr(results["other"], what)
        assert np.abs(getattr(results["both"], what) - together).max() < 1e-9


@both
def test_types_of_another_style_are_not_neighbors(model, tmp_path):
    weights, structure = LOCAL_MODELS[model], crystal(2)
    numbers = numbers_for(weights, len(structure[0]))
    pair = """pair_style hybrid kml lj/cut 3.0
pair_coeff * * kml model.safetensors NULL Si
pair_coeff 1 1 lj/cut 0.0 2.5
pair_coeff 1 2 lj/cut 0.0 2.5"""
    deck, rotation = start(tmp_path, weights, structure, numbers, pair=pair)
    result = Result(tmp_path, lammps(tmp_path, deck + OUTPUT), rotation)
    positions, cell, pbc = structure
    mine = numbers == 14
    energy, forces, virial, _ = evaluate_structure(weights, positions[mine], numbers[mine], cell, pbc)
    assert result.energy == pytest.approx(energy, rel=1e-12)
    assert np.abs(result.forces[mine] - forces).max() < 1e-11 * np.abs(forces).max()
    assert not result.forces[~mine].any()
    assert np.abs(result.virial - virial).max() < 1e-10 * np.abs(virial).max()


# --- dynamics


def quiet(weights, scale=0.02):
    """Return a model with small coefficients, whose crystal holds still enough for dynamics."""
    terms = tuple(replace(term, coefficients=scale * term.coefficients) for term in weights.terms[:-1])
    return replace(weights, terms=terms, atom_energies={})


QUIET = quiet(LOCAL_MODELS[SPLINES])
quiet_models = pytest.mark.parametrize("weights", [QUIET, quiet(LOCAL_MODELS[SOAP])], ids=[SPLINES, SOAP])
RUN = "velocity all create 300 7 loop geom\ntimestep 0.001\nneighbor 1.0 bin\n"


def run_of(folder, commands, ranks=1, weights=QUIET):
    structure = crystal(2)
    numbers = numbers_for(weights, len(structure[0]))
    deck, rotation = start(folder, weights, structure, numbers)
    return lammps(folder, deck + RUN + commands, ranks), rotation


@quiet_models
def test_energy_is_conserved(weights, tmp_path):
    said, _ = run_of(
        tmp_path,
        "thermo_modify norm no\nfix 1 all nve\nrun 0\nvariable a equal $(etotal:%.15g)\n"
        "variable k equal $(ke:%.15g)\nrun 400\n"
        'print "DRIFT $(etotal-v_a:%.12g) $(v_k:%.12g) $(abs(ke-v_k):%.12g)"\n',
        weights=weights,
    )
    drift, kinetic, change = (float(x) for x in said.split("DRIFT ")[-1].split()[:3])
    assert change > 0.02 * kinetic  # energy moves between kinetic and potential
    assert abs(drift) < 2e-3 * change


def test_the_skin_of_the_neighbor_lists_changes_nothing(tmp_path):
    frames = []
    for skin in ("neighbor 0.0 bin\nneigh_modify every 1 delay 0 check no\n", "neighbor 1.5 bin\n"):
        run_of(tmp_path, skin + "fix 1 all nve\nrun 30\n" + OUTPUT)
        frames.append(read_dump(tmp_path / "dump")[-1])
    assert np.abs(frames[0] - frames[1])[:, 2:8].max() < 1e-10


@quiet_models
def test_constant_pressure_goes_on_with_any_number_of_processors(weights, tmp_path):
    commands = "fix 1 all npt temp 300 300 0.1 aniso 0 0 1.0\nrun 40\nunfix 1\n" + OUTPUT
    results = []
    for ranks in (1, 2):
        said, rotation = run_of(tmp_path, commands, ranks, weights)
        results.append(Result(tmp_path, said, rotation))
    assert np.abs(results[0].forces - results[1].forces).max() < 1e-8
    box = (tmp_path / "dump").read_text().split("BOX BOUNDS")[1].splitlines()[1:4]
    lengths = np.array([[float(x) for x in line.split()[:2]] for line in box]) @ [-1, 1]
    assert np.abs(lengths - 9.2).max() > 1e-3  # the barostat did something
    x = results[1].positions
    numbers = numbers_for(weights, len(x))
    energy, forces, virial, _ = evaluate_structure(weights, x, numbers, np.diag(lengths), True)
    assert results[1].energy == pytest.approx(energy, abs=1e-10)
    assert np.abs(results[1].forces - forces).max() < 1e-9
    assert np.abs(results[1].virial - virial).max() < 1e-8


def test_minimize_lowers_the_energy_until_forces_vanish(tmp_path):
    said, rotation = run_of(tmp_path, "min_style cg\nminimize 0 1e-6 500 5000\n" + OUTPUT)
    result = Result(tmp_path, said, rotation)
    before, *_ = evaluate_structure(QUIET, crystal(2)[0], numbers_for(QUIET, 64), crystal(2)[1], True)
    assert result.energy < before - 0.01
    assert np.abs(result.forces).max() < 1e-3


def test_restart_needs_the_model_again_and_then_goes_on_exactly(tmp_path):
    run_of(tmp_path, "fix 1 all nve\nrun 10\nwrite_restart half\nrun 10\n" + OUTPUT)
    whole = read_dump(tmp_path / "dump")[-1]
    again = f"{plugin_line()}\nread_restart half\n{{}}\nneighbor 1.0 bin\nfix 1 all nve\nrun 10\n{OUTPUT}"
    pair = "pair_style kml\npair_coeff * * model.safetensors O Si"
    lammps(tmp_path, again.format(pair))
    assert np.abs(read_dump(tmp_path / "dump")[-1][:, 2:8] - whole[:, 2:8]).max() < 1e-10
    assert "pair style" in lammps(tmp_path, again.format(""), check=False).lower()


def test_clear_forgets_the_model_and_the_plugin_stays(tmp_path):
    weights, structure = LOCAL_MODELS[SPLINES], STRUCTURES["distorted crystal"]
    numbers = numbers_for(weights, len(structure[0]))
    deck, rotation = start(tmp_path, weights, structure, numbers)
    again = deck.split("\n", 1)[1]
    said = lammps(tmp_path, deck + "run 0\nclear\n" + again + OUTPUT)
    check(Result(tmp_path, said, rotation), weights, structure, numbers)


DECK = re.compile(r"<!-- This deck is run by tests/test_lammps\.py\. -->\n```lammps\n(.*?)```", re.DOTALL)


def test_the_deck_of_the_guide_runs(tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "lammps.md").read_text(encoding="utf-8")
    (deck,) = DECK.findall(text)
    assert "plugin load kmlplugin.so\n" in deck
    save(spline_model(cutoff3=3.5), tmp_path / "silicon.safetensors")
    said = lammps(tmp_path, deck.replace("plugin load kmlplugin.so", plugin_line()), 2)
    temperature, pressure = re.findall(r"^ +100 +(\S+) +\S+ +\S+ +\S+ +(\S+)", said, re.MULTILINE)[-1]
    assert 100 < float(temperature) < 600  # still a crystal, whose numbers are numbers
    assert abs(float(pressure)) < 1e5


# --- wrong input: one sentence, and no result, from two processors that must not wait for each other

SILICA = "pair_coeff * * model.safetensors O Si"
WRONG = {
    "newton off": (("read_data", "newton off\nread_data"), "needs 'newton on'"),
    "too few elements": ((SILICA, "pair_coeff * * model.safetensors O"), "each of the 2 atom types"),
    "too many elements": ((SILICA, SILICA + " Si"), "each of the 2 atom types"),
    "an unknown element": ((SILICA, "pair_coeff * * model.safetensors O Ge"), "does not know Ge; it knows O Si"),
    "no element": ((SILICA, "pair_coeff * * model.safetensors O si"), "'si' is not the symbol of an element"),
    "a pair of types": ((SILICA, "pair_coeff 1 2 model.safetensors O Si"), "must start with * *"),
    "no file": ((SILICA, "pair_coeff * * no.safetensors O Si"), "no.safetensors cannot be read: No such file"),
    "a folder": ((SILICA, "pair_coeff * * . O Si"), "cannot be read"),
    "no coefficients": ((SILICA, ""), "coeff"),
    "NULL without another style": ((SILICA, "pair_coeff * * model.safetensors O NULL"), "pair coeffs are not set"),
    "arguments": (("pair_style kml", "pair_style kml 5.0"), "takes no arguments"),
    "other units": (("units metal", "units lj"), "'units metal' or 'units real'; 'lj' was chosen"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_refused_with_a_sentence(case, tmp_path):
    (old, new), words = WRONG[case]
    weights, structure = LOCAL_MODELS[SPLINES], STRUCTURES["distorted crystal"]
    deck, _ = start(tmp_path, weights, structure, numbers_for(weights, 8))
    assert old in deck
    refused(tmp_path, deck.replace(old, new, 1) + OUTPUT, words)


def test_atoms_without_ids_are_refused(tmp_path):
    save(LOCAL_MODELS["pairs of silicon"], tmp_path / "model.safetensors")
    deck = f"""{plugin_line()}
units metal
atom_modify id no
lattice diamond 5.4
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 28
pair_style kml
pair_coeff * * model.safetensors Si
run 0
"""
    refused(tmp_path, deck, "needs atom ids")


def refused(folder, deck, words, ranks=2):
    said = " ".join(lammps(folder, deck, ranks, check=False).split())
    assert "ERROR" in said
    assert words in said
    assert "RESULT" not in said


@pytest.mark.parametrize("damage", ["cut short", "another number", "of one molecule", "the difference to a baseline"])
def test_a_model_that_cannot_be_used_is_refused(damage, tmp_path):
    weights, structure = LOCAL_MODELS[SPLINES], STRUCTURES["distorted crystal"]
    deck, _ = start(tmp_path, weights, structure, numbers_for(weights, 8))
    path = tmp_path / "model.safetensors"
    data = path.read_bytes()
    if damage == "cut short":
        path.write_bytes(data[:-5])
        words = "the model file model.safetensors is refused"
    elif damage == "another number":
        path.write_bytes(data[:-8] + np.array([np.nan]).tobytes())
        words = "finite"
    elif damage == "of one molecule":
        save(MODELS["ethanol-matern92-energies-weighted"], path)
        words = "is a model of one molecule: use fix kml/global"
    else:
        save(replace(weights, baseline=Baseline("sha256:" + 64 * "0", "mm.xml")), path)
        words = "mm.xml"
    refused(tmp_path, deck + OUTPUT, words)


def test_only_the_first_processor_reads_the_model(tmp_path):
    """Where the others lack the file, or have a damaged one, nothing goes wrong and nobody waits."""
    weights, structure = LOCAL_MODELS[SPLINES], crystal(2)
    numbers = numbers_for(weights, len(structure[0]))
    deck, rotation = start(tmp_path, weights, structure, numbers)
    place = tmp_path / "first"
    place.mkdir()
    (tmp_path / "model.safetensors").rename(place / "model.safetensors")
    second = tmp_path / "second"
    second.mkdir()
    (second / "model.safetensors").write_bytes(b"damaged")
    said = lammps(tmp_path, deck + OUTPUT, 2, environments=[{"LAMMPS_POTENTIALS": str(p)} for p in (place, second)])
    check(Result(tmp_path, said, rotation), weights, structure, numbers)
    environments = [{"LAMMPS_POTENTIALS": str(p)} for p in (second, place)]
    said = lammps(tmp_path, deck + OUTPUT, 2, check=False, environments=environments)
    assert "is refused" in said


def test_bonds_must_not_hide_neighbors(tmp_path):
    weights, structure = LOCAL_MODELS["pairs of silicon"], STRUCTURES["distorted crystal"]
    deck, rotation = start(tmp_path, weights, structure, numbers_for(weights, 8))
    data = (tmp_path / "data").read_text()
    data = data.replace("1 atom types", "1 atom types\n1 bonds\n1 bond types\n2 extra special per atom")
    head, atoms = data.split("Atoms # atomic\n\n")
    rows = [" ".join([row.split()[0], "1", *row.split()[1:]]) for row in atoms.splitlines()]
    (tmp_path / "data").write_text(head + "Atoms # bond\n\n" + "\n".join(rows) + "\n\nBonds\n\n1 1 1 2\n")
    deck = deck.replace("read_data", "atom_style bond\nread_data").replace(
        "pair_style", "bond_style zero\nbond_coeff *\nSPECIAL\npair_style"
    )
    refused(tmp_path, deck.replace("SPECIAL", "") + OUTPUT, "special_bonds lj/coul 1 1 1")
    result = lammps(tmp_path, deck.replace("SPECIAL", "special_bonds lj/coul 1 1 1") + OUTPUT)
    check(Result(tmp_path, result, rotation), weights, structure, numbers_for(weights, 8))


def test_atoms_that_coincide_are_named(tmp_path):
    weights = LOCAL_MODELS[SPLINES]
    structure = (np.array([[0.0, 0, 0], [1.7, 0.2, 0], [1.7, 0.2, 0]]), None, (False, False, False))
    deck, _ = start(tmp_path, weights, structure, np.array([8, 14, 14]))
    refused(tmp_path, deck + OUTPUT, "coincides with another one", ranks=1)


def test_positions_that_are_not_finite_end_the_run_before_lists_are_made_again(tmp_path):
    weights, structure = LOCAL_MODELS[SPLINES], STRUCTURES["distorted crystal"]
    deck, _ = start(tmp_path, weights, structure, numbers_for(weights, 8))
    deck += "fix 1 all nve\nneigh_modify every 50 delay 50 check no\nset atom 3 vx 1e300\ntimestep 1e9\nrun 5\n"
    refused(tmp_path, deck, "or its position is not finite", ranks=1)


def test_stillinger_weber_on_splines_is_lammps_own(tmp_path):
    """The pair style against another one of LAMMPS, on a potential that both can express."""
    positions, cell = diamond(5.431, 2)
    structure = (positions + np.random.default_rng(0).normal(0, 0.08, positions.shape), cell, (True, True, True))
    results = []
    for pair in ("pair_style sw\npair_coeff * * Si.sw Si", None):
        weights = spline_model(spacing=0.06)
        deck, rotation = start(tmp_path, weights, structure, np.full(64, 14), pair=pair)
        said = lammps(tmp_path, deck + OUTPUT, environment={"LAMMPS_POTENTIALS": str(potentials_folder())})
        results.append(Result(tmp_path, said, rotation))
    own, splined = results
    assert splined.energy == pytest.approx(own.energy, abs=64 * 1e-3)
    assert np.abs(splined.forces - own.forces).max() < 5e-3 * np.abs(own.forces).max()
    assert np.abs(splined.virial - own.virial).max() < 5e-3 * np.abs(own.virial).max()
