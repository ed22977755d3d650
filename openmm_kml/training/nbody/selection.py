"""Hyperparameters: a search along one logarithmic coordinate after the other, or a climb along the gradient."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from openmm_kml.training.nbody.prior import (
    ROUNDING,
    three_body_factor,
    three_body_slope,
    two_body_factor,
    two_body_slope,
)
from openmm_kml.training.nbody.solve import BlockPrior, likelihood_and_slopes, solve

FREE_WIDTH = 1e3  # eV: prior deviation of one-body energies about their first estimate, as good as none
_START = {"length_scale2": 1.0, "length_scale3": 1.0, "amplitude2": 3.0, "amplitude3": 1.0}
_BOUNDS = {"length_scale": (0.2, 6.0), "amplitude": (1e-3, 1e3)}
_STEPS = (2.0, 1.4)
_SEARCH_ROUNDING = 1e-6  # directions that a search may leave out
_WORTH = 1e-3  # less than a thousandth is not worth another round


@dataclass(frozen=True)
class Hyperparameters:
    """Length scales in Å, amplitudes in eV (in units of the learned noise scale)."""

    length_scale2: float
    length_scale3: float
    amplitude2: float
    amplitude3: float

    def prior(self, basis, options, rounding=ROUNDING):
        """Return the `BlockPrior` of a basis."""
        width = options.cutoff_width
        two = self.amplitude2 * two_body_factor(basis, options.kernel, self.length_scale2, width)
        blocks = [(block.columns, two) for block in basis.blocks2]
        factors = {}
        for block in basis.blocks3:
            if block.symmetric not in factors:
                factors[block.symmetric] = self.amplitude3 * three_body_factor(
                    basis, block.symmetric, options.kernel, self.length_scale3, width, rounding
                )
            blocks.append((block.columns, factors[block.symmetric]))
        return BlockPrior(basis.n_elements, FREE_WIDTH, blocks)

    def prior_slope(self, name, basis, options, prior, rounding=ROUNDING):
        """Return the derivatives of the factors L of a prior by the logarithm of a hyperparameter, None where zero."""
        n2, width = len(basis.blocks2), options.cutoff_width
        factors = [L for _, L in prior.blocks]
        if name == "amplitude2":
            return [*factors[:n2], *(None for _ in basis.blocks3)]
        if name == "amplitude3":
            return [*(None for _ in basis.blocks2), *factors[n2:]]
        if name == "length_scale2":
            two = self.amplitude2 * two_body_slope(basis, options.kernel, self.length_scale2, width)
            return [*(two for _ in basis.blocks2), *(None for _ in basis.blocks3)]
        three = {
            symmetric: self.amplitude3
            * three_body_slope(basis, symmetric, options.kernel, self.length_scale3, width, rounding)
            for symmetric in {block.symmetric for block in basis.blocks3}
        }
        return [*(None for _ in basis.blocks2), *(three[block.symmetric] for block in basis.blocks3)]


def first_guess(options):
    """Return the hyperparameters to start from, and the names of those that are free."""
    names = [name for name in _START if not (name.endswith("3") and not options.cutoff3)]
    free = [name for name in names if getattr(options, name) is None]
    given = {name: getattr(options, name) for name in _START}
    return Hyperparameters(**{name: _START[name] if given[name] is None else given[name] for name in _START}), free


def search(start, free, loss, advance=lambda: None):
    """Return the hyperparameters of least loss, and the log of trials.

    Parameters
    ----------
    start : Hyperparameters
    free : list of str
    loss : callable
        Of `Hyperparameters`; infinity for those that do not work.
    advance : callable
        Called after each trial.
    """
    log = []

    def trial(point):
        value = loss(point)
        log.append({**vars(point), "loss": value})
        advance()
        return value

    best, least = start, trial(start)
    for step in _STEPS if free else ():
        tried = {best}
        improved = True
        while improved:
            improved = False
            for name in free:
                for factor in (step, 1 / step):
                    moved = False
                    while True:
                        point = replace(best, **{name: _bounded(name, getattr(best, name) * factor)})
                        if point in tried:
                            break
                        tried.add(point)
                        value = trial(point)
                        if not value < least - _WORTH * abs(least):
                            break
                        best, least, improved, moved = point, value, True, True
                    if moved:
                        break
    return best, log


def climb(start, free, loss, advance=lambda: None):
    """Return the hyperparameters of least loss along its gradient, by L-BFGS-B in their logarithms, and the trials.

    Parameters
    ----------
    start : Hyperparameters
    free : list of str
    loss : callable
        Of `Hyperparameters` and `free`; returns the loss and its derivatives by the logarithms.
    advance : callable
        Called after each trial.
    """
    log = []

    def trial(x):
        values = dict(zip(free, np.exp(x).tolist(), strict=True))
        value, gradient = loss(replace(start, **values), free)
        log.append({**vars(start), **values, "loss": value})
        advance()
        return value, gradient

    x = np.log([_bounded(name, getattr(start, name)) for name in free])
    bounds = np.log([_BOUNDS[name.rstrip("23")] for name in free])
    worth = _WORTH / len(x)  # a step moves all at once, but as many steps are a round of the search
    minimize(trial, x, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": worth, "gtol": 0.0})
    best = min(log, key=lambda entry: entry["loss"])
    return replace(start, **{name: best[name] for name in free}), log


def _bounded(name, value):
    low, high = _BOUNDS[name.rstrip("23")]
    return float(np.clip(value, low, high))


def likelihood_loss(basis, options, factor, n_rows):
    """Return minus the log marginal likelihood of the data, per row, as a function of hyperparameters."""

    def loss(point):
        return -solve(factor, n_rows, point.prior(basis, options, _SEARCH_ROUNDING)).log_likelihood / n_rows

    return loss


def likelihood_gradient(basis, options, factor, n_rows):
    """Return minus the log marginal likelihood and its gradient, for `climb`; of all rows, so that a step is a step."""

    def loss(point, free):
        prior = point.prior(basis, options, _SEARCH_ROUNDING)
        value, slopes = likelihood_and_slopes(factor, n_rows, prior)
        gradient = [
            -sum(
                np.vdot(slope, change)
                for slope, change in zip(
                    slopes, point.prior_slope(name, basis, options, prior, _SEARCH_ROUNDING), strict=True
                )
                if change is not None
            )
            for name in free
        ]
        return -value, np.array(gradient)

    return loss


def validation_loss(basis, options, factor, n_rows, validation):
    """Return the mean squared validation error of energies, forces and virials in units of their noises.

    Parameters
    ----------
    validation : list of (ndarray, int)
        Triangular factor and number of rows of each kind; each kind counts alike.
    """

    def loss(point):
        c = np.append(solve(factor, n_rows, point.prior(basis, options, _SEARCH_ROUNDING)).coefficients, -1.0)
        return float(np.mean([np.sum((rows @ c) ** 2) / count for rows, count in validation]))

    return loss
