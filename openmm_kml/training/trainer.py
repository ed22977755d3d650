"""From chosen hyperparameters to the model on the whole training set, by the direct or the iterative solver."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from openmm_kml.errors import TrainingError
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.training.ard import fit_descriptor_weights
from openmm_kml.training.assembly import matrix_size
from openmm_kml.training.iterative import IterativeSystem, default_columns, solve_iterative
from openmm_kml.training.memory import (
    available_memory,
    check_memory,
    estimate_memory,
    installed_memory,
    iterative_memory,
)
from openmm_kml.training.model import Model
from openmm_kml.training.progress import progress_bar
from openmm_kml.training.published import LENGTH_SCALES, walk_length_scales
from openmm_kml.training.selection import CLOSE, choose
from openmm_kml.training.trial import Choice, Judge, Workbench, descend_regularization

FINAL_ROWS = 6000  # of the kernel matrix, where finalists compete: a factorization takes about a second
# The search on few points, where the direct solver works, likes 1e-9 to 1e-11 of the mean diagonal. On ethanol each
# tenth takes conjugate gradients three to ten times as many iterations, and below 1e-8 the force error falls by 3 %.
LEAST_ITERATIVE = 1e-8
LEAST_FOR_ARD = 10  # training points: fewer cannot be split


@dataclass
class Outcome:
    """The model that was trained, its validation errors, and how it came about."""

    model: Model
    errors: dict
    solver: dict
    log: list
    notes: list = field(default_factory=list)


class Solver:
    """The solver that the options ask for, as a function of hyperparameters.

    Raises
    ------
    TrainingError
        If the direct solver is asked for and needs more memory than there is.
    """

    def __init__(self, problem, options, n_threads, energies):
        n_atoms = problem.molecules.positions.shape[1]
        self.problem, self.options, self.n_threads = problem, options, n_threads
        self.n_rows = matrix_size(len(problem), n_atoms, energies)
        needed = estimate_memory(len(problem), n_atoms, energies, len(problem.permutations), n_threads)
        self.direct = options.solver != "iterative"
        if self.direct:
            try:
                check_memory(needed, options.memory_limit, len(problem), n_atoms)
            except TrainingError:
                if options.solver == "direct":
                    raise
                self.direct = False
        if not self.direct:
            # From what is installed, for what is free changes by the minute, and the digits with it.
            memory = min(installed_memory() // 3, available_memory() // 2)
            memory = memory if options.memory_limit is None else options.memory_limit
            self.n_columns = default_columns(self.n_rows, memory)
            needed = iterative_memory(self.n_rows, self.n_columns)
        self.report = {"name": "direct" if self.direct else "iterative", "n_unknowns": self.n_rows, "memory": needed}
        self._bench = Workbench(problem, n_threads, options.progress) if self.direct else None

    def __call__(self, hyperparameters):
        """Return the `Model`."""
        return self._bench.fit(hyperparameters) if self.direct else self._iterate(hyperparameters)

    def _iterate(self, hyperparameters):
        problem, options = self.problem, self.options
        geometry = problem.geometry(hyperparameters)
        amplitude = problem.amplitude(geometry, hyperparameters)
        kernel = KERNELS[hyperparameters.kernel]
        system = IterativeSystem(
            geometry,
            kernel,
            hyperparameters.length_scale,
            amplitude,
            hyperparameters.energies,
            self.n_threads,
            options.progress,
        )
        targets = problem.targets(hyperparameters.energies)
        parts = [geometry.x, geometry.dx, geometry.index, targets]
        digest = hashlib.sha256(repr((hyperparameters, options.seed)).encode())
        for part in parts:
            digest.update(np.ascontiguousarray(part).tobytes())
        solution, info = solve_iterative(
            system,
            hyperparameters.regularization,
            targets,
            options.tolerance,
            self.n_columns,
            options.seed,
            options.checkpoint,
            digest.hexdigest(),
        )
        self.report |= info | {"tolerance": options.tolerance}
        return problem.model(hyperparameters, geometry, amplitude, solution)


def train_published(problem, validation, options, n_threads):
    """Return the published model; its length scale is the best of 10, 20 … 90 on the validation set."""
    solver = Solver(problem, options, n_threads, energies=False)
    scales = LENGTH_SCALES if options.length_scale is None else (options.length_scale,)
    if not solver.direct and len(scales) > 1:
        # One solution takes long: the length scale is chosen on as many points as the direct solver likes.
        scales = (_published_scale_on_few(problem, validation, options, n_threads),)
    judge = Judge(solver, validation, "forces_rmse", "final")
    with progress_bar(len(scales), "length scales", options.progress, " models") as bar:
        best = walk_length_scales(judge, scales, options.regularization, bar)
    if best is None:
        raise judge.failure
    return Outcome(judge.model, judge.model_errors, solver.report, judge.log)


def _published_scale_on_few(problem, validation, options, n_threads):
    judge = Judge(Workbench(_few(problem), n_threads).fit, validation, "forces_rmse")
    best = walk_length_scales(judge, LENGTH_SCALES, options.regularization)
    return LENGTH_SCALES[1] if best is None else best.hyperparameters.length_scale


def train_default(problem, validation, options, n_threads):
    """Return the model of the default preset: hyperparameters chosen on the validation set.

    Where two powers came close in the search, they compete on more points. The regularization is refined on all
    training points, going down first: its best value falls with their number.
    Where the published model came close in the search, it is trained too, and the better one on validation is kept.
    """
    energies = problem.molecules.energies is not None and options.energies is not False
    if options.solver == "direct":
        Solver(problem, options, n_threads, energies)  # what does not fit is refused before the search
    finalists, published, log = choose(problem, validation, options, n_threads)
    few = _few(problem)
    if len(few) < len(problem) and len(finalists) > 1:
        judge = Judge(Workbench(few, n_threads).fit, validation, stage="final")
        finalists = [_play(judge, finalists, options)]
        log += judge.log
    if options.ard and len(problem) >= LEAST_FOR_ARD:
        fitted, sweeps = fit_descriptor_weights(
            problem, finalists[0].hyperparameters, n_threads, options.seed, options.progress
        )
        finalists.insert(0, Choice(fitted, np.nan))
        log += sweeps
    hyperparameters = finalists[0].hyperparameters
    solver = Solver(problem, options, n_threads, hyperparameters.energies)
    judge = Judge(solver, validation, stage="training")
    notes = []
    if not solver.direct:
        if options.regularization is None and hyperparameters.regularization < LEAST_ITERATIVE:
            notes.append(
                f"the regularization was raised from {hyperparameters.regularization:.3g} to {LEAST_ITERATIVE:.3g} for "
                "the iterative solver, which would need too many iterations"
            )
            hyperparameters = hyperparameters.with_(regularization=LEAST_ITERATIVE)
        judge(hyperparameters)  # a smaller regularization would gain little and cost many iterations
    else:
        _play(judge, finalists, options)
        if published is not None:
            walk_length_scales(judge, (published.hyperparameters.length_scale,))
    if judge.model is None:
        raise judge.failure
    return Outcome(judge.model, judge.model_errors, solver.report, log + judge.log, notes)


def _play(judge, finalists, options):
    """Return the better of the finalists, each with the regularization refined."""
    fixed = options.regularization is not None
    best = None
    for finalist in finalists:
        beat = np.inf if best is None else CLOSE * best.error
        choice = descend_regularization(judge, finalist.hyperparameters, max_trials=4, fixed=fixed, beat=beat)
        best = choice if best is None or choice.error < best.error else best
    return best


def _few(problem):
    """Return the problem of so many training points that several factorizations take seconds, not minutes."""
    n_points = FINAL_ROWS // (problem.gradients.shape[1] + 1)
    if len(problem) <= n_points:
        return problem
    return problem.subset(np.unique(np.linspace(0, len(problem) - 1, n_points).round().astype(int)))
