"""Baselines of structures of any composition: another weight file, an ASE calculator.

A baseline has ``name``, ``digest``, ``what`` (how messages call it), ``has_repulsion`` (whether it keeps atoms apart
where there are no data), ``evaluate(positions, numbers, cell, pbc)`` and ``evaluate_atomic(…)``.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from openmm_kml.errors import DataError, KMLError, WeightFileError
from openmm_kml.interfaces.calculators import CalculationError, evaluate_calculator
from openmm_kml.potential import Evaluation, KernelPotential
from openmm_kml.weights import baseline_of

# Parameters of calculators that say where and how much they write, and nothing of the energy.
_NOT_THE_ENERGY = {"verbosity", "txt", "label", "directory", "command", "profile", "cache_api"}


def check_same_digest(recorded, digest, what):
    """Raise WeightFileError unless a baseline has the digest that a weight file records.

    Parameters
    ----------
    recorded : openmm_kml.weights.Baseline or None
        None for a model that is the whole energy.
    digest : str
        Of the baseline that is offered.
    what : str
        What that is: "System", "weight file", "calculator".
    """
    if recorded is None:
        raise WeightFileError("this model is the whole energy and not the difference to a baseline; add none to it")
    if digest != recorded.digest:
        raise WeightFileError(
            f"this {what} is not the baseline of the model: {recorded.name!r} has the digest {recorded.digest[:19]}…, "
            f"this one {digest[:19]}…; take the baseline that the model was trained with"
        )


def file_digest(data):
    """Return ``sha256:`` and the digest of the bytes of a weight file, as ``sha256sum`` shows it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class ModelBaseline:
    """A weight file that a model is the difference to.

    Parameters
    ----------
    potential : KernelPotential
        The whole energy: no difference to yet another baseline.
    name : str
        How it is called in messages and in the weight file of the difference.

    Attributes
    ----------
    digest : str
        Of the bytes of the file, as ``sha256sum`` shows it.
    """

    what = "weight file"

    def __init__(self, potential, name="a weight file"):
        _check_whole(potential.baseline, name)
        self.potential, self.name = potential, name
        self.digest = file_digest(potential.to_bytes())

    @classmethod
    def load(cls, path):
        """Return the baseline of a weight file.

        Raises
        ------
        DataError
            If it is not a valid weight file, or a difference itself.
        OSError
            If it cannot be read.
        """
        data = Path(path).read_bytes()
        try:
            _check_whole(baseline_of(data), path)
            return cls(KernelPotential.from_bytes(data), Path(path).name)
        except WeightFileError as error:
            raise DataError(f"the baseline {path}: {error}") from None

    @property
    def has_repulsion(self):
        """Whether the file holds nuclear repulsion."""
        return any(term.kind == "repulsion" for term in self.potential.weights.terms)

    def evaluate(self, positions, numbers, cell=None, pbc=None):
        """Return the `Evaluation` of a structure; DataError if it has an element that the baseline does not know."""
        return self._ask(self.potential.evaluate, positions, numbers, cell, pbc)

    def evaluate_atomic(self, positions, numbers, cell=None, pbc=None):
        """Return the energies of the single atoms; ValueError for a model of one molecule."""
        return self._ask(self.potential.evaluate_atomic, positions, numbers, cell, pbc)

    def _ask(self, method, positions, numbers, cell, pbc):
        try:
            self.potential.check_numbers(numbers)
        except ValueError as error:
            raise DataError(f"the baseline {self.name} does not fit: {error}") from None
        try:
            return method(positions, numbers, cell, pbc)
        except KMLError as error:
            raise DataError(f"the baseline {self.name}: {error}") from None


class CalculatorBaseline:
    """An ASE calculator that a model is the difference to.

    Parameters
    ----------
    calculator : ase.calculators.calculator.Calculator
    name : str, optional
        How it is called in messages and in the weight file; by default its class.

    Attributes
    ----------
    digest : str
        Of its class and of those of its ``parameters`` that the energy may depend on, of all parts if it is a sum of
        calculators. What it reads from elsewhere and the program behind it are not in there.
    """

    what = "calculator"
    has_repulsion = True

    def __init__(self, calculator, name=None):
        self.calculator, self.name = calculator, name or type(calculator).__name__
        self.digest = f"sha256:{hashlib.sha256(_identity(calculator).encode()).hexdigest()}"

    def evaluate(self, positions, numbers, cell=None, pbc=None):
        """Return the `Evaluation` of a structure; its virial is None in a cell if the calculator has no stress.

        Raises
        ------
        DataError
            If the calculator fails, for an element that it does not know as for any other reason.
        """
        try:
            energy, forces, virial = evaluate_calculator(
                self.calculator, positions, numbers, cell, pbc, f"baseline {self.name}"
            )
        except CalculationError as error:
            raise DataError(f"the baseline {self.name} failed: {error}") from None
        if virial is None and not np.any(cell is not None if pbc is None else pbc):
            virial = free_virial(positions, forces)
        return Evaluation(energy, forces, virial)

    def evaluate_atomic(self, positions, numbers, cell=None, pbc=None):
        """Raise ValueError: energies of atoms are each calculator's own convention."""
        raise ValueError(f"the baseline {self.name} has no energies of single atoms")


def _check_whole(recorded, name):
    if recorded is not None:
        raise DataError(
            f"{name} is itself only the difference to the baseline {recorded.name!r}; a baseline is the whole energy"
        )


def free_virial(positions, forces):
    """Return the virial of atoms without periodicity, Σ f_i r_i, shape (3, 3), eV."""
    virial = np.asarray(forces).T @ np.asarray(positions)
    return (virial + virial.T) / 2  # forces of a rotation-invariant energy make it symmetric


def _identity(calculator):
    """Return class and parameters of a calculator as text, of all parts if it is a sum of calculators."""
    mixer = getattr(calculator, "mixer", None)
    parts = [_identity(part) for part in getattr(mixer, "calcs", ())]
    parameters = dict(getattr(calculator, "parameters", None) or {})
    parameters = {name: value for name, value in parameters.items() if name not in _NOT_THE_ENERGY}
    own = [parameters, list(getattr(mixer, "weights", ()))]
    return json.dumps([_class(calculator), _plain(own), parts])


def _plain(value):
    """Return a value as JSON knows it, dictionaries sorted; of an object of another kind, its class alone."""
    if isinstance(value, dict):
        return sorted([str(key), _plain(entry)] for key, entry in value.items())
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else _class(value)


def _class(value):
    return f"{type(value).__module__}.{type(value).__qualname__}"
