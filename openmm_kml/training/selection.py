"""The choice of hyperparameters on the validation set."""

from dataclasses import dataclass, field

import numpy as np

from openmm_kml.errors import TrainingError
from openmm_kml.training.memory import check_memory, estimate_memory
from openmm_kml.training.model import Hyperparameters, Model
from openmm_kml.training.progress import progress_bar
from openmm_kml.training.trial import Workbench

PUBLISHED_LENGTH_SCALES = tuple(float(sigma) for sigma in range(10, 100, 10))
PUBLISHED_REGULARIZATION = 1e-10

# Length scales in units of the root mean square distance between training descriptors: where the search starts.
START_RATIO = {"matern52": 8.0, "matern72": 5.0, "matern92": 4.0, "squared_exponential": 2.0}


@dataclass
class Outcome:
    """The model that was chosen, its validation errors, and how it came about."""

    model: Model
    errors: dict
    solver: dict
    log: list
    notes: list = field(default_factory=list)


def select_published(problem, validation, options, n_threads):
    """Return the published model, its length scale chosen among 10, 20 … 90 by the root mean square force error."""
    bench = _bench(problem, validation, options, n_threads, energies=False)
    base = Hyperparameters(
        power=1.0,
        kernel="matern52",
        length_scale=1.0,
        regularization=PUBLISHED_REGULARIZATION if options.regularization is None else options.regularization,
        energies=False,
        unit_amplitude=True,
    )
    scales = PUBLISHED_LENGTH_SCALES if options.length_scale is None else (options.length_scale,)
    log, best = [], None
    with progress_bar(len(scales), "length scales", options.progress) as bar:
        for length_scale in scales:
            model, errors = bench.try_(base.with_(length_scale=length_scale))
            bar.update()
            if model is None:
                log.append({"length_scale": length_scale, "forces_rmse": None})
                continue
            log.append({"length_scale": length_scale, "forces_rmse": errors["forces_rmse"]})
            if best is None or errors["forces_rmse"] < best[1]["forces_rmse"]:
                best = model, errors
            elif len(log) > 3 and all(entry["forces_rmse"] > best[1]["forces_rmse"] for entry in log[-2:]):
                break  # past the minimum
    if best is None:
        raise TrainingError(
            f"the matern52 kernel matrix is not positive definite with regularization {base.regularization:.3g}: "
            "raise the regularization, or remove frames that repeat each other"
        )
    return Outcome(*best, {"name": "direct"}, log)


def select_default(problem, validation, options, n_threads):
    """Return the default model (fixed choices where the options leave them open)."""
    energies = problem.molecules.energies is not None and options.energies is not False
    base = Hyperparameters(0.25, "matern92", 1.0, 1e-6 * min(1.0, 100 / len(problem)), energies)
    names = ("power", "kernel", "length_scale", "regularization")
    changes = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    base = base.with_(**changes)
    if options.length_scale is None:
        base = base.with_(length_scale=START_RATIO[base.kernel] * descriptor_spread(problem, base))
    bench = _bench(problem, validation, options, n_threads, energies=base.energies)
    model = bench.fit(base)
    return Outcome(model, model.errors(validation), {"name": "direct"}, [])


def descriptor_spread(problem, hyperparameters):
    """Return the root mean square distance between the training descriptors, the unit of length scales."""
    x = problem.geometry(hyperparameters).x
    return float(np.sqrt(2.0 * x.var(axis=0).sum())) or 1.0


def _bench(problem, validation, options, n_threads, energies):
    n_train, n_atoms = len(problem), problem.molecules.positions.shape[1]
    check_memory(estimate_memory(n_train, n_atoms, energies), options.memory_limit, n_train, n_atoms)
    return Workbench(problem, validation, n_threads, options.progress)
