"""Small periodic and free structures, labeled by models whose functions lie in the spline space."""

from dataclasses import replace

import numpy as np

from openmm_kml.local_terms import n_pairs
from openmm_kml.reference import evaluate_structure
from openmm_kml.structures import Structure, StructureSet
from openmm_kml.training.nbody.basis import Grid, SplineBasis
from openmm_kml.weights import Spline2Term, Spline3Term, Weights

TRICLINIC = np.array([[6.1, 0.3, -0.4], [1.1, 5.7, 0.2], [-0.6, 0.8, 5.9]])


def spread_positions(rng, n_atoms, cell, least, pbc=(True, True, True)):
    """Return positions in a cell whose distances, images included, are at least `least`."""
    shifts = np.array(list(np.ndindex(3, 3, 3))) - 1
    shifts = shifts[(np.array(pbc) | (shifts == 0)).all(axis=1)] @ cell
    placed = []
    while len(placed) < n_atoms:
        candidate = rng.random(3) @ cell
        if all(np.linalg.norm(candidate - other + shifts, axis=1).min() > least for other in placed):
            placed.append(candidate)
    return np.array(placed)


def frames(seed, count, numbers=(14,) * 8, least=1.9, cell=TRICLINIC, pbc=(True, True, True)):
    """Return structures of some atoms without labels."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        strained = cell @ (np.eye(3) + 0.05 * rng.standard_normal((3, 3)))
        positions = spread_positions(rng, len(numbers), strained, least, pbc)
        result.append(Structure(numbers, positions, strained, pbc))
    return StructureSet(result, "test")


def labeled(structures, weights):
    """Return the structures with the energies, forces and virials of a model."""
    result = []
    for frame in structures:
        e, f, v, _ = evaluate_structure(weights, frame.positions, frame.numbers, frame.cell, frame.pbc)
        result.append(replace(frame, energy=e, forces=f, virial=v))
    return StructureSet(result, structures.name)


def small_basis(elements=(14,), compact=False):
    """Return a basis of few splines."""
    near = Grid(1.6, 3.4, 5)
    far = near if compact else Grid(1.6, 6.8, 9, closed=False)
    return SplineBasis(elements, Grid(1.6, 4.6, 8), near, far, taper_start=1.6, taper_width=0.3)


def weights_of(basis, solution, terms=()):
    """Return the `Weights` of a vector of coefficients."""
    energies, two, three = basis.coefficients(solution)
    near, far = basis.grid3, basis.grid_far
    splines = [Spline2Term(basis.grid2.start, basis.grid2.end, two)]
    if three is not None:
        taper = basis.taper_start, basis.taper_width
        splines.append(Spline3Term(near.start, near.end, far.start, far.closed, *taper, three))
    return Weights(
        elements=np.array(basis.elements),
        terms=(*splines, *terms),
        atom_energies=dict(zip(basis.elements, map(float, energies), strict=True)),
    )


def random_model(basis, seed, two=1.0, three=0.3):
    """Return a vector of coefficients."""
    rng = np.random.default_rng(seed)
    solution = three * rng.standard_normal(basis.n_columns)
    solution[: basis.n_elements] = rng.standard_normal(basis.n_elements)
    count = n_pairs(basis.n_elements) * basis.grid2.n_coefficients
    solution[basis.n_elements : basis.n_elements + count] *= two / three
    return solution
