"""Overfitting: the polynomial through all points against a smooth fit of the same points.

    python examples/lecture/overfitting.py [--folder lecture]

The energy along a coordinate is known at 12 places, with noise. The polynomial of degree 11 has no error there and the
largest of all in between: a vanishing training error says nothing. The smooth fit is the mean of a Gaussian process.
"""

import numpy as np
from curves import add_draws_option, draw_curve, draw_points, draw_truth, put_legends, rms, two_panels
from numpy.polynomial import Polynomial
from regression import REACH, GaussianProcess, landscape, noisy
from style import BLUE, ORANGE, options_parser, plain_ticks, save

NOISE, N_POINTS = 0.03, 12  # eV
FINE = np.linspace(-REACH, REACH, 401)


def compute(draws):
    """Return the fits of one draw of the noise, and root mean square errors over all draws (training, true), eV."""
    rng = np.random.default_rng(5)
    x = np.linspace(-REACH, REACH, N_POINTS)
    shown, polynomial_errors, smooth_errors = None, [], []
    for _ in range(draws):
        y = noisy(rng, x, NOISE)
        process = GaussianProcess.most_likely(x, y, NOISE)
        polynomials = [Polynomial.fit(x, y, degree) for degree in range(1, N_POINTS)]
        smooth_errors.append(_errors(lambda s, process=process: process.predict(s)[0], x, y))
        polynomial_errors.append([_errors(polynomial, x, y) for polynomial in polynomials])
        if shown is None:
            shown = {"x": x, "y": y, "through": polynomials[-1](FINE), "smooth": process.predict(FINE)[0]}
    return shown | {"polynomials": rms(polynomial_errors, 0), "smooth_errors": rms(smooth_errors, 0)}


def _errors(fit, x, y):
    return rms(fit(x) - y), rms(fit(FINE) - landscape(FINE))


def picture(result):
    titles = "One set of points, two fits", "The error at the points misleads"
    figure, (left, right) = two_panels("coordinate (Å)", "energy (eV)", titles, sharey=False)
    draw_truth(left, FINE, landscape(FINE))
    draw_curve(left, FINE, result["through"], ORANGE, "polynomial through all points")
    draw_curve(left, FINE, result["smooth"], BLUE, "smooth fit")
    draw_points(left, result["x"], result["y"], "points with noise")
    left.set(ylim=(-0.25, 0.75))

    degrees = np.arange(1, N_POINTS)
    training, true = 1e3 * result["polynomials"].T
    right.plot(degrees, true, "o-", color=ORANGE, label="polynomials: error of the curve")
    right.plot(
        degrees, training, "o--", color=ORANGE, markerfacecolor="white", label="polynomials: error at the points"
    )
    right.axhline(1e3 * result["smooth_errors"][1], color=BLUE, linewidth=1.8, label="smooth fit: error of the curve")
    right.set(xlabel="degree of the polynomial", ylabel="error (meV, rms)")
    right.set(yscale="log", ylim=(4, 600), xticks=degrees)
    plain_ticks(right.yaxis, [5, 10, 20, 50, 100, 200])
    right.annotate("no error\nat 11", (N_POINTS - 1, 4.4), color=ORANGE, ha="center", fontsize=10.5)
    put_legends((left,), "upper center")
    put_legends((right,), "upper left")
    return figure


def main(arguments=None):
    parser = options_parser(__doc__)
    add_draws_option(parser, "the errors")
    options = parser.parse_args(arguments)
    result = compute(options.draws)
    print(f"{N_POINTS} points with noise of {1e3 * NOISE:.0f} meV, {options.draws} draws; errors in meV (rms)")
    print("                           at the points   of the curve")
    best = int(result["polynomials"][:, 1].argmin())
    for k in sorted({0, best, N_POINTS - 2}):
        training, true = 1e3 * result["polynomials"][k]
        print(f"polynomial of degree {k + 1:2} {training:16.1f} {true:14.1f}")
    training, true = 1e3 * result["smooth_errors"]
    print(f"smooth fit {training:28.1f} {true:14.1f}")
    save(picture(result), options.folder / "overfitting.png")
    return result


if __name__ == "__main__":
    main()
