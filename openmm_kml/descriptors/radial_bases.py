"""Radial bases of SOAP: what makes coefficients n = 1 … N of the density that a neighbor smears over the radius.

A neighbor at distance r has the projections g_la(r) on Gaussians at the nodes r_a (docs/theory.md); a basis is a set of
nodes and of matrices T^l, so that its radial functions are R_nl(r) = Σ_a g_la(r) T^l_an. The definitions are those of
the `soap` descriptor of QUIP (https://github.com/libAtoms/QUIP; Bartók, Kondor and Csányi, Phys. Rev. B 87, 184115
(2013)). Each function here returns the nodes of shape (A,) in Å, the transforms of shape (l_max + 1, A, n_max), and
the radial part of the center itself, R⁰_n = Σ_a exp(-α r_a²) T⁰_an, of shape (n_max,).
"""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import erf, eval_jacobi, gamma, gammainc, ive

OVERSAMPLING = 3  # nodes for each polynomial or Gaussian-type orbital


def equispaced_gauss(n_max, l_max, cutoff, atom_sigma, error_exponent=10.0):
    """Return the basis of Gaussians of the atoms' width at equispaced nodes, orthonormalized by Cholesky's method.

    T = Q⁻¹ L for every l, with Q_ab = exp(-α (r_a - r_b)²) and L Lᵀ = S, the overlaps of the Gaussians in r² dr.

    Parameters
    ----------
    n_max, l_max : int
        Number of radial functions, and the largest l, inclusive.
    cutoff, atom_sigma : float, Å
    error_exponent : float
        b: the nodes reach to where a Gaussian at the cutoff has fallen to 10^-b.

    Raises
    ------
    ValueError
        If the functions are linearly dependent in double precision.
    """
    alpha, reach = 0.5 / atom_sigma**2, basis_reach(cutoff, atom_sigma, error_exponent)
    nodes = np.arange(n_max) * (reach / n_max)
    gap, middle, beta = nodes[:, None] - nodes, 0.5 * (nodes[:, None] + nodes), 2 * alpha
    overlap = np.exp(-0.5 * alpha * gap**2) * (
        middle * np.exp(-beta * middle**2) / (2 * beta)
        + 0.5 * np.sqrt(np.pi / beta) * (middle**2 + 0.5 / beta) * (1 + erf(middle * np.sqrt(beta)))
    )
    transform = np.linalg.solve(np.exp(-alpha * gap**2), _cholesky(overlap))
    return _basis(nodes, np.repeat(transform[None], l_max + 1, axis=0), alpha)


def polynomials(n_max, l_max, cutoff, atom_sigma, error_exponent=10.0):
    """Return the basis of polynomials (R - r)^(n + 2), orthonormalized in r² dr on [0, R].

    With u = 1 - r/R, the orthonormal functions are u³ times the Jacobi polynomials P^(2,6)(2u - 1), which stay accurate
    where Cholesky's method on the powers does not: QUIP's, by the latter, differs from these by its rounding, in p by
    some 1e-13 with 3 functions, 3e-9 with 6 and 7e-7 with 8. Parameters and errors as in `equispaced_gauss`.
    """
    reach = basis_reach(cutoff, atom_sigma, error_exponent)
    nodes = np.arange(OVERSAMPLING * n_max) * (reach / (OVERSAMPLING * n_max))
    u, k = 1 - nodes[:, None] / reach, np.arange(n_max)
    norm = np.sqrt((k + 1) * (k + 2) / ((2 * k + 9) * (k + 7) * (k + 8)) * reach**3)
    functions = u**3 * eval_jacobi(k, 2, 6, 2 * u - 1) / norm
    transform = np.linalg.pinv(functions, rcond=1e-15).T
    return _basis(nodes, np.repeat(transform[None], l_max + 1, axis=0), 0.5 / atom_sigma**2)


def gaussian_type_orbitals(n_max, l_max, cutoff, atom_sigma, error_exponent=10.0):
    """Return the basis r^l exp(-β r²), orthonormalized in r² dr on [0, R] by Cholesky's method.

    β of function n makes r^l exp(-β r²) equal 10^-3 at n R/n_max. Parameters and errors as in `equispaced_gauss`.
    """
    reach = basis_reach(cutoff, atom_sigma, error_exponent)
    nodes = np.arange(OVERSAMPLING * n_max) * (reach / (OVERSAMPLING * n_max))
    radii = reach / n_max * np.arange(1, n_max + 1)
    transforms = []
    for degree in range(l_max + 1):
        beta = (np.log(1e3) + degree * np.log(radii)) / radii**2
        t, v = degree + 1.5, (beta[:, None] + beta) * reach**2
        overlap = 0.5 * reach ** (2 * t) * v**-t * gamma(t) * gammainc(t, v)
        functions = nodes[:, None] ** degree * np.exp(-beta * nodes[:, None] ** 2)
        functions = solve_triangular(_cholesky(overlap), functions.T, lower=True).T
        transforms.append(np.linalg.pinv(functions, rcond=1e-15).T)
    return _basis(nodes, np.array(transforms), 0.5 / atom_sigma**2)


RADIAL_BASES = {"equispaced_gauss": equispaced_gauss, "poly": polynomials, "gto": gaussian_type_orbitals}


def basis_reach(cutoff, atom_sigma, error_exponent):
    """Return R in Å, where a Gaussian at the cutoff has fallen to 10 to the power of -error_exponent."""
    return cutoff + atom_sigma * np.sqrt(2 * error_exponent * np.log(10))


def gaussian_projections(r, nodes, atom_sigma, l_max):
    """Return g_la(r) = exp(-α (r² + r_a²)) i_l(2 α r r_a) and its slope, both of shape (..., l_max + 1, A).

    i_l are the modified spherical Bessel functions of the first kind, evaluated without overflow by their
    exponentially scaled form, and i_l' = i_(l+1) + (l/x) i_l.

    Parameters
    ----------
    r : ndarray, Å, above zero
    nodes : ndarray of shape (A,), Å
    atom_sigma : float, Å
    l_max : int
    """
    alpha = 0.5 / atom_sigma**2
    r = np.asarray(r, dtype=float)[..., None, None]
    degree = np.arange(l_max + 2)[:, None]
    x = 2 * alpha * r * nodes
    away = np.where(x > 0, x, 1.0)
    scaled = np.where(x > 0, np.sqrt(np.pi / (2 * away)) * ive(degree + 0.5, away), degree == 0)
    g = np.exp(-alpha * (r - nodes) ** 2) * scaled
    low, high = g[..., :-1, :], g[..., 1:, :]
    return low, (degree[:-1] / r - 2 * alpha * r) * low + 2 * alpha * nodes * high


def _basis(nodes, transforms, alpha):
    return nodes, transforms, np.exp(-alpha * nodes**2) @ transforms[0]


def _cholesky(overlap):
    try:
        return np.linalg.cholesky(overlap)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"the {len(overlap)} radial functions are linearly dependent: take a smaller n_max or a smaller atom_sigma"
        ) from None
