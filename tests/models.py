"""A table of small random models: every kind, kernel and option that an engine must get right.

The coefficients are random, so the numbers mean nothing; their physics (forces, virials, invariances) must hold
all the same.
"""

from dataclasses import replace

import numpy as np

from openmm_kml.descriptors.inverse_distances import descriptor, permuted_pairs
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.weights import GDMLTerm, RepulsionTerm, Uncertainty, WallsTerm, Weights

ETHANOL_SPECIES = (6, 6, 8, 1, 1, 1, 1, 1, 1)
ETHANOL_GENERATORS = ((0, 1, 2, 4, 3, 5, 6, 7, 8), (0, 1, 2, 3, 4, 6, 7, 5, 8))
WATER_SPECIES = (8, 1, 1)
DIATOMIC_SPECIES = (7, 7)


def closed(generators):
    """Return the group that the permutations generate, identity first."""
    n = len(generators[0])
    group = [tuple(range(n))]
    for element in group:
        for generator in generators:
            product = tuple(element[k] for k in generator)
            if product not in group:
                group.append(product)
    return np.array(group)


def spread_positions(n_atoms, rng, spacing=1.4, noise=0.15):
    """Return positions of shape (n_atoms, 3) in Å on a noisy lattice: no two atoms closer than about 1 Å."""
    side = int(np.ceil(n_atoms ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:n_atoms]
    return spacing * grid + rng.uniform(-noise, noise, (n_atoms, 3))


def random_weights(
    species=ETHANOL_SPECIES,
    permutations=None,
    kernel="matern52",
    power=1.0,
    n_train=13,
    energies=False,
    weighted=False,
    seed=0,
):
    """Return a random `Weights`; forces come out at the order of 1 eV/Å."""
    rng = np.random.default_rng(seed)
    n = len(species)
    permutations = np.arange(n)[None] if permutations is None else np.asarray(permutations)
    v = np.ones(n * (n - 1) // 2)
    if weighted:  # one weight for each orbit of pairs
        orbit = permuted_pairs(permutations).min(axis=0)
        v = rng.uniform(0.5, 1.5, len(v))[orbit]
    base = spread_positions(n, rng)
    frames = base + rng.normal(0, 0.08, (n_train, n, 3))
    x = descriptor(frames, power, v)
    spread = np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())
    length_scale = 3.0 * spread if n_train > 1 else float(x.mean())
    term = GDMLTerm(
        power=power,
        kernel=kernel,
        length_scale=length_scale,
        energy_offset=-3.5,
        descriptor_weights=v,
        training_descriptors=x,
        descriptor_coefficients=rng.normal(0, 0.3, x.shape) * length_scale,
        permutations=permutations,
        energy_coefficients=rng.normal(0, 0.5, n_train) if energies else None,
    )
    return Weights(species=np.array(species), terms=(term,), atom_energies={species[0]: -1.25}, provenance={})


def model_positions(weights, n_frames=1, seed=1):
    """Return geometries near the training points of `random_weights`, shape (n_frames, n_atoms, 3), Å."""
    n = len(weights.species)
    base = spread_positions(n, np.random.default_rng(0))
    return base + np.random.default_rng(seed).normal(0, 0.1, (n_frames, n, 3))


def _table():
    ethanol = closed(ETHANOL_GENERATORS)
    table = {}
    for kernel in KERNELS:
        table[f"ethanol-{kernel}"] = random_weights(permutations=ethanol, kernel=kernel)
        table[f"ethanol-{kernel}-energies-weighted"] = random_weights(
            permutations=ethanol, kernel=kernel, power=0.5, energies=True, weighted=True, n_train=16
        )
    table["no-symmetry-quarter-power"] = random_weights(kernel="matern92", power=0.25, n_train=41)
    table["water-exchange"] = random_weights(WATER_SPECIES, [[0, 1, 2], [0, 2, 1]], power=2.0, n_train=7)
    table["diatomic-one-point"] = random_weights(DIATOMIC_SPECIES, [[0, 1], [1, 0]], n_train=1, energies=True)
    table["seventeen-atoms-odd-power"] = random_weights((6,) * 17, kernel="matern72", power=0.7, n_train=70)
    return table


MODELS = _table()


def two_term_weights():
    """Return weights whose energy is the sum of two terms."""
    first = random_weights(seed=3)
    second = random_weights(seed=4, kernel="matern92", power=0.5)
    return Weights(first.species, (*first.terms, *second.terms), first.atom_energies, {})


MODELS["two-terms"] = two_term_weights()


def repelled(weights, terms=1, seed=5):
    """Return a model of a molecule with `repulsion` terms that its geometries feel."""
    rng = np.random.default_rng(seed)
    n = len(np.unique(weights.species))
    switches = rng.uniform(0.9, 1.2, (terms, n * (n + 1) // 2))
    added = [RepulsionTerm(np.stack([first, first + rng.uniform(0.4, 0.8, len(first))], axis=1)) for first in switches]
    return replace(weights, terms=(*weights.terms, *added))


MODELS["ethanol-repulsion"] = repelled(MODELS["ethanol-matern52-energies-weighted"])
MODELS["two-terms-two-repulsions"] = repelled(MODELS["two-terms"], 2)


def walled(weights, terms=1, seed=6):
    """Return a model of a molecule with `walls` terms, whose geometries are beyond some of the bounds on both sides."""
    rng = np.random.default_rng(seed)
    orbit = permuted_pairs(weights.terms[0].permutations).min(axis=0)
    added = []
    for _ in range(terms):
        lower, width = rng.uniform(0.0, 1.7, len(orbit)), rng.uniform(0.2, 1.0, len(orbit))
        upper = np.where(rng.random(len(orbit)) < 0.3, 0.0, lower + width)  # a third have no bound above
        bounds = np.stack([lower, upper], axis=1)[orbit]
        added.append(WallsTerm(rng.uniform(0.5, 2.0), rng.uniform(0.2, 0.6), bounds))
    return replace(weights, terms=(*weights.terms, *added))


MODELS["ethanol-repulsion-walls"] = walled(MODELS["ethanol-repulsion"])
MODELS["two-terms-two-walls"] = walled(MODELS["two-terms"], 2, seed=7)


def uncertain_molecule(weights, n_explained=4, n_points=None, seed=22, **scales):
    """Return a model of a molecule with random uncertainty, of some tenths of an eV.

    The explained rows are those of the first `n_points` training points, of all by default.
    """
    rng = np.random.default_rng(seed)
    terms = []
    for term in weights.terms:
        rows = (n_explained, n_points or len(term.training_descriptors))
        size = 0.2 / np.sqrt(np.prod(rows))
        x = size * term.length_scale * rng.normal(size=(*rows, len(term.descriptor_weights)))
        energies = None if term.energy_coefficients is None else size * rng.normal(size=rows)
        terms.append(
            replace(
                term,
                explained_descriptor_coefficients=x,
                explained_energy_coefficients=energies,
                prior_variance=0.3,
            )
        )
    return replace(weights, terms=tuple(terms), uncertainty=Uncertainty(0, **scales))


_SCALES = {"energy_scale": 1.3, "energy_floor": 0.01, "force_scale": 2.0, "force_floor": 0.05, "force_tail": 0.25}
UNCERTAIN_MODELS = {
    "ethanol with its group and energies": uncertain_molecule(MODELS["ethanol-matern52-energies-weighted"], **_SCALES),
    "ethanol, first points only": uncertain_molecule(MODELS["ethanol-squared_exponential"], 2, 5),
    "water, exchange": uncertain_molecule(MODELS["water-exchange"], 1, **_SCALES),
    "two terms": uncertain_molecule(MODELS["two-terms"], 3),
}

# Enough work for seven threads, 8 N P D above seven million operations: the engine starts fewer for less.
CARBON = (6,) * 12
ROTATIONS = np.array([np.roll(np.arange(12), k) for k in range(12)])  # a group of twelve
LARGE = random_weights(CARBON, ROTATIONS[::2], kernel="matern92", n_train=2213, energies=True)
