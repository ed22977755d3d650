"""Models of the difference to a baseline in LAMMPS: the deck adds the baseline by another style, and says so."""

from dataclasses import replace

import numpy as np
import pytest
from lammps_helpers import OUTPUT, Result, boundary, lammps, needs_lammps, plugin_line, potentials_folder, write_data
from local_models import LOCAL_MODELS, STRUCTURES, numbers_for
from models import MODELS, model_positions
from test_lammps import refused

from openmm_kml.interfaces.baseline_kinds import ModelBaseline
from openmm_kml.interfaces.baselines import SumPotential, record
from openmm_kml.potential import KernelPotential
from openmm_kml.reference import evaluate_structure
from openmm_kml.weights import Baseline, save, to_bytes

pytestmark = needs_lammps

PAIRS = LOCAL_MODELS["all terms of silica"]
DIFFERENCE = LOCAL_MODELS["soap, pairs and repulsion of silica"]
ELSEWHERE = Baseline("sha256:" + 64 * "0", "sw")
ALONE = "pair_style kml\npair_coeff * * delta.safetensors O Si"


def start(folder, pair, structure, numbers, elements=(8, 14), units="metal"):
    """Return a deck with a pair style, and the rotation into LAMMPS's axes."""
    positions, cell, pbc = structure
    types = np.searchsorted(elements, numbers) + 1
    rotation = write_data(folder / "data", positions, types, len(elements), cell, pbc)
    deck = f"{plugin_line()}\nunits {units}\nboundary {boundary(pbc)}\nbox tilt large\nread_data data\n{pair}\n"
    return deck + OUTPUT, rotation


@pytest.mark.parametrize("ranks", [1, 2])
def test_two_models_are_added_by_hybrid_overlay(ranks, tmp_path):
    baseline = ModelBaseline(KernelPotential.from_bytes(to_bytes(PAIRS)), "pairs.safetensors")
    difference = replace(DIFFERENCE, baseline=record(baseline))
    save(PAIRS, tmp_path / "pairs.safetensors")
    save(difference, tmp_path / "delta.safetensors")
    structure = STRUCTURES["triclinic cell, atoms outside"]
    numbers = numbers_for(PAIRS, len(structure[0]))
    deck, rotation = start(
        tmp_path,
        "pair_style hybrid/overlay kml kml\npair_coeff * * kml 1 pairs.safetensors O Si\n"
        "pair_coeff * * kml 2 delta.safetensors O Si baseline added",
        structure,
        numbers,
    )
    result = Result(tmp_path, lammps(tmp_path, deck, ranks), rotation)
    energy, forces, virial = SumPotential(to_bytes(difference), baseline).evaluate(structure[0], numbers, structure[1])
    assert result.energy == pytest.approx(energy, rel=1e-10)
    assert np.abs(result.forces - forces).max() < 1e-10 * np.abs(forces).max()
    assert np.abs(result.virial - virial).max() < 1e-9 * np.abs(virial).max()


def test_a_style_of_lammps_is_a_baseline(tmp_path):
    weights = replace(LOCAL_MODELS["pairs of silicon"], baseline=ELSEWHERE)
    save(weights, tmp_path / "delta.safetensors")
    structure = STRUCTURES["distorted crystal"]
    numbers = np.full(len(structure[0]), 14)
    potential = potentials_folder() / "Si.sw"
    results = {}
    for name, pair in {
        "sw": f"pair_style sw\npair_coeff * * {potential} Si",
        "both": f"pair_style hybrid/overlay sw kml\npair_coeff * * sw {potential} Si\n"
        "pair_coeff * * kml delta.safetensors Si baseline added",
    }.items():
        deck, rotation = start(tmp_path, pair, structure, numbers, (14,))
        results[name] = Result(tmp_path, lammps(tmp_path, deck), rotation)
    energy, forces, virial, _ = evaluate_structure(
        replace(weights, baseline=None), structure[0], numbers, *structure[1:]
    )
    assert results["both"].energy - results["sw"].energy == pytest.approx(energy, abs=1e-9)
    assert np.abs(results["both"].forces - results["sw"].forces - forces).max() < 1e-9
    assert np.abs(results["both"].virial - results["sw"].virial - virial).max() < 1e-8


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (ALONE, "only the difference to the baseline 'sw'"),
        (ALONE, "pair_style hybrid/overlay) and the words 'baseline added' after the elements"),
        (ALONE + " baseline", "one element for each of the 2 atom types is expected"),
        (ALONE + " baseline forgotten", "after 'baseline' only 'added' may follow, 'forgotten' came"),
        (ALONE.replace("delta", "whole") + " baseline added", "the whole energy and not the difference to a baseline"),
    ],
)
def test_a_difference_needs_the_words_and_nothing_else_takes_them(pair, words, tmp_path):
    save(replace(DIFFERENCE, baseline=ELSEWHERE), tmp_path / "delta.safetensors")
    save(DIFFERENCE, tmp_path / "whole.safetensors")
    structure = STRUCTURES["distorted crystal"]
    deck, _ = start(tmp_path, pair, structure, numbers_for(PAIRS, len(structure[0])))
    refused(tmp_path, deck, words)


def test_the_fix_of_a_molecule_takes_the_words_too(tmp_path):
    weights = MODELS["ethanol-matern92-energies-weighted"]
    positions = model_positions(weights)[0]
    save(replace(weights, baseline=ELSEWHERE), tmp_path / "delta.safetensors")
    elements = np.unique(weights.species)
    structure = positions, 9 * np.eye(3), (True, True, True)
    deck, rotation = start(tmp_path, "pair_style zero 3.0\npair_coeff * *", structure, weights.species, elements)
    fix = "fix 1 all kml/global delta.safetensors H C O"
    before, after = deck.replace("read_data", "atom_modify map yes\nread_data").split("\ncompute pressure")
    refused(tmp_path, f"{before}\n{fix}\ncompute pressure{after}", "only the difference to the baseline")
    said = lammps(tmp_path, f"{before}\n{fix} baseline added\ncompute pressure{after}")
    expected = KernelPotential.from_bytes(to_bytes(weights)).evaluate(positions)
    result = Result(tmp_path, said, rotation)
    assert result.energy == pytest.approx(expected.energy, rel=1e-10)
    assert np.abs(result.forces - expected.forces).max() < 1e-9
