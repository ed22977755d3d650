"""The NumPy twin of the `soap` kind: a sparse Gaussian process on SOAP, by reverse mode from energies to forces."""

import numpy as np

from openmm_kml.descriptors.soap import expand, power_spectrum_adjoint, pull_back, raw_power_spectrum


def add_soap(term, species, neighbors, sums):
    """Add one `soap` term.

    Parameters
    ----------
    term : openmm_kml.weights.SoapTerm
    species : ndarray of int, shape (n_atoms,)
        Each atom's place in the model's list of elements.
    neighbors : tuple
        As `openmm_kml.neighbors.neighbor_list` returns it.
    sums : openmm_kml.reference_local.Sums
    """
    i, j, _, vector, _ = neighbors
    for center in np.flatnonzero(term.centers[species]):
        own = np.flatnonzero(i == center)
        expansion = expand(term, species[center], species[j[own]], vector[own])
        energy, slope = environment_energy(term, expansion.coefficients)
        sums.energies[center] += energy
        sums.add_vectors(i[own], j[own], vector[own], pull_back(term, expansion, slope))


def environment_energy(term, coefficients):
    """Return the energy of one environment in eV, and its derivative by the coefficients of the density.

    Parameters
    ----------
    term : openmm_kml.weights.SoapTerm
    coefficients : ndarray of shape ((L + 1)², C N)
        As `openmm_kml.descriptors.soap.expand` finds them.
    """
    spectrum = raw_power_spectrum(term, coefficients)
    length = np.linalg.norm(spectrum)
    normalize = term.normalize and length > 0
    p = spectrum / length if normalize else spectrum
    base = term.sparse_points @ p + (0.0 if term.sparse_offsets is None else term.sparse_offsets)
    power, slope = kernel_power(base, term.zeta)
    gradient = (term.coefficients * slope) @ term.sparse_points  # dE/dp
    if normalize:
        gradient = (gradient - p * (p @ gradient)) / length  # dE/dP
    return float(term.coefficients @ power), power_spectrum_adjoint(term, coefficients, gradient)


def kernel_power(base, zeta):
    """Return base^ζ and its slope; both are zero where the base is not positive and ζ is no integer."""
    base = np.asarray(base, dtype=float)
    if zeta == round(zeta):
        return base**zeta, zeta * base ** (zeta - 1)
    positive = base > 0
    safe = np.where(positive, base, 1.0)
    return np.where(positive, safe**zeta, 0.0), np.where(positive, zeta * safe ** (zeta - 1), 0.0)
