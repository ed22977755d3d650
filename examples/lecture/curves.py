"""Learned curves as the pictures show them: truth, points, curve and band; and how far they are from the truth."""

import numpy as np
from style import new_figure, positive_int, put_legend

BAND = 1.96  # standard deviations to each side: 95 % of a normal distribution


def rms(values, axis=None):
    """Return the root mean square."""
    return np.sqrt(np.mean(np.square(values), axis=axis))


def share_in_band(errors, deviations):
    """Return the share of errors inside the 95 % band."""
    return float(np.mean(np.abs(errors) < BAND * deviations))


def add_draws_option(parser, purpose):
    """Let the command line say how many draws of the noise there are."""
    parser.add_argument("--draws", type=positive_int, default=200, help=f"of the noise, for {purpose} (default: 200)")


def two_panels(xlabel, ylabel, titles, sharey=True):
    """Return a figure and its two panels, side by side."""
    figure, panels = new_figure(1, 2, size=(5.2, 4.2), sharey=sharey)
    for ax, title in zip(panels, titles, strict=True):
        ax.set(xlabel=xlabel, title=title)
    panels[0].set(ylabel=ylabel)
    return figure, panels


def draw_truth(ax, x, y, label="truth"):
    ax.plot(x, y, "--", color="black", linewidth=1.4, label=label)


def draw_points(ax, x, y, label=None):
    ax.plot(x, y, "o", color="black", markersize=5, label=label, zorder=3)


def draw_curve(ax, x, y, color, label):
    ax.plot(x, y, color=color, linewidth=2, label=label)


def draw_band(ax, x, y, deviation, color, label):
    """Fill the 95 % band about a curve."""
    ax.fill_between(x, y - BAND * deviation, y + BAND * deviation, color=color, alpha=0.22, linewidth=0, label=label)


def put_legends(panels, loc):
    for ax in panels:
        put_legend(ax, loc=loc)
