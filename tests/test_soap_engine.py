"""The engine of soap terms: every option against the NumPy twin, blocks of many centers, what the trainer asks for."""

from dataclasses import replace

import numpy as np
import pytest
from local_models import CLAY, SILICA, SILICON, SOAP_MODELS, STRUCTURES, diamond, numbers_for, random_soap

from openmm_kml import reference
from openmm_kml._engine import Engine, SoapTrainingEngine
from openmm_kml.descriptors.soap import expand, raw_power_spectrum
from openmm_kml.errors import EvaluationError
from openmm_kml.neighbors import neighbor_list
from openmm_kml.reference_soap import kernel_power
from openmm_kml.weights import SoapTerm, Weights, to_bytes

# Forces differ from the twin's by the error of the table of radial functions, some 1e-12 of the largest.
TOLERANCE = 1e-11

OPTIONS = {
    "no angles": (SILICON, {"l_max": 0}),
    "one radial function": (SILICA, {"n_max": 1, "l_max": 6}),
    "many radial functions": (SILICON, {"n_max": 12, "l_max": 2, "cutoff": 4.2}),
    "large l": (SILICON, {"n_max": 3, "l_max": 20}),
    "odd number of neighbors and l": (SILICA, {"n_max": 5, "l_max": 5, "cutoff": 3.1}),
    "linear": (SILICA, {"zeta": 1.0, "offsets": True}),
    "quadratic sum": (SILICA, {"zeta": 2.0, "offsets": True}),
    "quadratic form": (SILICON, {"zeta": 2.0, "offsets": True, "n_sparse": 60, "n_max": 3, "l_max": 2}),
    "cubic": (SILICON, {"zeta": 3.0}),
    "seventh power": (SILICON, {"zeta": 7.0}),
    "real power": (SILICA, {"zeta": 1.7, "offsets": True}),
    "one sparse point": (SILICON, {"n_sparse": 1}),
    "no center": (SILICA, {"central_weight": 0.0}),
    "center everywhere": (SILICA, {"central_everywhere": True, "central_weight": 0.3}),
    "one channel": (SILICA, {"channels": [SILICA]}),
    "an element that nobody sees": (SILICA, {"channels": [[14]]}),
    "not normalized": (SILICA, {"normalize": False, "zeta": 2.0}),
    "diagonal": (CLAY, {"diagonal_radial": True, "n_max": 6}),
    "mixed channels": (CLAY, {"species_weights": [[1.0, 0.5], [-0.3, 2.0], [0.0, 0.0]], "n_max": 3}),
    "decay": (SILICON, {"decay_exponent": 6.0, "decay_scale": 2.5, "decay_rate": 1.3}),
    "decay without rate": (SILICON, {"decay_exponent": 2.0, "decay_scale": 2.5, "decay_rate": 0.0}),
    "some l without weight": (SILICON, {"angular_weights": [0.0, 1.0, 0.7, 0.0]}),
    "narrow atoms": (SILICON, {"atom_sigma": 0.25, "n_max": 8}),
    "wide atoms": (SILICON, {"atom_sigma": 1.1}),
    "Gaussian-type orbitals": (SILICON, {"radial_basis": "gto"}),
    "polynomials": (SILICON, {"radial_basis": "poly", "n_max": 5}),
}


def model(elements, options, seed=4):
    """Return the weights of one random term."""
    return Weights(elements=elements, terms=(random_soap(elements, np.random.default_rng(seed), **options),))


def arguments(weights, structure="triclinic cell, atoms outside"):
    positions, cell, pbc = STRUCTURES[structure]
    return positions, numbers_for(weights, len(positions)), cell, pbc


def assert_equal(results, expected, tolerance=TOLERANCE):
    scale = max(1.0, np.abs(expected[1]).max())
    for result, value in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, value, rtol=0, atol=tolerance * scale)


def melt(elements, repeat=3, a=4.6):
    """Return positions, numbers, cell and periodicity of some disordered atoms, 8 repeat³ of them."""
    positions, cell = diamond(a, repeat)
    positions = positions + np.random.default_rng(0).normal(0, 0.2, positions.shape)
    numbers = np.random.default_rng(1).choice(elements, len(positions))
    return positions, numbers, cell, True


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_equals_the_numpy_twin(name, isa):
    weights = model(*OPTIONS[name])
    try:
        engine = Engine(to_bytes(weights), isa=isa)
    except ValueError:
        pytest.skip(f"this processor has no {isa}")
    for structure in ("triclinic cell, atoms outside", "one atom in a tiny cell", "trimer"):
        given = arguments(weights, structure)
        results = engine.evaluate_structure(*given, atomic=True)
        assert_equal(results, reference.evaluate_structure(weights, *given))


def test_the_cheaper_form_is_chosen():
    forms = {name: Engine(to_bytes(model(*options))).describe_terms()[0] for name, options in OPTIONS.items()}
    assert forms["linear"]["form"] == "linear"
    assert forms["quadratic form"]["form"] == "quadratic"
    assert {forms[name]["form"] for name in ("quadratic sum", "cubic", "real power")} == {"sum"}
    assert forms["quadratic form"]["kernel_operations"] < 60 * 4 * forms["quadratic form"]["reduced_dimension"]


def test_radial_functions_that_vanish_are_left_out_and_nothing_changes():
    weights = model(SILICON, {"n_max": 8, "l_max": 4, "cutoff": 4.5, "n_sparse": 20})
    term = Engine(to_bytes(weights)).describe_terms()[0]
    assert term["dimension"] == 180
    assert term["reduced_dimension"] < 160
    given = melt(SILICON, 1)
    results = Engine(to_bytes(weights)).evaluate_structure(*given, atomic=True)
    assert_equal(results, reference.evaluate_structure(weights, *given))


def test_blocks_of_many_centers_equal_the_twin_whatever_the_order_of_atoms():
    terms = (
        random_soap(SILICA, np.random.default_rng(1), n_max=3, l_max=2, centers=(8,)),
        random_soap(SILICA, np.random.default_rng(2), n_max=2, l_max=3, centers=(14,), cutoff=2.9),
    )
    weights = Weights(elements=SILICA, terms=terms, atom_energies={8: 1.0})
    positions, numbers, cell, pbc = melt(SILICA)
    engine = Engine(to_bytes(weights))
    results = engine.evaluate_structure(positions, numbers, cell, pbc, atomic=True)
    assert_equal(results, reference.evaluate_structure(weights, positions, numbers, cell, pbc))
    order = np.random.default_rng(3).permutation(len(numbers))
    energy, forces, virial, atomic = engine.evaluate_structure(positions[order], numbers[order], cell, pbc, atomic=True)
    assert_equal((energy, forces, virial, atomic), (results[0], results[1][order], results[2], results[3][order]))


@pytest.mark.parametrize("name", ["soap of silicon", "soap of mixed channels"])
def test_any_number_of_threads_gives_the_same_bits(name):
    weights = SOAP_MODELS[name]
    given, data = melt(weights.elements, 4), to_bytes(weights)
    results = [Engine(data).evaluate_structure(*given, n, atomic=True) for n in (1, 2, 3, 7)]
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_many_large_sparse_points_go_through_the_cache_in_blocks():
    options = {"n_max": 6, "l_max": 6, "n_sparse": 30, "offsets": True}
    weights = model(SILICA, options)
    term = weights.terms[0]
    many = replace(
        term,
        sparse_points=np.tile(term.sparse_points, (16, 1)),
        coefficients=np.tile(term.coefficients / 16, 16),
        sparse_offsets=np.tile(term.sparse_offsets, 16),
    )
    given = arguments(weights)
    results = Engine(to_bytes(Weights(elements=SILICA, terms=(many,)))).evaluate_structure(*given, atomic=True)
    assert_equal(results, reference.evaluate_structure(weights, *given))


def test_an_atom_with_hundreds_of_neighbors():
    weights = model(SILICA, {"n_max": 3, "l_max": 3})
    rng = np.random.default_rng(5)
    positions = np.concatenate([[[0.0, 0.0, 0.0]], rng.uniform(-3.4, 3.4, (700, 3))])
    given = positions, rng.choice(SILICA, len(positions)), None, None
    forces, virial = Engine(to_bytes(weights)).evaluate_structure(*given)[1:3]
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(virial, -np.einsum("ia,ib->ab", -forces, positions), atol=1e-9)
    few = Engine(to_bytes(weights)).evaluate_structure(*given, n_threads=1, atomic=True)[3][0]
    vectors = positions[1:]
    inside = np.linalg.norm(vectors, axis=1) < weights.terms[0].cutoff
    places = np.searchsorted(SILICA, given[1])
    spectrum = raw_power_spectrum(
        weights.terms[0], expand(weights.terms[0], places[0], places[1:][inside], vectors[inside]).coefficients
    )
    base = weights.terms[0].sparse_points @ (spectrum / np.linalg.norm(spectrum))
    assert few == pytest.approx(weights.terms[0].coefficients @ kernel_power(base, 4.0)[0], rel=1e-11)


@pytest.mark.parametrize("distance", [1e-4, 0.03, 0.2, 0.5])
def test_atoms_that_almost_touch(distance):
    """The table of radial functions begins at r = 0: nothing special happens there."""
    weights = model(SILICON, {"l_max": 5})
    positions = np.array([[0.0, 0, 0], [0.6, 0.64, 0.48], [0.9, -1.1, 1.7]])
    positions[1] *= distance
    given = positions, np.full(3, 14), None, None
    results = Engine(to_bytes(weights)).evaluate_structure(*given, atomic=True)
    assert_equal(results, reference.evaluate_structure(weights, *given), 1e-10)


def test_the_energy_is_smooth_where_an_atom_comes_in():
    weights = model(SILICON, {})
    engine = Engine(to_bytes(weights))
    cutoff = weights.terms[0].cutoff

    def evaluate(x):
        return engine.evaluate_structure([[0.0, 0, 0], [2.0, 0.3, 0], [0, x, 0.0]], [14] * 3)[:2]

    inside, outside = evaluate(cutoff - 1e-6), evaluate(cutoff + 1e-6)
    assert inside[0] == pytest.approx(outside[0], abs=1e-9)
    np.testing.assert_allclose(inside[1], outside[1], atol=1e-4)


def test_a_lonely_atom_without_weight_of_its_own():
    weights = model(SILICON, {"central_weight": 0.0, "offsets": True})
    term = weights.terms[0]
    energy, forces, virial, _ = Engine(to_bytes(weights)).evaluate_structure([[1.0, 2.0, 3.0]], [14])
    assert energy == pytest.approx(term.coefficients @ term.sparse_offsets**term.zeta, rel=1e-14)
    assert not forces.any()
    assert not virial.any()


def test_coincident_atoms_are_named():
    positions = np.array([[0.0, 0, 0], [2.0, 0, 0], [0.0, 2.0, 0], [2.0, 0, 1e-9]])
    data = to_bytes(model(SILICON, {}))
    training = SoapTrainingEngine(data)
    for call in (Engine(data).evaluate_structure, training.soap_descriptors, training.soap_rows):
        with pytest.raises(EvaluationError, match="atoms 1 and 3 coincide"):
            call(positions, [14] * 4)


# --- what the trainer asks for


@pytest.mark.parametrize("name", SOAP_MODELS)
def test_descriptors_are_those_of_the_twin(name):
    weights = SOAP_MODELS[name]
    positions, numbers, cell, pbc = arguments(weights)
    places = np.searchsorted(weights.elements, numbers)
    terms = [term for term in weights.terms if isinstance(term, SoapTerm)]
    for k, term in enumerate(terms):
        atoms, descriptors = SoapTrainingEngine(to_bytes(weights)).soap_descriptors(positions, numbers, cell, pbc, k)
        np.testing.assert_array_equal(atoms, np.flatnonzero(term.centers[places]))
        i, j, _, vectors, _ = neighbor_list(positions, cell, pbc, term.cutoff)
        for atom, found in zip(atoms, descriptors, strict=True):
            own = i == atom
            p = raw_power_spectrum(term, expand(term, places[atom], places[j[own]], vectors[own]).coefficients)
            expected = p / np.linalg.norm(p) if term.normalize else p
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("name", OPTIONS)
def test_rows_times_coefficients_are_the_energy_forces_and_virial(name):
    weights = model(*OPTIONS[name])
    given, term = arguments(weights), weights.terms[0]
    engine = SoapTrainingEngine(to_bytes(weights))
    energies, forces, virials = engine.soap_rows(*given)
    a = term.coefficients
    sums = a @ energies, np.einsum("s,sia->ia", a, forces), np.einsum("s,sab->ab", a, virials)
    assert_equal(sums, reference.evaluate_structure(weights, *given)[:3])
    np.testing.assert_array_equal(engine.soap_rows(*given, forces=False)[0], energies)
    assert engine.soap_rows(*given, forces=False)[1:] == (None, None)


def test_rows_and_descriptors_do_not_depend_on_the_number_of_threads():
    weights = model(SILICA, {"n_sparse": 40})
    given = melt(SILICA)
    engine = SoapTrainingEngine(to_bytes(weights))
    for call in (engine.soap_rows, engine.soap_descriptors):
        for one, many in zip(call(*given, n_threads=1), call(*given, n_threads=3), strict=True):
            np.testing.assert_array_equal(one, many)


def test_rows_of_a_term_that_is_not_there():
    engine = SoapTrainingEngine(to_bytes(SOAP_MODELS["soap of silicon"]))
    with pytest.raises(ValueError, match="of which the model has 1; 1 was given"):
        engine.soap_rows([[0.0, 0, 0]], [14], term=1)
