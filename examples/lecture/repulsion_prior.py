"""What the Gaussian process knows of its ignorance, and what a physical prior knows better.

    python examples/lecture/repulsion_prior.py [--folder lecture]

The pair of `missing_repulsion.py`, learned from the well alone. Left: with its predictive band, which opens below the
data but not nearly enough, because nothing in a well of 10 meV speaks of walls of 1 eV. Right: with the screened
repulsion of the nuclei (ZBL) in the prior, switched off where the data begin. No point more was learned from, and
atoms bounce.
"""

import numpy as np
from argon import LEFT_OUT, REACH, WELL, closest_approach, fit, left_out_error, lennard_jones, plot_curve
from style import GREEN, ORANGE, new_figure, options_parser, put_legend, save

COLLISION = 0.1  # eV
PLACES = (3.6, 3.4, 3.2, 3.0)  # Å


def picture(plain, prior):
    """Return the figure, and energies and deviations that were drawn, left and right."""
    figure, (left, right) = new_figure(1, 2, size=(5.2, 4.2), sharey=True)
    drawn = [
        plot_curve(left, plain, WELL, ORANGE, "learned", band=True),
        plot_curve(right, prior, WELL, GREEN, "learned, with repulsion prior", band=True),
    ]
    left.set(title="The band opens, but not enough", ylabel="energy (meV)")
    right.set(title="The same points and a repulsion prior")
    for ax in (left, right):
        put_legend(ax, loc="upper right")
    return figure, drawn


def main(arguments=None):
    options = options_parser(__doc__).parse_args(arguments)
    figure, drawn = picture(fit(WELL, repulsion=False), fit(WELL, repulsion=True))
    truth = lennard_jones(REACH)[0]
    result = {}
    for name, (energies, deviations) in zip(("no prior", "repulsion prior"), drawn, strict=True):
        between = WELL[0] < REACH
        result[name] = {
            "error": left_out_error(energies),
            "turn": closest_approach(energies, COLLISION),
            "coverage": float(np.mean(np.abs(energies - truth)[between] < 1.96 * deviations[between])),
            "coverage_left_out": float(np.mean(np.abs(energies - truth)[LEFT_OUT] < 1.96 * deviations[LEFT_OUT])),
            "attracts": float(np.diff(energies)[REACH[1:] < WELL[0]].min()) < 0,
        }
    print("without the prior:  distance (Å)   error (meV)   standard deviation (meV)")
    energies, deviations = drawn[0]
    for r in PLACES:
        k = int(np.argmin(np.abs(REACH - r)))
        print(f"{r:30.1f} {1e3 * (energies - truth)[k]:14.1f} {1e3 * deviations[k]:18.1f}")
    for name, found in result.items():
        end = "the atoms fuse" if found["turn"] is None else f"turns at {found['turn']:.2f} Å"
        print(f"{name}: error {1e3 * found['error']:.1f} meV (rms, 2.9 to 3.5 Å), head-on at {COLLISION} eV {end}")
        print(
            f"    truth in the 95 % band: {100 * found['coverage']:.0f} % of the distances between the points, ", end=""
        )
        print(f"{100 * found['coverage_left_out']:.0f} % from 2.9 to 3.5 Å")
    print(f"truth at {COLLISION} eV turns at {closest_approach(truth, COLLISION):.2f} Å")
    save(figure, options.folder / "repulsion_prior.png")
    return result


if __name__ == "__main__":
    main()
