"""Two-body functions of a model as tables, for programs that know no kernel potentials."""

import numpy as np

from openmm_kml import units
from openmm_kml.elements import symbol
from openmm_kml.local_terms import Spline3Term
from openmm_kml.reference import evaluate_structure
from openmm_kml.weights import write_atomically

_MOST_ROWS = 20_000  # dimers of one evaluation


def pair_table(weights, first, second, distances, leave_out_triples=False):
    """Return the energy of a pair of atoms and its force, by all two-body and repulsion terms.

    Parameters
    ----------
    weights : openmm_kml.weights.Weights
        With `elements`.
    first, second : int
        Atomic numbers.
    distances : array_like of shape (n,), Å, above zero
    leave_out_triples : bool
        Whether a model may have three-body terms, which the table cannot hold.

    Returns
    -------
    energies, forces : ndarray of shape (n,), eV and eV/Å
        The force is -dE/dr, positive when the atoms repel each other. One-body energies are not in it.

    Raises
    ------
    ValueError
        If the model has no pair terms or lacks an element, or if it has three-body terms and nobody agreed to lose
        them.
    """
    local = [term for term in weights.terms if hasattr(term, "reach")]
    pairs = tuple(term for term in local if not isinstance(term, Spline3Term))
    if not pairs:
        raise ValueError("the model has no two-body terms, which a table could hold")
    if len(pairs) < len(local) and not leave_out_triples:
        raise ValueError(
            "the model has three-body terms, which a table of pairs cannot hold; leave_out_triples=True drops them"
        )
    distances = np.asarray(distances, dtype=float)
    if distances.ndim != 1 or not np.all(distances > 0):
        raise ValueError("the distances must be a list of numbers above zero, in Å")
    model = type(weights)(elements=weights.elements, terms=pairs, baseline=weights.baseline)
    reach = max(term.reach for term in pairs) + distances.max()
    energies, forces = np.empty(len(distances)), np.empty(len(distances))
    for start in range(0, len(distances), _MOST_ROWS):
        part = slice(start, start + _MOST_ROWS)
        energies[part], forces[part] = _dimers(model, first, second, distances[part], reach)
    return energies, forces


def _dimers(model, first, second, distances, apart):
    """Return energies and forces of pairs of atoms on a lattice, so wide that no two pairs see each other."""
    n = len(distances)
    side = int(np.ceil(n ** (1 / 3)))
    place = 1.1 * apart * np.stack(np.unravel_index(np.arange(n), (side, side, side)), axis=1)
    shift = np.zeros((n, 3))
    shift[:, 0] = distances
    numbers = np.repeat([first, second], n)
    _, forces, _, energies = evaluate_structure(model, np.concatenate([place, place + shift]), numbers)
    return energies[:n] + energies[n:], forces[n:, 0]


def write_lammps_table(weights, path, start=0.5, spacing=0.002, leave_out_triples=False):
    """Write the two-body functions for LAMMPS's ``pair_style table`` and return the lines of the deck that use them.

    Parameters
    ----------
    weights : openmm_kml.weights.Weights
        With `elements`.
    path : path
        Of the table: one section for each pair of elements, in units metal.
    start, spacing : float, Å
        First distance and steps. LAMMPS stops where atoms come closer than the first.
    leave_out_triples : bool
        As for `pair_table`.

    Returns
    -------
    lines : list of str
        ``pair_style`` and ``pair_coeff``, for atom types in the order of the model's elements.
    """
    reach = _reach(weights)
    n = int(np.ceil((reach - start) / spacing)) + 1
    r = np.linspace(start, reach, n)
    text = [f"# two-body functions of a kernel potential, UNITS: metal\n# from {start:g} to {reach:g} Å\n"]
    lines = [f"pair_style table spline {n}"]
    for a, first in enumerate(weights.elements):
        for b, second in enumerate(weights.elements[a:], a):
            energies, forces = pair_table(weights, first, second, r, leave_out_triples)
            name = f"{symbol(first)}_{symbol(second)}"
            text.append(f"\n{name}\nN {n} R {start:.10g} {reach:.10g}\n\n")
            rows = zip(range(1, n + 1), r, energies, forces, strict=True)
            text += [f"{k} {x:.15g} {energy:.15g} {force:.15g}\n" for k, x, energy, force in rows]
            lines.append(f"pair_coeff {a + 1} {b + 1} {path} {name}")
    write_atomically(path, "".join(text).encode())
    return lines


def custom_nonbonded_force(weights, numbers, start=0.3, n_points=3001, leave_out_triples=False):
    """Return an OpenMM ``CustomNonbondedForce`` with the two-body functions, for any platform.

    Parameters
    ----------
    weights : openmm_kml.weights.Weights
        With `elements`.
    numbers : sequence of int
        Atomic number of each particle of the System.
    start : float, Å
        First distance of the tables. Closer atoms feel nothing: give the model a repulsion that keeps them apart.
    n_points : int
        Points of each table, between which OpenMM puts cubic splines.
    leave_out_triples : bool
        As for `pair_table`.

    Returns
    -------
    openmm.CustomNonbondedForce
        Without periodicity, with the model's cutoff; ``setNonbondedMethod`` changes that.

    Raises
    ------
    ValueError
        As `pair_table`; also if a particle's element is not in the model.
    """
    import openmm

    elements = [int(z) for z in weights.elements]
    unknown = sorted(set(numbers) - set(elements))
    if unknown:
        raise ValueError(f"the model does not know {', '.join(symbol(z) for z in unknown)}")
    reach = _reach(weights)
    r = np.linspace(start, reach, n_points)
    pairs = [(a, b) for a in range(len(elements)) for b in range(a, len(elements))]
    terms = []
    functions = {}
    for a, b in pairs:
        energies, _ = pair_table(weights, elements[a], elements[b], r, leave_out_triples)
        functions[f"f{a}_{b}"] = openmm.Continuous1DFunction(energies / units.KJ_PER_MOL, start / 10, reach / 10)
        both = f"delta(kind1-{a})*delta(kind2-{b})"
        if a != b:
            both = f"({both}+delta(kind1-{b})*delta(kind2-{a}))"
        terms.append(f"{both}*f{a}_{b}(r)" if len(elements) > 1 else f"f{a}_{b}(r)")
    force = openmm.CustomNonbondedForce(" + ".join(terms))
    for name, function in functions.items():
        force.addTabulatedFunction(name, function)
    if len(elements) > 1:
        force.addPerParticleParameter("kind")
    for z in numbers:
        force.addParticle([float(elements.index(z))] if len(elements) > 1 else [])
    force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffNonPeriodic)
    force.setCutoffDistance(reach / 10)
    return force


def _reach(weights):
    """Return the distance in Å where the last two-body function ends."""
    if weights.elements is None:
        raise ValueError("a model of one molecule has no two-body functions")
    return max((term.reach for term in weights.terms if not isinstance(term, Spline3Term)), default=0.0)
