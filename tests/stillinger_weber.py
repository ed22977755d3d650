"""Stillinger and Weber's silicon on splines: a model of real physics, made from its formula instead of data.

F. H. Stillinger and T. A. Weber, Phys. Rev. B 31, 5262 (1985), with the numbers of LAMMPS's ``Si.sw``.
"""

import numpy as np

from openmm_kml.descriptors.splines import bspline_values
from openmm_kml.weights import Spline2Term, Spline3Term, Weights

EPSILON, SIGMA, REACH = 2.1683, 2.0951, 1.80  # eV, Å, a
A, B, LAMBDA, GAMMA = 7.049556277, 0.6022245584, 21.0, 1.20
CUTOFF = REACH * SIGMA  # Å


def pair_energy(r):
    """Return the energy of a pair in eV at distances r in Å."""
    inside = r < CUTOFF
    s = np.where(inside, r, 1.0) / SIGMA
    tail = np.exp(1 / np.where(inside, s - REACH, -1.0))
    return np.where(inside, EPSILON * A * (B * s**-4 - 1) * tail, 0.0)


def side(r, cutoff):
    """Return the factor of one side of a triple."""
    inside = r < cutoff
    return np.where(inside, np.exp(GAMMA * SIGMA / np.where(inside, r - cutoff, -1.0)), 0.0)


def triple_energy(r_ij, r_ik, r_jk, cutoff=CUTOFF):
    """Return the energy of a centered triple in eV; by its three sides in Å."""
    cosine = (r_ij**2 + r_ik**2 - r_jk**2) / (2 * r_ij * r_ik)
    return LAMBDA * EPSILON * (cosine + 1 / 3) ** 2 * side(r_ij, cutoff) * side(r_ik, cutoff)


def _projection(start, end, n, ends_in_zero):
    """Return points of an axis, and the matrix that makes B-spline coefficients of values there."""
    r = np.linspace(start, end, 3 * n + 1)[: -1 if ends_in_zero else None]
    index, values, _ = bspline_values(r, start, (end - start) / n, n)
    matrix = np.zeros((len(r), n + 3))
    np.put_along_axis(matrix, index[:, None] + np.arange(4), values, axis=1)
    return r, np.linalg.pinv(matrix[:, : n if ends_in_zero else n + 3])


def spline_model(cutoff3=CUTOFF, cutoff2=6.0, start=1.5, spacing=0.25):
    """Return the potential on splines; with another `cutoff3`, its triples end there instead of at 3.77 Å.

    Parameters
    ----------
    cutoff3, cutoff2 : float, Å
        Ends of triples and pairs.
    start, spacing : float, Å
        Of the grids.
    """
    r, project = _projection(start, cutoff2, round((cutoff2 - start) / spacing), True)
    two = Spline2Term(start, cutoff2, (project @ pair_energy(r))[None])
    near, project_near = _projection(start, cutoff3, round((cutoff3 - start) / spacing), True)
    far, project_far = _projection(start, 2 * cutoff3, round((2 * cutoff3 - start) / spacing), False)
    values = triple_energy(near[:, None, None], near[None, :, None], far, cutoff3)
    c = np.einsum("ai,bj,ck,ijk->abc", project_near, project_near, project_far, values, optimize=True)
    c = 0.5 * (c + c.swapaxes(0, 1))
    three = Spline3Term(start, cutoff3, start, False, start, 0.3, c[None, None])
    return Weights(elements=(14,), terms=(two, three))
