"""`KernelPotential`: a weight file, ready to evaluate. It needs the engine and no part of the trainer."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from openmm_kml import weights as weight_files
from openmm_kml._engine import Engine
from openmm_kml.atom_checks import check_elements, check_order
from openmm_kml.elements import formula, symbols
from openmm_kml.errors import WeightFileError
from openmm_kml.term_descriptions import describe_model
from openmm_kml.uncertainty import UncertaintyEvaluation


class Evaluation(NamedTuple):
    """Energy, forces and virial of one structure, or of many with a leading axis.

    Attributes
    ----------
    energy : float or ndarray of shape (M,), eV
    forces : ndarray of shape (..., n_atoms, 3), eV/Å, -dE/dr
    virial : ndarray of shape (..., 3, 3), eV, -dE/dstrain; the ASE stress is -virial / volume
    """

    energy: float | np.ndarray
    forces: np.ndarray
    virial: np.ndarray


class KernelPotential:
    """A potential read from a weight file.

    Make one with `KernelPotential.load(path)` or `KernelPotential.from_bytes(data)`.

    Examples
    --------
    >>> potential = KernelPotential.load("ethanol.safetensors")  # doctest: +SKIP
    >>> energy, forces, virial = potential.evaluate(positions)  # doctest: +SKIP
    """

    source = None  # the baseline that a sum adds: openmm_kml.interfaces.baselines.SumPotential

    def __init__(self, data):
        self._data = bytes(data)
        self._engine = Engine(self._data)

    @classmethod
    def load(cls, path, *, delta=False):
        """Return the potential of a weight file.

        Parameters
        ----------
        path : path-like
        delta : bool
            True takes a model that is only the difference to a baseline, as the difference that it is: whoever says
            so adds the baseline. Without it such a model is refused, and with it every other.

        Raises
        ------
        openmm_kml.errors.WeightFileError
            If the file is not a valid weight file; the message names the file and the field.
        OSError
            If the file cannot be read.
        """
        data = Path(path).read_bytes()
        try:
            return cls.from_bytes(data, delta=delta)
        except WeightFileError as error:
            raise WeightFileError(f"{path}: {error}") from None

    @classmethod
    def from_bytes(cls, data, *, delta=False):
        """Return the potential of the bytes of a weight file; `delta` as in `load`.

        Raises
        ------
        openmm_kml.errors.WeightFileError
            If the bytes are not a valid weight file; the message names the field.
        """
        return cls(weight_files.with_baseline_added(bytes(data)) if delta else data)

    def to_bytes(self):
        """Return the bytes of the weight file, as they were read; with ``delta=True`` they say that it was given."""
        return self._data

    def __reduce__(self):
        return (type(self), (self._data,))

    def __repr__(self):
        if self.species is None:
            return f"<KernelPotential of {symbols(self.elements)}, cutoff {self.cutoff:g} Å>"
        return f"<KernelPotential of {formula(self.species)}, {self._engine.operations:.3g} operations>"

    @cached_property
    def species(self):
        """Atomic numbers in order, read-only int64 array of shape (n_atoms,); None for a model of any structure."""
        return _read_only(self._engine.species)

    @cached_property
    def elements(self):
        """Atomic numbers that a model of any structure knows, read-only, ascending; None for one of a molecule."""
        return _read_only(self._engine.elements)

    @property
    def cutoff(self):
        """Distance in Å beyond which atoms do not feel each other; 0 for a model of one molecule."""
        return self._engine.cutoff

    @cached_property
    def weights(self):
        """The `openmm_kml.weights.Weights` of the file."""
        return weight_files.from_bytes(self._data)

    @cached_property
    def baseline(self):
        """The `openmm_kml.weights.Baseline` that the model is the difference to, None when it is the whole energy."""
        return weight_files.baseline_of(self._data)

    def evaluate(self, positions, numbers=None, cell=None, pbc=None, n_threads=None):
        """Return the `Evaluation` of one structure.

        Parameters
        ----------
        positions : array_like of shape (n_atoms, 3), Å
            A model of one molecule takes the whole molecule, its atoms in the order of the model, and never wraps it
            into a cell. A model of any structure takes atoms inside the cell or outside.
        numbers : array_like of int, shape (n_atoms,)
            Atomic numbers. Optional for a model of one molecule, whose own they are compared with.
        cell : array_like of shape (3, 3), Å, optional
            Lattice vectors as rows. A model of one molecule does not depend on it.
        pbc : bool or sequence of 3 bool, optional
            Which lattice vectors repeat the structure; all when a cell is given, none without.
        n_threads : int, optional
            OpenMP threads. By default one for small work, so that a busy machine does not make threads wait for each
            other, and up to all cores for large work.

        Raises
        ------
        ValueError
            If an array has a wrong shape, the elements are not the model's, or the cell has no volume.
        openmm_kml.errors.EvaluationError
            If atoms coincide or a coordinate is not finite; the message names the atoms.
        """
        if self.species is None:
            return Evaluation(*self._evaluate_structure(positions, numbers, cell, pbc, n_threads)[:3])
        if numbers is not None:
            self.check_numbers(numbers)
        return Evaluation(*self._engine.evaluate(positions, cell, _threads(n_threads)))

    def evaluate_atomic(self, positions, numbers, cell=None, pbc=None, n_threads=None):
        """Return the energies of the single atoms, shape (n_atoms,), eV; they add up to the energy.

        Arguments and errors as in `evaluate`, and ValueError for a model of one molecule, which has no such energies.
        """
        if self.species is not None:
            raise ValueError("a model of one molecule has no energies of single atoms; only its sum is defined")
        return self._evaluate_structure(positions, numbers, cell, pbc, n_threads, atomic=True)[3]

    @cached_property
    def has_uncertainty(self):
        """Whether the file holds what standard deviations are made of."""
        return self._engine.has_uncertainty

    def check_uncertainty(self):
        """Raise WeightFileError if the model has no uncertainty."""
        if not self.has_uncertainty:
            raise WeightFileError("this model has no uncertainty: train it again, or evaluate its energy alone")

    def evaluate_uncertainty(
        self,
        positions,
        numbers=None,
        cell=None,
        pbc=None,
        gradient=False,
        forces=False,
        n_threads=None,
        prediction=False,
    ):
        """Return the `openmm_kml.uncertainty.UncertaintyEvaluation` of one structure.

        Parameters
        ----------
        positions, numbers, cell, pbc
            As in `evaluate`.
        gradient : bool
            Whether to return the derivatives of the energy's standard deviation by positions and strain.
        forces : bool
            Whether to return those of the forces, which cost as many evaluations as there are members.
        n_threads : int, optional
            As in `evaluate`.
        prediction : bool
            Whether to return energy, forces and virial, too: cheaper than by a call of their own.

        Raises
        ------
        openmm_kml.errors.WeightFileError
            If the model has no uncertainty.
        ValueError
            As in `evaluate`.
        """
        self.check_uncertainty()
        if numbers is not None:
            self.check_numbers(numbers)
        elif self.species is None:
            raise ValueError(f"this model of {symbols(self.elements)} needs the atomic numbers of the structure")
        pbc = cell is not None if pbc is None else pbc
        found = self._engine.evaluate_uncertainty(
            positions, numbers, cell, pbc, _threads(n_threads), prediction, gradient, forces
        )
        return UncertaintyEvaluation(
            found["energy_std"],
            found.get("atomic_std"),
            -found["std_forces"] if gradient else None,
            found.get("std_virial"),
            found.get("force_std"),
            Evaluation(found["energy"], found["forces"], found["virial"]) if prediction else None,
        )

    def _evaluate_structure(self, positions, numbers, cell, pbc, n_threads, atomic=False):
        """Return energy, forces, virial and, if wanted, atomic energies by a model of any structure."""
        if numbers is None:
            raise ValueError(f"this model of {symbols(self.elements)} needs the atomic numbers of the structure")
        if pbc is None:
            pbc = cell is not None
        return self._engine.evaluate_structure(
            positions, numbers, cell, pbc, _threads(n_threads), forces=not atomic, virial=not atomic, atomic=atomic
        )

    def evaluate_batch(self, positions, numbers=None, n_threads=None, cell=None, pbc=None):
        """Return the `Evaluation` of many structures, with a leading axis; faster than one by one.

        Parameters
        ----------
        positions : array_like of shape (M, n_atoms, 3), Å
        numbers, n_threads, cell, pbc
            As in `evaluate`, the same for all structures.

        Raises
        ------
        ValueError
            If an array has a wrong shape, or the elements differ from the model's.
        openmm_kml.errors.EvaluationError
            If atoms coincide or a coordinate is not finite; the message names the structure and the atoms.
        """
        if self.species is None:
            return self._evaluate_one_by_one(positions, numbers, cell, pbc, n_threads)
        if numbers is not None:
            self.check_numbers(numbers)
        return Evaluation(*self._engine.evaluate_batch(positions, _threads(n_threads)))

    def _evaluate_one_by_one(self, positions, numbers, cell, pbc, n_threads):
        shape = np.shape(positions)
        if len(shape) != 3 or shape[2] != 3:
            raise ValueError(f"positions have the shape {shape}; (M, n_atoms, 3) is expected")
        results = [self.evaluate(r, numbers, cell, pbc, n_threads) for r in positions]
        if not results:
            return Evaluation(np.empty(0), np.empty(shape), np.empty((0, 3, 3)))
        return Evaluation(*map(np.stack, zip(*results, strict=True)))

    def check_numbers(self, numbers):
        """Raise ValueError unless the model is for atoms with these atomic numbers, shape (n_atoms,).

        A model of one molecule takes those of the molecule in its order; a model of any structure takes any that it
        knows.
        """
        if self.species is None:
            check_elements(numbers, self.elements)
        else:
            check_order(numbers, self.species)

    def info(self):
        """Return what the file holds, as a dictionary that JSON can write."""
        return describe_model(self.weights, self._engine, len(self._data))


def _read_only(array):
    if array is not None:
        array.flags.writeable = False
    return array


def _threads(n_threads):
    """Return the number of threads as the engine takes it: 0 lets it choose by the amount of work."""
    if n_threads is None:
        return 0
    if n_threads < 1:
        raise ValueError(f"n_threads is at least 1, or None to choose by the amount of work; {n_threads} was given")
    return n_threads
