"""What the trainings of local models have in common: their sets, the time of each stage, and most of the report."""

import time
from dataclasses import dataclass

from openmm_kml.elements import symbol
from openmm_kml.training.evaluation import model_errors
from openmm_kml.training.labels import check_sets
from openmm_kml.training.nbody.factored import Factored
from openmm_kml.training.nbody.solve import Posterior
from openmm_kml.weights import Weights


class Stopwatch:
    """The wall-clock time of stages that follow one another.

    Attributes
    ----------
    seconds : dict
        Name of a stage -> seconds.
    """

    def __init__(self):
        self.seconds = {}
        self._last = time.perf_counter()

    def lap(self, name):
        """End a stage, which began where the one before ended."""
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now

    def report(self):
        """Return the stages and their total."""
        return {**self.seconds, "total": sum(self.seconds.values())}


@dataclass(frozen=True)
class LocalFit:
    """What the trainer of a local model returns.

    Attributes
    ----------
    weights : openmm_kml.weights.Weights
    report : dict
        JSON-able: what was chosen and why, errors on the validation set, times.
    basis : SplineBasis or SoapBasis
    posterior : Posterior
        Coefficients and their covariance; with `SoapBasis`, of the whitened basis.
    factored : openmm_kml.training.nbody.factored.Factored
        For a training that goes on from this one.
    """

    weights: Weights
    report: dict
    basis: object
    posterior: Posterior
    factored: Factored


class LocalTraining:
    """Base of the trainings of two- and three-body and of SOAP models.

    Parameters
    ----------
    train : StructureSet
    validation : StructureSet or None
        Taken as None if it is empty.
    options : FitOptions
    earlier : openmm_kml.training.nbody.factored.Factored, optional
        Of a training on the first of these frames, whose rows are not made again.

    Attributes
    ----------
    elements : tuple of int
        Of the training frames.
    fresh : StructureSet
        Training frames whose rows are to be made.
    stopwatch : Stopwatch

    Raises
    ------
    DataError
        If a set does not have what the options ask for.
    ExtensionError
        If the frames do not go on from those of the earlier training.
    """

    def __init__(self, train, validation, options, earlier=None):
        self.train, self.options = train, options
        self.validation = validation if validation is not None and len(validation) else None
        self.stopwatch = Stopwatch()
        check_sets(train, self.validation, options)
        self.elements = tuple(int(z) for z in train.elements)
        self.earlier, self.fresh = earlier, train
        if earlier is not None:
            earlier.check(train, self.validation, options)
            self.fresh = train[earlier.n_frames :]

    def shortest(self, found):
        """Return the shortest distances of the pairs that grids and repulsion are made for, Å, given the `Survey`."""
        return found.shortest if self.earlier is None else self.earlier.shortest

    def factored(self, found, factor, n_rows, sparse_terms=()):
        """Return what this training leaves for the next."""
        return Factored.of(self.train, self.options, self.known, self.shortest(found), factor, n_rows, sparse_terms)

    def common_report(self, weights, posterior, found, choice, n_rows):
        """Return what the reports of all local models have, JSON-able; notes and times are left to the caller.

        Parameters
        ----------
        weights : Weights
        posterior : Posterior
        found : Survey
        choice : tuple
            Hyperparameters, the log of trials and the name of the criterion.
        n_rows : int
            Weighted rows of the training set.
        """
        chosen, log, criterion = choice
        return {
            "hyperparameters": dict(vars(chosen)),
            "selection": {"criterion": criterion, "trials": log},
            "noise_scale": posterior.scale,
            "log_likelihood": posterior.log_likelihood,
            "elements": [symbol(z) for z in self.elements],
            "atom_energies": {symbol(z): e for z, e in weights.atom_energies.items()},
            "shortest_distances": found.pair_distances(),
            "n_columns": len(posterior.coefficients),
            "n_rows": n_rows,
            "n_train": len(self.train),
            "n_validation": 0 if self.validation is None else len(self.validation),
            "validation_errors": None if self.validation is None else model_errors(weights, self.validation),
            "options": self.options.as_dict(),
        }
