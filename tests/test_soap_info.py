"""What `kml info` says about soap terms."""

import json

import numpy as np
import pytest
from local_models import SILICON, SOAP_MODELS, random_soap, random_spline2

from openmm_kml.cli.entry import main
from openmm_kml.dimers import dimer_energies
from openmm_kml.potential import KernelPotential
from openmm_kml.term_descriptions import describe_term
from openmm_kml.weights import SoapTerm, Weights, save, to_bytes


@pytest.mark.parametrize("name", SOAP_MODELS)
def test_info_names_what_a_term_holds(name, tmp_path, capsys):
    weights, path = SOAP_MODELS[name], tmp_path / "m.safetensors"
    save(weights, path)
    assert main(["info", str(path), "--json", str(tmp_path / "i.json")]) == 0
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "i.json").read_text())
    for term, said in zip(weights.terms, report["terms"], strict=True):
        assert said["kind"] == term.kind
        if isinstance(term, SoapTerm):
            assert (said["n_max"], said["l_max"]) == (term.n_radial, term.n_angular - 1)
            assert (said["n_sparse"], said["dimension"]) == term.sparse_points.shape
            assert f"{term.n_sparse} sparse points, zeta {term.zeta:g}" in printed
            engine = said["engine"]
            assert engine["form"] == {"raw soap": "linear", "soap of many points": "quadratic"}.get(name, "sum")
            assert 0 < engine["reduced_dimension"] <= term.dimension
            assert f"{engine['reduced_dimension']} entries" in printed
            assert ("not normalized" in printed) == (not term.normalize)
            assert ("diagonal in n" in printed) == term.diagonal_radial


def test_energy_of_pairs_is_drawn(tmp_path):
    save(SOAP_MODELS["smallest soap"], tmp_path / "m.safetensors")
    assert main(["info", str(tmp_path / "m.safetensors"), "--plot", str(tmp_path / "p.png")]) == 0
    assert (tmp_path / "p.png").stat().st_size > 1000


def test_potential_says_how_its_terms_are_evaluated():
    """Zeta 2 with many sparse points is a quadratic form; terms stand in the order of the file."""
    rng = np.random.default_rng(1)
    terms = (random_soap(SILICON, rng, 4.0), random_spline2(1, rng), random_soap(SILICON, rng, 2.0, n_sparse=300))
    potential = KernelPotential.from_bytes(to_bytes(Weights(elements=SILICON, terms=terms)))
    first, second, third = potential.info()["terms"]
    assert (first["kind"], second["kind"], third["kind"]) == ("soap", "spline2", "soap")
    assert (first["zeta"], first["engine"]["form"], third["engine"]["form"]) == (4.0, "sum", "quadratic")
    assert "engine" not in second
    json.dumps(potential.info())


def test_channels_and_centers_go_by_their_symbols():
    described = describe_term(SOAP_MODELS["soap of mixed channels"].terms[0], (8, 13, 14))
    assert described["channels"] == [{"O": 1.0, "Al": 0.4, "Si": -0.3}, {"O": 0.2, "Al": -0.7, "Si": 0.9}]
    assert described["centers"] == ["O", "Al", "Si"]
    pairs = SOAP_MODELS["soap, pairs and repulsion of silica"]
    assert [describe_term(term, pairs.elements).get("centers") for term in pairs.terms] == [["O"], ["Si"], None, None]


def test_energy_of_a_pair_vanishes_at_the_cutoff():
    """An atom alone has energy by soap, which is none of the pair's."""
    for weights in SOAP_MODELS.values():
        reach = max(term.reach for term in weights.terms)
        energies = dimer_energies(weights, weights.elements[0], weights.elements[-1], np.array([2.0, reach]))[0]
        assert abs(energies[1]) < 1e-12
        assert abs(energies[0]) > 1e-3
