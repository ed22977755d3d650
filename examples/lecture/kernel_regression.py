"""Kernel regression is the mean of a Gaussian process, which also says how far it can be trusted.

    python examples/lecture/kernel_regression.py [--folder lecture]

The energy along a coordinate is known at 7 places, with noise and a gap. On the left the fit is a sum of bumps, one at
each point. On the right the same fit is the mean of all functions that agree with the points: they disagree in the gap.

The prior belief is given: energies vary by some 0.2 eV over some 0.2 Å. If the few points have to choose it themselves,
the band is less often right; that is printed, too.
"""

import numpy as np
from curves import (
    add_draws_option,
    draw_band,
    draw_curve,
    draw_points,
    draw_truth,
    put_legends,
    share_in_band,
    two_panels,
)
from regression import REACH, GaussianProcess, landscape, noisy
from style import BLUE, GRAY, ORANGE, options_parser, save

NOISE, AMPLITUDE, LENGTH_SCALE = 0.02, 0.2, 0.2  # eV, eV, Å
FINE = np.linspace(-REACH, REACH, 281)
PLACES = np.array([-0.62, -0.5, -0.33, -0.2, 0.28, 0.45, 0.6])


def compute(draws):
    """Return a fit, its bumps and its band, and how much of the truth lies in the bands of many draws of the noise."""
    rng = np.random.default_rng(1)
    labels = [noisy(rng, PLACES, NOISE) for _ in range(draws)]
    given = [GaussianProcess(PLACES, y, NOISE, AMPLITUDE, LENGTH_SCALE) for y in labels]
    chosen = [GaussianProcess.most_likely(PLACES, y, NOISE) for y in labels]
    process = given[0]
    mean, covariance = process.predict(FINE)
    return {
        "process": process,
        "bumps": process.kernel(FINE, PLACES) * process.coefficients,
        "mean": mean,
        "deviation": _deviation(covariance),
        "samples": rng.multivariate_normal(mean, covariance, 5, method="eigh"),
        "coverage": [np.mean([_inside(one) for one in processes]) for processes in (given, chosen)],
    }


def _inside(process):
    """Return the part of the truth inside the 95 % band."""
    mean, covariance = process.predict(FINE)
    return share_in_band(landscape(FINE) - mean, _deviation(covariance))


def _deviation(covariance):
    return np.sqrt(np.maximum(np.diag(covariance), 0.0))


def picture(result):
    process, mean, deviation = result["process"], result["mean"], result["deviation"]
    titles = "Kernel regression: a sum of bumps", "Gaussian process: all functions that agree"
    figure, (left, right) = two_panels("coordinate (Å)", "energy (eV)", titles)
    base = process.y.mean()
    left.axhline(base, color=GRAY, linewidth=1, label="mean of the points")
    for k, bump in enumerate(result["bumps"].T):
        left.plot(FINE, base + bump, color=ORANGE, linewidth=0.9, label=None if k else "one bump a point, about it")
    draw_curve(left, FINE, mean, BLUE, "mean and all bumps")

    draw_band(right, FINE, mean, deviation, BLUE, None)
    for k, sample in enumerate(result["samples"]):
        right.plot(FINE, sample, color=BLUE, linewidth=0.7, alpha=0.7, label=None if k else "functions that agree")
    draw_curve(right, FINE, mean, BLUE, "their mean, with 95 % band")
    draw_truth(right, FINE, landscape(FINE))
    for ax in (left, right):
        draw_points(ax, process.x, process.y)
        ax.set(ylim=(-0.35, 0.75))
    put_legends((left, right), "upper center")
    return figure


def main(arguments=None):
    parser = options_parser(__doc__)
    add_draws_option(parser, "the coverage")
    options = parser.parse_args(arguments)
    result = compute(options.draws)
    deviation = 1e3 * result["deviation"]
    at_points = np.interp(PLACES, FINE, deviation).mean()
    in_gap = np.interp((PLACES[3] + PLACES[4]) / 2, FINE, deviation)
    given, chosen = (100 * part for part in result["coverage"])
    print(f"{len(PLACES)} points with noise of {1e3 * NOISE:.0f} meV")
    print(f"standard deviation {at_points:.0f} meV at the points, {in_gap:.0f} in the middle of the gap")
    print(
        f"{options.draws} draws of the noise: {given:.0f} % of the curve in the 95 % band of the prior that was given,"
    )
    print(f"{chosen:.0f} % if amplitude and length scale are chosen by the likelihood of the points")
    save(picture(result), options.folder / "kernel_regression.png")
    return result


if __name__ == "__main__":
    main()
