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


def two_body_factor(basis, kernel, length_scale, width):
    """Return L of shape (K, k) with L Lᵀ the prior covariance of f2's coefficients for unit amplitude."""
    return axis_factor(basis.grid2, kernel, length_scale, width)[0]


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
    product = near_values[:, None, None] * near_values[:, None] * far_values
    p, q, r = np.nonzero(product > rounding * product.max())
    block = next(block for block in basis.blocks3 if block.symmetric == symmetric)
    i, j, k = block.entries
    if not symmetric:
        return near[i][:, p] * near[j][:, q] * far[k][:, r]
    once = p <= q
    p, q, r = p[once], q[once], r[once]
    both = near[i][:, p] * near[j][:, q] + near[i][:, q] * near[j][:, p]
    return both * np.where(p == q, 0.5, np.sqrt(0.5)) * far[k][:, r]
