"""Recovery of permutation symmetries from geometries that the tests make."""

import numpy as np
import pytest
import synthetic

from openmm_kml.errors import TrainingError
from openmm_kml.training.permutations import (
    check_permutations,
    close_group,
    cycle_notation,
    describe_group,
    generators,
)
from openmm_kml.training.symmetries import find_symmetries, reject_spurious

SIZES = {"H2O": 2, "NH3": 6, "CH3OH": 6, "CH3CH2OH": 6, "CH4": 24, "C6H6": 12}


def is_group(permutations):
    members = {tuple(row) for row in permutations}
    return len(members) == len(permutations) and all(tuple(a[b]) in members for a in permutations for b in permutations)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_group_is_found_in_data(name, seed):
    molecules = synthetic.frames(name, 100, seed)
    group, notes = find_symmetries(molecules.positions, molecules.numbers)
    expected = close_group(synthetic.geometric_group(name))
    assert len(expected) == SIZES[name]
    np.testing.assert_array_equal(group, expected)
    assert is_group(group)
    assert notes == []


def test_permutations_keep_the_elements_in_a_diatomic_with_two_elements():
    rng = np.random.default_rng(0)
    positions = np.zeros((20, 2, 3))
    positions[:, 1, 0] = rng.uniform(0.9, 1.3, 20)
    group, _ = find_symmetries(positions, np.array([1, 9]))
    np.testing.assert_array_equal(group, [[0, 1]])


def test_one_frame_has_no_symmetry_to_show():
    molecules = synthetic.frames("NH3", 1)
    group, _ = find_symmetries(molecules.positions, molecules.numbers)
    np.testing.assert_array_equal(group, [[0, 1, 2, 3]])


def test_equal_frames_do_not_break_the_tree():
    molecules = synthetic.frames("H2O", 10)
    group, _ = find_symmetries(np.repeat(molecules.positions, 3, axis=0), molecules.numbers)
    assert len(group) == 2


def test_the_order_of_frames_does_not_matter():
    molecules = synthetic.frames("CH3OH", 80)
    order = np.random.default_rng(3).permutation(80)
    one, _ = find_symmetries(molecules.positions, molecules.numbers)
    other, _ = find_symmetries(molecules.positions[order], molecules.numbers)
    np.testing.assert_array_equal(one, other)


def test_spurious_permutations_are_rejected_with_the_reason():
    """Two hydrogens of a methyl group alone, and hydrogens of different carbons, are not symmetries of ethanol."""
    molecules = synthetic.frames("CH3CH2OH", 150)
    numbers, positions = synthetic.template("CH3CH2OH")
    bonded = synthetic.bonds(numbers, positions)
    hydrogens = {a: [b for b in np.flatnonzero(bonded[a]) if numbers[b] == 1] for a in range(9)}
    methyl = next(h for h in hydrogens.values() if len(h) == 3)
    methylene = next(h for h in hydrogens.values() if len(h) == 2)
    improper, foreign = np.arange(9), np.arange(9)
    improper[methyl[:2]] = methyl[1], methyl[0]
    foreign[[methyl[0], methylene[0]]] = methylene[0], methyl[0]
    true = synthetic.geometric_group("CH3CH2OH")[-1]
    distances = np.linalg.norm(molecules.positions[:, :, None] - molecules.positions[:, None], axis=-1)
    accepted, notes = reject_spurious(np.array([true, improper, foreign]), distances, numbers)
    np.testing.assert_array_equal(accepted, [np.arange(9), true])
    assert len(notes) == 2
    assert "times as far" in notes[0]
    assert "does not keep the bonds" in notes[1]


def test_a_group_that_is_too_large_is_refused():
    molecules = synthetic.frames("CH4", 100)
    with pytest.raises(TrainingError, match=r"more than 10 members.*pass the symmetries"):
        find_symmetries(molecules.positions, molecules.numbers, max_size=10)


def test_closing_two_swaps_gives_all_six_permutations_identity_first():
    group = close_group(np.array([[1, 0, 2], [0, 2, 1]]))
    assert len(group) == 6
    assert is_group(group)
    np.testing.assert_array_equal(group[0], [0, 1, 2])


def test_generators_generate_the_group():
    group = close_group(np.array([[0, 2, 3, 1], [0, 2, 1, 3]]))
    few = generators(group)
    assert len(few) < len(group)
    np.testing.assert_array_equal(close_group(few), group)


def test_symmetries_are_reported_by_name():
    numbers = [6, 6, 8, 1, 1, 1]
    group = close_group(np.array([[0, 1, 2, 4, 5, 3]]))
    report = describe_group(group, numbers)
    assert report["n_permutations"] == 3
    assert report["exchanges"] == ["H4 H5 H6 exchange"]
    assert report["generators"] == ["(H4 H5 H6)"]
    assert cycle_notation(np.arange(6), list("abcdef")) == "()"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[0, 1]], "shape \\(P, 3\\)"),
        ([[0, 1, 1]], "row 0 .*not a permutation"),
        ([[0, 1, 2], [1, 0, 2]], "row 1 .*puts H2 in the place of O1"),
        ([[0.0, 1.0, 2.0]], "integers"),
    ],
)
def test_wrong_symmetries_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        check_permutations(given, np.array([8, 1, 1]))


def test_given_symmetries_are_closed():
    assert len(check_permutations([[0, 2, 3, 1], [0, 2, 1, 3]], np.array([7, 1, 1, 1]))) == 6


def test_rows_that_are_no_group_have_no_generators():
    with pytest.raises(ValueError, match="the 2 permutations are no group"):
        generators([[0, 1, 2, 3], [0, 2, 3, 1]])
