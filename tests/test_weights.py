"""The weight file: round trip, identical bytes, and every damaged sample refused by both readers."""

import json
import os
import re
import stat
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from malformed import GOOD, MALFORMED, put_together, take_apart
from models import MODELS, random_weights

from openmm_kml import weights as wf
from openmm_kml._engine import Engine
from openmm_kml.errors import WeightFileError

READERS = {"python": wf.from_bytes, "c++": Engine}


@pytest.mark.parametrize("name", MODELS)
def test_round_trip_keeps_every_field_and_every_byte(name):
    data = wf.to_bytes(MODELS[name])
    read = wf.from_bytes(data)
    assert wf.to_bytes(read) == data
    assert np.array_equal(read.species, MODELS[name].species)
    assert read.atom_energies == MODELS[name].atom_energies
    for ours, theirs in zip(read.terms, MODELS[name].terms, strict=True):
        for field in (*ours.scalars, *ours.tensors, *ours.optional_tensors):
            value, expected = getattr(ours, field), getattr(theirs, field)
            assert (value is None) == (expected is None), field
            assert expected is None or np.array_equal(value, expected), field


def test_provenance_survives_and_must_be_plain_json():
    base = random_weights()
    told = wf.Weights(base.species, base.terms, base.atom_energies, {"command": "kml train Å", "errors": {"mae": 1.5}})
    assert wf.from_bytes(wf.to_bytes(told)).provenance == told.provenance
    with pytest.raises(WeightFileError, match="provenance"):
        wf.to_bytes(wf.Weights(base.species, base.terms, {}, {"mae": float("nan")}))


def test_file_names_of_another_encoding_do_not_lose_a_model():
    """Python spells bytes of a command line that are no UTF-8 as halves of letters, which no file can hold."""
    base = random_weights()
    data = wf.to_bytes(wf.Weights(base.species, base.terms, base.atom_energies, {"command": "kml train \udcff.xyz"}))
    assert wf.from_bytes(data).provenance == {"command": "kml train ?.xyz"}
    Engine(data)


@pytest.mark.parametrize("reader", READERS)
def test_provenance_may_be_nested_to_a_bound(reader):
    header, document, tensors = take_apart()
    document["provenance"] = {"a": json.loads(62 * "[" + "1" + 62 * "]"), "b": 10**300, "c": 2**70}
    READERS[reader](put_together(header, document, tensors))


@pytest.mark.parametrize("reader", READERS)
def test_permutations_are_bounded_before_they_are_searched(reader):
    n, n_permutations = 400, 3365  # times 79 800 pairs: above 2**28
    rng = np.random.default_rng(0)
    weights = random_weights((6,) * n, n_train=1)
    header, document, _ = take_apart(wf.to_bytes(weights))
    term = weights.terms[0]
    permutations = rng.permuted(np.tile(np.arange(n, dtype=np.int32), (n_permutations, 1)), axis=1)
    header["terms.0.permutations"]["shape"] = [n_permutations, n]
    tensors = b""
    for name in sorted(set(header) - {"__metadata__"}):
        value = permutations if name.endswith("permutations") else getattr(term, name.split(".")[-1])
        header[name]["data_offsets"] = [len(tensors), len(tensors) + value.nbytes]
        tensors += value.tobytes()
    with pytest.raises(WeightFileError, match=r"permutations'? has 3365 rows, more than"):
        READERS[reader](put_together(header, document, tensors))


def test_save_replaces_the_old_file_only_when_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    wf.save(random_weights(), path)
    before = path.read_bytes()

    def fail(_descriptor):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk is full"):
        wf.save(random_weights(seed=5), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saved_file_has_the_permissions_of_any_new_file(tmp_path):
    wf.save(random_weights(), tmp_path / "model.safetensors")
    (tmp_path / "other").touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("reader", READERS)
def test_good_file_is_read(reader):
    READERS[reader](GOOD)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_file_is_refused_naming_the_field(name, reader):
    data, words = MALFORMED[name]
    with pytest.raises(WeightFileError) as caught:
        READERS[reader](data)
    message = str(caught.value)
    assert re.search(words, message), message
    assert len(message) < 500
    assert "\n" not in message


def test_load_names_the_file(tmp_path):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(GOOD[:50])
    with pytest.raises(WeightFileError, match=r"broken\.safetensors"):
        wf.load(path)


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    edits=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.one_of(st.none(), st.integers(0, len(GOOD))),
)
def test_flipped_bytes_are_refused_or_read_never_worse(reader, edits, cut):
    data = bytearray(GOOD)
    for position, value in edits:
        data[position] = value
    with suppress(WeightFileError):
        READERS[reader](bytes(data[:cut]))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(position=st.integers(8, 8 + int.from_bytes(GOOD[:8], "little")), value=st.integers(0, 255))
def test_both_readers_agree_on_what_is_valid(position, value):
    data = bytearray(GOOD)
    data[position] = value
    verdicts = set()
    for reader in READERS.values():
        try:
            reader(bytes(data))
            verdicts.add("read")
        except WeightFileError:
            verdicts.add("refused")
    assert len(verdicts) == 1


def test_a_device_is_never_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a plain file"):
        wf.save(MODELS["water-exchange"], pipe)
    assert pipe.is_fifo()
