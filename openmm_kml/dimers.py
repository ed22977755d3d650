"""Two atoms alone: what the functions of a model of local terms make of their distance."""

import numpy as np

from openmm_kml.reference import evaluate_structure

_MOST = 20_000  # dimers of one evaluation


def dimer_energies(weights, first, second, distances):
    """Return energies and forces of two atoms at some distances, by all local terms.

    Of a model of the difference to a baseline, it is that difference.

    Parameters
    ----------
    weights : openmm_kml.weights.Weights
        With `elements`.
    first, second : int
        Atomic numbers.
    distances : ndarray of shape (n,), Å, above zero

    Returns
    -------
    energies, forces : ndarray of shape (n,), eV and eV/Å
        Without what each atom has alone: its one-body energy and that by `soap` terms. The force is -dE/dr, positive
        when the atoms repel each other.
    """
    model = type(weights)(elements=weights.elements, terms=weights.terms)
    reach = max((term.reach for term in model.terms), default=0.0) + np.max(distances, initial=0.0)
    energies, forces = np.empty(len(distances)), np.empty(len(distances))
    for start in range(0, len(distances), _MOST):
        part = slice(start, start + _MOST)
        energies[part], forces[part] = _on_a_lattice(model, first, second, distances[part], 1.1 * reach)
    alone = sum(evaluate_structure(model, np.zeros((1, 3)), [number])[0] for number in (first, second))
    return energies - alone, forces


def _on_a_lattice(model, first, second, distances, spacing):
    """Return energies and forces of pairs of atoms on a lattice so wide that no two pairs see each other."""
    n = len(distances)
    side = int(np.ceil(n ** (1 / 3)))
    place = spacing * np.stack(np.unravel_index(np.arange(n), (side, side, side)), axis=1)
    shift = np.zeros((n, 3))
    shift[:, 0] = distances
    numbers = np.repeat([first, second], n)
    _, forces, _, energies = evaluate_structure(model, np.concatenate([place, place + shift]), numbers)
    return energies[:n] + energies[n:], forces[n:, 0]
