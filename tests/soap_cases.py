"""Small SOAP trainings: options that take little time, and data labeled by models that they can find."""

import numpy as np
from nbody_cases import TRICLINIC, frames, labeled

from openmm_kml.descriptors.soap import soap_descriptor
from openmm_kml.training.soap import SoapOptions
from openmm_kml.training.soap.jacobians import descriptors
from openmm_kml.weights import Spline2Term, Weights

SMALL = {
    "cutoff": 3.6,
    "n_max": 4,
    "l_max": 3,
    "n_sparse": 12,
    "spacing2": 0.4,
    "n_threads": 1,
    "progress": False,
}
CHOSEN = {"amplitude": 1.0, "length_scale2": 0.7, "amplitude2": 1.0}


def options(**changes):
    """Return options of a small training, hyperparameters given."""
    return SoapOptions(**SMALL | CHOSEN | changes)


def small_descriptor(elements, center):
    """Return the descriptor that the small options make for the environments of an element."""
    return soap_descriptor(elements, [center], cutoff=3.6, n_max=4, l_max=3)


def drawn_model(structures, seed=0, n_sparse=6, zeta=4.0, scale=2.0, pairs=True):
    """Return a model whose sparse points are environments of the structures, with one-body energies."""
    rng = np.random.default_rng(seed)
    elements = tuple(int(z) for z in structures.elements)
    terms = []
    for z in elements:
        descriptor = small_descriptor(elements, z)
        p = np.concatenate([descriptors(descriptor, elements, frame)[1] for frame in structures])
        chosen = p[rng.choice(len(p), n_sparse, replace=False)]
        terms.append(descriptor.term(zeta, chosen, rng.normal(0, scale, n_sparse)))
    if pairs:
        terms.append(Spline2Term(1.6, 3.6, rng.normal(0, 0.1, (len(elements) * (len(elements) + 1) // 2, 6))))
    return Weights(elements=np.array(elements), terms=tuple(terms), atom_energies={z: -float(z) / 10 for z in elements})


def silicon(seed=1, count=12, n_atoms=6):
    """Return frames of silicon with the labels of a drawn model, and the model."""
    structures = frames(seed, count, (14,) * n_atoms)
    truth = drawn_model(structures)
    return labeled(structures, truth), truth


def silica(seed=2, count=10):
    """Return frames of two elements with the labels of a drawn model, and the model."""
    structures = frames(seed, count, (8, 8, 8, 14, 14, 8), cell=TRICLINIC)
    truth = drawn_model(structures, 1)
    return labeled(structures, truth), truth
