"""Descriptors and kernel rows in NumPy: by the derivative of each power spectrum, contracted with all sparse points.

The engine does the same in reverse mode; this is what it is tested against, and what works without it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from openmm_kml.descriptors.harmonics import real_harmonics
from openmm_kml.descriptors.soap import pairs, radial_functions
from openmm_kml.neighbors import neighbor_list


@dataclass
class _Neighbors:
    """What all centers of a structure need: by pair of center and neighbor, with l and m as one axis q."""

    ends: np.ndarray  # of each atom's pairs
    j: np.ndarray
    channels: np.ndarray  # (pairs, C)
    vectors: np.ndarray  # (pairs, 3)
    values: np.ndarray  # (pairs, q, N)
    slopes: np.ndarray  # (pairs, q, N, 3), None without forces


def descriptors(descriptor, elements, structure):
    """Return the indices of the centers, shape (m,), and their power spectra, shape (m, D)."""
    neighbors = _neighbors(descriptor, elements, structure, False)
    centers = _centers(descriptor, elements, structure)
    spectra = [_spectrum(descriptor, _coefficients(descriptor, elements, structure, neighbors, i)) for i in centers]
    lengths = np.array([_length(descriptor, spectrum) for spectrum in spectra])
    return centers, np.array(spectra).reshape(len(centers), descriptor.dimension) / lengths[:, None]


def kernel_rows(term, elements, structure, forces=True):
    """Return energy, forces and virial of each sparse point with a coefficient of one.

    Parameters
    ----------
    term : SoapTerm
        Without sparse offsets.
    elements : sequence of int
        Of the model.
    structure : Structure
    forces : bool

    Returns
    -------
    energies : ndarray of shape (M,)
    forces : ndarray of shape (M, n_atoms, 3), 1/Å, -dE/dr; None without
    virials : ndarray of shape (M, 3, 3), -dE/dstrain; None without
    """
    n, m = len(structure), term.n_sparse
    neighbors = _neighbors(term, elements, structure, forces)
    energies, gradient, virials = np.zeros(m), np.zeros((n, 3 * m)), np.zeros((3, 3 * m))
    for i in _centers(term, elements, structure):
        c = _coefficients(term, elements, structure, neighbors, i)
        spectrum = _spectrum(term, c)
        length = _length(term, spectrum)
        p = spectrum / length
        base = term.sparse_points @ p
        energies += _power(base, term.zeta)
        own = slice(neighbors.ends[i] - _count(neighbors, i), neighbors.ends[i])
        if not forces or own.stop == own.start or not spectrum.any():
            continue
        derivative = _spectrum_derivative(term, c, neighbors, own)  # (neighbors · 3, D)
        by_point = derivative @ term.sparse_points.T
        if term.normalize:
            by_point -= np.multiply.outer(derivative @ p, base)
        by_point *= term.zeta * _power(base, term.zeta - 1) / length
        by_point = by_point.reshape(-1, 3 * m)  # dE/dr_ij
        gradient[i] -= by_point.sum(axis=0)
        j = neighbors.j[own]
        gradient += csr_array((np.ones(len(j)), (j, np.arange(len(j)))), (n, len(j))) @ by_point
        virials -= neighbors.vectors[own].T @ by_point
    if not forces:
        return energies, None, None
    gradient = gradient.reshape(n, 3, m)
    return energies, -gradient.transpose(2, 0, 1), virials.reshape(3, 3, m).transpose(2, 0, 1)


def _neighbors(descriptor, elements, structure, forces):
    i, j, _, vectors, r = neighbor_list(structure.positions, structure.cell, structure.pbc, descriptor.cutoff)
    species = np.searchsorted(elements, structure.numbers)
    directions = vectors / r[:, None]
    radial, radial_slopes = radial_functions(descriptor, r)
    degrees = np.repeat(np.arange(descriptor.n_angular), 2 * np.arange(descriptor.n_angular) + 1)
    radial, harmonics = radial[:, degrees], real_harmonics(descriptor.n_angular - 1, directions)
    values = radial * harmonics[0][:, :, None]
    slopes = None
    if forces:
        outward = np.einsum("jqa,ja->jq", harmonics[1], directions)
        across = (harmonics[1] - outward[:, :, None] * directions[:, None]) / r[:, None, None]
        slopes = radial[:, :, :, None] * across[:, :, None]
        along = radial_slopes[:, degrees] * harmonics[0][:, :, None]
        slopes += along[..., None] * directions[:, None, None]
    ends = np.searchsorted(i, np.arange(len(structure)), side="right")
    return _Neighbors(ends, j, descriptor.species_weights[species[j]], vectors, values, slopes)


def _centers(descriptor, elements, structure):
    return np.flatnonzero(descriptor.centers[np.searchsorted(elements, structure.numbers)])


def _count(neighbors, i):
    return neighbors.ends[i] - (neighbors.ends[i - 1] if i else 0)


def _coefficients(descriptor, elements, structure, neighbors, i):
    """Return c of shape (q, C N) of one center."""
    own = slice(neighbors.ends[i] - _count(neighbors, i), neighbors.ends[i])
    values = neighbors.values[own]
    c = np.tensordot(neighbors.channels[own], values, (0, 0)).transpose(1, 0, 2).copy()  # (q, C, N)
    element = np.searchsorted(elements, structure.numbers[i])
    c[0] += np.multiply.outer(descriptor.central_weights[element], descriptor.central_radial) / np.sqrt(4 * np.pi)
    return c.reshape(len(c), -1)


def _spectrum(descriptor, c):
    first, second, weight = pairs(descriptor)
    spectrum = np.empty((len(first), descriptor.n_angular))
    for degree, t in enumerate(descriptor.angular_weights):
        block = c[degree**2 : (degree + 1) ** 2]
        spectrum[:, degree] = t * weight * (block.T @ block)[first, second]
    return spectrum.ravel()


def _spectrum_derivative(descriptor, c, neighbors, own):
    """Return the derivatives of P by the vectors to the neighbors, shape (neighbors · 3, D)."""
    first, second, weight = pairs(descriptor)
    channels, slopes = neighbors.channels[own], neighbors.slopes[own]
    count, n_channels = channels.shape
    derivative = np.empty((3 * count, len(first), descriptor.n_angular))
    for degree, t in enumerate(descriptor.angular_weights):
        rows = slice(degree**2, (degree + 1) ** 2)
        # (neighbors, 3, C, N, 2 l + 1): the derivative of c_k by r_ij
        part = slopes[:, rows].transpose(0, 3, 2, 1)[:, :, None] * channels[:, None, :, None, None]
        product = part.reshape(3 * count, n_channels * descriptor.n_radial, -1) @ c[rows]
        derivative[:, :, degree] = t * weight * (product[:, first, second] + product[:, second, first])
    return derivative.reshape(3 * count, -1)


def _length(descriptor, spectrum):
    length = np.linalg.norm(spectrum)
    return length if descriptor.normalize and length > 0 else 1.0


def _power(base, exponent):
    """Return base^exponent; zero for a base that is not positive, unless the exponent is an integer."""
    if float(exponent).is_integer():
        return base ** int(exponent)
    return np.where(base > 0, np.maximum(base, np.finfo(float).tiny) ** exponent, 0.0)
