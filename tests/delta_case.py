"""A model of the difference to a classical force field, for tests."""

import functools
from dataclasses import replace
from pathlib import Path

from openmm import app
from trained import ethanol_data, fit

from openmm_kml.interfaces.baseline import SystemBaseline
from openmm_kml.interfaces.baselines import record, subtract_from
from openmm_kml.weights import to_bytes

FOLDER = Path(__file__).parents[1] / "examples" / "data"
NO_CONSTRAINTS = {"constraints": None, "removeCMMotion": False}


def classical(**options):
    """Return ethanol under a classical force field, its atoms in the order of the data."""
    pdb = app.PDBFile(str(FOLDER / "ethanol.pdb"))
    return app.ForceField(str(FOLDER / "ethanol_opls.xml")).createSystem(pdb.topology, **NO_CONSTRAINTS | options)


@functools.cache
def delta_bytes():
    """Return the weight file of a model of the difference to the force field."""
    baseline = SystemBaseline(classical(), "mm.xml")
    train, validation = (subtract_from(part, baseline) for part in ethanol_data())
    return to_bytes(replace(fit(train, validation).weights, baseline=record(baseline)))
