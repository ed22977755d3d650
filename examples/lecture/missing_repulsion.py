"""A Lennard-Jones pair learned from the well alone has no repulsive wall.

    python examples/lecture/missing_repulsion.py [--folder lecture]

A Gaussian process of the pair energy is trained on energies and forces at twelve distances from 3.7 to 8 Å. It is
right between them, and below them it falls back to what it knew before: nothing. With five points more the wall is
there. One picture has one panel, the other sets the two fits side by side.
"""

import numpy as np
from argon import COLLISION, LABELS, WALL, WELL, closest_approach, describe_turn, fit, left_out_error, plot_curve
from curves import put_legends, two_panels
from style import BLUE, ORANGE, new_figure, options_parser, save


def one_panel(without):
    """Return the figure, and the energies that were drawn."""
    figure, ax = new_figure(size=(6.2, 4.4))
    energies, _ = plot_curve(ax, without, WELL, ORANGE, "learned")
    ax.set(title="Right where it was taught, nonsense beyond", xlabel=LABELS[0], ylabel=LABELS[1])
    put_legends((ax,), "upper right")
    return figure, energies


def side_by_side(without, with_wall):
    """Return the figure, and the energies that were drawn on the right."""
    figure, panels = two_panels(*LABELS, ("Points in the well", "Points in the well and on the wall"))
    plot_curve(panels[0], without, WELL, ORANGE, "learned")
    energies, _ = plot_curve(panels[1], with_wall, np.append(WALL, WELL), BLUE, "learned")
    put_legends(panels, "upper right")
    return figure, energies


def main(arguments=None):
    options = options_parser(__doc__).parse_args(arguments)
    without, with_wall = fit(WELL, repulsion=False), fit(np.append(WALL, WELL), repulsion=False)
    first, well = one_panel(without)
    second, wall = side_by_side(without, with_wall)
    result = {}
    print(f"points              error from {WALL[0]} to {WALL[-1]} Å (meV, rms)   head-on at {COLLISION} eV")
    for name, energies in (("well", well), ("well and wall", wall)):
        turn = closest_approach(energies)
        result[name] = {"error": left_out_error(energies), "turn": turn}
        print(f"{name:14} {1e3 * result[name]['error']:30.1f} {describe_turn(turn):>30}")
    save(first, options.folder / "missing_repulsion.png")
    save(second, options.folder / "missing_repulsion_two.png")
    return result


if __name__ == "__main__":
    main()
