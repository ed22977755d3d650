"""A model finds its molecule in a Topology, whatever the order of the atoms, or says why not."""

import itertools

import numpy as np
import pytest
from ethanol_case import (
    BONDS,
    NUMBERS,
    SYMMETRIES,
    ethanol_potential,
    ethanol_weights,
    geometry,
    reordered,
    topology_of,
)
from openmm import Vec3, app, unit

from openmm_kml.interfaces import matching
from openmm_kml.interfaces.graphs import MolecularGraph, TooManyMatchesError, isomorphisms
from openmm_kml.interfaces.matching import distinct_labelings, find_molecules, model_graph

WATER = ((8, 1, 1), ((0, 1), (0, 2)))
DIMETHYL_ETHER = ((6, 8, 6, 1, 1, 1, 1, 1, 1), ((0, 1), (1, 2), (0, 3), (0, 4), (0, 5), (2, 6), (2, 7), (2, 8)))
PROPANE_BONDS = ((0, 1), (1, 2), (0, 3), (0, 4), (0, 5), (1, 6), (1, 7), (2, 8), (2, 9), (2, 10))
PROPANE = ((6, 6, 6, 1, 1, 1, 1, 1, 1, 1, 1), PROPANE_BONDS)
MIRROR_LABELING = (0, 1, 2, 3, 5, 4, 6, 7, 8)  # the two H of CH2 exchanged alone


@pytest.fixture(scope="module")
def weights():
    return ethanol_weights()


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def distorted(rng):
    """Return an ethanol geometry as it moves at some hundred kelvin, shape (9, 3), Å."""
    return geometry() + rng.normal(0, 0.04, (9, 3))


@pytest.mark.parametrize("options", [{}, {"power": 0.5, "weighted": True}, {"power": 2.0}], ids=str)
def test_bonds_of_the_model_come_from_its_training_points(options):
    assert model_graph(ethanol_weights(**options)) == MolecularGraph.from_bonds(NUMBERS, BONDS)


def test_a_molecule_in_any_order_gets_the_energy_of_the_training_order(weights, rng):
    potential = ethanol_potential()
    for _ in range(20):
        order, positions = rng.permutation(9), distorted(rng)
        topology = topology_of(reordered(order))
        (particles,) = find_molecules(weights, topology, positions=positions[order] / 10)
        energy = potential.evaluate(positions[order][list(particles)]).energy
        assert energy == pytest.approx(potential.evaluate(positions).energy, abs=1e-9)


def test_automorphisms_beyond_the_symmetries_are_told_apart_by_positions(weights, rng):
    # Ethanol's graph has 12 automorphisms, the model 6 symmetries.
    graph = model_graph(weights)
    ways = isomorphisms(graph, graph, limit=100)
    assert len(set(ways)) == 12
    assert set(map(tuple, SYMMETRIES.tolist())) < set(ways)
    assert len(distinct_labelings(ways, SYMMETRIES)) == 2
    # A file that lists the H of CH2 the other way round, although its graph is the model's in the model's order.
    positions = distorted(rng)[list(MIRROR_LABELING)]
    (particles,) = find_molecules(weights, topology_of((NUMBERS, BONDS)), positions=positions / 10)
    potential = ethanol_potential()
    right = potential.evaluate(positions[list(MIRROR_LABELING)]).energy
    assert potential.evaluate(positions[list(particles)]).energy == pytest.approx(right, abs=1e-9)
    assert abs(potential.evaluate(positions).energy - right) > 1e-3


def test_the_mirror_image_of_a_geometry_needs_no_other_labeling(weights, rng):
    positions = distorted(rng)
    topology = topology_of((NUMBERS, BONDS))
    (plain,) = find_molecules(weights, topology, positions=positions / 10)
    (mirrored,) = find_molecules(weights, topology, positions=-positions / 10)
    assert plain == mirrored


@pytest.mark.parametrize("form", ["Quantity of an array", "Quantity of Vec3", "list of Quantities", "plain numbers"])
def test_positions_may_come_as_openmm_gives_them(weights, form):
    nm = geometry() / 10
    positions = {
        "Quantity of an array": geometry() * unit.angstrom,
        "Quantity of Vec3": [Vec3(*row) for row in nm] * unit.nanometer,
        "list of Quantities": [row * unit.nanometer for row in nm],
        "plain numbers": nm.tolist(),
    }[form]
    topology = topology_of((NUMBERS, BONDS))
    assert find_molecules(weights, topology, positions=positions) == find_molecules(weights, topology, positions=nm)


def test_labelings_that_the_model_cannot_tell_apart_need_no_positions():
    # With all twelve automorphisms in the group there is nothing left to choose.
    twelve = [*SYMMETRIES, *SYMMETRIES[:, MIRROR_LABELING]]
    assert len(distinct_labelings([tuple(row) for row in twelve], np.array(twelve))) == 1
    assert len(distinct_labelings([tuple(row) for row in twelve], SYMMETRIES[:1])) == 12


def test_without_positions_an_open_choice_is_an_error(weights):
    with pytest.raises(ValueError, match=r"2 labelings of atoms 0–8 .* pass positions="):
        find_molecules(weights, topology_of((NUMBERS, BONDS)))


def test_every_copy_among_other_molecules_is_found(weights, rng):
    orders = [rng.permutation(9) for _ in range(3)]
    topology = topology_of(WATER, reordered(orders[0]), WATER, reordered(orders[1]), reordered(orders[2]))
    starts = (3, 15, 24)
    positions = rng.normal(size=(33, 3))
    frames = [distorted(rng) for _ in starts]
    for start, order, frame in zip(starts, orders, frames, strict=True):
        positions[start : start + 9] = frame[order]
    chosen = [start + k for start in starts for k in range(9)]
    found = find_molecules(weights, topology, chosen, positions / 10)
    potential = ethanol_potential()
    for start, particles, frame in zip(starts, found, frames, strict=True):
        assert sorted(particles) == list(range(start, start + 9))
        energy = potential.evaluate(positions[list(particles)]).energy
        assert energy == pytest.approx(potential.evaluate(frame).energy, abs=1e-9)


@pytest.mark.parametrize(
    ("molecules", "atoms", "message"),
    [
        ([WATER], None, r"describes C2H6O, but atoms 0–2 .* are H2O"),
        ([(NUMBERS, BONDS), WATER], None, r"describes C2H6O, but atoms 9–11 .* are H2O"),
        ([PROPANE], None, r"describes C2H6O, but .* are C3H8"),
        ([DIMETHYL_ETHER], None, r"5 C–H, C–O, H–O; .* are C2H6O too, but bonded differently, .* 6 C–H, 2 C–O"),
        ([(NUMBERS, ())], None, r"no bonds between the 9 chosen atoms \(C2H6O\)"),
        ([(NUMBERS, BONDS[:-1])], None, r"describes C2H6O, but atoms 0–7 .* are C2H5O"),
        ([(NUMBERS, BONDS)], [*range(9), 4], r"atom 4 appears twice"),
        ([(NUMBERS, BONDS)], range(10), r"atom 9 does not exist; the topology has 9 atoms"),
        ([(NUMBERS, BONDS)], range(-1, 8), r"atom -1 does not exist"),
        ([(NUMBERS, BONDS)], range(8), r"atom 0 was chosen, but 8, to which it is bonded, was not"),
        ([(NUMBERS, BONDS)], [], r"no atoms were chosen"),
        ([((*NUMBERS, 0), BONDS)], None, r"atom 9 has no element .*virtual site"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_atoms_that_are_no_copy_of_the_model_are_refused(weights, molecules, atoms, message):
    topology = topology_of(*molecules)
    positions = np.zeros((topology.getNumAtoms(), 3))
    positions[:9] = geometry()[: len(positions)] / 10
    with pytest.raises(ValueError, match=message):
        find_molecules(weights, topology, atoms, positions)


def broken(positions):
    positions[6:] += [0.0, 30.0, 0.0]


def without_number(positions):
    positions[4, 1] = np.nan


def foreign(positions):
    # All bonds have their lengths, but the hydrogens of CH3 sit on top of each other, and so do those of CH2.
    positions[7] = positions[6] + 1e-3
    positions[8] = positions[6] + 2e-3
    positions[5] = positions[4] + 1e-3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (broken, r"the bond between the atoms .* must be whole, not cut by a border"),
        (without_number, r"the position of atom 4 is not finite"),
        (foreign, r"far from all that the model was trained on"),
    ],
)
def test_positions_that_cannot_decide_are_refused(weights, spoil, message):
    positions = geometry().copy()
    spoil(positions)
    with pytest.raises(ValueError, match=message):
        find_molecules(weights, topology_of((NUMBERS, BONDS)), positions=positions / 10)


def test_positions_of_another_number_of_atoms_are_refused(weights):
    with pytest.raises(ValueError, match=r"shape \(8, 3\); \(9, 3\) is expected"):
        find_molecules(weights, topology_of((NUMBERS, BONDS)), positions=geometry()[:8] / 10)


def test_equally_near_labelings_are_refused(weights, monkeypatch):
    monkeypatch.setattr(matching, "nearest_distances", lambda *_: np.array([0.1, 0.1001]))
    with pytest.raises(ValueError, match=r"do not tell which of 2 labelings"):
        find_molecules(weights, topology_of((NUMBERS, BONDS)), positions=geometry() / 10)


def test_more_matches_than_can_be_compared_are_refused(weights, monkeypatch):
    monkeypatch.setattr(matching, "MAX_MATCHES", 11)
    with pytest.raises(ValueError, match=r"in more than 11 ways, too many"):
        find_molecules(weights, topology_of((NUMBERS, BONDS)), positions=geometry() / 10)


def ring(n):
    return MolecularGraph.from_bonds((6,) * n, [(k, (k + 1) % n) for k in range(n)])


@pytest.mark.parametrize(
    ("first", "second", "n_ways"),
    [
        (ring(6), ring(6), 12),  # the dihedral group of a hexagon
        (ring(6), MolecularGraph.from_bonds((6,) * 6, [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)]), 0),
        (MolecularGraph.from_bonds(*WATER), MolecularGraph.from_bonds((1, 8, 1), ((0, 1), (1, 2))), 2),
        (MolecularGraph.from_bonds(*WATER), MolecularGraph.from_bonds((8, 1, 1), ((0, 1), (1, 2))), 0),
        (MolecularGraph.from_bonds((7, 7), ()), MolecularGraph.from_bonds((7, 7), ()), 2),
    ],
    ids=["hexagon", "hexagon on two triangles", "water", "another chain", "no bonds"],
)
def test_isomorphisms_by_count(first, second, n_ways):
    ways = isomorphisms(first, second, limit=1000)
    assert len(set(ways)) == len(ways) == n_ways
    for way in ways:
        assert all(first.numbers[k] == second.numbers[way[k]] for k in range(len(first)))
        assert all(frozenset(way[j] for j in first.neighbors[k]) == second.neighbors[way[k]] for k in range(len(first)))


@pytest.mark.parametrize("seed", range(12))
def test_isomorphisms_are_those_of_trying_all_permutations(seed):
    rng = np.random.default_rng(seed)
    pairs = list(itertools.combinations(range(6), 2))
    bonds = [pairs[k] for k in rng.permutation(len(pairs))[: rng.integers(3, 10)]]
    numbers = tuple(rng.choice([1, 6], 6).tolist())
    order = rng.permutation(6).tolist()  # atom order[k] of the first graph is atom k of the second
    place = {atom: k for k, atom in enumerate(order)}
    first = MolecularGraph.from_bonds(numbers, bonds)
    second = MolecularGraph.from_bonds([numbers[k] for k in order], [(place[i], place[j]) for i, j in bonds])
    expected = {
        way
        for way in itertools.permutations(range(6))
        if all(first.numbers[k] == second.numbers[way[k]] for k in range(6))
        and all(second.neighbors[way[k]] == {way[j] for j in first.neighbors[k]} for k in range(6))
    }
    assert tuple(place[k] for k in range(6)) in expected
    found = isomorphisms(first, second, limit=1000)
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_isomorphisms_stop_at_the_limit():
    with pytest.raises(TooManyMatchesError, match="more than 11 ways"):
        isomorphisms(ring(6), ring(6), limit=11)


def test_a_file_with_conect_records_is_enough(weights, tmp_path):
    order = np.random.default_rng(5).permutation(9)
    path = tmp_path / "shuffled.pdb"
    with path.open("w") as stream:
        app.PDBFile.writeFile(topology_of(reordered(order)), geometry()[order] * unit.angstrom, stream)
    pdb = app.PDBFile(str(path))
    (particles,) = find_molecules(weights, pdb.topology, positions=pdb.positions)
    assert [order[k] for k in particles][:4] == [0, 1, 2, 3]
