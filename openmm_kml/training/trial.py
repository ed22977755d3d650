"""Trials: models of some hyperparameters and several regularizations, judged on the validation set."""

from openmm_kml.errors import TrainingError
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.training.direct import DirectSystem


class Workbench:
    """Solves trials one after the other with the direct solver, in one piece of memory.

    Parameters
    ----------
    problem : Problem
    validation : MoleculeSet
    n_threads : int
    progress : bool
        Whether single assemblies and factorizations show their progress.
    """

    def __init__(self, problem, validation, n_threads, progress=False):
        self.problem, self.validation = problem, validation
        self.n_threads, self.progress = n_threads, progress
        self._buffer = None
        self._system = None
        self._key = None

    def fit(self, hyperparameters):
        """Return the `Model` of some hyperparameters; those that differ in the regularization alone share K.

        Raises
        ------
        TrainingError
            If the kernel matrix is not positive definite.
        """
        problem = self.problem
        key = hyperparameters.with_(regularization=0.0, descriptor_weights=None)
        weights = hyperparameters.descriptor_weights
        if self._key is None or self._key[0] != key or self._key[1] is not weights:
            geometry = problem.geometry(hyperparameters)
            amplitude = problem.amplitude(geometry, hyperparameters)
            n_rows = len(problem.targets(hyperparameters.energies))
            buffer = self._buffer if self._buffer is not None and len(self._buffer) == n_rows else None
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
            self._system, self._buffer, self._key = (system, geometry, amplitude), system.K, (key, weights)
        system, geometry, amplitude = self._system
        solution = system.solve(hyperparameters.regularization, problem.targets(hyperparameters.energies))
        return problem.model(hyperparameters, geometry, amplitude, solution)

    def try_(self, hyperparameters):
        """Return (model, validation errors), or (None, None) if the kernel matrix is not positive definite."""
        try:
            model = self.fit(hyperparameters)
        except TrainingError:
            return None, None
        return model, model.errors(self.validation)
