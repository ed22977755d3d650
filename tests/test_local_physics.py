"""The physics of local terms: short tests over a table of models, structures and engines."""

from functools import cache

import numpy as np
import pytest
from checks import check_forces, check_virial, four_point_difference
from local_models import LOCAL_MODELS, SILICON, SOAP_MODELS, STRUCTURES, numbers_for, random_spline2, random_spline3
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from openmm_kml import reference
from openmm_kml._engine import Engine
from openmm_kml.weights import RepulsionTerm, Weights, pair_number, to_bytes

# Splines have a third derivative that jumps at each knot: where the four points of a difference lie around one, the
# error is the jump (some 1e2 eV/Å³ here) times the square of the step. The cosine cutoff of soap has a second one.
STEP = 1e-4
TOLERANCE = 1e-5


def numpy_twin(weights):
    return lambda *structure: reference.evaluate_structure(weights, *structure)


def engine(weights, n_threads=1, **options):
    built = Engine(to_bytes(weights), **options)
    return lambda *structure: built.evaluate_structure(*structure, n_threads, atomic=True)


def engine_with_two_threads(weights):
    return engine(weights, 2)


def engine_without_skin(weights):
    return engine(weights, skin=0.0)


def engine_for_any_processor(weights):
    return engine(weights, isa="baseline")


ENGINES = {
    f.__name__.replace("_", " "): f
    for f in (engine, engine_with_two_threads, engine_without_skin, engine_for_any_processor)
}
# The twin is slow and equals the engine on all of the table; differences of its own energy need few structures.
TWIN_STRUCTURES = ("two atoms in a primitive cell", "trimer")
CASES = [(m, s, "engine") for m in LOCAL_MODELS for s in STRUCTURES]
CASES += [(m, s, "numpy twin") for m in LOCAL_MODELS for s in TWIN_STRUCTURES]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]} in {case[1]} by {case[2]}")
def case(request):
    """Return (evaluate(positions, cell), positions, cell, pbc, numbers)."""
    model, structure, driver = request.param
    weights = LOCAL_MODELS[model]
    positions, cell, pbc = STRUCTURES[structure]
    numbers = numbers_for(weights, len(positions))
    run = (numpy_twin if driver == "numpy twin" else engine)(weights)
    return lambda r, box=cell: run(r, numbers, box, pbc), positions, cell, pbc, numbers


def arguments_of(model, structure):
    """Return positions, atomic numbers, cell and periodicity of a structure of the model's elements."""
    positions, cell, pbc = STRUCTURES[structure]
    return positions, numbers_for(LOCAL_MODELS[model], len(positions)), cell, pbc


@cache
def by_twin(model, structure):
    """Return what the NumPy twin finds."""
    return numpy_twin(LOCAL_MODELS[model])(*arguments_of(model, structure))


@pytest.mark.parametrize("driver", ENGINES)
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("model", LOCAL_MODELS)
def test_engine_equals_its_numpy_twin(model, structure, driver):
    results = ENGINES[driver](LOCAL_MODELS[model])(*arguments_of(model, structure))
    twin = by_twin(model, structure)
    # The engine finds the radial functions of soap in tables.
    tolerance = 1e-11 if model in SOAP_MODELS else 1e-12
    for result, expected in zip(results, twin, strict=True):
        np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance * max(1.0, np.abs(twin[1]).max()))


def test_forces_are_minus_the_derivative_of_the_energy(case):
    evaluate, positions, *_ = case
    if np.abs(evaluate(positions)[1]).max() < 1e-3:  # a symmetric structure, or a lonely atom
        positions = positions + np.random.default_rng(1).normal(0, 0.1, positions.shape)
    if np.abs(evaluate(positions)[1]).max() < 1e-3:
        pytest.skip("no force in this structure: one atom, or no triple")
    check_forces(evaluate, positions, TOLERANCE, STEP)


def test_virial_is_minus_the_derivative_by_strain(case):
    evaluate, positions, cell, *_ = case
    check_virial(evaluate, positions, cell, TOLERANCE, STEP, floor=1.0)


def test_atomic_energies_add_up(case):
    evaluate, positions, *_ = case
    energy, _, _, atomic = evaluate(positions)
    assert atomic.shape == (len(positions),)
    assert atomic.sum() == pytest.approx(energy, rel=1e-12, abs=1e-12)


def test_energy_knows_no_origin_and_no_orientation(case):
    evaluate, positions, cell, *_ = case
    energy, forces, virial, _ = evaluate(positions)
    rotation = Rotation.random(rng=np.random.default_rng(2)).as_matrix()
    for matrix, shift in ((np.eye(3), [5.0, -3.0, 2.0]), (rotation, [0, 0, 0]), (-np.eye(3), [0, 0, 0])):
        box = None if cell is None else cell @ matrix.T
        moved = evaluate(positions @ matrix.T + shift, box)
        scale = max(1.0, np.abs(forces).max())
        assert moved[0] == pytest.approx(energy, rel=1e-10, abs=1e-10)
        np.testing.assert_allclose(moved[1], forces @ matrix.T, atol=1e-9 * scale)
        np.testing.assert_allclose(moved[2], matrix @ virial @ matrix.T, atol=1e-9 * scale)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-11 * scale)


def test_atoms_may_leave_the_cell_by_lattice_vectors(case):
    evaluate, positions, cell, pbc, _ = case
    if cell is None:
        pytest.skip("there is no cell")
    turns = np.random.default_rng(3).integers(-2, 3, positions.shape) * pbc
    before, after = evaluate(positions), evaluate(positions + turns @ cell)
    for result, expected in zip(after, before, strict=True):
        np.testing.assert_allclose(result, expected, atol=1e-10 * max(1.0, np.abs(before[1]).max()))


def test_like_atoms_may_be_exchanged(case):
    evaluate, positions, _, _, numbers = case
    like = np.flatnonzero(numbers == numbers[0])
    order = np.arange(len(positions))
    order[like] = np.roll(like, 1)
    before, after = evaluate(positions), evaluate(positions[order])
    assert after[0] == pytest.approx(before[0], rel=1e-11, abs=1e-11)
    np.testing.assert_allclose(after[1], before[1][order], atol=1e-10 * max(1.0, np.abs(before[1]).max()))


@pytest.mark.parametrize("structure", [s for s in STRUCTURES if any(STRUCTURES[s][2])])
@pytest.mark.parametrize("model", LOCAL_MODELS)
def test_a_supercell_repeats_energy_and_forces(model, structure):
    weights, (positions, cell, pbc) = LOCAL_MODELS[model], STRUCTURES[structure]
    numbers = numbers_for(weights, len(positions))
    repeats = np.where(pbc, [2, 3, 2], 1)
    corners = np.stack(np.meshgrid(*[np.arange(n) for n in repeats], indexing="ij"), axis=-1).reshape(-1, 3)
    many = (positions[None] + (corners @ cell)[:, None]).reshape(-1, 3)
    evaluate = engine(weights)
    small = evaluate(positions, numbers, cell, pbc)
    large = evaluate(many, np.tile(numbers, len(corners)), cell * repeats[:, None], pbc)
    scale = 1e-11 * max(1.0, np.abs(small[1]).max())
    assert large[0] == pytest.approx(len(corners) * small[0], rel=1e-11, abs=1e-11)
    np.testing.assert_allclose(large[1], np.tile(small[1], (len(corners), 1)), atol=scale)
    np.testing.assert_allclose(large[2], len(corners) * small[2], atol=len(corners) * scale)
    np.testing.assert_allclose(large[3], np.tile(small[3], len(corners)), atol=scale)


@pytest.mark.parametrize("model", LOCAL_MODELS)
def test_forces_are_conservative(model):
    weights, (positions, cell, pbc) = LOCAL_MODELS[model], STRUCTURES["slab"]
    numbers, run = numbers_for(weights, len(positions)), engine(weights)
    rng = np.random.default_rng(4)
    first, second = (rng.normal(size=positions.shape) for _ in range(2))

    def work(along, direction):
        step = STEP  # the second derivative of a spline has corners
        return four_point_difference(
            lambda t: np.sum(run(positions + t * along, numbers, cell, pbc)[1] * direction), step
        )

    there, back = work(first, second), work(second, first)
    assert abs(there) > 1e-3
    # One difference may straddle a corner of the second derivative and the other not.
    assert there == pytest.approx(back, rel=1e-3)


# --- closed forms


def dimer(term, elements, numbers, r, evaluate=engine):
    """Return energy and dE/dr of two atoms at distance r."""
    weights = Weights(elements=elements, terms=(term,))
    energy, forces, _, _ = evaluate(weights)(np.array([[0.0, 0, 0], [0, 0, r]]), numbers, None, False)
    return energy, -forces[1, 2]


def spline_of(coefficients, start, spacing):
    """Return the same spline by SciPy: knots at start + k spacing, three zeros after the last coefficient."""
    padded = np.append(coefficients, np.zeros(3))
    return BSpline(start + spacing * (np.arange(len(padded) + 4) - 3), padded, 3)


@pytest.mark.parametrize("evaluate", [engine, numpy_twin], ids=["engine", "numpy twin"])
def test_two_body_functions_are_the_splines_of_scipy(evaluate):
    term = random_spline2(2, np.random.default_rng(8))
    for a, b in ((0, 0), (0, 1), (1, 1)):
        spline = spline_of(term.coefficients[pair_number(a, b, 2)], term.start, term.spacing)
        for r in (1.2, 1.3, 1.2 + term.spacing, 2.7, 4.0999):
            energy, slope = dimer(term, (8, 14), [(8, 14)[b], (8, 14)[a]], r, evaluate)
            assert energy == pytest.approx(float(spline(r)), abs=1e-13)
            assert slope == pytest.approx(float(spline(r, 1)), abs=1e-12)
        tangent = float(spline(term.start) + spline(term.start, 1) * (0.4 - term.start))
        energy, slope = dimer(term, (8, 14), [(8, 14)[a], (8, 14)[b]], 0.4, evaluate)
        assert energy == pytest.approx(tangent, rel=1e-13)
        assert slope == pytest.approx(float(spline(term.start, 1)), rel=1e-12)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("evaluate", [engine, numpy_twin], ids=["engine", "numpy twin"])
def test_three_body_functions_are_the_splines_of_scipy(evaluate, compact):
    """Each of a trimer's atoms is the center of one triple; distances above the taper, one below the cutoff alone."""
    term = random_spline3(2, np.random.default_rng(9), compact=compact)
    triangle = np.array([[0.0, 0, 0], [2.0, 0, 0], [0.7, 2.3, 0]])
    species = np.array([1, 0, 1])
    padded = np.pad(term.coefficients, ((0, 0), (0, 0), (0, 3), (0, 3), (0, 3 if compact else 0)))

    def basis(r, start, spacing, n):
        knots = start + spacing * (np.arange(n + 4) - 3)
        return np.array([BSpline(knots, np.eye(n)[k], 3)(r) for k in range(n)])

    expected = 0.0
    for i, *others in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
        j, k = sorted(others, key=lambda atom: species[atom])
        rij, rik, rjk = (np.linalg.norm(triangle[a] - triangle[b]) for a, b in ((i, j), (i, k), (j, k)))
        expected += np.einsum(
            "abc,a,b,c->",
            padded[species[i], pair_number(species[j], species[k], 2)],
            basis(rij, term.start, term.spacing, padded.shape[2]),
            basis(rik, term.start, term.spacing, padded.shape[3]),
            basis(rjk, term.start_far, term.spacing_far, padded.shape[4]),
        )
    weights = Weights(elements=(8, 14), terms=(term,))
    energy = evaluate(weights)(triangle, np.array([8, 14])[species], None, False)[0]
    assert abs(expected) > 1e-3
    assert energy == pytest.approx(expected, rel=1e-12)


def test_repulsion_by_hand():
    """Silicon and oxygen at 1 Å, inside the switch; at 1.5 Å, half way through it; and beyond."""
    term = RepulsionTerm(np.array([[0.5, 1.0], [1.0, 2.0], [0.5, 1.0]]))

    def zbl(r):
        x = r / (0.46850 / (8**0.23 + 14**0.23))
        phi = 0.18175 * np.exp(-3.1998 * x) + 0.50986 * np.exp(-0.94229 * x)
        phi += 0.28022 * np.exp(-0.4029 * x) + 0.02817 * np.exp(-0.20162 * x)
        return 14.399645 * 8 * 14 / r * phi

    assert dimer(term, (8, 14), [14, 8], 1.0)[0] == pytest.approx(zbl(1.0), rel=1e-13)
    assert dimer(term, (8, 14), [14, 8], 1.5)[0] == pytest.approx(0.5 * zbl(1.5), rel=1e-13)
    assert dimer(term, (8, 14), [14, 8], 2.0) == (0.0, 0.0)
    assert dimer(term, (8, 14), [14, 14], 1.5) == (0.0, 0.0)


def test_a_pair_gives_half_to_each_atom_and_a_triple_all_to_its_center():
    rng = np.random.default_rng(10)
    chain = np.array([[0.0, 0, 0], [2.0, 0, 0], [4.0, 0.5, 0]])  # the ends do not see each other
    pairs = Weights(elements=SILICON, terms=(random_spline2(1, rng, cutoff=3.0),))
    first, middle, last = engine(pairs)(chain, [14] * 3, None, False)[3]
    assert first + last == pytest.approx(middle, rel=1e-12)
    triples = Weights(elements=SILICON, terms=(random_spline3(1, rng, cutoff=3.0),))
    first, middle, last = engine(triples)(chain, [14] * 3, None, False)[3]
    assert first == last == 0
    assert abs(middle) > 1e-3


# --- smoothness where terms begin and end


@pytest.mark.parametrize("evaluate", [engine, numpy_twin], ids=["engine", "numpy twin"])
def test_a_pair_ends_with_value_slope_and_curvature_zero(evaluate):
    term = random_spline2(1, np.random.default_rng(12))
    scale = term.spacing
    for fraction in (0.1, 0.01, 0.001):
        energy, slope = dimer(term, SILICON, [14, 14], term.cutoff - fraction * scale, evaluate)
        last = term.coefficients[0, -1]  # near the end f = c (1 - t)³/6
        assert energy == pytest.approx(last * fraction**3 / 6, rel=1e-6)
        assert slope == pytest.approx(-last * fraction**2 / (2 * scale), rel=1e-6)
    assert dimer(term, SILICON, [14, 14], term.cutoff, evaluate) == (0, 0)


def trimer_along(term, r_ij, r_jk, evaluate=engine):
    """Return energy and forces of atoms i at the origin, j at r_ij, k at 2 Å from i, so that |r_jk| is as given."""
    r_ik = 2.0
    x = (r_ij**2 + r_ik**2 - r_jk**2) / (2 * r_ij)
    positions = np.array([[0, 0, 0], [r_ij, 0, 0], [x, np.sqrt(r_ik**2 - x**2), 0]])
    weights = Weights(elements=SILICON, terms=(term,))
    return evaluate(weights)(positions, [14] * 3, None, False)[:2]


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("evaluate", [engine, numpy_twin], ids=["engine", "numpy twin"])
def test_triples_are_smooth_at_every_border(evaluate, compact):
    """Cross the cutoff, both ends of the taper, and the end of the far axis: forces change with the step, no faster."""
    term = random_spline3(1, np.random.default_rng(13), compact=compact)
    end = term.taper_start + term.taper_width
    borders = [(term.cutoff, 2.5), (term.taper_start, 2.0), (end, 2.0), (2.2, term.cutoff), (2.2, end)]
    borders += [(2.2, term.taper_start)]
    for r_ij, r_jk in borders:
        change = []
        for step in (1e-3, 1e-5):
            direction = (step, 0) if r_ij != 2.2 else (0, step)
            low = trimer_along(term, r_ij - direction[0], r_jk - direction[1], evaluate)
            high = trimer_along(term, r_ij + direction[0], r_jk + direction[1], evaluate)
            change.append(np.abs(high[1] - low[1]).max() / step)
        assert change[1] < 1.5 * change[0] + 1e-3, (r_ij, r_jk)


def test_three_atoms_closer_than_the_taper_have_no_three_body_energy():
    term = random_spline3(1, np.random.default_rng(14))
    for r_ij, r_jk in ((1.19, 2.0), (2.0, 1.19), (0.5, 2.0), (1e-3, 2.0)):
        energy, forces = trimer_along(term, r_ij, r_jk)
        # The triple at k may still count, if its own three sides do: here all share the short side.
        assert energy == 0
        assert not forces.any()
