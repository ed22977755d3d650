"""Molecules with an exact, symmetric, analytic potential: reference data that tests make for themselves."""

import numpy as np
from ase.build import molecule
from ase.data import covalent_radii

from openmm_kml.structures import MoleculeSet


def template(name):
    """Return atomic numbers and equilibrium positions in Å."""
    atoms = molecule(name)
    return atoms.numbers, atoms.positions


def bonds(numbers, positions):
    """Return the matrix of bonds."""
    radii = covalent_radii[numbers]
    distance = np.linalg.norm(positions[:, None] - positions, axis=-1)
    return (distance < 1.25 * (radii[:, None] + radii)) & ~np.eye(len(numbers), dtype=bool)


def geometric_group(name):
    """Return all permutations of the template that leave its distances unchanged (to 0.05 Å), methyl turns included.

    These are what data show: the rotations and reflections of the equilibrium, and for a methyl group the three-fold
    turn, which relates different minima.
    """
    numbers, positions = template(name)
    n_atoms = len(numbers)
    bonded = bonds(numbers, positions)
    hydrogens = [[b for b in np.flatnonzero(bonded[a]) if numbers[b] == 1] for a in range(n_atoms)]
    distance = np.linalg.norm(positions[:, None] - positions, axis=-1)
    found = []

    def extend(image):
        a = len(image)
        if a == n_atoms:
            found.append(image)
            return
        for b in range(n_atoms):
            if b in image or numbers[b] != numbers[a]:
                continue
            if np.allclose(distance[a, : a + 1], distance[b, [*image, b]], atol=0.05):
                extend([*image, b])

    extend([])
    for carbon in range(n_atoms):
        others = np.flatnonzero(bonded[carbon])
        if numbers[carbon] == 6 and len(hydrogens[carbon]) == 3 and len(others) == 4:
            h = hydrogens[carbon]
            turn = list(range(n_atoms))
            turn[h[0]], turn[h[1]], turn[h[2]] = h[1], h[2], h[0]
            found.append(turn)
    return np.array(found)


class Potential:
    """Morse bonds, harmonic 1-3 distances and soft repulsion, with parameters by element pair and bond distance."""

    def __init__(self, name):
        self.numbers, positions = template(name)
        bonded = bonds(self.numbers, positions)
        self.i, self.j = np.tril_indices(len(self.numbers), -1)
        second = (bonded.astype(int) @ bonded.astype(int))[self.i, self.j] > 0
        first = bonded[self.i, self.j]
        self.hops = np.where(first, 1, np.where(second, 2, 3))
        r = np.linalg.norm(positions[self.i] - positions[self.j], axis=1)
        low, high = np.sort([self.numbers[self.i], self.numbers[self.j]], axis=0)
        key = 10_000 * low + 10 * high + self.hops
        self.rest = np.array([r[key == k].mean() for k in key])
        self.strength = 0.2 + 0.01 * (low + high)

    def __call__(self, positions):
        """Return energies (M,) in eV and forces (M, n, 3) in eV/Å."""
        difference = positions[:, self.i] - positions[:, self.j]
        r = np.linalg.norm(difference, axis=-1)
        decay = np.exp(-1.8 * (r - self.rest))
        soft = np.exp(-r)
        one, two = self.hops == 1, self.hops == 2
        energy = np.where(one, 4 * (1 - decay) ** 2, np.where(two, (r - self.rest) ** 2, self.strength * soft))
        slope = np.where(one, 14.4 * (1 - decay) * decay, np.where(two, 2 * (r - self.rest), -self.strength * soft))
        pair = -(slope / r)[..., None] * difference
        forces = np.zeros_like(positions)
        for d, (a, b) in enumerate(zip(self.i, self.j, strict=True)):
            forces[:, a] += pair[:, d]
            forces[:, b] -= pair[:, d]
        return energy.sum(axis=1) - 100.0, forces


def frames(name, n_frames, seed=0, amplitude=0.07, shuffle=True):
    """Return a MoleculeSet of perturbed geometries, relabeled by random members of the molecule's group.

    Relabeling is what hops of a methyl group or inversions do to a trajectory.
    """
    rng = np.random.default_rng(seed)
    numbers, equilibrium = template(name)
    positions = equilibrium + amplitude * rng.normal(size=(n_frames, *equilibrium.shape))
    if shuffle:
        group = geometric_group(name)
        for k in range(n_frames):
            for _ in range(3):
                positions[k] = positions[k][group[rng.integers(len(group))]]
    energies, forces = Potential(name)(positions)
    return MoleculeSet(numbers, positions, energies, forces, name)
