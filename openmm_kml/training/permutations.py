"""Groups of atom permutations: closure, checks and names."""

import numpy as np
from ase.data import chemical_symbols

from openmm_kml.errors import TrainingError

MAX_GROUP = 10_000


def close_group(permutations, max_size=MAX_GROUP):
    """Return the group that permutations generate: sorted, the identity first.

    Parameters
    ----------
    permutations : ndarray of int, shape (n_generators, n_atoms)
    max_size : int

    Returns
    -------
    group : ndarray of int, shape (P, n_atoms)

    Raises
    ------
    TrainingError
        If the group has more than `max_size` members.
    """
    permutations = np.atleast_2d(np.asarray(permutations, dtype=np.intp))
    identity = tuple(range(permutations.shape[1]))
    generators = [row for row in permutations if tuple(row) != identity]
    members, frontier = {identity}, [np.array(identity, dtype=np.intp)]
    while frontier:
        found = []
        for member in frontier:
            for generator in generators:
                product = member[generator]
                key = tuple(product.tolist())
                if key not in members:
                    members.add(key)
                    found.append(product)
        if len(members) > max_size:
            raise TrainingError(
                f"the permutations generate a group of more than {max_size} members, too many to sum over: "
                "pass the symmetries that matter explicitly, or train without symmetries"
            )
        frontier = found
    return np.array(sorted(members), dtype=np.intp)


def check_permutations(permutations, numbers):
    """Return given permutations as a closed group.

    Parameters
    ----------
    permutations : array of int, shape (P, n_atoms)
        Counted from zero.
    numbers : ndarray of int, shape (n_atoms,)
        Atomic numbers.

    Raises
    ------
    ValueError
        If a row is not a permutation or exchanges different elements; the message names it.
    TrainingError
        If the group is too large.
    """
    permutations = np.atleast_2d(np.asarray(permutations))
    n_atoms = len(numbers)
    if permutations.ndim != 2 or permutations.shape[1] != n_atoms or not np.issubdtype(permutations.dtype, np.integer):
        raise ValueError(
            f"symmetries must be integers of shape (P, {n_atoms}), one row per permutation; {permutations.dtype} of "
            f"shape {permutations.shape} was given"
        )
    for k, row in enumerate(permutations):
        if not np.array_equal(np.sort(row), np.arange(n_atoms)):
            raise ValueError(f"row {k} of symmetries is not a permutation of 0 to {n_atoms - 1}: {row.tolist()}")
        wrong = np.flatnonzero(np.asarray(numbers)[row] != numbers)
        if len(wrong):
            names = atom_names(numbers)
            raise ValueError(
                f"row {k} of symmetries puts {names[row[wrong[0]]]} in the place of {names[wrong[0]]}; only atoms of "
                "one element may be exchanged"
            )
    return close_group(permutations)


def generators(group):
    """Return a small set of members that generates the group, those that move the fewest atoms first.

    Raises
    ------
    ValueError
        If products of the rows are missing among them.
    """
    group = np.asarray(group)
    moved = (group != np.arange(group.shape[1])).sum(axis=1)
    order = np.lexsort((np.arange(len(group)), moved))
    chosen, closed = [], {tuple(range(group.shape[1]))}
    for row in group[order]:
        if len(closed) == len(group):
            break
        if tuple(row.tolist()) not in closed:
            chosen.append(row)
            try:
                members = close_group(np.array(chosen), len(group))
            except TrainingError:
                raise ValueError(
                    f"the {len(group)} permutations are no group: products of them are missing; make the model again"
                ) from None
            closed = {tuple(member.tolist()) for member in members}
    return np.array(chosen, dtype=np.intp).reshape(len(chosen), group.shape[1])


def atom_names(numbers):
    """Return names such as C1, H4: element and place in the molecule counted from one."""
    return [f"{chemical_symbols[int(z)]}{k + 1}" for k, z in enumerate(numbers)]


def cycle_notation(permutation, names):
    """Return a permutation as cycles of atom names, such as ``(H4 H5 H6)``; ``()`` is the identity."""
    seen, cycles = set(), []
    for start in range(len(permutation)):
        cycle, atom = [], start
        while atom not in seen:
            seen.add(atom)
            cycle.append(names[atom])
            atom = int(permutation[atom])
        if len(cycle) > 1:
            cycles.append(f"({' '.join(cycle)})")
    return "".join(cycles) or "()"


def orbits(group):
    """Return the sets of atoms that the group exchanges among each other, each sorted; fixed atoms are left out."""
    group = np.asarray(group)
    result = {tuple(sorted(set(group[:, atom].tolist()))) for atom in range(group.shape[1])}
    return sorted(orbit for orbit in result if len(orbit) > 1)


def describe_group(group, numbers):
    """Return a JSON-able description: size, exchanged atoms and generators by the names of the atoms."""
    names = atom_names(numbers)
    return {
        "n_permutations": len(group),
        "exchanges": [" ".join(names[atom] for atom in orbit) + " exchange" for orbit in orbits(group)],
        "generators": [cycle_notation(row, names) for row in generators(group)],
    }
