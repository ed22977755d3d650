"""A Lennard-Jones pair learned from the well alone has no repulsive wall.

    python examples/lecture/missing_repulsion.py [--folder lecture]

A Gaussian process of the pair energy is trained on energies and forces at twelve distances from 3.7 to 8 Å. It is
right between them, and below them it falls back to what it knew before: nothing. With five points more the wall is
there. One picture has one panel, the other sets the two fits side by side.
"""

import numpy as np
from argon import WALL, WELL, closest_approach, fit, left_out_error, plot_curve
from style import BLUE, ORANGE, new_figure, options_parser, put_legend, save

COLLISION = 0.1  # eV


def one_panel(without):
    """Return the figure, and the energies that were drawn."""
    figure, ax = new_figure(size=(6.2, 4.4))
    energies, _ = plot_curve(ax, without, WELL, ORANGE, "learned")
    ax.set(title="Right where it was taught, nonsense beyond", ylabel="energy (meV)")
    put_legend(ax, loc="upper right")
    return figure, energies


def two_panels(without, with_wall):
    """Return the figure, and the energies that were drawn on the right."""
    figure, (left, right) = new_figure(1, 2, size=(5.2, 4.2), sharey=True)
    plot_curve(left, without, WELL, ORANGE, "learned")
    left.set(title="Points in the well", ylabel="energy (meV)")
    energies, _ = plot_curve(right, with_wall, np.append(WALL, WELL), BLUE, "learned")
    right.set(title="Points in the well and on the wall")
    for ax in (left, right):
        put_legend(ax, loc="upper right")
    return figure, energies


def main(arguments=None):
    options = options_parser(__doc__).parse_args(arguments)
    without, with_wall = fit(WELL, repulsion=False), fit(np.append(WALL, WELL), repulsion=False)
    first, well = one_panel(without)
    second, wall = two_panels(without, with_wall)
    result = {}
    print(f"points              error from {WALL[0]} to {WALL[-1]} Å (meV, rms)   head-on at {COLLISION} eV")
    for name, energies in (("well", well), ("well and wall", wall)):
        turn = closest_approach(energies, COLLISION)
        result[name] = {"error": left_out_error(energies), "turn": turn}
        end = "the atoms fuse" if turn is None else f"turns at {turn:.2f} Å"
        print(f"{name:14} {1e3 * result[name]['error']:30.1f} {end:>30}")
    save(first, options.folder / "missing_repulsion.png")
    save(second, options.folder / "missing_repulsion_two.png")
    return result


if __name__ == "__main__":
    main()
