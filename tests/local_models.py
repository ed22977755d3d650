"""Small random models of local terms, and structures that put neighbor lists to the test.

The coefficients are random, so the numbers mean nothing; their physics must hold all the same.
"""

from dataclasses import replace

import numpy as np

from openmm_kml.descriptors.soap import power_spectrum, soap_descriptor
from openmm_kml.weights import RepulsionTerm, Spline2Term, Spline3Term, Uncertainty, Weights

SILICON = (14,)
SILICA = (8, 14)
CLAY = (8, 13, 14)


def random_spline2(n_elements, rng, start=1.2, cutoff=4.1, n_intervals=11):
    """Return a random `spline2` term of some 1 eV."""
    return Spline2Term(start, cutoff, rng.normal(0, 0.5, (n_elements * (n_elements + 1) // 2, n_intervals)))


def random_spline3(n_elements, rng, start=1.0, cutoff=3.1, start_far=1.1, compact=False, n_intervals=6, n_far=12):
    """Return a random `spline3` term of some 0.1 eV a triple, tapered between 1.2 and 1.8 Å."""
    pairs = n_elements * (n_elements + 1) // 2
    c = rng.normal(0, 0.3, (n_elements, pairs, n_intervals, n_intervals, n_far))
    for b in range(n_elements):
        pair = b * n_elements - b * (b - 1) // 2
        c[:, pair] += c[:, pair].swapaxes(1, 2).copy()
    return Spline3Term(start, cutoff, start_far, compact, 1.2, 0.6, c)


def random_repulsion(n_elements, rng):
    """Return a `repulsion` term that ends between 1.8 and 2.6 Å, so that structures at rest feel it."""
    first = rng.uniform(0.8, 1.2, n_elements * (n_elements + 1) // 2)
    return RepulsionTerm(np.stack([first, first + rng.uniform(1.0, 1.4, len(first))], axis=1))


def random_soap(elements, rng, zeta=4.0, n_sparse=6, scale=2.0, offsets=False, **hyperparameters):
    """Return a `soap` term of some `scale` eV an atom, whose sparse points are spectra of random environments."""
    descriptor = soap_descriptor(elements, **{"cutoff": 3.6, "n_max": 4, "l_max": 3} | hyperparameters)
    points = []
    for _ in range(n_sparse):
        vectors = rng.normal(size=(7, 3))
        vectors *= rng.uniform(1.6, descriptor.cutoff, (7, 1)) / np.linalg.norm(vectors, axis=1, keepdims=True)
        center, *neighbors = rng.integers(len(elements), size=8)
        points.append(power_spectrum(descriptor, center, neighbors, vectors))
    length = 1.0 if descriptor.normalize else np.linalg.norm(points[0]) ** (2 * zeta)
    coefficients = rng.normal(0, scale / length, n_sparse)
    return descriptor.term(zeta, np.array(points), coefficients, rng.uniform(0, 0.3, n_sparse) if offsets else None)


def _table():
    rng = np.random.default_rng(11)
    table = {
        "pairs of silicon": Weights(elements=SILICON, terms=(random_spline2(1, rng),), atom_energies={14: -1.5}),
        "triples of silicon": Weights(elements=SILICON, terms=(random_spline3(1, rng),)),
        "compact triples of silicon": Weights(elements=SILICON, terms=(random_spline3(1, rng, compact=True, n_far=9),)),
        "repulsion of silica": Weights(elements=SILICA, terms=(random_repulsion(2, rng),), atom_energies={8: 0.25}),
    }
    for name, compact in (("all terms of silica", False), ("all terms of silica, compact", True)):
        terms = (random_spline2(2, rng), random_spline3(2, rng, compact=compact), random_repulsion(2, rng))
        table[name] = Weights(elements=SILICA, terms=terms, atom_energies={8: -2.0, 14: 0.75})
    twice = (
        random_spline3(2, rng),
        random_spline2(2, rng, start=0.0, cutoff=2.7, n_intervals=4),
        random_spline3(2, rng, cutoff=2.4, compact=True, n_intervals=4, n_far=7),
        random_spline2(2, rng),
    )
    table["two terms of each kind"] = Weights(elements=SILICA, terms=twice)
    return table


def _soap_table():
    rng = np.random.default_rng(12)
    two = (
        random_soap(SILICA, rng, 2.0, centers=(8,)),
        random_soap(SILICA, rng, 2.0, centers=(14,), l_max=4),
        random_spline2(2, rng),
        random_repulsion(2, rng),
    )
    mixed = {"species_weights": [[1.0, 0.2], [0.4, -0.7], [-0.3, 0.9]], "central_weight": 0.6, "n_max": 3}
    raw = {"normalize": False, "diagonal_radial": True, "n_max": 5, "central_everywhere": True}
    decay = {"decay_exponent": 3.5, "decay_scale": 2.2, "decay_rate": 0.8, "radial_basis": "poly", "n_max": 3}
    many = {"n_sparse": 80, "scale": 0.5, "offsets": True, "n_max": 2, "central_weight": 0.4}  # a quadratic form
    smallest = {
        "n_max": 1,
        "l_max": 0,
        "normalize": False,
        "radial_basis": "gto",
        "channels": [SILICA],
        "cutoff_width": 3.6,
    }
    return {
        "soap of silicon": Weights(elements=SILICON, terms=(random_soap(SILICON, rng, n_max=6, l_max=5),)),
        "soap, pairs and repulsion of silica": Weights(elements=SILICA, terms=two, atom_energies={8: -2.0}),
        "soap of mixed channels": Weights(elements=CLAY, terms=(random_soap(CLAY, rng, 2.5, offsets=True, **mixed),)),
        "raw soap": Weights(elements=SILICA, terms=(random_soap(SILICA, rng, 1.0, scale=0.5, **raw),)),
        "soap that decays": Weights(elements=SILICA, terms=(random_soap(SILICA, rng, 3.0, **decay),)),
        "soap of many points": Weights(elements=SILICA, terms=(random_soap(SILICA, rng, 2.0, **many),)),
        "smallest soap": Weights(elements=SILICA, terms=(random_soap(SILICA, rng, 1.5, n_sparse=1, **smallest),)),
    }


SOAP_MODELS = _soap_table()
LOCAL_MODELS = _table() | SOAP_MODELS


def uncertain(weights, members=3, n_explained=0, prior_variance=0.5, seed=21, triangle=False, **scales):
    """Return a model with random uncertainty: some 0.1 eV an atom by its members.

    With `n_explained` rows, `soap` terms also have the prior variance that their sparse points leave open.
    """
    rng = np.random.default_rng(seed)
    terms = []
    for term in weights.terms:
        if term.kind == "repulsion":
            terms.append(term)
            continue
        deviations = 0.1 * np.abs(term.coefficients).mean() * rng.normal(size=(members, *term.coefficients.shape))
        fields = {"deviations": deviations}
        if term.kind == "spline3":
            n = len(weights.elements)
            for pair in (b * n - b * (b - 1) // 2 for b in range(n)):  # of two equal neighbors
                deviations[:, :, pair] += deviations[:, :, pair].swapaxes(2, 3).copy()
        elif term.kind == "soap" and n_explained:
            length = np.linalg.norm(term.sparse_points[0]) ** (2 * term.zeta)  # 1 where points are normalized
            size = 0.3 * np.sqrt(prior_variance / (term.n_sparse * n_explained)) / length
            fields["explained"] = size * rng.normal(size=(n_explained, term.n_sparse))
            if triangle:  # as trainers write it, but for the order of the points
                begins = rng.permutation(term.n_sparse)
                fields["explained"][np.arange(n_explained)[:, None] < begins] = 0.0
            fields["prior_variance"] = prior_variance / length
        terms.append(replace(term, **fields))
    atom_energies = rng.normal(0, 0.05, (members, len(weights.elements)))
    return replace(weights, terms=tuple(terms), uncertainty=Uncertainty(members, **scales, atom_energies=atom_energies))


def _uncertain_table():
    rng = np.random.default_rng(31)
    both = (random_spline2(2, rng), random_spline3(2, rng), random_repulsion(2, rng))
    scales = {"energy_scale": 1.7, "energy_floor": 0.02, "atom_scale": 0.9, "atom_floor": 0.04}
    scales |= {"force_scale": 2.5, "force_floor": 0.06, "energy_tail": 0.1, "atom_tail": 0.2, "force_tail": 0.4}
    soap = (random_soap(SILICA, rng, 2.0, scale=0.4), random_spline2(2, rng), random_repulsion(2, rng))
    raw = {"normalize": False, "n_max": 2, "l_max": 2, "centers": (14,)}
    return {
        "pairs of silicon": uncertain(Weights(elements=SILICON, terms=(random_spline2(1, rng),)), 5),
        "pairs and triples of silica": uncertain(Weights(elements=SILICA, terms=both), **scales),
        "compact triples of silicon, one member": uncertain(
            Weights(elements=SILICON, terms=(random_spline3(1, rng, compact=True, n_far=9),)), 1, **scales
        ),
        "soap of silicon, members only": uncertain(
            Weights(elements=SILICON, terms=(random_soap(SILICON, rng, offsets=True),)), 16, **scales
        ),
        "soap, pairs and repulsion of silica": uncertain(Weights(elements=SILICA, terms=soap), 4, 5, **scales),
        "raw soap of one center, two terms": uncertain(
            Weights(elements=SILICA, terms=(random_soap(SILICA, rng, 2.0, **raw), random_soap(SILICA, rng, 1.5))), 2, 3
        ),
        "soap of many points, a triangle explained": uncertain(
            Weights(elements=SILICA, terms=(random_soap(SILICA, rng, 4.0, n_sparse=150, scale=0.1),)),
            9,
            90,
            triangle=True,
            **scales,
        ),
    }


UNCERTAIN_MODELS = _uncertain_table()


def diamond(a=4.6, repeat=1):
    """Return positions and cell of the diamond lattice, 8 atoms a cell, in Å."""
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    fractions = np.concatenate([fcc, fcc + 0.25])
    corners = np.stack(np.meshgrid(*[np.arange(repeat)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    return a * (corners + fractions).reshape(-1, 3), a * repeat * np.eye(3)


def _structures():
    """Return name -> (positions, cell, pbc)."""
    rng = np.random.default_rng(5)
    crystal, cell = diamond()
    shear = np.array([[1.0, 0.2, -0.3], [0.1, 1.05, 0.25], [-0.2, 0.15, 0.95]])
    distorted = crystal + rng.normal(0, 0.15, crystal.shape)
    outside = distorted + rng.integers(-3, 4, distorted.shape) @ cell
    primitive = 2.3 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    return {
        "crystal": (crystal, cell, (True, True, True)),
        "distorted crystal": (distorted, cell, (True, True, True)),
        "triclinic cell, atoms outside": (outside @ shear, cell @ shear, (True, True, True)),
        "two atoms in a primitive cell": (np.array([[0.1, 0, 0], [1.2, 1.05, 1.2]]), primitive, (True, True, True)),
        "one atom in a tiny cell": (np.array([[7.0, 8.0, 9.0]]), 0.8 * primitive @ shear, (True, True, True)),
        "slab": (distorted @ shear, cell @ shear, (True, True, False)),
        "wire without the other vectors": (distorted, np.diag([0, 4.6, 0]), (False, True, False)),
        "cluster": (distorted, None, (False, False, False)),
        "dimer": (np.array([[0.0, 0, 0], [1.1, 1.2, 0.9]]), None, (False, False, False)),
        "trimer": (np.array([[0.0, 0, 0], [1.7, 0.2, 0], [0.3, 2.1, 0.4]]), None, (False, False, False)),
    }


STRUCTURES = _structures()


def numbers_for(weights, n_atoms):
    """Return atomic numbers of n atoms that show every element of the model."""
    return np.array([weights.elements[(k * 5 // 3) % len(weights.elements)] for k in range(n_atoms)])
