"""Weight files of local terms: round trip, identical bytes, and every damaged sample refused by both readers."""

import re

import numpy as np
import pytest
from local_models import LOCAL_MODELS, SILICA, random_spline2, random_spline3
from malformed_local import GOOD_LOCAL, MALFORMED_LOCAL
from models import random_weights
from test_weight_reader_cpp import accepts, damaged

from openmm_kml import weights as wf
from openmm_kml._engine import Engine
from openmm_kml.errors import WeightFileError

READERS = {"python": wf.from_bytes, "c++": Engine}


@pytest.mark.parametrize("name", LOCAL_MODELS)
def test_round_trip_keeps_every_field_and_every_byte(name):
    weights = LOCAL_MODELS[name]
    data = wf.to_bytes(weights)
    read = wf.from_bytes(data)
    assert wf.to_bytes(read) == data
    assert read.species is None
    assert tuple(read.elements) == tuple(weights.elements)
    assert read.atom_energies == weights.atom_energies
    for ours, theirs in zip(read.terms, weights.terms, strict=True):
        assert ours.kind == theirs.kind
        for field in (*ours.scalars, *ours.tensors):
            assert np.array_equal(getattr(ours, field), getattr(theirs, field)), field
    engine = Engine(data)
    assert engine.species is None
    assert tuple(engine.elements) == tuple(weights.elements)
    assert engine.cutoff == max(term.reach for term in weights.terms)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", MALFORMED_LOCAL)
def test_malformed_file_is_refused_naming_the_field(name, reader):
    data, words = MALFORMED_LOCAL[name]
    with pytest.raises(WeightFileError) as raised:
        READERS[reader](data)
    assert re.search(words, str(raised.value))
    assert "\n" not in str(raised.value)


def test_the_sample_that_gets_damaged_is_good():
    for reader in READERS.values():
        reader(GOOD_LOCAL)


def test_readers_agree_on_damaged_files():
    rng = np.random.default_rng(7)
    terms = (random_spline2(1, rng, n_intervals=4), random_spline3(1, rng, n_intervals=4, n_far=7))
    good = wf.to_bytes(wf.Weights(elements=(14,), terms=terms))
    verdicts = []
    for _ in range(2000):
        data = damaged(good, rng)
        verdict = accepts(Engine, data)
        assert accepts(wf.from_bytes, data) == verdict, data
        verdicts.append(verdict)
    assert 0 < sum(verdicts) < len(verdicts)


def test_pairs_are_numbered_as_the_format_says():
    for n in (1, 2, 3, 5):
        pairs = [(a, b) for a in range(n) for b in range(a, n)]
        assert [wf.pair_number(a, b, n) for a, b in pairs] == list(range(len(pairs)))
        assert [wf.pair_number(b, a, n) for a, b in pairs] == list(range(len(pairs)))


def test_terms_of_one_molecule_and_local_terms_do_not_mix():
    rng = np.random.default_rng(1)
    molecule = random_weights()
    with pytest.raises(WeightFileError, match="'spline2', which needs elements"):
        wf.to_bytes(wf.Weights(molecule.species, (random_spline2(1, rng),)))
    with pytest.raises(WeightFileError, match="'gdml', which needs species"):
        wf.to_bytes(wf.Weights(elements=SILICA, terms=molecule.terms))
