"""Δ-learning: whatever a model may be the difference to, found by name, subtracted and added (docs/delta_learning.md).

E = E_baseline + E_model        the model is trained on E_reference - E_baseline
"""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from openmm_kml.elements import symbol
from openmm_kml.errors import DataError, WeightFileError
from openmm_kml.interfaces.baseline_kinds import CalculatorBaseline, ModelBaseline, check_same_digest
from openmm_kml.interfaces.calculators import load_calculator
from openmm_kml.potential import Evaluation, KernelPotential
from openmm_kml.structures import MoleculeSet, StructureSet
from openmm_kml.weights import Baseline


def resolve_baseline(what):
    """Return the baseline that a word, a path or an object stands for.

    Parameters
    ----------
    what : str, path, or object
        A weight file; ``MODULE:FUNCTION``, ``FILE.py:FUNCTION``, ``tblite`` or ``pyscf``, which make an ASE calculator;
        any other path is that of a serialized OpenMM System. Or one of these as an object: a `KernelPotential`, an
        ASE calculator, an ``openmm.System``; a baseline comes back as it is.

    Returns
    -------
    ModelBaseline, CalculatorBaseline or openmm_kml.interfaces.baseline.SystemBaseline

    Raises
    ------
    DataError
        If it is none of these, or one that cannot be a baseline.
    OSError
        If a file cannot be read.
    """
    if isinstance(what, (str, Path)):
        return _named(str(what))
    if hasattr(what, "evaluate") and hasattr(what, "digest"):
        return what
    if isinstance(what, KernelPotential):
        return ModelBaseline(what)
    if hasattr(what, "implemented_properties"):
        inner = getattr(what, "potential", None)  # a KMLCalculator is the model that it evaluates
        return ModelBaseline(inner) if isinstance(inner, KernelPotential) else CalculatorBaseline(what)
    with suppress(ImportError):
        from openmm import System

        if isinstance(what, System):
            from openmm_kml.interfaces.baseline import SystemBaseline

            return SystemBaseline(what)
    raise DataError(
        f"a {type(what).__name__} is no baseline; give a weight file, an ASE calculator, or an OpenMM System"
    )


def record(baseline):
    """Return the `openmm_kml.weights.Baseline` that a weight file records."""
    return Baseline(baseline.digest, baseline.name)


def subtract_from(data, baseline):
    """Return reference data minus a baseline: what a Δ-model is trained on.

    Parameters
    ----------
    data : MoleculeSet or StructureSet
    baseline : object of `resolve_baseline`

    Returns
    -------
    MoleculeSet or StructureSet
        Virials are left out where the baseline has none: see `lost_virials`.

    Raises
    ------
    DataError
        If the baseline cannot be evaluated on a frame; the message names the frame.
    """
    if isinstance(data, MoleculeSet):
        found = [baseline_of_frame(baseline, k, r, data.numbers) for k, r in enumerate(data.positions)]
        energies, forces = np.array([e for e, _, _ in found]), np.array([f for _, f, _ in found])
        return MoleculeSet(
            data.numbers,
            data.positions,
            None if data.energies is None else data.energies - energies,
            None if data.forces is None else data.forces - forces.reshape(data.positions.shape),
            data.name,
        )
    frames = []
    for k, frame in enumerate(data):
        energy, forces, virial = baseline_of_frame(baseline, k, frame.positions, frame.numbers, frame.cell, frame.pbc)
        known_virial = frame.virial is not None and virial is not None
        frames.append(
            replace(
                frame,
                energy=None if frame.energy is None else frame.energy - energy,
                forces=None if frame.forces is None else frame.forces - forces,
                virial=frame.virial - virial if known_virial else None,
            )
        )
    return StructureSet(frames, data.name)


def lost_virials(data, rest):
    """Return how many frames of a `StructureSet` have a virial that its difference to a baseline lacks."""
    return sum(a.virial is not None and b.virial is None for a, b in zip(data, rest, strict=True))


def options_beside(options, baseline):
    """Return the options of a training of local terms for the difference to a baseline.

    Energies of isolated atoms lose the baseline's part. Nuclear repulsion is left to a baseline that has it: twice it
    would be wrong where atoms come close.

    Raises
    ------
    DataError
        If there are energies of isolated atoms, and the baseline does not know an atom alone.
    """
    known = options.atom_energies
    return replace(
        options,
        atom_energies=None if known is None else atom_energies_left(known, baseline),
        repulsion=options.repulsion and not baseline.has_repulsion,
        difference=True,
    )


def baseline_of_frame(baseline, index, positions, numbers, cell=None, pbc=None):
    """Return the `Evaluation` of a frame by a baseline; a DataError names the frame, counted from one."""
    try:
        found = baseline.evaluate(positions, numbers, cell, pbc)
    except DataError as error:
        raise DataError(f"frame {index + 1}: {error}") from None
    return found


def atom_energies_left(atom_energies, baseline):
    """Return given energies of isolated atoms minus those that the baseline has, eV.

    Raises
    ------
    DataError
        If the baseline does not know an atom alone.
    """
    left = {}
    for z, energy in atom_energies.items():
        try:
            left[z] = energy - baseline.evaluate(np.zeros((1, 3)), np.array([z])).energy
        except DataError as error:
            raise DataError(f"the energy of the isolated atom {symbol(z)}: {error}") from None
    return left


class SumPotential(KernelPotential):
    """The sum of a baseline and of the model that is the difference to it.

    Energies, forces and virials are those of both; the uncertainty is the model's, and the bytes are its file's.

    Parameters
    ----------
    data : bytes
        Of the weight file of the difference.
    baseline : object
        As `resolve_baseline` takes it.

    Attributes
    ----------
    source : object
        The baseline.

    Raises
    ------
    WeightFileError
        If the model is the difference to another baseline or the whole energy.
    """

    def __init__(self, data, baseline):
        self.source = resolve_baseline(baseline)
        super().__init__(KernelPotential.from_bytes(data, delta=True).to_bytes())
        check_same_digest(self.baseline, self.source.digest, self.source.what)

    @classmethod
    def load(cls, path, baseline):
        """Return the sum of the model of a weight file, or of a `KernelPotential`, and its baseline.

        Raises
        ------
        WeightFileError
            As above, or if the file is not a valid weight file.
        DataError, OSError
            If the baseline is none, or a file cannot be read.
        """
        if isinstance(path, KernelPotential):
            return cls(path.to_bytes(), baseline)
        data = Path(path).read_bytes()
        try:
            return cls(data, baseline)
        except WeightFileError as error:
            raise WeightFileError(f"{path}: {error}") from None

    def __reduce__(self):
        return (type(self), (self._data, self.source))

    def __repr__(self):
        return f"{super().__repr__()[:-1]}, beside the baseline {self.source.name!r}>"

    def evaluate(self, positions, numbers=None, cell=None, pbc=None, n_threads=None):
        """Return the `Evaluation` of the sum, as `KernelPotential.evaluate`; its virial is None if the baseline's is.

        Raises
        ------
        DataError
            If the baseline cannot be evaluated here.
        ValueError, EvaluationError
            As there.
        """
        found = super().evaluate(positions, numbers, cell, pbc, n_threads)
        return self._with_baseline(found, positions, self.species if numbers is None else numbers, cell, pbc)

    def evaluate_uncertainty(self, positions, numbers=None, cell=None, pbc=None, **wanted):
        """Return the `UncertaintyEvaluation` of the model, and the prediction of both, where it is wanted."""
        found = super().evaluate_uncertainty(positions, numbers, cell, pbc, **wanted)
        if found.prediction is None:
            return found
        numbers = self.species if numbers is None else numbers
        return found._replace(prediction=self._with_baseline(found.prediction, positions, numbers, cell, pbc))

    def evaluate_batch(self, positions, numbers=None, n_threads=None, cell=None, pbc=None):
        """Return the `Evaluation` of many structures, as `KernelPotential.evaluate_batch`."""
        if self.species is None:
            return self._evaluate_one_by_one(positions, numbers, cell, pbc, n_threads)
        energies, forces, virials = super().evaluate_batch(positions, numbers, n_threads, cell, pbc)
        known = [baseline_of_frame(self.source, k, r, self.species, cell, pbc) for k, r in enumerate(positions)]
        energies = energies + np.array([e for e, _, _ in known])
        forces = forces + np.array([f for _, f, _ in known]).reshape(np.shape(forces))
        if any(v is None for _, _, v in known):
            return Evaluation(energies, forces, None)
        return Evaluation(energies, forces, virials + np.array([v for _, _, v in known]).reshape(np.shape(virials)))

    def evaluate_atomic(self, positions, numbers, cell=None, pbc=None, n_threads=None):
        """Return the energies of the single atoms, eV; only where the baseline is a weight file that has them, too."""
        known = self.source.evaluate_atomic(positions, numbers, cell, pbc)
        return super().evaluate_atomic(positions, numbers, cell, pbc, n_threads) + known

    def _with_baseline(self, found, positions, numbers, cell, pbc):
        energy, forces, virial = self.source.evaluate(np.asarray(positions, dtype=float), numbers, cell, pbc)
        return Evaluation(
            found.energy + energy, found.forces + forces, None if virial is None else found.virial + virial
        )


def _named(name):
    path = Path(name)
    if path.suffix == ".safetensors" or (path.is_file() and _looks_like_weights(path)):
        return ModelBaseline.load(path)
    if not path.is_file() and (":" in name or name in ("tblite", "pyscf")):
        calculator = load_calculator(name, what="baseline")
        baseline = resolve_baseline(calculator)
        return baseline if isinstance(baseline, ModelBaseline) else CalculatorBaseline(calculator, _short(name))
    from openmm_kml.interfaces.baseline import SystemBaseline

    return SystemBaseline.load(path)


def _short(name):
    """Return MODULE:FUNCTION without the directory of the module's file."""
    module, _, function = name.rpartition(":")
    return f"{Path(module).name}:{function}" if module else name


def _looks_like_weights(path):
    with path.open("rb") as file:
        return b'"openmm-kml"' in file.read(4096)
