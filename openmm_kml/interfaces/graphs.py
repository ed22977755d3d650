"""Molecular graphs: atoms as elements, bonds as edges, and all ways to lay one graph onto another."""

from collections import Counter
from dataclasses import dataclass

from openmm_kml.bonds import bonds_from_distances
from openmm_kml.elements import formula, symbol


class TooManyMatchesError(ValueError):
    """Two graphs can be laid onto each other in more ways than were to be listed."""


@dataclass(frozen=True)
class MolecularGraph:
    """Elements and bonds of one or several molecules.

    Attributes
    ----------
    numbers : tuple of int
        Atomic numbers.
    neighbors : tuple of frozenset of int
        The atoms to which each atom is bonded.
    """

    numbers: tuple
    neighbors: tuple

    @classmethod
    def from_bonds(cls, numbers, bonds):
        """Return the graph of atomic numbers, shape (n,), and pairs (i, j) of bonded atoms."""
        neighbors = [set() for _ in numbers]
        for i, j in bonds:
            neighbors[i].add(j)
            neighbors[j].add(i)
        return cls(tuple(int(z) for z in numbers), tuple(map(frozenset, neighbors)))

    @classmethod
    def from_distances(cls, numbers, distances):
        """Return the graph of atoms that are bonded if they are near; see `openmm_kml.bonds`.

        Parameters
        ----------
        numbers : array_like of int, shape (n,)
        distances : ndarray of shape (n, n), Å
        """
        return cls.from_bonds(numbers, bonds_from_distances(numbers, distances))

    def __len__(self):
        return len(self.numbers)

    @property
    def formula(self):
        """Chemical formula in Hill's order, for example ``C2H6O``."""
        return formula(self.numbers)

    def bond_counts(self):
        """Return how many bonds of each kind there are, as text: ``C–C, 5 C–H, C–O, H–O``; ``none`` without bonds."""
        kinds = Counter(
            "–".join(sorted((symbol(self.numbers[i]), symbol(self.numbers[j]))))
            for i, neighbors in enumerate(self.neighbors)
            for j in neighbors
            if j < i
        )
        return ", ".join(kind if n == 1 else f"{n} {kind}" for kind, n in sorted(kinds.items())) or "none"

    def components(self):
        """Return the atoms of each connected part, as sorted tuples in the order of their first atoms."""
        parts, seen = [], set()
        for start in range(len(self)):
            if start not in seen:
                part = self._reachable(start)
                seen |= part
                parts.append(tuple(sorted(part)))
        return parts

    def _reachable(self, start):
        part, stack = {start}, [start]
        while stack:
            new = self.neighbors[stack.pop()] - part
            part |= new
            stack.extend(new)
        return part

    def subgraph(self, atoms):
        """Return the graph of some atoms, renumbered in the order given, with the bonds among them."""
        place = {atom: k for k, atom in enumerate(atoms)}
        neighbors = tuple(frozenset(place[j] for j in self.neighbors[atom] if j in place) for atom in atoms)
        return MolecularGraph(tuple(self.numbers[atom] for atom in atoms), neighbors)

    def search_order(self):
        """Return all atoms, each beside an earlier one where the graph allows it, the rarest element first."""
        count = Counter(self.numbers)
        order, placed = [], set()
        while len(order) < len(self):
            border = {j for i in placed for j in self.neighbors[i]} - placed
            choice = border or set(range(len(self))) - placed
            atom = min(choice, key=lambda k: (count[self.numbers[k]], -len(self.neighbors[k]), k))
            order.append(atom)
            placed.add(atom)
        return order


def isomorphisms(model, other, limit):
    """Return every way to lay the graph `model` onto the graph `other`: same elements, same bonds.

    Backtracking over the atoms of `model`, where only atoms of equal surroundings (element and, repeatedly, the
    surroundings of the neighbors) are tried for each other.

    Parameters
    ----------
    model, other : MolecularGraph
    limit : int
        Most ways that are listed.

    Returns
    -------
    list of tuple of int
        Tuples f with atom f[k] of `other` in the place of atom k of `model`; empty if the graphs differ.

    Raises
    ------
    TooManyMatchesError
        If there are more than `limit`.
    """
    if sorted(model.numbers) != sorted(other.numbers):
        return []
    colors, other_colors = _surroundings(model, other)
    if sorted(colors) != sorted(other_colors):
        return []
    order = model.search_order()
    place = {atom: k for k, atom in enumerate(order)}
    # For each step: the earlier steps whose atoms are bonded to the new one.
    earlier = [[place[j] for j in model.neighbors[atom] if place[j] < k] for k, atom in enumerate(order)]
    found, images = [], []

    def extend():
        k = len(images)
        if k == len(order):
            if len(found) == limit:
                raise TooManyMatchesError(f"the two graphs can be laid onto each other in more than {limit} ways")
            found.append(tuple(images[place[atom]] for atom in range(len(order))))
            return
        bonded = {images[j] for j in earlier[k]}
        candidates = other.neighbors[images[earlier[k][0]]] if bonded else range(len(other))
        used = set(images)
        for image in sorted(candidates):
            # The bonds to earlier atoms must be there, and no others.
            if (
                image not in used
                and other_colors[image] == colors[order[k]]
                and other.neighbors[image] & used == bonded
            ):
                images.append(image)
                extend()
                images.pop()

    extend()
    return found


def _surroundings(first, second):
    """Return a color for each atom of both graphs: equal where elements and repeated surroundings are equal."""
    colors = [list(first.numbers), list(second.numbers)]
    n_colors = 0
    while len(set(colors[0] + colors[1])) > n_colors:
        n_colors = len(set(colors[0] + colors[1]))
        signatures = [
            [(own[i], tuple(sorted(own[j] for j in graph.neighbors[i]))) for i in range(len(graph))]
            for graph, own in zip((first, second), colors, strict=True)
        ]
        names = {signature: k for k, signature in enumerate(sorted(set(signatures[0] + signatures[1])))}
        colors = [[names[signature] for signature in row] for row in signatures]
    return colors
