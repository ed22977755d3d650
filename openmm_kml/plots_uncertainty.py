"""Pictures of predicted standard deviations against errors."""

import numpy as np

from openmm_kml.calibration import LEVELS, reliability
from openmm_kml.plots import BLUE, GRAY, ORANGE, new_figure
from openmm_kml.predictive import half_width

_CURVE = np.linspace(0.02, 0.98, 49)
_PANELS = {"energy_per_atom": ("Energy per atom", "meV", BLUE), "forces": ("Force components", "meV/Å", ORANGE)}


def reliability_diagram(quantities):
    """Return a figure: for each quantity the shares of errors in central intervals, and errors by deviation.

    Parameters
    ----------
    quantities : dict
        ``energy_per_atom``, ``forces`` or both -> (errors, deviations, tail); eV and eV/Å.
    """
    figure, axes = new_figure(len(quantities), 2, size=(4.8, 3.9), squeeze=False)
    for (left, right), (name, (errors, deviations, tail)) in zip(axes, quantities.items(), strict=True):
        title, unit, color = _PANELS[name]
        _coverage_panel(left, title, color, errors, deviations, tail)
        _bins_panel(right, unit, color, errors, deviations)
    return figure


def _coverage_panel(ax, title, color, errors, deviations, tail):
    expected, found = coverage_curve(errors, deviations, tail)
    ax.plot([0, 1], [0, 1], color=GRAY, linewidth=1)
    ax.plot(expected, found, color=color, linewidth=2)
    shares = [np.interp(level, expected, found) for level in LEVELS]
    ax.plot(LEVELS, shares, "o", color=color, markersize=6)
    lines = [f"{100 * share:.0f} % in {100 * level:.0f} %" for level, share in zip(LEVELS, shares, strict=True)]
    ax.text(0.05, 0.95, "\n".join(lines), transform=ax.transAxes, verticalalignment="top")
    ax.set(title=title, xlabel="central interval of the prediction", ylabel="share of errors inside")
    ax.set(xlim=(0, 1), ylim=(0, 1.02))
    ax.set_aspect("equal", adjustable="box")


def coverage_curve(errors, deviations, tail=0.0):
    """Return probabilities of central intervals, and the shares of errors inside them."""
    z = np.sort(np.abs(np.ravel(errors)) / np.ravel(deviations))
    return _CURVE, np.searchsorted(z, half_width(_CURVE, tail)) / len(z)


def _bins_panel(ax, unit, color, errors, deviations):
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    predicted, found = (1e3 * values for values in reliability(errors, deviations))
    low, high = 0.7 * min(predicted.min(), found.min()), 1.4 * max(predicted.max(), found.max())
    low = max(low, 1e-3 * high)
    ax.plot([low, high], [low, high], color=GRAY, linewidth=1)
    ax.plot(predicted, np.maximum(found, low), "o-", color=color, linewidth=1.5, markersize=5)
    ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    ax.set(
        title="Bins of equal numbers", xlabel=f"predicted deviation ({unit})", ylabel=f"root mean square error ({unit})"
    )
    for axis in (ax.xaxis, ax.yaxis):  # numbers themselves, few of them
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    ax.set_aspect("equal", adjustable="box")
