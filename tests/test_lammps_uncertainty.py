"""Uncertainty in LAMMPS: the values of the engine, on the steps that ask for them; runs that halt, dumps that skip."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lammps_helpers import EV, lammps, needs_lammps, plugin_line, read_dump
from local_models import STRUCTURES, UNCERTAIN_MODELS, numbers_for
from stillinger_weber import spline_model
from test_lammps import crystal, refused, start

from openmm_kml.potential import KernelPotential
from openmm_kml.weights import Uncertainty, save, to_bytes

pytestmark = needs_lammps

SPLINES, SOAP = "pairs and triples of silica", "soap, pairs and repulsion of silica"
ASKED = """
fix std all pair 1 kml uncertainty 1
compute std all kml/uncertainty
compute most all reduce max f_std
thermo_style custom step pe c_std c_most
dump out all custom 1 dump id f_std c_std
dump_modify out sort id format float %.17g
run 0
print "RESULT $(c_std:%.17g) $(c_most:%.17g)"
"""


def expected(weights, structure, numbers):
    positions, cell, pbc = structure
    return KernelPotential(to_bytes(weights)).evaluate_uncertainty(positions, numbers, cell, pbc)


def check(folder, said, result, unit=1.0):
    """Compare what LAMMPS printed and dumped with an evaluation of the engine."""
    energy_std, most = (float(x) / unit for x in said.split("RESULT ")[-1].split()[:2])
    rows = read_dump(folder / "dump")[-1]
    assert energy_std == pytest.approx(result.energy_std, rel=1e-11)
    assert most == pytest.approx(result.atomic_std.max(), rel=1e-11)
    for column in (1, 2):
        np.testing.assert_allclose(rows[:, column] / unit, result.atomic_std, rtol=1e-11)


@pytest.mark.parametrize(("ranks", "threads"), [(1, 1), (2, 1), (1, 3)])
@pytest.mark.parametrize("model", [SPLINES, SOAP])
def test_values_are_those_of_the_engine(model, ranks, threads, tmp_path):
    weights, structure = UNCERTAIN_MODELS[model], crystal()
    numbers = numbers_for(weights, len(structure[0]))
    deck, _ = start(tmp_path, weights, structure, numbers)
    check(tmp_path, lammps(tmp_path, deck + ASKED, ranks, threads), expected(weights, structure, numbers))


@pytest.mark.parametrize("model", sorted(set(UNCERTAIN_MODELS) - {SPLINES, SOAP}))
def test_every_model_in_units_real(model, tmp_path):
    weights, structure = UNCERTAIN_MODELS[model], STRUCTURES["triclinic cell, atoms outside"]
    numbers = numbers_for(weights, len(structure[0]))
    deck, _ = start(tmp_path, weights, structure, numbers, units="real")
    check(tmp_path, lammps(tmp_path, deck + ASKED), expected(weights, structure, numbers), EV["real"])


def test_atoms_of_another_style_have_none(tmp_path):
    weights, structure = UNCERTAIN_MODELS[SOAP], crystal(2)
    positions, cell, pbc = structure
    numbers = numbers_for(weights, len(positions))
    pair = """pair_style hybrid kml lj/cut 3.0
pair_coeff * * kml model.safetensors NULL Si
pair_coeff 1 * lj/cut 0.0 2.5"""
    deck, _ = start(tmp_path, weights, structure, numbers, pair=pair)
    said = lammps(tmp_path, deck + ASKED, ranks=2)
    mine = numbers == 14
    result = expected(weights, (positions[mine], cell, pbc), numbers[mine])
    rows = read_dump(tmp_path / "dump")[-1]
    np.testing.assert_allclose(rows[mine, 1], result.atomic_std, rtol=1e-11)
    assert not rows[~mine, 1:].any()
    assert float(said.split("RESULT ")[-1].split()[0]) == pytest.approx(result.energy_std, rel=1e-11)


def test_asking_changes_no_force_and_two_intervals_go_together(tmp_path):
    """Values come on the steps asked alone: every third by the fix, every fourth by the dump of the compute."""
    weights, structure = UNCERTAIN_MODELS[SPLINES], crystal(2)
    weights = replace(weights, terms=tuple(quiet(term) for term in weights.terms))
    numbers = numbers_for(weights, len(structure[0]))
    deck, _ = start(tmp_path, weights, structure, numbers)
    run = "velocity all create 50 7\nfix 1 all nve\ndump x all custom 12 x id x y z fx fy fz {}\n"
    run += "dump_modify x sort id format float %.17g\n{}run 12\n"
    asked = "fix std all pair 3 kml uncertainty 1\ncompute std all kml/uncertainty\n"
    every = "dump d all custom 4 d id x y z c_std\ndump_modify d sort id format float %.17g\n"
    lammps(tmp_path, deck + run.format("", ""))
    without = read_dump(tmp_path / "x")[-1]
    lammps(tmp_path, deck + asked + run.format("f_std", every))
    both = read_dump(tmp_path / "x")[-1]
    np.testing.assert_allclose(both[:, :7], without, atol=1e-11)
    frames = read_dump(tmp_path / "d")
    assert len(frames) == 4
    for frame in frames:
        result = expected(weights, (frame[:, 1:4], structure[1], True), numbers)
        np.testing.assert_allclose(frame[:, 4], result.atomic_std, rtol=1e-9)
    np.testing.assert_allclose(both[:, 7], frames[-1][:, 4], rtol=1e-12)


def quiet(term, scale=0.02):
    """Return a term of small energies; its deviations stay."""
    return term if term.kind == "repulsion" else replace(term, coefficients=scale * term.coefficients)


DECK = re.compile(r"<!-- This deck is run by tests/test_lammps_uncertainty\.py\. -->\n```lammps\n(.*?)```", re.DOTALL)


def guarded_silicon():
    """Return Stillinger's and Weber's silicon, by one member the less certain the closer two atoms come."""
    weights = spline_model(cutoff3=3.5)
    pairs, triples = weights.terms
    n = pairs.coefficients.shape[1]
    r = pairs.start + (np.arange(n) - 1) * (pairs.cutoff - pairs.start) / n
    pairs = replace(pairs, deviations=0.02 * np.exp(8 * (2.35 - np.maximum(r, 1.5)))[None, None])
    triples = replace(triples, deviations=np.zeros((1, *triples.coefficients.shape)))
    return replace(weights, terms=(pairs, triples), uncertainty=Uncertainty(1, atom_energies=np.zeros((1, 1))))


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_deck_of_the_guide_keeps_uncertain_frames_and_halts(ranks, tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "lammps.md").read_text(encoding="utf-8")
    (deck,) = DECK.findall(text)
    assert "plugin load kmlplugin.so\n" in deck
    save(guarded_silicon(), tmp_path / "silicon.safetensors")
    every = "dump all all custom 10 all.dump id f_std\ndump_modify all sort id\nrun 1000"
    deck = deck.replace("run 1000", every).replace("plugin load kmlplugin.so", plugin_line())
    said = lammps(tmp_path, deck, ranks)
    keep, stop = (float(re.search(words + r" ([\d.]+)", deck)[1]) for words in ("c_most <", "v_most >"))
    most = [frame[:, 1].max() for frame in read_dump(tmp_path / "all.dump")]
    assert "Fix halt condition" in said
    assert most[-1] > stop > max(most[:-1])  # not the step after, nor the one before
    assert 10 * (len(most) - 1) < 1000
    kept = [frame[:, 5].max() for frame in read_dump(tmp_path / "uncertain.dump")]
    np.testing.assert_allclose(kept, [value for value in most if value >= keep], rtol=1e-5)
    assert 0 < len(kept) < len(most)


def test_models_without_uncertainty_are_refused(tmp_path):
    weights = UNCERTAIN_MODELS[SPLINES]
    terms = tuple(replace(t, deviations=None) if hasattr(t, "deviations") else t for t in weights.terms)
    bare = replace(weights, terms=terms, uncertainty=None)
    structure = STRUCTURES["distorted crystal"]
    deck, _ = start(tmp_path, bare, structure, numbers_for(bare, 8))
    for line in ("fix std all pair 1 kml uncertainty 1\n", "compute std all kml/uncertainty\n"):
        refused(tmp_path, deck + line + "run 0\nprint 'RESULT'\n", "the model has no uncertainty")
