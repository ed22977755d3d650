"""The engine of local terms: kept lists of neighbors, threads, and input that cannot be evaluated."""

import threading

import numpy as np
import pytest
from local_models import LOCAL_MODELS, SILICA, STRUCTURES, diamond, numbers_for, random_spline2

from openmm_kml import reference
from openmm_kml._engine import Engine
from openmm_kml.errors import EvaluationError
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import Weights, to_bytes

SILICA_MODEL = LOCAL_MODELS["all terms of silica"]
DATA = to_bytes(SILICA_MODEL)


def melt(repeat=3, seed=0):
    """Return positions, numbers and cell of some disordered atoms, 8 repeat³ of them."""
    positions, cell = diamond(repeat=repeat)
    positions = positions + np.random.default_rng(seed).normal(0, 0.2, positions.shape)
    return positions, numbers_for(SILICA_MODEL, len(positions)), cell


def assert_equal_to_rounding(results, expected):
    scale = max(1.0, *(np.abs(value).max() for value in expected))
    for result, value in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, value, rtol=0, atol=1e-12 * scale)


def test_any_number_of_threads_gives_the_same_bits():
    positions, numbers, cell = melt(5)
    results = [Engine(DATA).evaluate_structure(positions, numbers, cell, True, n, atomic=True) for n in (1, 2, 3, 7)]
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_kept_list_gives_what_a_new_one_gives():
    """Atoms wander, some over the border of the cell; the list is kept for a few steps at a time."""
    positions, numbers, cell = melt()
    rng = np.random.default_rng(1)
    kept, fresh = Engine(DATA), Engine(DATA, skin=0.0)
    for _ in range(40):
        positions = positions + rng.normal(0, 0.02, positions.shape)
        results = [e.evaluate_structure(positions, numbers, cell, True, atomic=True) for e in (kept, fresh)]
        assert_equal_to_rounding(*results)


@pytest.mark.parametrize("skin", [0.0, 0.5, 2.0])
def test_one_atom_that_moves_far_is_noticed(skin):
    positions, numbers, cell = melt()
    kept = Engine(DATA, skin=skin)
    for step in (0.0, 0.5 * skin - 1e-6, 0.5 * skin + 1e-6, 1.0, 2.5):
        moved = positions.copy()
        moved[7, 0] += step
        expected = Engine(DATA).evaluate_structure(moved, numbers, cell, True, atomic=True)
        assert_equal_to_rounding(kept.evaluate_structure(moved, numbers, cell, True, atomic=True), expected)


def test_a_kept_list_notices_every_other_change():
    positions, numbers, cell = melt()
    shear = np.eye(3) + 1e-3 * np.array([[0, 1, 0], [0, 0, 0], [0, 0, 1]])
    changes = [
        (positions, numbers, cell, (True, True, True)),
        (positions, numbers, cell, (True, False, True)),
        (positions, numbers, cell * 1.0001, (True, True, True)),
        (positions, numbers, cell @ shear, (True, True, True)),
        (positions, numbers[::-1], cell @ shear, (True, True, True)),
        (positions[:-1], numbers[1:], cell @ shear, (True, True, True)),
        (positions + cell[0] - 2 * cell[2], numbers, cell, (True, True, True)),
        (positions, numbers, cell, (False, False, False)),
    ]
    kept = Engine(DATA)
    for change in changes + changes[::-1]:
        expected = Engine(DATA).evaluate_structure(*change, atomic=True)
        assert_equal_to_rounding(kept.evaluate_structure(*change, atomic=True), expected)


@pytest.mark.parametrize("skin", [0.3, 0.5, 2.0])
def test_a_list_kept_in_a_cell_that_changes_gives_what_a_new_one_gives(skin):
    """As barostats do: the cell breathes, shears and comes back; atoms wander, and some jump by lattice vectors."""
    positions, numbers, cell = melt()
    rng = np.random.default_rng(8)
    kept, fresh = Engine(DATA, skin=skin), Engine(DATA, skin=0.0)
    fractions = positions @ np.linalg.inv(cell)
    for step in range(60):
        size = (0.0, 1e-4, 3e-3, 2e-2, 6e-2)[step % 5]
        box = cell @ (np.eye(3) + size * rng.normal(size=(3, 3)))
        fractions = fractions + rng.normal(0, 0.0005, fractions.shape)
        fractions = fractions + (rng.random(fractions.shape) < 0.02) * rng.integers(-2, 3, fractions.shape)
        results = [e.evaluate_structure(fractions @ box, numbers, box, True, atomic=True) for e in (kept, fresh)]
        assert_equal_to_rounding(*results)


def test_pairs_that_a_shrinking_cell_brings_together_are_noticed():
    """Two atoms a little beyond cutoff and skin come within the cutoff, though neither moves against the cell."""
    weights = LOCAL_MODELS["pairs of silicon"]
    (term,) = weights.terms
    kept = Engine(to_bytes(weights), skin=0.5)
    for distance in (term.cutoff + 0.51, term.cutoff + 0.1, term.cutoff - 0.3, term.cutoff + 0.4):
        box = np.diag([5 * distance, 40.0, 40.0])
        positions = np.array([[0.0, 0, 0], [distance, 0, 0]])
        energy = kept.evaluate_structure(positions, [14, 14], box, True)[0]
        expected = Engine(to_bytes(weights)).evaluate_structure(positions, [14, 14], box, True)[0]
        assert energy == pytest.approx(expected, abs=1e-12)
        assert (abs(energy + 3.0) > 1e-6) == (distance < term.cutoff)


def test_a_refused_structure_does_not_spoil_the_next():
    positions, numbers, cell = melt()
    kept = Engine(DATA)
    expected = kept.evaluate_structure(positions, numbers, cell, True, atomic=True)
    wrong = positions.copy()
    wrong[3] = wrong[4] + cell[1]
    for bad, error in ((wrong, EvaluationError), (positions * np.nan, EvaluationError)):
        with pytest.raises(error):
            kept.evaluate_structure(bad, numbers, cell, True)
        assert_equal_to_rounding(kept.evaluate_structure(positions, numbers, cell, True, atomic=True), expected)
    with pytest.raises(ValueError, match="no volume"):
        kept.evaluate_structure(positions, numbers, 0 * cell, True)
    assert_equal_to_rounding(kept.evaluate_structure(positions, numbers, cell, True, atomic=True), expected)


def test_far_apart_atoms_do_not_fill_the_memory():
    weights = LOCAL_MODELS["pairs of silicon"]
    positions = np.array([[0.0, 0, 0], [1e7, -1e7, 3e6], [1e7, -1e7, 3e6 + 2.0]])
    energy, forces, _ = KernelPotential.from_bytes(to_bytes(weights)).evaluate(positions, [14] * 3)
    expected = reference.evaluate_structure(weights, positions, [14] * 3)
    assert energy == pytest.approx(expected[0], rel=1e-9)
    np.testing.assert_allclose(forces, expected[1], atol=1e-8)
    beyond = np.array([[-1.7e308, 0, 0], [1.7e308, 0, 0]])  # their distance is no number: this must end all the same
    assert KernelPotential.from_bytes(to_bytes(weights)).evaluate(beyond, [14] * 2).energy == -3.0


def test_engines_of_several_python_threads_do_not_mix():
    positions, numbers, cell = melt()
    engine = Engine(DATA)
    scaled = [positions * factor for factor in (1.0, 1.01, 1.02)]
    expected = [Engine(DATA).evaluate_structure(r, numbers, cell, True) for r in scaled]
    wrong = []

    def work(k):
        for _ in range(20):
            if engine.evaluate_structure(scaled[k], numbers, cell, True)[0] != pytest.approx(expected[k][0], rel=1e-12):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- KernelPotential


def test_potential_takes_pbc_from_the_cell_and_gives_atomic_energies():
    potential = KernelPotential.from_bytes(DATA)
    positions, numbers, cell = melt()
    whole = potential.evaluate(positions, numbers, cell)
    assert whole.energy == potential.evaluate(positions, numbers, cell, True).energy
    assert whole.energy != potential.evaluate(positions, numbers).energy
    slab = potential.evaluate(positions, numbers, cell, (True, True, False))
    assert slab.energy != whole.energy
    atomic = potential.evaluate_atomic(positions, numbers, cell)
    assert atomic.sum() == pytest.approx(whole.energy, rel=1e-13)
    one_body = sum(SILICA_MODEL.atom_energies[z] for z in numbers)
    assert potential.evaluate(100 * positions, numbers).energy == pytest.approx(one_body, rel=1e-13)


def test_batch_equals_single_evaluations():
    potential = KernelPotential.from_bytes(DATA)
    positions, numbers, cell = melt()
    stack = np.stack([positions, positions * 1.01])
    batch = potential.evaluate_batch(stack, numbers, cell=cell)
    for k in range(2):
        assert_equal_to_rounding([part[k] for part in batch], potential.evaluate(stack[k], numbers, cell))
    assert potential.evaluate_batch(stack[:0], numbers).forces.shape == (0, len(numbers), 3)


def test_description_of_a_local_model():
    potential = KernelPotential.from_bytes(DATA)
    assert "O, Si" in repr(potential)
    info = potential.info()
    assert info["elements"] == ["O", "Si"]
    assert info["cutoff"] == 4.1
    assert [term["kind"] for term in info["terms"]] == ["spline2", "spline3", "repulsion"]
    assert info["terms"][1]["n_intervals_far"] == 9


# --- input that cannot be evaluated


@pytest.fixture(scope="module")
def potential():
    return KernelPotential.from_bytes(DATA)


PAIR = np.array([[0.0, 0, 0], [0, 0, 2.0]])


def test_unknown_elements_are_named(potential):
    with pytest.raises(ValueError, match=r"element 6 \(C, atom 1\) is not in the model, which knows O, Si"):
        potential.evaluate(PAIR, [14, 6])
    with pytest.raises(ValueError, match=r"element 6 \(C, atom 1\) is not in the model, which knows O, Si"):
        reference.evaluate_structure(SILICA_MODEL, PAIR, [14, 6])
    for number in (0, -1, 119, 2**40):
        with pytest.raises(ValueError, match="is not in the model"):
            potential.evaluate(PAIR, [14, number])


@pytest.mark.parametrize(
    ("structure", "words"),
    [
        ((PAIR, None), "needs the atomic numbers"),
        ((PAIR, [14]), "2 atomic numbers"),
        ((PAIR, [14.0, 8.0]), "2 atomic numbers"),
        ((PAIR[:, :2], [14, 8]), r"\(n_atoms, 3\)"),
        ((PAIR[:0], []), "at least one atom"),
        ((PAIR, [14, 8], np.eye(2)), "cell"),
        ((PAIR, [14, 8], np.full((3, 3), np.inf)), "cell"),
        ((PAIR, [14, 8], np.zeros((3, 3))), "no volume"),
        ((PAIR, [14, 8], np.diag([5.0, 5.0, 0.0])), "no volume"),
        ((PAIR, [14, 8], None, True), "no volume"),
        ((PAIR, [14, 8], 5 * np.eye(3), (True, False)), "pbc"),
        ((PAIR, [14, 8], 5 * np.eye(3), "yes"), "pbc"),
        ((PAIR, [14, 8], 0.01 * np.eye(3)), "more than a million images: check the unit of the cell"),
    ],
)
def test_bad_structures_are_refused(potential, structure, words):
    with pytest.raises(ValueError, match=words):
        potential.evaluate(*structure)


def test_atoms_that_coincide_are_named(potential):
    with pytest.raises(EvaluationError, match=r"atoms 0 and 1 coincide"):
        potential.evaluate(0 * PAIR, [14, 8])
    with pytest.raises(EvaluationError, match=r"atoms 0 and 1 coincide"):
        potential.evaluate(PAIR, [14, 8], np.diag([9.0, 9.0, 2.0]))
    with pytest.raises(EvaluationError, match="coordinate of atom 1 is not finite"):
        potential.evaluate([[0.0, 0, 0], [np.inf, 0, 0]], [14, 8])


def test_a_model_of_one_molecule_has_no_atomic_energies():
    from models import ETHANOL_SPECIES, MODELS, model_positions

    weights = MODELS["ethanol-matern52"]
    with pytest.raises(ValueError, match="no energies of single atoms"):
        KernelPotential.from_bytes(to_bytes(weights)).evaluate_atomic(model_positions(weights)[0], ETHANOL_SPECIES)


def test_many_neighbors_in_a_small_cell():
    """Hundreds of images inside the cutoff, thousands of triples: the list and the scratch memory grow with them."""
    rng = np.random.default_rng(2)
    weights = Weights(elements=SILICA, terms=(*LOCAL_MODELS["all terms of silica"].terms, random_spline2(2, rng)))
    positions, cell, pbc = STRUCTURES["one atom in a tiny cell"]
    for factor in (1.0, 0.8, 0.6):
        got = Engine(to_bytes(weights)).evaluate_structure(factor * positions, [14], factor * cell, pbc, atomic=True)
        expected = reference.evaluate_structure(weights, factor * positions, [14], factor * cell, pbc)
        assert_equal_to_rounding(got, expected)


def test_engines_say_which_call_is_theirs():
    from models import MODELS

    with pytest.raises(ValueError, match="call evaluate_structure"):
        Engine(DATA).evaluate(PAIR)
    with pytest.raises(ValueError, match="call evaluate_structure"):
        Engine(DATA).evaluate_batch(PAIR[None])
    with pytest.raises(ValueError, match="for one molecule: call evaluate"):
        Engine(to_bytes(MODELS["water-exchange"])).evaluate_structure(PAIR, [14, 8])
