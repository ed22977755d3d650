"""Find a model's molecule among the atoms of a Topology, by element, by bonds and by positions.

A file rarely lists atoms in the order of the training data. The bonds say which atom can stand for which, up to the
automorphisms of the molecular graph; and those are more than the model's symmetries. In ethanol the two hydrogens of
CH2 may be exchanged together with two of CH3, as a mirror does, and the training data show it; exchanged alone they
give a labeling in which the data have no molecule, and the model no meaning. Bonds cannot tell the two apart,
distances can: among the labelings that the symmetries do not connect, the one whose descriptor lies nearest to the
training points is taken.
"""

from dataclasses import dataclass

import numpy as np
from openmm import unit

from openmm_kml.descriptors.inverse_distances import descriptor, pair_indices, permuted_pairs
from openmm_kml.interfaces.graphs import MolecularGraph, TooManyMatchesError, isomorphisms

MAX_MATCHES = 50_000
MAX_POINTS = 200  # training points that a geometry is compared with
# The wrong labeling of ethanol lies 1.2 to 2 times as far from 60 training points as the right one, at 500 K.
LEAST_CONTRAST = 1.05
FARTHEST = 5.0  # times the spread of the training points: beyond it the model says nothing about a geometry
BROKEN_BOND = 2.0  # times the bond's length in the training data; a molecule cut by a box border has far longer ones
DO_IT_YOURSELF = "or list the particles in the model's order yourself: KMLForce(model, particles=[...])"


def model_distances(weights):
    """Return the median distances of a model's atoms over its training points, shape (n, n), Å.

    From x = v r^-p, the descriptor of the first term.
    """
    term = weights.terms[0]
    r = (np.median(term.training_descriptors, axis=0) / term.descriptor_weights) ** (-1 / term.power)
    i, j = pair_indices(term.n_atoms)
    distances = np.zeros((term.n_atoms, term.n_atoms))
    distances[i, j] = distances[j, i] = r
    return distances


def model_graph(weights):
    """Return the `MolecularGraph` of a model's molecule, bonds taken from the distances in its training points."""
    return MolecularGraph.from_distances(weights.species, model_distances(weights))


def topology_graph(topology):
    """Return the `MolecularGraph` of a whole Topology; atoms without an element have the number 0."""
    numbers = [0 if atom.element is None else atom.element.atomic_number for atom in topology.atoms()]
    return MolecularGraph.from_bonds(numbers, [(a.index, b.index) for a, b in topology.bonds()])


def find_molecules(weights, topology, atoms=None, positions=None):
    """Return the particles of every copy of a model's molecule, each in the model's order of atoms.

    Parameters
    ----------
    weights : Weights
        The model.
    topology : openmm.app.Topology
        With elements and bonds.
    atoms : iterable of int, optional
        The atoms that the model is to describe; all of the Topology when omitted. Every one must belong to a copy.
    positions : Quantity or array_like of shape (number of atoms in the Topology, 3), optional
        Whole molecules, not cut by a border of the box; in nm without a unit. Needed where the bonds leave more than
        one labeling.

    Returns
    -------
    list of tuple of int

    Raises
    ------
    ValueError
        If an atom appears twice, does not exist or has no element; if bonds are missing or lead out of the chosen
        atoms; if a molecule is not the model's (the message shows both formulas); if positions are needed and were
        not given, have the wrong shape, or leave the labeling open.
    """
    graph = topology_graph(topology)
    chosen = _checked_atoms(graph, atoms)
    model = _Model(weights, model_graph(weights))
    if positions is not None:
        positions = _in_angstrom(positions, len(graph))
    # A model of several molecules (a dimer) takes the chosen atoms as they are.
    connected = len(model.graph.components()) == 1
    whole = graph.subgraph(chosen)
    parts = whole.components() if connected else [tuple(range(len(chosen)))]
    _check_bonds(model, whole)
    names = _Names(topology)
    return [_match(model, graph, tuple(chosen[k] for k in part), positions, names) for part in parts]


@dataclass(frozen=True)
class _Model:
    weights: object
    graph: MolecularGraph


class _Names:
    """How atoms are called in messages."""

    def __init__(self, topology):
        self._atoms = list(topology.atoms())

    def molecule(self, atoms):
        residue = self._atoms[atoms[0]].residue
        return f"atoms {_listed(sorted(atoms))} (residue {residue.name} {residue.id})"

    def atom(self, index):
        return f"{index} ({self._atoms[index].name})"


def _listed(numbers):
    """Return numbers as text, runs written as a–b and a long list cut."""
    runs = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(a) if a == b else f"{a}–{b}" for a, b in runs]
    return ", ".join(texts[:6]) + (" …" if len(texts) > 6 else "")


def _checked_atoms(graph, atoms):
    chosen = list(range(len(graph))) if atoms is None else [int(atom) for atom in atoms]
    if not chosen:
        raise ValueError("no atoms were chosen; at least those of one molecule are expected")
    seen = set()
    for atom in chosen:
        if not 0 <= atom < len(graph):
            raise ValueError(f"atom {atom} does not exist; the topology has {len(graph)} atoms, counted from 0")
        if atom in seen:
            raise ValueError(f"atom {atom} appears twice among the chosen atoms; each may appear once")
        seen.add(atom)
        if graph.numbers[atom] == 0:
            raise ValueError(
                f"atom {atom} has no element (a virtual site or extra particle): the model describes real atoms only; "
                "leave it out of the chosen atoms"
            )
    for atom in chosen:
        outside = graph.neighbors[atom] - seen
        if outside:
            raise ValueError(
                f"atom {atom} was chosen, but {min(outside)}, to which it is bonded, was not: "
                "the model describes whole molecules; choose all atoms of the molecule"
            )
    return chosen


def _check_bonds(model, graph):
    n_bonds = sum(map(len, graph.neighbors))
    if n_bonds == 0 and any(model.graph.neighbors):
        raise ValueError(
            f"the topology has no bonds between the {len(graph)} chosen atoms ({graph.formula}), which are needed to "
            f"find the model's molecule ({model.graph.formula}): add them with topology.addBond(), as CONECT records "
            f"of the PDB file, or by Topology.loadBondDefinitions() and createStandardBonds(); {DO_IT_YOURSELF}"
        )


def _match(model, graph, atoms, positions, names):
    """Return `atoms`, one molecule, in the model's order."""
    part = graph.subgraph(atoms)
    where = names.molecule(atoms)
    if sorted(part.numbers) != sorted(model.graph.numbers):
        raise ValueError(
            f"the model describes {model.graph.formula}, but {where} are {part.formula}: choose whole molecules of the "
            "model's kind, with all their bonds in the topology"
        )
    try:
        ways = isomorphisms(model.graph, part, MAX_MATCHES)
    except TooManyMatchesError:
        raise ValueError(
            f"{where} ({part.formula}) fit the model in more than {MAX_MATCHES} ways, too many to compare; "
            f"{DO_IT_YOURSELF.removeprefix('or ')}"
        ) from None
    if not ways:
        raise ValueError(
            f"the model describes {model.graph.formula} with the bonds {model.graph.bond_counts()}; {where} are "
            f"{part.formula} too, but bonded differently, with the bonds {part.bond_counts()}: choose another model, "
            f"add missing bonds to the topology, {DO_IT_YOURSELF}"
        )
    labelings = distinct_labelings([tuple(atoms[k] for k in way) for way in ways], common_permutations(model.weights))
    if positions is not None:
        _check_whole(model, positions, labelings[0], names)
    if len(labelings) == 1:
        return labelings[0]
    if positions is None:
        raise ValueError(
            f"the bonds allow {len(labelings)} labelings of {where} that differ for the model (atoms on the left and "
            "right of the molecule, which only a geometry tells apart): pass positions=, for example "
            "positions=pdb.positions"
        )
    return _nearest_labeling(model.weights, labelings, positions, where)


def common_permutations(weights):
    """Return the permutations that all kernel terms share, shape (P, n)."""
    groups = [term.permutations for term in weights.terms if term.kind == "gdml"]
    shared = set.intersection(*(set(map(tuple, group.tolist())) for group in groups))
    return np.array(sorted(shared))


def distinct_labelings(labelings, permutations):
    """Return one of each set of labelings that the model's symmetries connect.

    Parameters
    ----------
    labelings : list of tuple of int
        Labelings f: particle f[k] in the place of the model's atom k.
    permutations : ndarray of int, shape (P, n)
        The model's group; f and (f[π[0]], f[π[1]], …) give the same energy.
    """
    seen, distinct = set(), []
    for labeling in labelings:
        if labeling not in seen:
            distinct.append(labeling)
            seen.update(tuple(row) for row in np.array(labeling)[permutations].tolist())
    return distinct


def nearest_distances(weights, labelings, positions):
    """Return how near each labeling comes to a training point: |x - π x_i| at its least, shape (len(labelings),).

    Parameters
    ----------
    weights : Weights
        The first term is asked, at most `MAX_POINTS` of its training points.
    labelings : list of tuple of int
    positions : ndarray of shape (n_particles, 3), Å
    """
    term = weights.terms[0]
    every = max(1, len(term.training_descriptors) // MAX_POINTS)
    points = term.training_descriptors[::every]
    index = permuted_pairs(term.permutations)
    nearest = []
    for labeling in labelings:
        copies = descriptor(positions[list(labeling)], term.power, term.descriptor_weights)[index]  # (P, D)
        squared = (copies**2).sum(axis=1)[:, None] + (points**2).sum(axis=1) - 2 * copies @ points.T
        nearest.append(np.sqrt(max(squared.min(), 0.0)))
    return np.array(nearest)


def _nearest_labeling(weights, labelings, positions, where):
    distances = nearest_distances(weights, labelings, positions)
    order = np.argsort(distances, kind="stable")
    best, second = distances[order[:2]]
    points = weights.terms[0].training_descriptors
    spread = np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean())
    if len(points) > 1 and best > FARTHEST * spread:
        raise ValueError(
            f"the positions of {where} are far from all that the model was trained on, {best / spread:.0f} times the "
            "spread of its training data: positions and bonds of the topology may not belong together"
        )
    if second < LEAST_CONTRAST * best:
        raise ValueError(
            f"the positions of {where} do not tell which of {len(labelings)} labelings is the model's, the two nearest "
            "are equally near to its training data: give positions of an ordinary, relaxed geometry"
        )
    return labelings[order[0]]


def _in_angstrom(positions, n_atoms):
    """Return positions as an array of shape (n_atoms, 3) in Å."""
    if unit.is_quantity(positions):
        positions = positions.value_in_unit(unit.nanometer)
    try:
        array = 10.0 * np.array([[float(x) for x in row] for row in positions])
    except TypeError:  # a list of Quantities
        array = 10.0 * np.array([row.value_in_unit(unit.nanometer) for row in positions], dtype=float)
    if array.shape != (n_atoms, 3):
        raise ValueError(
            f"positions have the shape {array.shape}; ({n_atoms}, 3) is expected, one for each atom of the topology"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"the position of atom {np.argwhere(~np.isfinite(array))[0][0]} is not finite")
    return array


def _check_whole(model, positions, labeling, names):
    """Raise ValueError if a bond is far longer than in the training data: the model never wraps a molecule."""
    lengths = model_distances(model.weights)
    for k, neighbors in enumerate(model.graph.neighbors):
        for j in neighbors:
            length = np.linalg.norm(positions[labeling[k]] - positions[labeling[j]])
            if length > BROKEN_BOND * lengths[k, j]:
                raise ValueError(
                    f"the bond between the atoms {names.atom(labeling[j])} and {names.atom(labeling[k])} is "
                    f"{length:.2f} Å long, in the training data it is {lengths[k, j]:.2f} Å: the molecule must be "
                    "whole, not cut by a border of the periodic box"
                )
