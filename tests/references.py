"""Cheap references for learning on the fly, as ASE calculators; the command line finds the functions by name."""

import os
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from synthetic import Potential


class MorseMolecule(Calculator):
    """The analytic potential of a molecule; it may be slow, or fail now and then."""

    implemented_properties = ("energy", "forces")

    def __init__(self, name="H2O", seconds=0.0, fail=None, value=None, counter=None):
        super().__init__()
        self._potential = Potential(name)
        self._seconds, self._fail, self._value, self._counter = seconds, fail, value, counter

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        time.sleep(self._seconds)
        energies, forces = self._potential(self.atoms.positions[None])
        if self._counter is not None:
            with Path(self._counter).open("a") as file:
                file.write(f"{energies[0]!r} {os.getpid()}\n")
        if self._fail is not None and int(abs(energies[0]) * 1e6) % self._fail == 0:
            if self._value is None:
                raise CalculationFailed("no\nconvergence")
            forces = forces * self._value
        self.results = {"energy": energies[0], "forces": forces[0]}


class EnergyAlone(Calculator):
    """A calculator that cannot be learned from."""

    implemented_properties = ("energy",)


def morse(**options):
    """Return the calculator of a molecule."""
    return MorseMolecule(**options)


def no_calculator():
    """Return something else."""
    return np.zeros(3)
