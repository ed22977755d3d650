"""Two-body functions of a model as tables, for programs that know no kernel potentials."""

import numpy as np

from openmm_kml import units
from openmm_kml.dimers import dimer_energies
from openmm_kml.elements import symbol, symbols
from openmm_kml.files import write_atomically
from openmm_kml.interfaces.lammps import deck_word
from openmm_kml.local_terms import RepulsionTerm, Spline2Term


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
    openmm_kml.errors.WeightFileError
        If the model is only the difference to a baseline.
    """
    pairs = _pair_terms(weights)
    if len(pairs) < len(weights.terms) and not leave_out_triples:
        raise ValueError(
            "the model has three-body terms, which a table of pairs cannot hold; leave_out_triples=True, or "
            "--leave-out-triples, drops them"
        )
    weights.check_complete()
    distances = np.asarray(distances, dtype=float)
    if distances.ndim != 1 or not np.all(distances > 0):
        raise ValueError("the distances must be a list of numbers above zero, in Å")
    return dimer_energies(type(weights)(elements=weights.elements, terms=pairs), first, second, distances)


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
    r = _grid(weights, start, spacing)
    n, reach = len(r), r[-1]
    text = [f"# two-body functions of a kernel potential, UNITS: metal\n# from {start:g} to {reach:g} Å\n"]
    lines = [f"pair_style table spline {n}"]
    for a, first in enumerate(weights.elements):
        for b, second in enumerate(weights.elements[a:], a):
            energies, forces = pair_table(weights, first, second, r, leave_out_triples)
            name = f"{symbol(first)}_{symbol(second)}"
            text.append(f"\n{name}\nN {n} R {start:.10g} {reach:.10g}\n\n")
            rows = zip(range(1, n + 1), r, energies, forces, strict=True)
            text += [f"{k} {x:.15g} {energy:.15g} {force:.15g}\n" for k, x, energy, force in rows]
            lines.append(f"pair_coeff {a + 1} {b + 1} {deck_word(path)} {name}")
    write_atomically(path, "".join(text).encode())
    return lines


def custom_nonbonded_force(weights, numbers=(), start=0.3, spacing=0.002, leave_out_triples=False):
    """Return an OpenMM ``CustomNonbondedForce`` with the two-body functions, for any platform.

    Parameters
    ----------
    weights : openmm_kml.weights.Weights
        With `elements`.
    numbers : sequence of int
        Atomic number of each particle of the System. Particles that come later are added by ``addParticle``: of a model
        of several elements with one parameter, the place of their element in the model's list, counted from 0.
    start, spacing : float, Å
        First distance of the tables, and steps, between which OpenMM puts cubic splines. Closer atoms feel nothing:
        give the model a repulsion that keeps them apart.
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
        raise ValueError(f"the model does not know {symbols(unknown)}")
    r = _grid(weights, start, spacing)
    reach = r[-1]
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


def _pair_terms(weights):
    """Return the terms that a table can hold."""
    if weights.elements is None:
        raise ValueError("a model of one molecule has no two-body functions")
    pairs = tuple(term for term in weights.terms if isinstance(term, Spline2Term | RepulsionTerm))
    if not pairs:
        raise ValueError("the model has no two-body terms, which a table could hold")
    return pairs


def _grid(weights, start, spacing):
    """Return the distances of a table in Å, from the first to where the last two-body function ends."""
    reach = max(term.reach for term in _pair_terms(weights))
    if not (0 < start < reach and 0 < spacing < reach - start):
        raise ValueError(
            f"a table from {start:g} Å in steps of {spacing:g} Å is not possible; the first distance must be above zero"
            f" and below the model's cutoff of {reach:g} Å, and the steps shorter than what lies between"
        )
    return np.linspace(start, reach, int(np.ceil((reach - start) / spacing)) + 1)
