"""The choice of hyperparameters on the validation set: power, smoothness, length scale and regularization together.

The search runs on few training points, where a trial takes a fraction of a second, one coordinate after the other;
each length scale is tried with its own best regularization, and one assembly of the kernel matrix serves all of those.
Only the regularization, whose best value falls as points are added, is refined on the whole training set.
"""

import numpy as np

from openmm_kml.training.model import Hyperparameters
from openmm_kml.training.progress import progress_bar
from openmm_kml.training.published import walk_length_scales
from openmm_kml.training.trial import Choice, Judge, Workbench, descend_regularization

POWERS = (0.5, 0.25, 1.0, 2.0)
KERNELS_TRIED = ("matern92", "matern72", "matern52", "squared_exponential")

# Length scales in units of the root mean square distance between training descriptors: where the search starts.
START_RATIO = {"matern52": 8.0, "matern72": 5.0, "matern92": 4.0, "squared_exponential": 2.0}
START_REGULARIZATION = 1e-6
SEARCH_ROWS = 2400  # rows of the kernel matrix in the search: a factorization takes some 0.1 s
SEARCH_VALIDATION = 150
WORTHLESS = 1.25  # times the best error: such a first trial is the last
CLOSE = 1.1  # what is within 10 % of the best error goes on to the final
CLEAR_ADVANTAGE = 0.9  # of the published model's error: no second comparison is needed


class Search:
    """Trials on a part of the training set, each judged by its mean absolute force error on validation frames.

    Parameters
    ----------
    problem : Problem
    validation : MoleculeSet
    options : GDMLOptions
        What they fix is not searched.
    n_threads : int
    bar : progress bar
    """

    def __init__(self, problem, validation, options, n_threads, bar):
        rng = np.random.default_rng(options.seed)
        n_points = int(np.clip(SEARCH_ROWS // (problem.gradients.shape[1] + 1), 20, 200))
        self.problem = problem.subset(np.sort(rng.permutation(len(problem))[:n_points]))
        few = validation[np.sort(rng.permutation(len(validation))[:SEARCH_VALIDATION])]
        self.judge = Judge(Workbench(self.problem, n_threads).fit, few)
        self.options, self.bar = options, bar

    def start(self, power, kernel, energies, regularization):
        """Return hyperparameters at the usual length scale of a kernel."""
        start = Hyperparameters(power, kernel, 1.0, regularization, energies)
        if self.options.length_scale is not None:
            return start.with_(length_scale=self.options.length_scale)
        return start.with_(length_scale=START_RATIO[kernel] * descriptor_spread(self.problem, start))

    def descend(self, hyperparameters, beat=np.inf, max_trials=5):
        """Return the `Choice` with the best regularization, all else as given."""
        fixed = self.options.regularization is not None
        choice = descend_regularization(
            self.judge, hyperparameters, max_trials=max_trials, fixed=fixed, beat=WORTHLESS * beat
        )
        self.bar.update()
        return choice


def choose(problem, validation, options, n_threads):
    """Return the hyperparameters of the default preset, chosen on a part of the training set.

    Parameters
    ----------
    problem : Problem
    validation : MoleculeSet
    options : GDMLOptions
        What they fix is not searched.
    n_threads : int

    Returns
    -------
    finalists : list of Choice
        The best, and what came close among the two best powers at their usual length scales: which is better changes
        with the number of training points, and few points leave it open.
    published : Choice or None
        The best published model on the same frames; None where it is clearly worse, or the options rule it out.
    log : list of dict
        One entry for each trial.
    """
    energies = problem.molecules.energies is not None and options.energies is not False
    given = (options.power, options.kernel, options.length_scale, options.regularization)
    if None not in given and not (energies and options.energies == "auto"):
        return [Choice(Hyperparameters(*given, energies), np.nan)], None, []
    with progress_bar(None, "hyperparameters", options.progress, unit=" trials") as bar:
        search = Search(problem, validation, options, n_threads, bar)
        powers = _powers(search, energies)
        best = _best_kernel(search, powers[0])
        best = _best_length_scale(search, best)
        if energies and options.energies == "auto":
            best = _with_or_without_energies(search, best)
        published = None
        if _is_free(options):
            published = walk_length_scales(search.judge, bar=bar)
    if published is not None and best.error < CLEAR_ADVANTAGE * published.error:
        published = None
    close = [choice for choice in powers[:2] if best.error < choice.error < CLOSE * best.error]
    return [best, *close], published, search.judge.log


def descriptor_spread(problem, hyperparameters):
    """Return the root mean square distance between the training descriptors, the unit of length scales."""
    x = problem.geometry(hyperparameters).x
    spread = float(np.sqrt(2.0 * x.var(axis=0).sum()))
    return spread if spread > 1e-8 * np.abs(x).max() else 1.0  # one frame, or all frames the same


def _is_free(options):
    """Return whether the options leave room for the published model."""
    fixed = (options.power, options.kernel, options.length_scale, options.regularization)
    return all(value is None for value in fixed) and options.energies is not True


def _powers(search, energies):
    """Return the `Choice` of each power, the best first."""
    options = search.options
    kernel = options.kernel or "matern92"
    regularization = START_REGULARIZATION if options.regularization is None else options.regularization
    choices, best = [], np.inf
    for power in POWERS if options.power is None else (options.power,):
        choices.append(search.descend(search.start(power, kernel, energies, regularization), best))
        best = min(best, choices[-1].error)
    return sorted(choices, key=lambda choice: choice.error)


def _best_kernel(search, best):
    if search.options.kernel is not None:
        return best
    start = best.hyperparameters
    for kernel in KERNELS_TRIED:
        if kernel != start.kernel:
            trial = search.start(start.power, kernel, start.energies, start.regularization)
            choice = search.descend(trial, best.error)
            best = choice if choice.error < best.error else best
    return best


def _best_length_scale(search, best, factor=1.4, max_steps=3):
    if search.options.length_scale is not None:
        return best
    for direction in (1.0 / factor, factor):
        moved = False
        for _ in range(max_steps):
            start = best.hyperparameters
            choice = search.descend(start.with_(length_scale=start.length_scale * direction), best.error)
            if not choice.error < best.error:
                break
            best, moved = choice, True
        if moved:
            break
    return best


def _with_or_without_energies(search, best):
    """Return the joint model unless its errors on the validation set speak against it.

    A model of the forces alone is preferred if its force error is lower by more than 2 %, or if the product of the
    force and energy errors is lower.
    """
    alone = search.descend(best.hyperparameters.with_(energies=False), max_trials=3)
    joint, forces = (search.judge.errors(choice.hyperparameters) for choice in (best, alone))
    if joint is None or forces is None:
        return best if forces is None else alone
    products = [errors["forces_mae"] * (errors["energy_mae"] or 1.0) for errors in (joint, forces)]
    keep = joint["forces_mae"] <= 1.02 * forces["forces_mae"] and products[0] <= products[1]
    return best if keep else alone
