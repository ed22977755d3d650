"""The descriptors of a training: one for each element's environments, compressed if the options say so."""

from dataclasses import replace

import numpy as np

from openmm_kml.descriptors.soap import radial_functions, soap_descriptor
from openmm_kml.errors import DataError
from openmm_kml.neighbors import neighbor_list

_SAMPLE = 5000  # distances that radial functions are combined for


def make_descriptors(structures, options):
    """Return a `SoapDescriptor` for the environments of each element, and the part of the density that is lost.

    Parameters
    ----------
    structures : StructureSet
    options : SoapOptions

    Returns
    -------
    descriptors : list of SoapDescriptor
        By element, ascending.
    loss : float
        Of the squared radial functions at the distances in the data, by leaving out combinations; the most over all l.

    Raises
    ------
    DataError
        If the elements are fewer than the channels they are to be mixed into.
    """
    elements = [int(z) for z in structures.elements]
    weights = None if options.channels is None else mixed_channels(elements, options.channels, options.seed)
    made = [
        soap_descriptor(
            elements,
            centers=[z],
            cutoff=options.cutoff,
            cutoff_width=options.cutoff_width,
            n_max=options.n_max,
            l_max=options.l_max,
            atom_sigma=options.atom_sigma,
            central_weight=options.central_weight,
            species_weights=weights,
        )
        for z in elements
    ]
    if options.radial_functions is None:
        return made, 0.0
    distances, per_atom = _sample_distances(structures, options)
    compressed = [compress_radial(one, options.radial_functions, distances, per_atom) for one in made]
    return [one for one, _ in compressed], compressed[0][1]


def mixed_channels(elements, channels, seed):
    """Return weights of the elements in few channels, shape (n_elements, channels): random unit vectors.

    Willatt, Musil and Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018), learn such weights; random ones keep elements
    apart as long as there are not many for each channel.
    """
    if not 1 < channels < len(elements):
        raise DataError(
            f"{channels} channels are to hold {len(elements)} elements; ask for at least 2 and for fewer than the "
            "elements, or leave the number out: each element then has its own"
        )
    weights = np.random.default_rng(seed).standard_normal((len(elements), channels))
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


def compress_radial(descriptor, count, distances, per_atom):
    """Return a descriptor of the best `count` combinations of its radial functions, and what they lose.

    For each l, the leading right singular vectors V of the functions at the distances of the data (and of the center's
    own part, for l = 0) make T^l V: of all combinations these keep the most of a density of independent neighbors
    (Goscinski, Musil, Pozdnyakov, Nigam and Ceriotti, J. Chem. Phys. 155, 104106 (2021)). All of them change nothing:
    the kernel does not see a rotation of the radial functions.

    Parameters
    ----------
    descriptor : SoapDescriptor
    count : int
    distances : ndarray of shape (m,), Å
        A sample of distances to neighbors.
    per_atom : float
        Neighbors of an atom in the mean.

    Returns
    -------
    SoapDescriptor
    loss : float
        Part of the squared functions that is left out, the largest over l.
    """
    values = radial_functions(descriptor, distances)[0] * np.sqrt(per_atom / len(distances))
    own = descriptor.central_weights.max() * descriptor.central_radial
    transforms, losses, central = [], [], None
    for degree, transform in enumerate(descriptor.radial_transforms):
        rows = values[:, degree] if degree else np.vstack([values[:, 0], own])
        _, singular, directions = np.linalg.svd(rows, full_matrices=False)
        kept = directions[:count]
        # The sign of a singular vector is free; fixed here, the same data give the same bytes.
        kept = kept * np.sign(kept[np.arange(len(kept)), np.abs(kept).argmax(axis=1)])[:, None]
        losses.append(float((singular[count:] ** 2).sum() / (singular**2).sum()))
        transforms.append(transform @ kept.T)
        if degree == 0:
            central = kept @ descriptor.central_radial
    return replace(descriptor, radial_transforms=np.array(transforms), central_radial=central), max(losses)


def _sample_distances(structures, options):
    """Return distances to neighbors of a random sample of atoms, and the mean number of neighbors of an atom."""
    rng = np.random.default_rng(options.seed)
    found, atoms, total = [], 0, 0
    for k in rng.permutation(len(structures)):
        frame = structures.frames[k]
        distance = neighbor_list(frame.positions, frame.cell, frame.pbc, options.cutoff)[4]
        found.append(distance)
        atoms += len(frame)
        total += len(distance)
        if total > _SAMPLE:
            break
    return np.concatenate(found), total / atoms
