"""Pictures of a campaign: errors against reference calls, uncertainty against error, energies of explored frames."""

import numpy as np

from openmm_kml.active_learning.explore import Walk
from openmm_kml.active_learning.journal import read_log
from openmm_kml.active_learning.rounds import Round
from openmm_kml.plots import BLUE, GRAY, GREEN, ORANGE, new_figure, save_figure

NAMES = ("errors.png", "uncertainty.png", "energies.png")


def draw(directory, campaign, comparison=None):
    """Write the pictures of a campaign into its directory."""
    figures = errors(read_log(directory), comparison), uncertainties(campaign), energies(campaign)
    for name, figure in zip(NAMES, figures, strict=True):
        if figure is not None:
            save_figure(figure, directory / name)


def errors(log, comparison=None):
    """Return a figure of force errors against reference calls, and of the comparison with random sampling."""
    trained = [event for event in log if event["event"] == "trained"]
    figure, axes = new_figure(1, 1 if comparison is None else 2, squeeze=False)
    ax = axes[0, 0]
    calls = [event["calls"] for event in trained]
    ax.plot(calls, [1e3 * event["errors"]["forces_mae"] for event in trained], "o-", color=BLUE, markersize=4)
    _label(ax, "On frames kept from training", "reference calls")
    if comparison is not None:
        ax = axes[0, 1]
        for name, label, color in (("random", "random sampling", GRAY), ("active", "on the fly", ORANGE)):
            x = [point["labeled"] for point in comparison[name]]
            y = [1e3 * point["forces_mae"] for point in comparison[name]]
            ax.plot(x, y, "o-", color=color, markersize=4, label=label)
        _label(ax, "On frames of dynamics", "labeled frames")
        ax.legend(frameon=False)
    return figure


def _label(ax, title, xlabel):
    from matplotlib.ticker import MaxNLocator

    ax.set(title=title, xlabel=xlabel, ylabel="force MAE (meV/Å)", yscale="log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def uncertainties(campaign):
    """Return a figure of the force errors of picked frames against their uncertainty, None without any."""
    picks = [pick for one in campaign.rounds for pick in one["picks"] if pick["labeled"]]
    if not picks:
        return None
    figure, ax = new_figure()
    uncertainty = campaign.model.uncertainty
    rounds = np.array([pick["round"] for pick in picks])
    points = ax.scatter(
        [pick["uncertainty"] for pick in picks],
        [1e3 * pick["force_error"] for pick in picks],
        c=rounds,
        s=16,
        cmap="viridis",
    )
    ax.set(
        xscale="log",
        yscale="log",
        title="Before a frame was learned",
        xlabel=f"uncertainty of the {uncertainty.what} ({uncertainty.unit})",
        ylabel="force MAE (meV/Å)",
    )
    figure.colorbar(points, ax=ax, label="round")
    return figure


def energies(campaign):
    """Return a figure of the energies of all frames that were looked at, by temperature; None without any."""
    figure, ax = new_figure(size=(6.0, 4.2))
    temperatures, start, drawn = campaign.walkers(), 0, False
    zero = np.mean([frame.energy / len(frame) for frame in campaign.labeled])
    colors = dict(zip(dict.fromkeys(temperatures), (BLUE, ORANGE, GREEN, GRAY), strict=False))
    for known in campaign.rounds:
        longest = 0
        for walker, temperature in enumerate(temperatures):
            walk = Walk.from_bytes(Round(campaign, known["round"]).walk_path(walker).read_bytes())
            longest = max(longest, len(walk.looks))
            if not walk.looks:
                continue
            drawn = True
            size = len(walk.frame or walk.end)
            values = [1e3 * (energy / size - zero) for _, energy, _ in walk.looks]
            color = colors.get(temperature, "black")
            ax.plot(start + np.arange(len(values)), values, color=color, linewidth=0.7)
            if walk.frame is not None:
                ax.plot(start + len(values) - 1, values[-1], "o", color=color, markersize=4)
        start += longest + 1
        ax.axvline(start - 0.5, color="#e4e4e4", linewidth=0.8, zorder=0)
    if not drawn:
        return None
    ax.set(title="Explored by the model", xlabel="looks, round after round", ylabel="energy (meV/atom)")
    for temperature, color in colors.items():
        ax.plot([], [], color=color, label=f"{temperature:g} K")
    ax.legend(frameon=False)
    return figure
