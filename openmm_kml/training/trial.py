"""Trials: models of some hyperparameters and several regularizations, judged on the validation set."""

from dataclasses import dataclass

import numpy as np

from openmm_kml.errors import TrainingError
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.training.direct import DirectSystem
from openmm_kml.training.model import Hyperparameters

NEGLIGIBLE = 0.995  # a step that gains less than half a percent is the last one


@dataclass
class Choice:
    """Hyperparameters and the validation error that they reached."""

    hyperparameters: Hyperparameters
    error: float


class Workbench:
    """Solves trials one after the other with the direct solver, in one piece of memory.

    Parameters
    ----------
    problem : Problem
    n_threads : int
    progress : bool
        Whether single assemblies and factorizations show their progress.
    """

    def __init__(self, problem, n_threads, progress=False):
        self.problem, self.n_threads, self.progress = problem, n_threads, progress
        self._buffer = self._system = self._key = None

    def fit(self, hyperparameters):
        """Return the `Model` of some hyperparameters; those that differ in the regularization alone share K.

        Raises
        ------
        TrainingError
            If the kernel matrix is not positive definite.
        """
        key = hyperparameters.with_(regularization=0.0)
        if self._key != key:
            self._assemble(hyperparameters)
            self._key = key
        system, geometry, amplitude = self._system
        solution = system.solve(hyperparameters.regularization, self.problem.targets(hyperparameters.energies))
        return self.problem.model(hyperparameters, geometry, amplitude, solution)

    def _assemble(self, hyperparameters):
        problem = self.problem
        geometry = problem.geometry(hyperparameters)
        amplitude = problem.amplitude(geometry, hyperparameters)
        buffer = self._buffer
        if buffer is not None and len(buffer) != len(problem.targets(hyperparameters.energies)):
            buffer = None
        self._system = self._buffer = self._key = None  # one matrix at a time
        system = DirectSystem(
            geometry,
            KERNELS[hyperparameters.kernel],
            hyperparameters.length_scale,
            amplitude,
            hyperparameters.energies,
            self.n_threads,
            self.progress,
            buffer,
        )
        self._system, self._buffer = (system, geometry, amplitude), system.K


class Judge:
    """Tries hyperparameters, remembers their validation errors and keeps the best model.

    Parameters
    ----------
    fit : callable
        Hyperparameters -> Model; may raise TrainingError.
    validation : MoleculeSet
    metric : str
        Key of the validation errors that is to be small.
    stage : str
        How the log calls these trials.
    """

    def __init__(self, fit, validation, metric="forces_mae", stage="search"):
        self.fit, self.validation, self.metric, self.stage = fit, validation, metric, stage
        self.log = []
        self.model = None  # the best so far, with its errors
        self.model_errors = None
        self.failure = None  # the first error: what to raise when no trial gave a model
        self._known = {}

    def errors(self, hyperparameters):
        """Return all validation errors, None where the kernel matrix is not positive definite."""
        if hyperparameters not in self._known:
            try:
                model = self.fit(hyperparameters)
                errors = model.errors(self.validation)
            except TrainingError as error:
                model = errors = None
                self.failure = self.failure or error
            self._known[hyperparameters] = errors
            self.log.append(self._entry(hyperparameters, errors, model))
            if model is not None and (self.model is None or errors[self.metric] < self.model_errors[self.metric]):
                self.model, self.model_errors = model, errors
        return self._known[hyperparameters]

    def __call__(self, hyperparameters):
        """Return the error to be made small, infinity where there is no model."""
        errors = self.errors(hyperparameters)
        return np.inf if errors is None else errors[self.metric]

    def _entry(self, hyperparameters, errors, model):
        return hyperparameters.as_dict() | {
            "stage": self.stage,
            "n_train": None if model is None else len(model.problem),
            "forces_mae": None if errors is None else errors["forces_mae"],
            "forces_rmse": None if errors is None else errors["forces_rmse"],
            "energy_mae": None if errors is None else errors["energy_mae"],
        }


def descend_regularization(
    judge, hyperparameters, factor=10.0, max_trials=5, fixed=False, beat=np.inf, limits=(1e-13, 1e-1)
):
    """Return the `Choice` of the best regularization found going down, or else up, from the given one.

    Parameters
    ----------
    judge : callable
        Hyperparameters -> error.
    hyperparameters : Hyperparameters
    factor : float
        Between neighbors.
    max_trials : int
    fixed : bool
        Try the given one only.
    beat : float
        Give up after one trial whose error is above this: no regularization is likely to make up for that.
    limits : tuple of float
    """
    best = Choice(hyperparameters, judge(hyperparameters))
    n_trials = 1
    if fixed or beat < best.error < np.inf:
        return best
    while not np.isfinite(best.error) and best.hyperparameters.regularization * factor <= limits[1]:
        candidate = best.hyperparameters.with_(regularization=best.hyperparameters.regularization * factor)
        best = Choice(candidate, judge(candidate))
    for direction in (1.0 / factor, factor):
        moved = False
        while n_trials < max_trials:
            value = best.hyperparameters.regularization * direction
            if not limits[0] <= value <= limits[1]:
                break
            candidate = best.hyperparameters.with_(regularization=value)
            error = judge(candidate)
            n_trials += 1
            if not error < best.error:
                break
            flat = error > NEGLIGIBLE * best.error
            best, moved = Choice(candidate, error), True
            if flat:
                break
        if moved:
            break
    return best
