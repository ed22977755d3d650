"""The kinds of models that learn on the fly, and how each is trained anew."""

from dataclasses import dataclass, fields, replace

import numpy as np

from openmm_kml.active_learning.frames import as_molecules, as_set
from openmm_kml.errors import DataError, ExtensionError
from openmm_kml.interfaces.baselines import SumPotential, options_beside, record, resolve_baseline, subtract_from
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import to_bytes

KINDS = ("gdml", "nbody", "soap")
_GDML_CHOICES = ("power", "kernel", "length_scale", "regularization", "energies")
_LOCAL_CHOICES = ("length_scale2", "length_scale3", "amplitude", "amplitude2", "amplitude3")
LEAST_TRAINING = 2  # frames


@dataclass(frozen=True)
class Trained:
    """What a training gives.

    Attributes
    ----------
    weights : openmm_kml.weights.Weights
    hyperparameters : dict or None
        Plain JSON; None where the next training cannot keep them.
    factored : Factored or FactoredMolecule, optional
        What the next training can go on from.
    """

    weights: object
    hyperparameters: dict | None
    factored: object = None


@dataclass(frozen=True)
class Recipe:
    """A kind of model and the options of its trainer.

    Parameters
    ----------
    kind : str
        ``gdml``, ``nbody`` or ``soap``.
    options : GDMLOptions, NBodyOptions or SoapOptions, optional
    baseline : object, optional
        What the models are the difference to, as `openmm_kml.interfaces.baselines.resolve_baseline` takes it: a weight
        file, or the System of a molecule.
    """

    kind: str
    options: object = None
    baseline: object = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; {self.kind!r} was given")
        if self.options is None:
            object.__setattr__(self, "options", _default_options(self.kind))
        if self.baseline is not None:
            object.__setattr__(self, "baseline", resolve_baseline(self.baseline))

    @property
    def molecule(self):
        """Whether the model is for one molecule."""
        return self.kind == "gdml"

    @property
    def chooses(self):
        """Whether a training has hyperparameters to choose."""
        names = _GDML_CHOICES if self.molecule else _LOCAL_CHOICES
        return any(getattr(self.options, name, 0.0) is None for name in names)

    @property
    def uncertain(self):
        """Whether its models are to know their own uncertainty."""
        return self.options.uncertainty if self.molecule else self.options.members > 0

    def check(self, frames):
        """Raise `DataError` unless one model of this kind can describe all these frames."""
        if not frames:
            raise DataError("there are no start frames; give at least one")
        if self.molecule:
            as_molecules(frames)
            return
        for number, frame in enumerate(frames, 1):
            if frame.pbc.any() and not frame.pbc.all():
                raise DataError(
                    f"start frame {number} is periodic in some directions only; the dynamics takes boxes that are "
                    "periodic in all directions, or free structures"
                )

    def fit(self, train, validation, hyperparameters=None, members=True, earlier=None):
        """Return a `Trained` model.

        Parameters
        ----------
        train, validation : list of openmm_kml.structures.Structure
            With labels.
        hyperparameters : dict, optional
            Those of an earlier training, kept; chosen anew without.
        members : bool
            Whether the model shall know its own uncertainty.
        earlier : Factored or FactoredMolecule, optional
            Of a training of the same hyperparameters on the first of these frames, whose factorization is updated.

        Raises
        ------
        ExtensionError
            If `earlier` does not allow that.
        """
        options = self.options if hyperparameters is None else replace(self.options, **hyperparameters)
        if not members:
            options = replace(options, **({"uncertainty": False} if self.molecule else {"members": 0}))
        if self.kind == "gdml":
            from openmm_kml.training import fit_gdml

            fit = fit_gdml(self._rest(as_molecules(train)), self._rest(as_molecules(validation)), options, earlier)
            return Trained(self._recorded(fit.weights), _kept_of_gdml(fit.report["hyperparameters"]), _factored(fit))
        if self.kind == "nbody":
            from openmm_kml.training.nbody import fit_nbody as fit_local
        else:
            from openmm_kml.training.soap import fit_soap as fit_local

            options = replace(options, n_sparse=_sparse_points(options.n_sparse, train))
        if self.baseline is not None:
            options = options_beside(options, self.baseline)
        held = self._rest(as_set(validation)) if validation else None
        fit = fit_local(self._rest(as_set(train)), held, options, earlier)
        known = {entry.name for entry in fields(options)}
        found = fit.report["hyperparameters"]
        kept = {name: value for name, value in found.items() if name in known and _is_number(value)}
        return Trained(self._recorded(fit.weights), kept, fit.factored)

    def load(self, path):
        """Return the potential of a weight file of this recipe, of the sum where there is a baseline."""
        return KernelPotential.load(path) if self.baseline is None else SumPotential.load(path, self.baseline)

    def potential(self, weights):
        """Return the potential of trained weights, of the sum where there is a baseline."""
        data = to_bytes(weights)
        return KernelPotential.from_bytes(data) if self.baseline is None else SumPotential(data, self.baseline)

    def _rest(self, data):
        return data if self.baseline is None else subtract_from(data, self.baseline)

    def _recorded(self, weights):
        return weights if self.baseline is None else replace(weights, baseline=record(self.baseline))

    def read_factored(self, path, weights):
        """Return what `Trained.factored` wrote to a file, None if it is not there or not whole.

        Parameters
        ----------
        path : path
        weights : openmm_kml.weights.Weights
            The model of that training.
        """
        if self.molecule:
            from openmm_kml.training.gdml_factored import FactoredMolecule

            return FactoredMolecule.read(path)
        from openmm_kml.training.nbody.factored import Factored

        return Factored.read(path, weights)

    def identity(self):
        """Return what must be the same in a continuation, as plain JSON."""
        identity = {"kind": self.kind, "model options": self.options.as_dict()}
        return identity if self.baseline is None else identity | {"baseline": self.baseline.digest}


def _factored(fit):
    """Return what a training of a molecule can go on from, None where it cannot."""
    from openmm_kml.training.gdml_factored import FactoredMolecule

    if fit.factored is not None or fit.report["solver"]["name"] != "direct":
        return fit.factored
    try:
        return FactoredMolecule.of(fit.model)
    except ExtensionError:
        return None


def _kept_of_gdml(found):
    """Return the options that give the same hyperparameters again, None where there are none."""
    if found["ard"]:  # weights of pairs are no option: every training chooses anew
        return None
    if found["regularization_relative_to"] == "1":  # the published model was the best
        return {"preset": "sgdml", "energies": "auto"} | {
            name: found[name] for name in ("length_scale", "regularization")
        }
    return {name: found[name] for name in _GDML_CHOICES}


def _sparse_points(wanted, frames):
    """Return so many sparse points as wanted, but at most half of the environments there are: some may be equal."""
    numbers = np.concatenate([frame.numbers for frame in frames])
    if isinstance(wanted, dict):
        return {z: max(1, min(count, int((numbers == z).sum()) // 2)) for z, count in wanted.items()}
    return max(len(np.unique(numbers)), min(wanted, len(numbers) // 2))


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _default_options(kind):
    if kind == "gdml":
        from openmm_kml.training import GDMLOptions

        return GDMLOptions(progress=False)
    if kind == "nbody":
        from openmm_kml.training.nbody import NBodyOptions

        return NBodyOptions(progress=False)
    from openmm_kml.training.soap import SoapOptions

    return SoapOptions(progress=False)
