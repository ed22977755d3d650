"""The list of neighbors of the trainer and of the NumPy twin, against a search over all images."""

import itertools

import numpy as np
import pytest
from local_models import STRUCTURES

from openmm_kml.neighbors import neighbor_list


def all_images(positions, cell, pbc, cutoff, n_images):
    """Return the set of (i, j, shift) closer than the cutoff, from all images up to n_images along each axis."""
    found = set()
    cell = np.zeros((3, 3)) if cell is None else cell
    for shift in itertools.product(*[range(-n_images, n_images + 1) if periodic else (0,) for periodic in pbc]):
        vectors = positions[None] - positions[:, None] + np.array(shift) @ cell
        near = np.linalg.norm(vectors, axis=2) < cutoff
        if not any(shift):
            np.fill_diagonal(near, False)
        found |= {(int(i), int(j), shift) for i, j in np.argwhere(near)}
    return found


@pytest.mark.parametrize("cutoff", [1.5, 3.0, 5.0])
@pytest.mark.parametrize("name", STRUCTURES)
def test_every_image_is_found_once(name, cutoff):
    positions, cell, pbc = STRUCTURES[name]
    i, j, shift, vector, distance = neighbor_list(positions, cell, pbc, cutoff)
    found = [(int(a), int(b), tuple(int(c) for c in s)) for a, b, s in zip(i, j, shift, strict=True)]
    assert len(set(found)) == len(found)
    assert set(found) == all_images(positions, cell, pbc, cutoff, 11)
    assert (np.diff(i) >= 0).all()
    expected = positions[j] - positions[i] + (shift @ cell if cell is not None else 0)
    np.testing.assert_allclose(vector, expected, atol=1e-12)
    np.testing.assert_allclose(distance, np.linalg.norm(expected, axis=1), atol=1e-12)


def test_the_list_is_the_same_from_both_sides():
    positions, cell, pbc = STRUCTURES["triclinic cell, atoms outside"]
    i, j, shift, vector, _ = neighbor_list(positions, cell, pbc, 4.0)
    rows = {(a, b, *s): tuple(v) for a, b, s, v in zip(i, j, shift.tolist(), vector, strict=False)}
    for (a, b, *s), v in rows.items():
        assert rows[(b, a, *(-c for c in s))] == tuple(-c for c in v)


def test_atoms_without_neighbors_give_an_empty_list():
    for positions in (np.zeros((0, 3)), np.zeros((1, 3)), np.array([[0.0, 0, 0], [9.0, 0, 0]])):
        assert [len(part) for part in neighbor_list(positions, None, False, 3.0)] == [0] * 5


@pytest.mark.parametrize("cell", [None, np.zeros((3, 3)), np.diag([5.0, 5.0, 0.0]), np.ones((3, 3))])
def test_a_periodic_cell_without_volume_is_refused(cell):
    with pytest.raises(ValueError, match="no volume"):
        neighbor_list(np.zeros((1, 3)), cell, True, 3.0)


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="atom 1 has a coordinate that is not finite"):
        neighbor_list([[0.0, 0, 0], [np.nan, 0, 0]], None, False, 3.0)
    with pytest.raises(ValueError, match="finite array of shape"):
        neighbor_list(np.zeros((1, 3)), np.eye(2), True, 3.0)
