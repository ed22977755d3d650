"""Weight files of soap terms: round trip, identical bytes, and every damaged sample refused by both readers."""

import re
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_models import SILICON, SOAP_MODELS, random_soap
from malformed_soap import GOOD_SOAP, MALFORMED_SOAP
from test_weight_reader_cpp import accepts, damaged

from openmm_kml import weights as wf
from openmm_kml._engine import Engine
from openmm_kml.errors import WeightFileError

READERS = {"python": wf.from_bytes, "c++": Engine}


def assert_same(read, written):
    """Assert that two terms hold the same numbers."""
    for field in fields(wf.SoapTerm):
        value, expected = getattr(read, field.name), getattr(written, field.name)
        assert (value is None) == (expected is None), field.name
        assert expected is None or np.array_equal(value, expected), field.name


@pytest.mark.parametrize("name", SOAP_MODELS)
def test_round_trip_keeps_every_field_and_every_byte(name):
    weights = SOAP_MODELS[name]
    data = wf.to_bytes(weights)
    engine = Engine(data)
    assert tuple(engine.elements) == tuple(weights.elements)
    assert engine.cutoff == max(term.reach for term in weights.terms)
    read = wf.from_bytes(data)
    assert wf.to_bytes(read) == data
    for ours, theirs in zip(read.terms, weights.terms, strict=True):
        assert ours.kind == theirs.kind
        if isinstance(theirs, wf.SoapTerm):
            assert_same(ours, theirs)
            assert ours.sparse_points.shape == (ours.n_sparse, ours.dimension)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", MALFORMED_SOAP)
def test_malformed_file_is_refused_naming_the_field(name, reader):
    data, words = MALFORMED_SOAP[name]
    with pytest.raises(WeightFileError) as raised:
        READERS[reader](data)
    assert re.search(words, str(raised.value))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("reader", READERS)
def test_the_sample_that_gets_damaged_is_good(reader):
    READERS[reader](GOOD_SOAP)


def test_readers_agree_on_damaged_files():
    rng = np.random.default_rng(7)
    term = random_soap(SILICON, rng, n_sparse=1, n_max=2, l_max=1, offsets=True)
    good = wf.to_bytes(wf.Weights(elements=SILICON, terms=(term,)))
    verdicts = []
    for _ in range(2000):
        data = damaged(good, rng)
        verdict = accepts(Engine, data)
        assert accepts(wf.from_bytes, data) == verdict, data
        verdicts.append(verdict)
    assert 0 < sum(verdicts) < len(verdicts)


NUMBERS = st.floats(-1e6, 1e6)
POSITIVE = st.floats(1e-6, 1.0)


@st.composite
def soap_terms(draw):
    """Return a `soap` term of any sizes and numbers that the format allows, and its number of elements."""
    n, channels, nodes, radial, degrees, sparse = (draw(st.integers(1, most)) for most in (3, 3, 4, 3, 3, 3))
    diagonal = draw(st.booleans())
    combined = channels * radial
    dimension = degrees * (radial * channels * (channels + 1) // 2 if diagonal else combined * (combined + 1) // 2)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    centers = np.zeros(n, np.int32)
    centers[rng.integers(n)] = 1
    cutoff = draw(st.floats(0.01, 100.0))
    term = wf.SoapTerm(
        cutoff=cutoff,
        cutoff_width=cutoff * draw(POSITIVE),
        decay_exponent=draw(st.floats(0, 100)),
        decay_scale=draw(POSITIVE),
        decay_rate=draw(st.floats(0, 1e300)),
        atom_sigma=draw(st.floats(max(0.05, cutoff / 199), 100)),
        normalize=draw(st.booleans()),
        diagonal_radial=diagonal,
        centers=centers,
        species_weights=rng.normal(size=(n, channels)),
        central_weights=rng.normal(size=(n, channels)),
        angular_weights=rng.uniform(0.1, 1, degrees),
        radial_nodes=np.cumsum(rng.uniform(0.1, 9, nodes)),
        radial_transforms=rng.normal(size=(degrees, nodes, radial)),
        central_radial=rng.normal(size=radial),
        zeta=draw(st.floats(1e-3, 100)),
        sparse_points=rng.normal(size=(sparse, dimension)),
        coefficients=np.array(draw(st.lists(NUMBERS, min_size=sparse, max_size=sparse))),
        sparse_offsets=rng.normal(size=sparse) if draw(st.booleans()) else None,
    )
    return term, n


@settings(max_examples=100, deadline=None, derandomize=True)
@given(soap_terms())
def test_any_term_survives_a_round_trip(drawn):
    term, n = drawn
    data = wf.to_bytes(wf.Weights(elements=np.arange(1, n + 1), terms=(term,)))
    assert_same(wf.from_bytes(data).terms[0], term)
    Engine(data)


def test_a_term_is_a_descriptor():
    term = SOAP_MODELS["soap of silicon"].terms[0]
    assert isinstance(term, wf.SoapDescriptor)
    again = wf.SoapDescriptor.term(term, term.zeta, term.sparse_points, term.coefficients)
    assert_same(again, term)
    assert (term.n_channels, term.n_radial, term.n_angular, term.dimension) == (1, 6, 6, 6 * 21)
