"""Which atoms are bonded, told from their distances."""

import numpy as np

BOND_FACTOR = 1.3  # two atoms nearer than this times the sum of their covalent radii are bonded


def radii_of(numbers):
    """Return the covalent radii of atomic numbers, Å (Cordero et al., Dalton Trans. 2832 (2008))."""
    from ase.data import covalent_radii

    return covalent_radii[np.asarray(numbers)]


def covalent_sums(numbers):
    """Return the sums of the covalent radii of all pairs of atoms, shape (n, n), Å."""
    radii = radii_of(numbers)
    return radii[:, None] + radii


def bonds_from_distances(numbers, distances):
    """Return the bonds (i, j), i < j, of atomic numbers, shape (n,), at distances, shape (n, n), Å."""
    bonded = np.triu(distances < BOND_FACTOR * covalent_sums(numbers), 1)
    return [(int(i), int(j)) for i, j in np.argwhere(bonded)]


def bonds_from_positions(numbers, positions):
    """Return the bonds (i, j), i < j, of atomic numbers, shape (n,), at positions, shape (n, 3), Å."""
    return bonds_from_distances(numbers, np.linalg.norm(positions[:, None] - positions, axis=-1))
