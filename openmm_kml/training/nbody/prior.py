"""The Gaussian-process prior of f2 and f3 as a Gaussian prior of spline coefficients.

On the infinite grid, the spline that takes a function's values at the sites has the coefficients
c_b = Σ_m √3 (√3 - 2)^|m| f(site_(b+m)): the inverse of the matrix with rows (1/6, 2/3, 1/6), of which the values of the
splines at the sites consist. So the covariance of the coefficients is that of the function between the sites, filtered
on both sides; the spline differs from the function itself by some h⁴.
"""

import numpy as np

from openmm_kml.kernels.radial import KERNELS

_REACH = 18  # sites on each side: (2 - √3)^18 = 5e-11
ROUNDING = 1e-12  # relative eigenvalue below which a direction is rounding


def amplitude(r, end, width):
    """Return the relative prior amplitude: 1 below end - width, 0 from the end on.

    The ninth-order smooth step s⁵(126 - 420 s + 540 s² - 315 s³ + 70 s⁴): four derivatives vanish at the cutoff, more
    than a cubic spline can tell.
    """
    s = np.clip((end - np.asarray(r)) / width, 0.0, 1.0)
    return s**5 * (126 + s * (-420 + s * (540 + s * (-315 + 70 * s))))


def axis_covariance(grid, kernel, length_scale, width):
    """Return the covariance of the coefficients on one axis, shape (n_coefficients, n_coefficients).

    Parameters
    ----------
    grid : Grid
    kernel : str
    length_scale : float, Å
    width : float, Å
        Of the fall of the amplitude to the end of a closed grid.
    """
    sites = grid.sites(_REACH)
    radial = KERNELS[kernel]
    covariance = radial.functions(radial.scale(length_scale) * np.abs(sites[:, None] - sites))[0]
    return _filtered(grid, covariance, width)


def axis_covariance_slope(grid, kernel, length_scale, width):
    """Return the derivative of `axis_covariance` by the logarithm of the length scale: of f(a), it is -a f'(a)."""
    sites = grid.sites(_REACH)
    radial = KERNELS[kernel]
    a = radial.scale(length_scale) * np.abs(sites[:, None] - sites)
    return _filtered(grid, a**2 * radial.functions(a)[1], width)


def _filtered(grid, covariance, width):
    """Return the covariance of the coefficients, given that of the function at the sites and some more each way."""
    sites = grid.sites(_REACH)
    if grid.closed:
        fall = amplitude(sites, grid.end, min(width, (grid.end - grid.start) / 2))
        covariance = fall[:, None] * covariance * fall
    distance = np.abs(np.arange(grid.n_coefficients)[:, None] + _REACH - np.arange(len(sites)))
    weights = np.sqrt(3) * (np.sqrt(3) - 2) ** distance
    return weights @ covariance @ weights.T


def axis_factor(*arguments):
    """Return eigenvectors of `axis_covariance` times roots of eigenvalues, and the eigenvalues; largest first."""
    eigenvalues, vectors = np.linalg.eigh(axis_covariance(*arguments))
    keep = eigenvalues > ROUNDING * eigenvalues[-1]
    eigenvalues, vectors = eigenvalues[keep][::-1], vectors[:, keep][:, ::-1]
    return vectors * np.sqrt(eigenvalues), eigenvalues


def axis_factor_slope(*arguments):
    """Return the derivative of the first result of `axis_factor` by the logarithm of the length scale.

    By perturbation theory: λ_i' = v_i·C' v_i, and v_i' = Σ_j v_j (v_j·C' v_i) / (λ_i - λ_j).
    """
    eigenvalues, vectors = np.linalg.eigh(axis_covariance(*arguments))
    change = vectors.T @ axis_covariance_slope(*arguments) @ vectors
    gap = eigenvalues - eigenvalues[:, None]  # λ_i - λ_j in row j, column i
    distinct = np.abs(gap) > np.finfo(float).eps * eigenvalues[-1]
    turn = np.where(distinct, change, 0.0) / np.where(distinct, gap, 1.0)
    keep = eigenvalues > ROUNDING * eigenvalues[-1]
    root = np.sqrt(eigenvalues[keep])
    slope = (vectors @ turn[:, keep]) * root + vectors[:, keep] * (0.5 * np.diag(change)[keep] / root)
    return slope[:, ::-1]


def two_body_factor(basis, kernel, length_scale, width):
    """Return L of shape (K, k) with L Lᵀ the prior covariance of f2's coefficients for unit amplitude."""
    return axis_factor(basis.grid2, kernel, length_scale, width)[0]


def two_body_slope(basis, kernel, length_scale, width):
    """Return the derivative of `two_body_factor` by the logarithm of the length scale."""
    return axis_factor_slope(basis.grid2, kernel, length_scale, width)


def three_body_factor(basis, symmetric, kernel, length_scale, width, rounding=ROUNDING):
    """Return L with L Lᵀ the prior covariance of f3's coefficients for unit amplitude.

    The kernel is the product over the three distances; for equal neighbors the function is the mean of itself and its
    mirror image in the first two.

    Parameters
    ----------
    basis : SplineBasis
    symmetric : bool
        Whether the two neighbors are of the same element.
    kernel : str
    length_scale, width : float, Å
    rounding : float
        Relative eigenvalue below which directions are left out.

    Returns
    -------
    ndarray of shape (columns of a block, k)
    """
    near, near_values = axis_factor(basis.grid3, kernel, length_scale, width)
    far, far_values = axis_factor(basis.grid_far, kernel, length_scale, width)
    directions = _directions(near_values, far_values, symmetric, rounding)
    return _product(basis, symmetric, directions, near, near, far)


def three_body_slope(basis, symmetric, kernel, length_scale, width, rounding=ROUNDING):
    """Return the derivative of `three_body_factor` by the logarithm of the length scale, its directions kept."""
    near, near_values = axis_factor(basis.grid3, kernel, length_scale, width)
    far, far_values = axis_factor(basis.grid_far, kernel, length_scale, width)
    directions = _directions(near_values, far_values, symmetric, rounding)
    near_slope, far_slope = (
        axis_factor_slope(grid, kernel, length_scale, width) for grid in (basis.grid3, basis.grid_far)
    )
    factors = ((near_slope, near, far), (near, near_slope, far), (near, near, far_slope))
    return sum(_product(basis, symmetric, directions, *three) for three in factors)


def _directions(near_values, far_values, symmetric, rounding):
    """Return the places (p, q, r) of the products of three eigenvectors that count."""
    product = near_values[:, None, None] * near_values[:, None] * far_values
    p, q, r = np.nonzero(product > rounding * product.max())
    if not symmetric:
        return p, q, r
    once = p <= q
    return p[once], q[once], r[once]


def _product(basis, symmetric, directions, first, second, far):
    """Return products of three axes' vectors, for the coefficients of a block and the directions."""
    p, q, r = directions
    block = next(block for block in basis.blocks3 if block.symmetric == symmetric)
    i, j, k = block.entries
    if not symmetric:
        return first[i][:, p] * second[j][:, q] * far[k][:, r]
    both = first[i][:, p] * second[j][:, q] + first[i][:, q] * second[j][:, p]
    return both * np.where(p == q, 0.5, np.sqrt(0.5)) * far[k][:, r]
