"""Pictures of two- and three-body functions."""

from dataclasses import replace

import numpy as np

from openmm_kml.dimers import dimer_energies
from openmm_kml.elements import symbol
from openmm_kml.local_terms import Spline3Term, pair_number
from openmm_kml.plots import GRAY, new_figure
from openmm_kml.reference import evaluate_structure

_MOST_PANELS = 9


def triple_energy(weights, center, first, second, distance, angles):
    """Return f3 in eV, tapers included, of two neighbors at one distance from a center, at some angles in degrees."""
    term = next(term for term in weights.terms if isinstance(term, Spline3Term))
    place = {int(z): k for k, z in enumerate(weights.elements)}
    wanted = place[center], pair_number(place[first], place[second], len(place))
    # Only the function that is asked for: in a triangle whose sides are all short, each atom is a center.
    coefficients = np.zeros_like(term.coefficients)
    coefficients[wanted] = term.coefficients[wanted]
    only = type(weights)(elements=weights.elements, terms=(replace(term, coefficients=coefficients),))
    energies = []
    for angle in np.radians(angles):
        positions = distance * np.array([[0, 0, 0], [1, 0, 0], [np.cos(angle), np.sin(angle), 0]])
        energies.append(evaluate_structure(only, positions, [center, first, second])[3][0])
    return np.array(energies)


def functions(weights):
    """Return a figure of all f2 (with the repulsion) and of slices of f3: neighbors at equal distances, by the angle.

    Parameters
    ----------
    weights : openmm_kml.weights.Weights
        With `elements`.
    """
    elements = [int(z) for z in weights.elements]
    three = next((term for term in weights.terms if isinstance(term, Spline3Term)), None)
    triples = [] if three is None else [(a, b, c) for a in elements for b in elements for c in elements if b <= c]
    triples = triples[: _MOST_PANELS - 1]
    columns = min(3, 1 + len(triples))
    rows = -(-(1 + len(triples)) // columns)
    figure, axes = new_figure(rows, columns, size=(4.6, 3.7), squeeze=False)
    panels = axes.ravel()
    _draw_pairs(panels[0], weights, elements)
    for ax, triple in zip(panels[1:], triples, strict=False):
        _draw_triple(ax, weights, three, triple)
    for ax in panels[1 + len(triples) :]:
        ax.set_axis_off()
    return figure


def _draw_pairs(ax, weights, elements):
    reach = max(term.reach for term in weights.terms)
    start = min((term.start for term in weights.terms if hasattr(term, "start")), default=reach / 4)
    distances = np.linspace(0.8 * start, reach, 300)
    depths = []
    for k, a in enumerate(elements):
        for b in elements[k:]:
            energies, _ = dimer_energies(weights, a, b, distances)
            ax.plot(distances, energies, label=f"{symbol(a)}–{symbol(b)}", linewidth=1.6)
            depths.append(np.abs(energies[distances > start + 0.2 * (reach - start)]).max())
    scale = 1.5 * max([*depths, 1e-3])
    ax.axhline(0, color=GRAY, linewidth=0.8)
    ax.set(title="Two bodies", xlabel="distance (Å)", ylabel="energy (eV)", ylim=(-scale, 2 * scale))
    ax.legend(frameon=False, fontsize=10.5)


def _draw_triple(ax, weights, term, triple):
    center, first, second = triple
    low = term.taper_start + term.taper_width
    angles = np.linspace(20, 180, 161)
    for fraction in (0.1, 0.35, 0.6):
        distance = low + fraction * (term.cutoff - low)
        energies = triple_energy(weights, center, first, second, distance, angles)
        ax.plot(angles, energies, label=f"{distance:.2f} Å", linewidth=1.6)
    ax.axhline(0, color=GRAY, linewidth=0.8)
    ax.set(
        title=f"{symbol(first)}–{symbol(center)}–{symbol(second)}",
        xlabel="angle (degrees)",
        ylabel="f3 (eV)",
        xlim=(20, 180),
    )
    ax.legend(frameon=False, fontsize=10.5, title="both sides")
