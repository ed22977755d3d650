"""What the Gaussian process knows of its ignorance, and what a physical prior knows better.

    python examples/lecture/repulsion_prior.py [--folder lecture]

The pair of `missing_repulsion.py`, learned from the well alone. Left: with its predictive band, which opens below the
data but not nearly enough, because nothing in a well of 10 meV speaks of walls of 1 eV. Right: with the screened
repulsion of the nuclei (ZBL) in the prior, switched off where the data begin. No point more was learned from, and
atoms bounce.
"""

import numpy as np
from argon import (
    COLLISION,
    LABELS,
    LEFT_OUT,
    REACH,
    WELL,
    closest_approach,
    describe_turn,
    fit,
    left_out_error,
    lennard_jones,
    plot_curve,
)
from curves import put_legends, share_in_band, two_panels
from style import GREEN, ORANGE, options_parser, save

PLACES = (3.6, 3.4, 3.2, 3.0)  # Å


def picture(plain, prior):
    """Return the figure, and energies and deviations that were drawn, left and right."""
    figure, panels = two_panels(*LABELS, ("The band opens, but not enough", "The same points and a repulsion prior"))
    drawn = [
        plot_curve(panels[0], plain, WELL, ORANGE, "learned", band=True),
        plot_curve(panels[1], prior, WELL, GREEN, "learned, with repulsion prior", band=True),
    ]
    put_legends(panels, "upper right")
    return figure, drawn


def main(arguments=None):
    options = options_parser(__doc__).parse_args(arguments)
    figure, drawn = picture(fit(WELL, repulsion=False), fit(WELL, repulsion=True))
    truth = lennard_jones(REACH)[0]
    result = {}
    between = np.abs(REACH - WELL.mean()) < np.ptp(WELL) / 2 + 1e-6
    for name, (energies, deviations) in zip(("no prior", "repulsion prior"), drawn, strict=True):
        result[name] = {
            "error": left_out_error(energies),
            "turn": closest_approach(energies),
            "coverage": share_in_band((energies - truth)[between], deviations[between]),
            "coverage_left_out": share_in_band((energies - truth)[LEFT_OUT], deviations[LEFT_OUT]),
            "attracts": float(np.diff(energies)[REACH[1:] < WELL[0]].min()) < 0,
        }
    print("without the prior:  distance (Å)   error (meV)   standard deviation (meV)")
    energies, deviations = drawn[0]
    for r in PLACES:
        k = int(np.argmin(np.abs(REACH - r)))
        print(f"{r:30.1f} {1e3 * (energies - truth)[k]:14.1f} {1e3 * deviations[k]:18.1f}")
    for name, found in result.items():
        end = describe_turn(found["turn"])
        print(f"{name}: error {1e3 * found['error']:.1f} meV (rms, 2.9 to 3.5 Å), head-on at {COLLISION} eV {end}")
        print(
            f"    truth in the 95 % band: {100 * found['coverage']:.0f} % of the distances between the points, ", end=""
        )
        print(f"{100 * found['coverage_left_out']:.0f} % from 2.9 to 3.5 Å")
    print(f"truth at {COLLISION} eV {describe_turn(closest_approach(truth))}")
    save(figure, options.folder / "repulsion_prior.png")
    return result


if __name__ == "__main__":
    main()
