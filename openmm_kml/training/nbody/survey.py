"""What the distances in the data tell: shortest ones, whether a cutoff is sensible, and what triples cost."""

from dataclasses import dataclass

import numpy as np

from openmm_kml.bonds import radii_of
from openmm_kml.elements import symbol
from openmm_kml.errors import DataError
from openmm_kml.local_terms import n_pairs, pair_number
from openmm_kml.neighbors import neighbor_list
from openmm_kml.training.progress import progress_bar

FUSED = 0.35  # of the sum of covalent radii: closer atoms are a wrong unit or one atom written twice
SLACK = 0.5  # Å that a cutoff may exceed the longest distance below it in the data
_LOOK = 0.5  # Å below the cutoff where a shell of neighbors is looked for
_NANOSECONDS = 35  # one centered triple in LAMMPS
_NOISY = 10.0  # times the noises given: more than what two and three bodies leave of DFT; kcal/mol taken for eV are 23


@dataclass
class Survey:
    """Distances of a set of structures.

    Attributes
    ----------
    elements : tuple of int
    shortest : ndarray of shape (pairs,), Å
        Infinite where two elements never come within the cutoff.
    longest : dict
        Name of each cutoff that is not zero -> longest distances below it, ndarray of shape (pairs,), Å; zero where two
        elements never come within it.
    own_image : float, Å
        Distance beyond which every atom of every frame sees its own image; infinite if that is beyond the cutoffs.
    triples : dict
        Radius in Å -> mean number of centered triples of an atom inside it, for radii up to ``cutoff3``.
    """

    elements: tuple
    shortest: np.ndarray
    longest: dict
    own_image: float
    triples: dict

    def pair_distances(self):
        """Return the shortest distances by the names of the pairs, JSON-able."""
        return {name: float(r) for name, r in zip(self.pair_names(), self.shortest, strict=True) if np.isfinite(r)}

    def pair_names(self):
        """Return a name for each pair of elements, in their order."""
        names = [symbol(z) for z in self.elements]
        return [f"{a}-{b}" for k, a in enumerate(names) for b in names[k:]]


def survey(structures, options):
    """Return the `Survey` of a training set.

    Raises
    ------
    DataError
        If atoms are fused, no two atoms are inside the cutoff, or the data have no distances near a cutoff.
    """
    elements = tuple(int(z) for z in structures.elements)
    n = len(elements)
    reach = max(options.cutoff2, options.cutoff3)
    shortest = np.full(n_pairs(n), np.inf)
    cutoffs = {name: cutoff for name in ("cutoff2", "cutoff3") if (cutoff := getattr(options, name))}
    longest = {name: np.zeros(n_pairs(n)) for name in cutoffs}
    own_image = 0.0
    radii = options.cutoff3 - np.arange(0.0, _LOOK + 0.01, 0.05) if options.cutoff3 else np.zeros(0)
    triples = np.zeros(len(radii))
    with progress_bar(len(structures), "distances", options.progress, " frames") as bar:
        for index, frame in enumerate(structures):
            i, j, _, _, distance = neighbor_list(frame.positions, frame.cell, frame.pbc, reach)
            bar.update()
            own_image = max(own_image, distance[i == j].min(initial=np.inf))
            if len(i) == 0:
                continue
            _check_fused(structures.name, index, frame, i, j, distance)
            species = np.searchsorted(elements, frame.numbers)
            pair = pair_number(species[i], species[j], n)
            np.minimum.at(shortest, pair, distance)
            for name, cutoff in cutoffs.items():
                np.maximum.at(longest[name], pair, np.where(distance < cutoff, distance, 0.0))
            for k, radius in enumerate(radii):
                counts = np.bincount(i[distance < radius])
                triples[k] += (counts * (counts - 1) // 2).sum()
    if not np.isfinite(shortest).any():
        raise DataError(f"no two atoms of the data are within the cutoff of {reach:g} Å; is the unit of length right?")
    farthest = max(distances.max() for distances in longest.values())
    for name, cutoff in cutoffs.items():
        if cutoff > farthest + SLACK:
            raise DataError(
                f"{name} is {cutoff:g} Å, but the longest distance between two atoms of the data is {farthest:.2f} Å; "
                f"choose at most {farthest:.2f}"
            )
        if cutoff <= shortest.min() + options.inner_margin:
            raise DataError(
                f"{name} is {cutoff:g} Å, but the shortest distance between two atoms of the data is "
                f"{shortest.min():.2f} Å; choose a larger cutoff, or name the unit of length if it is not Å"
            )
    per_atom = {float(radius): float(count) / structures.n_atoms for radius, count in zip(radii, triples, strict=True)}
    return Survey(elements, shortest, longest, own_image, per_atom)


def _check_fused(name, index, frame, i, j, distance):
    closest = distance.argmin()
    a, b = i[closest], j[closest]
    least = FUSED * radii_of(frame.numbers[[a, b]]).sum()
    if distance[closest] < least:
        raise DataError(
            f"{name or 'training data'}, frame {index + 1}: atoms {a + 1} ({symbol(frame.numbers[a])}) and {b + 1} "
            f"({symbol(frame.numbers[b])}) are {distance[closest]:.3f} Å apart; remove the frame, or name the unit of "
            "length if it is not Å"
        )


def shell_warnings(found, options):
    """Return a sentence in a list if ``cutoff3`` lies just outside a shell of neighbors that less would leave out.

    In a medium without shells the number of triples grows as the sixth power of the radius; a shell shows as a much
    steeper rise.
    """
    if not found.triples:
        return []
    all_triples = found.triples[max(found.triples)]
    best, gain = None, 0.5
    for radius, count in found.triples.items():
        growth = count / all_triples / (radius / options.cutoff3) ** 6 if all_triples else 1.0
        if radius < options.cutoff3 and growth < gain and count > 0.5:
            best, gain = radius, growth
    if best is None:
        return []
    return [
        f"cutoff3 of {options.cutoff3:g} Å lies just outside a shell of neighbors: {all_triples:.0f} triples an atom, "
        f"some {all_triples * _NANOSECONDS / 1e3:.1f} µs; {best:.2f} Å would leave {found.triples[best]:.0f}"
    ]


def reach_warnings(found, options):
    """Return sentences on what the data leave open below the cutoffs.

    Periodic data have distances of any length, so that no cutoff is too long for them by itself. But where the data
    have no pair of two elements between some distance and the cutoff (a cold crystal between two shells), the functions
    are decided by the prior alone; and where every atom of every frame sees its own image, an atom and its images move
    as one, and only the sum of what they do is seen.
    """
    sentences = []
    for name, distances in found.longest.items():
        cutoff = getattr(options, name)
        seen = list(zip(found.pair_names(), distances, strict=True))
        open_ends = [f"no {pair} beyond {r:.2f} Å" for pair, r in seen if 0 < r < cutoff - SLACK]
        open_ends += [f"no {pair} at all" for pair, r in seen if r == 0]
        if open_ends:
            sentences.append(
                f"{name} is {cutoff:g} Å, but inside it the data have {', '.join(open_ends)}: there the functions are "
                "the prior's guess; choose less, or add frames with such distances"
            )
        if cutoff > found.own_image:
            sentences.append(
                f"{name} is {cutoff:g} Å, but from {found.own_image:.2f} Å on every atom of every frame sees its own "
                "image: what atoms do there cannot be told from what nearer images do; choose less, or add frames of "
                "larger cells"
            )
    return sentences


def data_warnings(structures, options):
    """Return sentences on labels that all frames, or many of them, lack."""
    found = missing_energies(structures, options), missing_forces(structures)
    return [sentence for sentence in found if sentence]


def missing_energies(structures, options):
    """Return a sentence if energies are to be trained on and frames have none: their name may not be the usual one."""
    missing = sum(frame.energy is None for frame in structures)
    if not options.energies or not missing:
        return None
    note = f"{missing} of {len(structures)} training frames have no energy"
    if missing == len(structures):
        note += ", so that those of the model have no common zero; are the energies under another name?"
    return note


def missing_forces(structures):
    """Return a sentence if no frame has forces, though they are most of what a frame tells."""
    if any(frame.forces is not None for frame in structures):
        return None
    return (
        f"none of the {len(structures)} training frames has forces, without which a few energies decide little; are "
        "the forces under another name?"
    )


def noise_warnings(scale):
    """Return a sentence if the noise that was learned, in units of the one given, is so large that a unit may be wrong.

    Distances tell a wrong unit by the sizes of atoms; energies have no such scale.
    """
    if scale < _NOISY:
        return []
    return [
        f"the data seem {scale:.0f} times as noisy as was assumed; name the unit of energy if it is not eV; if it is, "
        "two and three bodies describe them badly"
    ]
