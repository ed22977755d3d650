"""Descriptors and radial kernels: closed forms and derivatives."""

import numpy as np
import pytest
from checks import four_point_difference
from models import ETHANOL_GENERATORS, closed, spread_positions
from scipy.special import gamma, kv

from openmm_kml.descriptors.inverse_distances import (
    chain_to_forces,
    descriptor,
    descriptor_and_derivative,
    pair_indices,
    permuted_pairs,
)
from openmm_kml.kernels.radial import KERNELS

A = np.linspace(0.05, 12, 60)


@pytest.mark.parametrize("name", ["matern52", "matern72", "matern92"])
def test_matern_is_the_bessel_function_it_comes_from(name):
    nu = KERNELS[name].smoothness  # Rasmussen and Williams, eq. 4.14, with a = √(2ν) r / ℓ
    expected = 2 ** (1 - nu) / gamma(nu) * A**nu * kv(nu, A)
    np.testing.assert_allclose(KERNELS[name].functions(A)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
def test_radial_derivatives_by_the_squared_distance(name):
    functions = KERNELS[name].functions
    for order, factor in ((1, -2.0), (2, 2.0 * -1.0)):
        lower = four_point_difference(lambda t, order=order: functions(np.sqrt(A**2 + t))[order - 1], step=2e-4)
        np.testing.assert_allclose(functions(A)[order], factor * lower, rtol=2e-7, atol=1e-10)


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_is_one_at_zero_distance_and_positive_semi_definite(name):
    kernel = KERNELS[name]
    assert kernel.functions(np.zeros(1))[0][0] == 1.0
    x = np.random.default_rng(0).normal(size=(40, 5))
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1)
    matrix = kernel.functions(kernel.scale(2.0) * distance)[0]
    assert np.linalg.eigvalsh(matrix).min() > -1e-12


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0, 2.0, 0.7])
def test_descriptor_of_a_triangle_by_hand(power):
    positions = np.array([[0.0, 0, 0], [3.0, 0, 0], [0, 4.0, 0]])  # sides 3, 4, 5
    v = np.array([1.0, 2.0, 3.0])
    expected = v * np.array([3.0, 4.0, 5.0]) ** -power
    np.testing.assert_allclose(descriptor(positions, power, v), expected, rtol=1e-14)
    i, j = pair_indices(3)
    assert list(zip(i, j, strict=True)) == [(1, 0), (2, 0), (2, 1)]


def test_descriptor_derivative_and_chain_rule():
    rng = np.random.default_rng(1)
    positions, gradient = spread_positions(5, rng), rng.normal(size=10)
    _, dx = descriptor_and_derivative(positions, 0.5)
    forces = chain_to_forces(gradient, dx)
    for atom, axis in np.ndindex(5, 3):
        moved = np.zeros((5, 3))
        moved[atom, axis] = 1.0
        slope = four_point_difference(lambda t, moved=moved: gradient @ descriptor(positions + t * moved, 0.5))
        assert forces[atom, axis] == pytest.approx(-slope, abs=1e-9)


def test_permuting_atoms_permutes_the_descriptor():
    positions = spread_positions(9, np.random.default_rng(2))
    group = closed(ETHANOL_GENERATORS)
    x = descriptor(positions)
    for permutation, index in zip(group, permuted_pairs(group), strict=True):
        np.testing.assert_array_equal(descriptor(positions[permutation]), x[index])


def test_coincident_atoms_are_named():
    positions = spread_positions(4, np.random.default_rng(3))
    positions[3] = positions[1]
    with pytest.raises(ValueError, match="atoms 1 and 3 coincide"):
        descriptor(positions)
