"""The NumPy twin of the `soap` kind: a sparse Gaussian process on SOAP, by reverse mode from energies to forces."""

from dataclasses import replace

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
    _add_of_centers(term, species, neighbors, sums, environment_energy)


def add_unexplained(term, species, neighbors, sums):
    """Add half of the prior variance that the sparse points of a `soap` term leave open, as if it were an energy.

    v_i = σ² (p_i · p_i)^ζ - Σ_r (Σ_s explained_rs (p_i · x_s)^ζ)² of each center, zero at least. Arguments as in
    `add_soap`.
    """
    _add_of_centers(term, species, neighbors, sums, _half_unexplained)


def _add_of_centers(term, species, neighbors, sums, of_environment):
    """Add what a function of term and expansion coefficients gives for each center, and its slope."""
    i, j, _, vector, _ = neighbors
    for center in np.flatnonzero(term.centers[species]):
        own = np.flatnonzero(i == center)
        expansion = expand(term, species[center], species[j[own]], vector[own])
        value, slope = of_environment(term, expansion.coefficients)
        sums.energies[center] += value
        sums.add_vectors(i[own], j[own], vector[own], pull_back(term, expansion, slope))


def _half_unexplained(term, coefficients):
    """Return v_i/2 in eV² and its derivative by the coefficients of the density."""
    spectrum = raw_power_spectrum(term, coefficients)
    length = np.linalg.norm(spectrum)
    normalize = term.normalize and length > 0
    p = spectrum / length if normalize else spectrum
    own, own_slope = kernel_power(p @ p, term.zeta)
    power, _ = kernel_power(term.sparse_points @ p, term.zeta)
    explained = term.explained @ power
    half = 0.5 * (term.prior_variance * own - explained @ explained)
    if half <= 0:
        return 0.0, np.zeros_like(coefficients)
    effective = replace(term, coefficients=-explained @ term.explained)  # of the slope of -½ Σ_r e_r²
    _, slope = environment_energy(effective, coefficients)
    if not normalize:  # else the length of p does not depend on anything
        slope += power_spectrum_adjoint(term, coefficients, term.prior_variance * own_slope * p)
    return float(half), slope


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
