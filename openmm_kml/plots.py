"""Pictures of errors, learning curves and dynamics."""

import io
from pathlib import Path

import numpy as np

BLUE, ORANGE, GREEN, GRAY = "#1f5fa8", "#d9720f", "#2a8a4a", "#8a8a8a"
_MOST_POINTS = 20_000  # more make a picture slow to draw and no clearer
_STYLE = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.labelsize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.bbox": "tight",
    "svg.hashsalt": "openmm_kml",  # the same picture gives the same bytes
}


def new_figure(rows=1, columns=1, size=(5.0, 4.4), **keywords):
    """Return a figure and its axes, without the state that pyplot keeps.

    Parameters
    ----------
    rows, columns : int
    size : tuple of float
        Inches of one panel.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, **keywords)
    return figure, axes


def figure_bytes(figure, suffix="png", dpi=130):
    """Return the picture as bytes of a format that matplotlib knows; raise `ValueError` if it does not."""
    import matplotlib

    stream = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix)
    with matplotlib.rc_context(_STYLE):
        figure.savefig(stream, format=suffix, dpi=dpi, metadata=metadata)
    return stream.getvalue()


def check_format(path):
    """Raise `ValueError` if a picture cannot be written under this name."""
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    suffix = Path(path).suffix.lstrip(".").lower()
    if suffix not in known:
        raise ValueError(f"{path} has no ending of a picture; use .png, .svg or .pdf")


def save_figure(figure, path):
    """Write a picture under a temporary name and rename it."""
    from openmm_kml.files import write_atomically

    check_format(path)
    write_atomically(path, figure_bytes(figure, Path(path).suffix.lstrip(".").lower()))


def parity(energies, forces, molecules):
    """Return a figure of predicted against reference energies and force components.

    Parameters
    ----------
    energies : ndarray of shape (M,), eV
    forces : ndarray of shape (M, n, 3), eV/Å
    molecules : MoleculeSet
        With energies, forces or both.
    """
    panels = []
    if molecules.energies is not None:
        # Total energies are thousands of eV: the picture shows them about their mean.
        zero = molecules.energies.mean()
        panels.append(("Energy", "eV, about the mean", "meV", molecules.energies - zero, energies - zero, BLUE))
    if molecules.forces is not None:
        panels.append(
            ("Force components", "eV/Å", "meV/Å", np.ravel(molecules.forces), np.ravel(forces), ORANGE),
        )
    figure, axes = new_figure(1, len(panels), squeeze=False)
    for ax, panel in zip(axes[0], panels, strict=True):
        _parity_panel(ax, *panel)
    return figure


def parity_of_structures(predictions, structures):
    """Return a figure of predicted against reference energies per atom and force components.

    Parameters
    ----------
    predictions : list of (energy, forces, virial)
        In eV and eV/Å, one for each structure.
    structures : openmm_kml.structures.StructureSet
    """
    known = list(zip(predictions, structures, strict=True))
    energies = np.array(
        [(frame.energy / len(frame), e / len(frame)) for (e, _, _), frame in known if frame.energy is not None]
    )
    forces = [(np.ravel(frame.forces), np.ravel(f)) for (_, f, _), frame in known if frame.forces is not None]
    panels = []
    if len(energies):
        panels.append(("Energy per atom", "eV", "meV", *energies.T, BLUE))
    if forces:
        reference, predicted = (np.concatenate(part) for part in zip(*forces, strict=True))
        panels.append(("Force components", "eV/Å", "meV/Å", reference, predicted, ORANGE))
    figure, axes = new_figure(1, len(panels), squeeze=False)
    for ax, panel in zip(axes[0], panels, strict=True):
        _parity_panel(ax, *panel)
    return figure


def _parity_panel(ax, title, unit, error_unit, reference, predicted, color):
    difference = predicted - reference
    mae, rmse = 1e3 * np.abs(difference).mean(), 1e3 * np.sqrt((difference**2).mean())
    if len(reference) > _MOST_POINTS:
        chosen = np.random.default_rng(0).choice(len(reference), _MOST_POINTS, replace=False)
        reference, predicted = reference[chosen], predicted[chosen]
    low, high = min(reference.min(), predicted.min()), max(reference.max(), predicted.max())
    margin = 0.04 * (high - low) or 1.0
    ends = [low - margin, high + margin]
    ax.plot(ends, ends, color=GRAY, linewidth=1, zorder=1)
    ax.scatter(reference, predicted, s=9, color=color, alpha=0.5, linewidths=0, zorder=2, rasterized=True)
    ax.set(title=title, xlabel=f"reference ({unit})", ylabel=f"predicted ({unit})", xlim=ends, ylim=ends)
    ax.set_aspect("equal", adjustable="box")
    ax.set_xticks([tick for tick in ax.get_yticks() if ends[0] <= tick <= ends[1]])
    text = f"MAE {mae:.3g} {error_unit}\nRMSE {rmse:.3g} {error_unit}"
    ax.text(0.05, 0.95, text, transform=ax.transAxes, verticalalignment="top", fontsize=12)


def curve(points):
    """Return a figure of errors against the number of training points, both on logarithmic axes.

    Parameters
    ----------
    points : list of dict
        Each with ``n_train``, ``energy_mae`` (eV, or None) and ``forces_mae`` (eV/Å); several of one ``n_train`` are
        shown as dots, with a line through their means.
    """
    panels = [("forces_mae", "Force error", "MAE (meV/Å)", ORANGE), ("energy_mae", "Energy error", "MAE (meV)", BLUE)]
    panels = [panel for panel in panels if any(point.get(panel[0]) is not None for point in points)]
    figure, axes = new_figure(1, max(len(panels), 1), squeeze=False)
    sizes = sorted({point["n_train"] for point in points})
    for ax, (key, title, label, color) in zip(axes[0], panels, strict=True):
        values = {size: [1e3 * p[key] for p in points if p["n_train"] == size] for size in sizes}
        ax.plot(sizes, [np.mean(values[size]) for size in sizes], color=color, linewidth=1.5)
        for size in sizes:
            ax.plot([size] * len(values[size]), values[size], "o", color=color, markersize=5)
        ax.set(xscale="log", yscale="log", title=title, xlabel="training points", ylabel=label)
        _plain_log_ticks(ax, sizes, [value for group in values.values() for value in group])
    return figure


def _plain_log_ticks(ax, sizes, values):
    """Label logarithmic axes with the numbers themselves, not with powers of ten."""
    from matplotlib.ticker import FixedLocator, NullLocator

    ax.xaxis.set_major_locator(FixedLocator(sizes))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([str(size) for size in sizes])
    steps = np.outer(10.0 ** np.arange(-3, 6), [1, 1.5, 2, 3, 4, 5, 7]).ravel()
    low, high = 0.85 * min(values), 1.15 * max(values)
    ticks = [tick for tick in steps if low <= tick <= high] or [min(values)]
    ax.set_ylim(low, high)
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_yticklabels([f"{tick:g}" for tick in ticks])
    ax.grid(True, color="#e4e4e4", linewidth=0.8)


def conservation(time, potential, kinetic):
    """Return a figure of the energies of a run at constant energy.

    Parameters
    ----------
    time : ndarray of shape (T,), ps
    potential, kinetic : ndarray of shape (T,), eV
    """
    total = potential + kinetic
    figure, (left, right) = new_figure(1, 2, size=(5.4, 3.9))
    for values, name, color in (
        (potential, "potential", BLUE),
        (kinetic, "kinetic", ORANGE),
        (total, "total", "black"),
    ):
        left.plot(time, values - values.mean(), color=color, linewidth=0.7 if name != "total" else 1.6, label=name)
    left.set(title="Energies about their means", xlabel="time (ps)", ylabel="energy (eV)")
    low, high = left.get_ylim()
    left.set_ylim(low, high + 0.22 * (high - low))
    left.legend(loc="upper center", ncols=3, frameon=False)
    right.plot(time, 1e3 * (total - total.mean()), color="black", linewidth=0.7)
    right.axhline(0, color=GRAY, linewidth=0.8)
    right.set(title="Total energy, enlarged", xlabel="time (ps)", ylabel="deviation (meV)")
    return figure


def bond_lengths(reference, simulated, labels=("reference data", "simulation")):
    """Return a figure of the distribution of bond lengths by the kind of bond.

    Parameters
    ----------
    reference, simulated : dict
        Kind of bond, such as ``C–H`` -> ndarray of lengths, Å.
    """
    kinds = list(reference)
    columns = min(2, len(kinds))
    rows = -(-len(kinds) // columns)
    figure, axes = new_figure(rows, columns, size=(4.6, 3.1), squeeze=False)
    for ax in axes.ravel()[len(kinds) :]:
        ax.set_axis_off()
    for number, (ax, kind) in enumerate(zip(axes.ravel(), kinds, strict=False)):
        both = np.concatenate([reference[kind], simulated[kind]])
        bins = np.linspace(both.min() - 0.01, both.max() + 0.01, 36)
        for values, label, color in ((reference[kind], labels[0], GRAY), (simulated[kind], labels[1], BLUE)):
            filled = color == GRAY
            ax.hist(
                values,
                bins,
                density=True,
                histtype="stepfilled" if filled else "step",
                color=color,
                alpha=0.45 if filled else 1.0,
                linewidth=1.8,
                label=f"{label}, mean {values.mean():.3f} Å",
            )
        ax.set(
            title=kind, xlabel="bond length (Å)", ylabel="probability density (1/Å)" if number % columns == 0 else ""
        )
        ax.set_ylim(0, ax.get_ylim()[1] * 1.35)
        ax.legend(loc="upper left", fontsize=10.5, frameon=False)
    return figure
