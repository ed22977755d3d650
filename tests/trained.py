"""A small model trained on the bundled ethanol data: good enough for stable dynamics, made in a second."""

import functools
from pathlib import Path

import numpy as np
from models import closed

from openmm_kml.potential import KernelPotential
from openmm_kml.structures import read_molecules, split
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.weights import to_bytes

DATA = Path(__file__).parents[1] / "examples" / "data" / "ethanol_pbe.npz"
OPTIONS = {"power": 0.5, "kernel": "matern92", "length_scale": 2.5, "regularization": 1e-6, "energies": True}

# The methyl group turns, and the mirror plane exchanges hydrogens of both groups: six permutations.
SYMMETRIES = closed(((0, 1, 2, 3, 4, 5, 7, 8, 6), (0, 1, 2, 3, 5, 4, 7, 6, 8)))


@functools.cache
def ethanol_data():
    """Return the training and the validation frames."""
    return split(read_molecules(DATA), 60, 10, 30, seed=0)[:2]


@functools.cache
def ethanol_potential():
    """Return the trained model as a `KernelPotential`."""
    train, validation = ethanol_data()
    return KernelPotential.from_bytes(to_bytes(fit(train, validation).weights))


def fit(train, validation, **changes):
    """Return a `GDMLFit` with fixed hyperparameters."""
    return fit_gdml(
        train, validation, GDMLOptions(**OPTIONS, symmetries=SYMMETRIES, n_threads=1, progress=False, **changes)
    )


@functools.cache
def ethanol_minimum():
    """Return positions near the model's minimum, shape (9, 3), Å."""
    from scipy.optimize import minimize

    potential, train = ethanol_potential(), ethanol_data()[0]
    start = train.positions[np.argmin(train.energies)]

    def energy_and_gradient(x):
        result = potential.evaluate(x.reshape(-1, 3))
        return result.energy, -result.forces.ravel()

    return minimize(energy_and_gradient, start.ravel(), jac=True, method="L-BFGS-B").x.reshape(-1, 3)
