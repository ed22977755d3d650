"""SOAP: the density around an atom in radial functions and spherical harmonics, and its power spectrum.

Bartók, Kondor and Csányi, Phys. Rev. B 87, 184115 (2013). Formulas and the order of the power spectrum are in
docs/theory.md; l runs from 0 to l_max inclusive. This is the slow and obvious form: the engine is tested against it.
"""

from dataclasses import dataclass

import numpy as np

from openmm_kml.descriptors.harmonics import real_harmonics
from openmm_kml.descriptors.radial_bases import RADIAL_BASES, gaussian_projections
from openmm_kml.soap_term import SoapDescriptor, checked_descriptor


def soap_descriptor(
    elements,
    centers=None,
    channels=None,
    *,
    cutoff=5.0,
    n_max=8,
    l_max=8,
    atom_sigma=0.5,
    cutoff_width=0.5,
    central_weight=1.0,
    central_everywhere=False,
    normalize=True,
    diagonal_radial=False,
    decay_exponent=0.0,
    decay_scale=1.0,
    decay_rate=1.0,
    radial_basis="equispaced_gauss",
    error_exponent=10.0,
    species_weights=None,
    angular_weights=None,
):
    """Return the `SoapDescriptor` of some hyperparameters; the defaults are those of QUIP where it has any.

    Parameters
    ----------
    elements : sequence of int
        Atomic numbers that the model knows, ascending.
    centers : sequence of int, optional
        Atomic numbers whose atoms are described; all elements by default.
    channels : sequence of sequence of int, optional
        Atomic numbers of each channel of the density. By default one channel for each element.
    cutoff, cutoff_width : float, Å
        Neighbors beyond the cutoff do not count; the cosine falls over `cutoff_width` before it.
    n_max, l_max : int
        Number of radial functions, and the largest l, inclusive.
    atom_sigma : float, Å
        Width of an atom's Gaussian density.
    central_weight : float
        Weight of the center itself.
    central_everywhere : bool
        Whether the center stands in every channel; by default only in those of its own element.
    normalize : bool
        Whether the power spectrum is divided by its length.
    diagonal_radial : bool
        Whether only pairs of equal radial functions count.
    decay_exponent, decay_scale, decay_rate : float, 1, Å, 1
        Of the radial weight of neighbors; an exponent of zero means none.
    radial_basis : str
        One of `radial_bases.RADIAL_BASES`.
    error_exponent : float
        The nodes reach to where a Gaussian at the cutoff has fallen to 10 to the power of minus this.
    species_weights : ndarray of shape (n_elements, C), optional
        Instead of `channels`: weight of an element's atoms in each channel.
    angular_weights : ndarray of shape (l_max + 1,), optional
        t_l; 1/√(2l + 1) by default.

    Raises
    ------
    ValueError
        If a hyperparameter is out of range; the message names it.
    """
    elements = [int(z) for z in elements]
    if radial_basis not in RADIAL_BASES:
        raise ValueError(f"radial_basis must be one of {', '.join(RADIAL_BASES)}; {radial_basis!r} was given")
    if n_max < 1 or l_max < 0 or not (atom_sigma > 0 and cutoff > 0 and error_exponent > 0):
        raise ValueError(
            "SOAP needs n_max >= 1, l_max >= 0 and cutoff, atom_sigma, error_exponent above zero; "
            f"{n_max}, {l_max}, {cutoff}, {atom_sigma}, {error_exponent} were given"
        )
    if species_weights is None:
        species_weights = _one_hot(elements, [[z] for z in elements] if channels is None else channels)
    elif channels is not None:
        raise ValueError("give either channels or species_weights")
    species_weights = np.asarray(species_weights, dtype=float)
    central = np.ones_like(species_weights) if central_everywhere else species_weights
    nodes, transforms, central_radial = RADIAL_BASES[radial_basis](n_max, l_max, cutoff, atom_sigma, error_exponent)
    if angular_weights is None:
        angular_weights = 1 / np.sqrt(2 * np.arange(l_max + 1) + 1)
    descriptor = SoapDescriptor(
        cutoff=cutoff,
        cutoff_width=cutoff_width,
        decay_exponent=decay_exponent,
        decay_scale=decay_scale,
        decay_rate=decay_rate,
        atom_sigma=atom_sigma,
        normalize=normalize,
        diagonal_radial=diagonal_radial,
        centers=_one_hot(elements, [elements if centers is None else centers])[:, 0],
        species_weights=species_weights,
        central_weights=central_weight * central,
        angular_weights=angular_weights,
        radial_nodes=nodes,
        radial_transforms=transforms,
        central_radial=central_radial,
    )
    return checked_descriptor("soap", descriptor, len(elements))


def _one_hot(elements, groups):
    """Return 1 where an element belongs to a group, else 0, shape (n_elements, n_groups)."""
    unknown = sorted({int(z) for group in groups for z in group} - set(elements))
    if unknown:
        raise ValueError(f"element {unknown[0]} of the descriptor is not among the elements {elements}")
    return np.array([[float(z in group) for group in groups] for z in elements])


@dataclass(frozen=True)
class Expansion:
    """The density around one atom, and what its derivative by the neighbors needs.

    Attributes
    ----------
    coefficients : ndarray of shape ((L + 1)², C N)
        c_lm,k with k = channel N + n.
    channels : ndarray of shape (n_neighbors, C)
        Weights of the neighbors in the channels.
    radial, radial_slopes : ndarray of shape (n_neighbors, L + 1, N)
    harmonics : ndarray of shape (n_neighbors, (L + 1)²)
    harmonic_gradients : ndarray of shape (n_neighbors, (L + 1)², 3)
        By the vector to the neighbor, 1/Å.
    directions : ndarray of shape (n_neighbors, 3)
    """

    coefficients: np.ndarray
    channels: np.ndarray
    radial: np.ndarray
    radial_slopes: np.ndarray
    harmonics: np.ndarray
    harmonic_gradients: np.ndarray
    directions: np.ndarray


def expand(descriptor, element, neighbors, vectors):
    """Return the `Expansion` of the density around one atom.

    Parameters
    ----------
    descriptor : SoapDescriptor
    element : int
        Place of the center's element in the model's list.
    neighbors : ndarray of int, shape (n_neighbors,)
        The same of the neighbors.
    vectors : ndarray of shape (n_neighbors, 3), Å
        From the center to the neighbors, all shorter than the cutoff.
    """
    r = np.linalg.norm(vectors, axis=1)
    directions = vectors / r[:, None]
    radial, slopes = radial_functions(descriptor, r)
    values, gradients = real_harmonics(descriptor.n_angular - 1, directions)
    outward = np.einsum("jqa,ja->jq", gradients, directions)
    gradients = (gradients - outward[:, :, None] * directions[:, None]) / r[:, None, None]
    channels = descriptor.species_weights[neighbors]
    degree = _degrees(descriptor)
    c = np.einsum("jx,jqn,jq->qxn", channels, radial[:, degree], values)
    c[0] += np.multiply.outer(descriptor.central_weights[element], descriptor.central_radial) / np.sqrt(4 * np.pi)
    return Expansion(c.reshape(len(degree), -1), channels, radial, slopes, values, gradients, directions)


def pull_back(descriptor, expansion, gradient):
    """Return the derivative by the vectors to the neighbors, shape (n_neighbors, 3), from that by the coefficients."""
    degree = _degrees(descriptor)
    gradient = gradient.reshape(len(degree), descriptor.n_channels, descriptor.n_radial)
    each = np.einsum("qxn,jx->jqn", gradient, expansion.channels)
    along = np.einsum("jqn,jqn,jq->j", each, expansion.radial_slopes[:, degree], expansion.harmonics)
    across = np.einsum("jqn,jqn,jqa->ja", each, expansion.radial[:, degree], expansion.harmonic_gradients)
    return along[:, None] * expansion.directions + across


def radial_functions(descriptor, r):
    """Return R_nl(r) with cutoff and decay, and their slopes, both of shape (n, L + 1, N), at r > 0 in Å."""
    g, dg = gaussian_projections(r, descriptor.radial_nodes, descriptor.atom_sigma, descriptor.n_angular - 1)
    g, dg = (np.einsum("jla,lan->jln", value, descriptor.radial_transforms) for value in (g, dg))
    weight, slope = (value[:, None, None] for value in radial_weight(descriptor, r))
    return weight * g, weight * dg + slope * g


def radial_weight(descriptor, r):
    """Return F(r), the cosine cutoff times the decay, and its slope."""
    s = np.clip((r - descriptor.cutoff) / descriptor.cutoff_width + 1, 0, 1)
    cut, dcut = 0.5 * (1 + np.cos(np.pi * s)), -0.5 * np.pi / descriptor.cutoff_width * np.sin(np.pi * s)
    if descriptor.decay_exponent == 0:
        return cut, dcut
    power = (r / descriptor.decay_scale) ** descriptor.decay_exponent
    decay = (descriptor.decay_rate or 1.0) / (descriptor.decay_rate + power)
    ddecay = -decay * descriptor.decay_exponent * power / (r * (descriptor.decay_rate + power))
    return cut * decay, dcut * decay + cut * ddecay


def raw_power_spectrum(descriptor, coefficients):
    """Return P of some coefficients, shape (D,): the power spectrum before its length is divided out."""
    first, second, weight = pairs(descriptor)
    spectrum = [
        t * weight * np.einsum("mk,mk->k", block[:, first], block[:, second])
        for t, block in zip(descriptor.angular_weights, _blocks(descriptor, coefficients), strict=True)
    ]
    return np.stack(spectrum, axis=1).ravel()


def power_spectrum_adjoint(descriptor, coefficients, gradient):
    """Return the derivative by the coefficients, shape ((L + 1)², C N), from that by P, shape (D,)."""
    first, second, weight = pairs(descriptor)
    by_degree = gradient.reshape(-1, descriptor.n_angular).T
    rows = []
    for t, g, block in zip(descriptor.angular_weights, by_degree, _blocks(descriptor, coefficients), strict=True):
        h = np.zeros((block.shape[1], block.shape[1]))
        h[first, second] = t * weight * g
        rows.append(block @ (h + h.T))
    return np.concatenate(rows)


def power_spectrum(descriptor, element, neighbors, vectors):
    """Return p of one environment, shape (D,); arguments as in `expand`. Where P is zero, p is zero."""
    spectrum = raw_power_spectrum(descriptor, expand(descriptor, element, neighbors, vectors).coefficients)
    length = np.linalg.norm(spectrum)
    return spectrum / length if descriptor.normalize and length > 0 else spectrum


def pairs(descriptor):
    """Return the pairs k >= k' of the power spectrum in its order: k, k' and the weight, 1 or √2."""
    first, second = np.tril_indices(descriptor.n_channels * descriptor.n_radial)
    if descriptor.diagonal_radial:
        keep = first % descriptor.n_radial == second % descriptor.n_radial
        first, second = first[keep], second[keep]
    return first, second, np.where(first == second, 1.0, np.sqrt(2.0))


def _degrees(descriptor):
    """Return l of each (l, m), shape ((L + 1)²,)."""
    degrees = np.arange(descriptor.n_angular)
    return np.repeat(degrees, 2 * degrees + 1)


def _blocks(descriptor, coefficients):
    """Return the rows of each l, as views."""
    return [coefficients[degree**2 : (degree + 1) ** 2] for degree in range(descriptor.n_angular)]
