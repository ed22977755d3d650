"""SOAP in NumPy: harmonics and radial functions by their definitions, spectra against QUIP."""

import numpy as np
import pytest
from checks import four_point_difference
from local_models import SOAP_MODELS
from scipy.integrate import quad
from scipy.spatial.transform import Rotation
from scipy.special import spherical_in

from openmm_kml.descriptors import radial_bases, soap
from openmm_kml.descriptors.harmonics import real_harmonics
from openmm_kml.neighbors import neighbor_list
from openmm_kml.reference_soap import environment_energy, kernel_power

L_MAX = 20
CLAY = (8, 13, 14)


def directions(n, seed=0):
    """Return n random unit vectors, and two at the poles."""
    vectors = np.random.default_rng(seed).normal(size=(n, 3))
    vectors[:2] = [[0, 0, 1], [0, 0, -1]]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# --- harmonics


def test_harmonics_obey_the_addition_theorem():
    """Σ_m Y_lm(u) Y_lm(v) = (2l + 1)/4π P_l(u · v): orthonormal, complete, and nothing exchanged between l."""
    u, v = directions(9, 0), directions(9, 1)
    products = real_harmonics(L_MAX, u)[0] * real_harmonics(L_MAX, v)[0]
    for degree in range(L_MAX + 1):
        legendre = np.polynomial.Legendre.basis(degree)(np.einsum("ja,ja->j", u, v))
        total = products[:, degree**2 : (degree + 1) ** 2].sum(axis=1)
        np.testing.assert_allclose(
            total, (2 * degree + 1) / (4 * np.pi) * legendre, rtol=0, atol=1e-13 * degree + 1e-15
        )


def test_harmonics_of_low_degree_are_those_of_the_books():
    x, y, z = directions(5).T
    expected = [np.full(5, 0.5), *(np.sqrt(3) / 2 * np.array([y, z, x]))]
    expected += list(
        np.sqrt(15) / 2 * np.array([x * y, y * z, (3 * z * z - 1) / np.sqrt(12), x * z, (x * x - y * y) / 2])
    )
    values = real_harmonics(2, directions(5))[0]
    np.testing.assert_allclose(np.sqrt(np.pi) * values.T, expected, rtol=0, atol=1e-15)


def test_gradients_of_solid_harmonics_are_their_derivatives():
    u = directions(7)
    values, gradients = real_harmonics(6, u)
    degrees = np.repeat(np.arange(7), 2 * np.arange(7) + 1)
    np.testing.assert_allclose(np.einsum("jqa,ja->jq", gradients, u), degrees * values, atol=1e-13)  # Euler

    def solid(vectors):
        r = np.linalg.norm(vectors, axis=1, keepdims=True)
        return r**degrees * real_harmonics(6, vectors / r)[0]

    for axis in range(3):
        step = np.eye(3)[axis]
        difference = four_point_difference(lambda t, step=step: solid(u + t * step))
        np.testing.assert_allclose(gradients[:, :, axis], difference, rtol=0, atol=1e-9)


# --- radial functions


@pytest.mark.parametrize("atom_sigma", [0.2, 0.5, 1.0])
def test_projections_are_integrals_of_a_gaussian_over_the_sphere(atom_sigma):
    """g_la(r) is exp(-α (r² + r_a²)) i_l(2 α r r_a), from the smallest distance to where i_l itself overflows."""
    alpha, nodes, r = 0.5 / atom_sigma**2, np.array([0.0, 0.3, 1.1, 2.9]), np.array([1e-6, 0.2, 1.3, 3.0])
    g, slopes = radial_bases.gaussian_projections(r, nodes, atom_sigma, 8)
    expected = np.array(
        [
            [
                [np.exp(-alpha * (x * x + a * a)) * spherical_in(degree, 2 * alpha * x * a) for a in nodes]
                for degree in range(9)
            ]
            for x in r
        ]
    )
    np.testing.assert_allclose(g, expected, rtol=1e-12, atol=1e-290)
    far = radial_bases.gaussian_projections(np.array([60.0]), np.array([60.0]), atom_sigma, 8)
    assert np.isfinite(far).all()
    assert far[0][0, 0, 0] > 0
    difference = four_point_difference(
        lambda t: radial_bases.gaussian_projections(r[1:] + t, nodes, atom_sigma, 8)[0], 1e-4
    )
    np.testing.assert_allclose(slopes[1:], difference, rtol=0, atol=1e-9)


def test_gaussians_are_orthonormal_when_continuous():
    """Expanding a Gaussian at a node in the equispaced basis gives back the node's row of the Cholesky factor."""
    nodes, transforms, central = radial_bases.equispaced_gauss(5, 2, 3.0, 0.5)
    projections = np.exp(-2.0 * (nodes[:, None] - nodes) ** 2) @ transforms[0]
    overlap = [[_overlap(a, b, 2.0) for b in nodes] for a in nodes]
    np.testing.assert_allclose(projections @ projections.T, overlap, rtol=0, atol=1e-14)
    np.testing.assert_allclose(central, projections[0], rtol=1e-12, atol=1e-14)
    assert np.array_equal(transforms[0], transforms[2])


def _overlap(a, b, alpha):
    return quad(lambda r: r * r * np.exp(-alpha * ((r - a) ** 2 + (r - b) ** 2)), 0, 20, points=(a, b), epsabs=1e-13)[0]


def test_polynomials_are_orthonormal():
    n, cutoff, atom_sigma = 12, 4.0, 0.5
    nodes, transforms, _ = radial_bases.polynomials(n, 0, cutoff, atom_sigma)
    reach = radial_bases.basis_reach(cutoff, atom_sigma, 10.0)
    functions = np.linalg.pinv(transforms[0].T)  # their values at the nodes
    assert np.linalg.matrix_rank(functions) == n
    # Values at the nodes determine the polynomials of degree n + 1 times (R - r)²: find them and integrate.
    x, w = np.polynomial.legendre.leggauss(40)
    r, w = 0.5 * reach * (x + 1), 0.5 * reach * w

    def powers(t):
        return (1 - t[:, None] / reach) ** np.arange(3, n + 3)

    values = powers(r) @ np.linalg.lstsq(powers(nodes), functions, rcond=None)[0]
    np.testing.assert_allclose(values[:, :4].T @ (values[:, :4] * (w * r * r)[:, None]), np.eye(4), atol=1e-6)


@pytest.mark.parametrize("basis", radial_bases.RADIAL_BASES)
def test_radial_functions_have_their_slopes_and_end_at_the_cutoff(basis):
    descriptor = soap.soap_descriptor(
        (14,), cutoff=4.0, n_max=4, l_max=5, radial_basis=basis, decay_exponent=2.5, decay_scale=1.5, decay_rate=0.0
    )
    r = np.array([0.05, 0.7, 2.2, 3.49, 3.6, 3.9])
    slopes = soap.radial_functions(descriptor, r)[1]
    difference = four_point_difference(lambda t: soap.radial_functions(descriptor, r + t)[0], 1e-4)
    np.testing.assert_allclose(slopes, difference, rtol=1e-7, atol=1e-8)
    for value in soap.radial_functions(descriptor, np.array([4.0])):
        np.testing.assert_allclose(value, 0, atol=1e-14)


def test_dependent_functions_are_refused():
    with pytest.raises(ValueError, match="linearly dependent"):
        soap.soap_descriptor((14,), n_max=60, atom_sigma=2.0)


# --- the descriptor


def spectra(descriptor, elements, atoms):
    """Return p of all centers of an ASE structure."""
    species = np.searchsorted(elements, atoms.numbers)
    i, j, _, vectors, _ = neighbor_list(atoms.positions, atoms.cell, atoms.pbc, descriptor.cutoff)
    centers = np.flatnonzero(descriptor.centers[species])
    return np.array([soap.power_spectrum(descriptor, species[a], species[j[i == a]], vectors[i == a]) for a in centers])


# QUIP's text, and ours, of the same descriptor of O, Al and Si.
OF_ALL = "n_species=3 species_Z={8 13 14} n_Z=3 Z={8 13 14}"
QUIP_CASES = {
    "one channel of all": ("n_Z=3 Z={8 13 14}", {"channels": [CLAY], "central_everywhere": True}),
    "one element": (
        "n_species=1 species_Z=14 Z=14",
        {"channels": [(14,)], "centers": (14,), "central_everywhere": True},
    ),
    "one element around another": (
        "n_species=1 species_Z=8 Z=14 central_reference_all_species=F",
        {"channels": [(8,)], "centers": (14,)},
    ),
    "two of three elements": (
        "n_species=2 species_Z={14 8} n_Z=2 Z={13 8}",
        {"channels": [(14,), (8,)], "centers": (8, 13)},
    ),
    "three elements": (OF_ALL, {}),
    "center everywhere": (OF_ALL + " central_reference_all_species=T", {"central_everywhere": True}),
    "light center": (OF_ALL + " central_weight=0.3", {"central_weight": 0.3}),
    "no center": (OF_ALL + " central_weight=0.0", {"central_weight": 0.0}),
    "not normalized": (OF_ALL + " normalise=F", {"normalize": False}),
    "diagonal": (OF_ALL + " diagonal_radial=T", {"diagonal_radial": True}),
    "extra entry": (OF_ALL + " covariance_sigma0=0.7", {}),
    "decay": (
        OF_ALL + " cutoff_dexp=3 cutoff_scale=2.5 cutoff_rate=0.6",
        {"decay_exponent": 3.0, "decay_scale": 2.5, "decay_rate": 0.6},
    ),
    "decay without rate": (
        OF_ALL + " cutoff_dexp=2 cutoff_scale=1.5 cutoff_rate=0",
        {"decay_exponent": 2.0, "decay_scale": 1.5, "decay_rate": 0.0},
    ),
    "wide cosine": (OF_ALL + " cutoff_transition_width=2.5", {"cutoff_width": 2.5}),
    "error exponent": (OF_ALL + " basis_error_exponent=6", {"error_exponent": 6.0}),
    "Gaussian-type orbitals": (OF_ALL + " radial_basis=GTO", {"radial_basis": "gto"}),
    # QUIP's Cholesky factor of the powers loses three digits with each function more; ours does not.
    "polynomials": (OF_ALL + " radial_basis=POLY", {"radial_basis": "poly", "n_max": 3}),
}


@pytest.mark.parametrize("structure", ["tiny triclinic", "large", "cluster"])
@pytest.mark.parametrize("name", QUIP_CASES)
def test_spectra_equal_those_of_quip(name, structure):
    """The center-less case of a lonely atom is left out: QUIP divides zero by zero there."""
    quippy = pytest.importorskip("quippy.descriptors", reason="needs quippy-ase")
    from ase import Atoms

    text, options = QUIP_CASES[name]
    options = {"cutoff": 3.7, "n_max": 5, "l_max": 6, "atom_sigma": 0.4} | options
    rng = np.random.default_rng(3)
    shape = (
        [[2.6, 0.3, 0], [-0.4, 2.9, 0.2], [0.5, 0.1, 3.1]] if structure == "tiny triclinic" else np.diag([5, 6, 7.0])
    )
    n = 3 if structure == "tiny triclinic" else 9
    fractions = rng.uniform(-1, 2, (n, 3)) if structure != "cluster" else rng.uniform(0.2, 0.8, (n, 3))
    atoms = Atoms((CLAY * 3)[:n], cell=shape, scaled_positions=fractions, pbc=structure != "cluster")
    sizes = f"cutoff={options['cutoff']} n_max={options['n_max']} l_max=6 atom_sigma=0.4"
    expected = quippy.Descriptor(f"soap {sizes} {text}").calc(atoms)["data"]
    found = spectra(soap.soap_descriptor(CLAY, **options), CLAY, atoms)
    extra = 0.7 if name == "extra entry" else 0.0
    assert np.array_equal(expected[:, -1], np.full(len(found), extra))
    scale = 1.0 if options.get("normalize", True) else np.abs(expected).max()
    np.testing.assert_allclose(found, expected[:, :-1], rtol=0, atol=1e-12 * scale)


def test_spectrum_is_invariant_and_tells_elements_apart():
    rng = np.random.default_rng(4)
    descriptor = soap.soap_descriptor(CLAY, cutoff=4.0, n_max=4, l_max=4)
    vectors, species = rng.normal(0, 1.5, (6, 3)), rng.integers(3, size=6)
    p = soap.power_spectrum(descriptor, 1, species, vectors)
    for matrix in (Rotation.random(rng=rng).as_matrix(), -np.eye(3)):
        np.testing.assert_allclose(soap.power_spectrum(descriptor, 1, species, vectors @ matrix.T), p, atol=1e-14)
    order = rng.permutation(6)
    np.testing.assert_allclose(soap.power_spectrum(descriptor, 1, species[order], vectors[order]), p, atol=1e-14)
    assert np.linalg.norm(p) == pytest.approx(1, abs=1e-14)
    assert np.abs(soap.power_spectrum(descriptor, 1, (species + 1) % 3, vectors) - p).max() > 0.01
    assert np.abs(soap.power_spectrum(descriptor, 2, species, vectors) - p).max() > 0.01


def test_hyperparameters_out_of_range_are_refused_by_name():
    for options, word in (
        ({"cutoff": 500.0}, "cutoff"),
        ({"cutoff_width": 6.0}, "cutoff_width"),
        ({"atom_sigma": 0.001, "n_max": 2}, "atom_sigma"),
        ({"l_max": 21, "n_max": 2}, "22 angular functions"),
        ({"n_max": 0}, "n_max"),
        ({"radial_basis": "chebyshev"}, "chebyshev"),
        ({"centers": (29,)}, "element 29"),
        ({"channels": [(1, 8)]}, "element 1 "),
        ({"channels": [(8,)], "species_weights": np.eye(3)}, "either"),
        ({"decay_scale": 0.0}, "decay_scale"),
    ):
        with pytest.raises(ValueError, match=word):
            soap.soap_descriptor(CLAY, **options)


# --- the twin


def test_powers_are_defined_for_every_base():
    base = np.array([-0.5, 0.0, 0.5])
    np.testing.assert_array_equal(kernel_power(base, 3.0), [base**3, 3 * base**2])
    np.testing.assert_array_equal(kernel_power(base, 1.0), [base, np.ones(3)])
    np.testing.assert_array_equal(kernel_power(base, 2.5), [[0, 0, 0.5**2.5], [0, 0, 2.5 * 0.5**1.5]])
    np.testing.assert_array_equal(kernel_power(base, 0.5), [[0, 0, 0.5**0.5], [0, 0, 0.5 * 0.5**-0.5]])


def test_an_environment_without_density_has_no_force():
    """Where P = 0, p = 0 and E = Σ a_s b_s^ζ."""
    term = SOAP_MODELS["soap of mixed channels"].terms[0]
    energy, slope = environment_energy(term, np.zeros((16, 6)))
    assert energy == pytest.approx(float(term.coefficients @ term.sparse_offsets**2.5), rel=1e-14)
    assert not slope.any()
