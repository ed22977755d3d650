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
from openmm_kml.errors import EvaluationError, WeightFileError
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
    rounding = 1e-14 if "triangle" in name else 0  # the points of a triangle are summed up in the order of its rows
    energy = theirs.evaluate(*arguments).energy
    assert ours.evaluate(*arguments).energy == pytest.approx(energy, rel=rounding, abs=0)


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
def test_readers_agree_on_damaged_files_and_no_result_is_infinite(good):
    rng = np.random.default_rng(9)
    accepted = refused = 0
    for _ in range(1000):
        data = damaged(good, rng)
        verdict = accepts(Engine, data)
        assert accepts(wf.from_bytes, data) == verdict, data
        if verdict:
            accepted += 1
            refused += not _evaluates(KernelPotential(data))
    assert 0 < accepted < 1000
    assert 0 < refused < accepted


def _evaluates(potential):
    """Return whether a potential gives standard deviations, which are then finite; False for an EvaluationError."""
    if potential.species is None:
        positions = np.array([[0, 0, 0], [1.7, 0.2, -0.1], [0.3, 2.1, 0.4], [1.9, 1.8, 1.2]])
        arguments = (positions, np.resize(potential.elements, 4))
    else:
        arguments = (models.model_positions(models.MODELS["ethanol-matern52"])[0],)
    if not potential.has_uncertainty:
        return True
    try:
        found = potential.evaluate_uncertainty(*arguments, gradient=True, forces=True)
    except EvaluationError:
        return False
    for value in found:
        assert value is None or np.isfinite(value).all(), found
    return True


def test_members_need_the_shape_of_the_coefficients():
    weights = MODELS["pairs of silicon"]
    term = weights.terms[0]
    short = replace(weights, terms=(replace(term, deviations=term.deviations[:, :, :-1]),))
    with pytest.raises(WeightFileError, match=r"terms\[0\]\.deviations has shape"):
        wf.to_bytes(short)
