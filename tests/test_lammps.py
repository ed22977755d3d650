"""`pair_style kml`: energies, forces and virials of the NumPy twin, by any number of processors and threads."""

import numpy as np
import pytest
from lammps_helpers import OUTPUT, Result, boundary, lammps, needs_lammps, read_dump, write_data
from local_models import LOCAL_MODELS, STRUCTURES, diamond, numbers_for

from openmm_kml.elements import symbol
from openmm_kml.reference import evaluate_structure
from openmm_kml.weights import save

pytestmark = needs_lammps


@pytest.fixture(scope="session")
def plugin():
    """The line that loads the plugin; it is compiled once for each version of everything."""
    from openmm_kml.interfaces.lammps import build_plugin, input_lines

    return input_lines(build_plugin())[0]


def start(plugin, folder, weights, structure, numbers, units="metal", pair=None):
    """Write model and structure; return the beginning of a deck and the rotation into LAMMPS's axes."""
    positions, cell, pbc = structure
    save(weights, folder / "model.safetensors")
    types = np.searchsorted(weights.elements, numbers) + 1
    names = " ".join(symbol(z) for z in weights.elements)
    rotation = write_data(folder / "data", positions, types, len(weights.elements), cell, pbc)
    pair = pair or f"pair_style kml\npair_coeff * * model.safetensors {names}"
    deck = f"{plugin}\nunits {units}\nboundary {boundary(pbc)}\nbox tilt large\nread_data data\n{pair}\n"
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


@pytest.mark.parametrize("structure", ["triclinic cell, atoms outside", "one atom in a tiny cell", "slab", "trimer"])
@pytest.mark.parametrize("model", ["all terms of silica", "two terms of each kind"])
def test_results_are_those_of_the_reference(plugin, model, structure, tmp_path):
    weights, structure = LOCAL_MODELS[model], STRUCTURES[structure]
    numbers = numbers_for(weights, len(structure[0]))
    deck, rotation = start(plugin, tmp_path, weights, structure, numbers)
    result = Result(tmp_path, lammps(tmp_path, deck + OUTPUT), rotation)
    check(result, weights, structure, numbers)


@pytest.mark.parametrize("model", sorted(set(LOCAL_MODELS) - {"all terms of silica", "two terms of each kind"}))
def test_every_kind_of_term(plugin, model, tmp_path):
    weights, structure = LOCAL_MODELS[model], STRUCTURES["distorted crystal"]
    numbers = numbers_for(weights, len(structure[0]))
    deck, rotation = start(plugin, tmp_path, weights, structure, numbers)
    check(Result(tmp_path, lammps(tmp_path, deck + OUTPUT), rotation), weights, structure, numbers)


def crystal(repeat=3):
    """Return a distorted crystal of silica's elements: enough atoms for several processors."""
    positions, cell = diamond(repeat=repeat)
    return positions + np.random.default_rng(4).normal(0, 0.12, positions.shape), cell, (True, True, True)


@pytest.mark.parametrize(("ranks", "threads"), [(2, 1), (4, 1), (1, 2), (2, 3)])
def test_processors_and_threads_agree_with_the_reference(plugin, ranks, threads, tmp_path):
    weights, structure = LOCAL_MODELS["all terms of silica"], crystal()
    numbers = numbers_for(weights, len(structure[0]))
    deck, rotation = start(plugin, tmp_path, weights, structure, numbers)
    said = lammps(tmp_path, deck + OUTPUT, ranks, threads)
    assert f"on {ranks * threads} procs" in said
    check(Result(tmp_path, said, rotation), weights, structure, numbers)


def test_threads_give_the_same_digits_each_time(plugin, tmp_path):
    weights, structure = LOCAL_MODELS["all terms of silica"], crystal()
    numbers = numbers_for(weights, len(structure[0]))
    deck, _ = start(plugin, tmp_path, weights, structure, numbers)
    dumps = []
    for _ in range(2):
        lammps(tmp_path, deck + OUTPUT, threads=3)
        dumps.append((tmp_path / "dump").read_bytes())
    assert dumps[0] == dumps[1]


def test_units_real_are_converted(plugin, tmp_path):
    weights, structure = LOCAL_MODELS["all terms of silica"], STRUCTURES["distorted crystal"]
    numbers = numbers_for(weights, len(structure[0]))
    deck, rotation = start(plugin, tmp_path, weights, structure, numbers, units="real")
    result = Result(tmp_path, lammps(tmp_path, deck + OUTPUT), rotation, units="real")
    check(result, weights, structure, numbers)


def test_hybrid_overlay_adds_another_style(plugin, tmp_path):
    weights, structure = LOCAL_MODELS["all terms of silica"], crystal(2)
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
        deck, rotation = start(plugin, tmp_path, weights, structure, numbers, pair=pair)
        results[name] = Result(tmp_path, lammps(tmp_path, deck + OUTPUT, ranks=2), rotation)
    for what in ("energy", "forces", "virial", "energies", "virials"):
        together = getattr(results["kml"], what) + getattr(results["other"], what)
        assert np.abs(getattr(results["both"], what) - together).max() < 1e-9


def test_types_of_another_style_are_not_neighbors(plugin, tmp_path):
    weights, structure = LOCAL_MODELS["all terms of silica"], crystal(2)
    numbers = numbers_for(weights, len(structure[0]))
    pair = """pair_style hybrid kml lj/cut 3.0
pair_coeff * * kml model.safetensors NULL Si
pair_coeff 1 1 lj/cut 0.0 2.5
pair_coeff 1 2 lj/cut 0.0 2.5"""
    deck, rotation = start(plugin, tmp_path, weights, structure, numbers, pair=pair)
    result = Result(tmp_path, lammps(tmp_path, deck + OUTPUT), rotation)
    positions, cell, pbc = structure
    mine = numbers == 14
    energy, forces, virial, _ = evaluate_structure(weights, positions[mine], numbers[mine], cell, pbc)
    assert result.energy == pytest.approx(energy, rel=1e-12)
    assert np.abs(result.forces[mine] - forces).max() < 1e-11 * np.abs(forces).max()
    assert not result.forces[~mine].any()
    assert np.abs(result.virial - virial).max() < 1e-10 * np.abs(virial).max()


# --- dynamics

SOFT = LOCAL_MODELS["pairs of silicon"]


def quiet(weights, scale=0.02):
    """Return a model with small coefficients, whose crystal holds still enough for dynamics."""
    terms = tuple(type(t)(**{**t.__dict__, "coefficients": scale * t.coefficients}) for t in weights.terms[:2])
    return type(weights)(elements=weights.elements, terms=terms)


QUIET = quiet(LOCAL_MODELS["all terms of silica"])
RUN = "velocity all create 300 7 loop geom\ntimestep 0.001\nneighbor 1.0 bin\n"


def run_of(plugin, folder, commands, ranks=1):
    structure = crystal(2)
    numbers = numbers_for(QUIET, len(structure[0]))
    deck, rotation = start(plugin, folder, QUIET, structure, numbers)
    return lammps(folder, deck + RUN + commands, ranks), rotation


def test_energy_is_conserved(plugin, tmp_path):
    said, _ = run_of(
        plugin,
        tmp_path,
        "thermo_modify norm no\nfix 1 all nve\nvariable a equal $(0) \nrun 0\nvariable a equal $(etotal:%.15g)\n"
        "variable k equal $(ke:%.15g)\nrun 400\n"
        'print "DRIFT $(etotal-v_a:%.12g) $(v_k:%.12g) $(abs(ke-v_k):%.12g)"\n',
    )
    drift, kinetic, change = (float(x) for x in said.split("DRIFT ")[-1].split()[:3])
    assert change > 0.02 * kinetic  # energy moves between kinetic and potential
    assert abs(drift) < 2e-3 * change


def test_constant_pressure_goes_on_with_any_number_of_processors(plugin, tmp_path):
    commands = "fix 1 all npt temp 300 300 0.1 aniso 0 0 1.0\nrun 40\nunfix 1\n" + OUTPUT
    results = []
    for ranks in (1, 2):
        said, rotation = run_of(plugin, tmp_path, commands, ranks)
        results.append(Result(tmp_path, said, rotation))
    assert np.abs(results[0].forces - results[1].forces).max() < 1e-8
    box = (tmp_path / "dump").read_text().split("BOX BOUNDS")[1].splitlines()[1:4]
    lengths = np.array([[float(x) for x in line.split()[:2]] for line in box]) @ [-1, 1]
    assert np.abs(lengths - 9.2).max() > 1e-3  # the barostat did something
    x = results[1].positions
    numbers = numbers_for(QUIET, len(x))
    energy, forces, virial, _ = evaluate_structure(QUIET, x, numbers, np.diag(lengths), True)
    assert results[1].energy == pytest.approx(energy, abs=1e-10)
    assert np.abs(results[1].forces - forces).max() < 1e-9
    assert np.abs(results[1].virial - virial).max() < 1e-8


def test_minimize_lowers_the_energy_until_forces_vanish(plugin, tmp_path):
    said, rotation = run_of(plugin, tmp_path, "min_style cg\nminimize 0 1e-6 500 5000\n" + OUTPUT)
    result = Result(tmp_path, said, rotation)
    before, *_ = evaluate_structure(QUIET, crystal(2)[0], numbers_for(QUIET, 64), crystal(2)[1], True)
    assert result.energy < before - 0.01
    assert np.abs(result.forces).max() < 1e-3


def test_restart_needs_the_model_again_and_then_goes_on_exactly(plugin, tmp_path):
    run_of(plugin, tmp_path, "fix 1 all nve\nrun 10\nwrite_restart half\nrun 10\n" + OUTPUT)
    whole = read_dump(tmp_path / "dump")[-1]
    again = (
        f"{plugin}\nread_restart half\n{{}}\nneighbor 1.0 bin\ntimestep 0.001\nfix 1 all nve\nrun 10\nunfix 1\n{OUTPUT}"
    )
    pair = "pair_style kml\npair_coeff * * model.safetensors O Si"
    lammps(tmp_path, again.format(pair))
    assert np.abs(read_dump(tmp_path / "dump")[-1][:, 2:8] - whole[:, 2:8]).max() < 1e-10
    assert "pair style" in lammps(tmp_path, again.format(""), check=False).lower()


def test_clear_forgets_the_model_and_the_plugin_stays(plugin, tmp_path):
    weights, structure = LOCAL_MODELS["all terms of silica"], STRUCTURES["distorted crystal"]
    numbers = numbers_for(weights, len(structure[0]))
    deck, rotation = start(plugin, tmp_path, weights, structure, numbers)
    again = deck.split("\n", 1)[1]
    said = lammps(tmp_path, deck + "run 0\nclear\n" + again + OUTPUT)
    check(Result(tmp_path, said, rotation), weights, structure, numbers)
