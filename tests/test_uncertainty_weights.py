"""Weight files with uncertainty: what both readers accept and refuse."""

import re
from dataclasses import replace

import local_models
import models
import numpy as np
import pytest
from malformed_uncertainty import GOOD_LOCAL, GOOD_MOLECULE, MALFORMED_UNCERTAINTY
from test_weight_reader_cpp import accepts, damaged

from openmm_kml import weights as wf
from openmm_kml._engine import Engine
from openmm_kml.errors import WeightFileError
from openmm_kml.potential import KernelPotential

READERS = {"python": wf.from_bytes, "c++": Engine}
MODELS = local_models.UNCERTAIN_MODELS | models.UNCERTAIN_MODELS


@pytest.mark.parametrize("name", MODELS)
def test_the_mean_does_not_depend_on_the_uncertainty(name):
    weights = MODELS[name]
    bare = replace(weights, uncertainty=None, terms=tuple(map(_without, weights.terms)))
    ours, theirs = (KernelPotential(wf.to_bytes(w)) for w in (weights, bare))
    if weights.species is None:
        positions, cell, pbc = local_models.STRUCTURES["distorted crystal"]
        arguments = (positions, local_models.numbers_for(weights, len(positions)), cell, pbc)
    else:
        arguments = (models.model_positions(weights)[0],)
    assert ours.evaluate(*arguments).energy == theirs.evaluate(*arguments).energy


def _without(term):
    names = ("deviations", "explained", "prior_variance", "explained_descriptor_coefficients")
    names += ("explained_energy_coefficients",)
    return replace(term, **{name: None for name in names if hasattr(term, name)})


@pytest.mark.parametrize("reader", READERS)
def test_the_samples_that_get_damaged_are_good(reader):
    READERS[reader](GOOD_LOCAL)
    READERS[reader](GOOD_MOLECULE)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", MALFORMED_UNCERTAINTY)
def test_malformed_file_is_refused_naming_the_field(name, reader):
    data, words = MALFORMED_UNCERTAINTY[name]
    with pytest.raises(WeightFileError) as raised:
        READERS[reader](data)
    assert re.search(words, str(raised.value)), str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("good", [GOOD_LOCAL, GOOD_MOLECULE], ids=["local", "molecule"])
def test_readers_agree_on_damaged_files(good):
    rng = np.random.default_rng(9)
    verdicts = []
    for _ in range(700):
        data = damaged(good, rng)
        verdict = accepts(Engine, data)
        assert accepts(wf.from_bytes, data) == verdict, data
        verdicts.append(verdict)
    assert 0 < sum(verdicts) < len(verdicts)


def test_members_need_the_shape_of_the_coefficients():
    weights = MODELS["pairs of silicon"]
    term = weights.terms[0]
    short = replace(weights, terms=(replace(term, deviations=term.deviations[:, :, :-1]),))
    with pytest.raises(WeightFileError, match=r"terms\[0\]\.deviations has shape"):
        wf.to_bytes(short)
