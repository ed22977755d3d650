"""Structures of any composition: reading, checks, digests and splits."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from nbody_cases import TRICLINIC, frames, labeled, random_model, small_basis, weights_of

from openmm_kml.errors import DataError
from openmm_kml.structures import Structure, StructureSet, distinct_structures, read_structures, split_structures


def labeled_frames(count=4, groups=("solid", "melt")):
    basis = small_basis((14, 32))
    structures = labeled(frames(1, count, (14, 32, 14, 14)), weights_of(basis, random_model(basis, 0)))
    return StructureSet(
        [
            Structure(f.numbers, f.positions, f.cell, f.pbc, f.energy, f.forces, f.virial, groups[k % len(groups)])
            for k, f in enumerate(structures)
        ],
        "frames",
    )


def as_atoms(frame, virial="virial"):
    """Return ASE's Atoms of a frame, with its virial as `virial`, as `stress` or not at all."""
    atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
    stress = {"stress": -frame.virial / frame.volume} if virial == "stress" else {}
    atoms.calc = SinglePointCalculator(atoms, energy=frame.energy, forces=frame.forces, **stress)
    if virial == "virial":
        atoms.info["virial"] = frame.virial
    atoms.info["config_type"] = frame.group
    return atoms


@pytest.mark.parametrize("virial", ["virial", "stress"])
def test_extended_xyz_comes_back(tmp_path, virial):
    structures = labeled_frames()
    write(tmp_path / "data.xyz", [as_atoms(f, virial) for f in structures], format="extxyz")
    read = read_structures(tmp_path / "data.xyz")
    assert read.groups == {"solid": 2, "melt": 2}
    assert list(read.elements) == [14, 32]
    for one, other in zip(structures, read, strict=True):
        np.testing.assert_array_equal(one.numbers, other.numbers)
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-7)
        np.testing.assert_allclose(one.cell, other.cell, atol=1e-7)
        assert one.energy == pytest.approx(other.energy, abs=1e-7)
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-7)
        np.testing.assert_allclose(one.virial, other.virial, atol=1e-5)


def test_frames_may_lack_labels_and_differ_in_atoms(tmp_path):
    first, second = labeled_frames(2)
    lonely = Atoms("Si", [[0, 0, 0]])
    lonely.calc = SinglePointCalculator(lonely, energy=-1.0)
    write(tmp_path / "data.xyz", [as_atoms(first), lonely, as_atoms(second, None)], format="extxyz")
    read = read_structures(tmp_path / "data.xyz").frames
    assert [len(f) for f in read] == [4, 1, 4]
    assert read[1].forces is None
    assert read[1].virial is None
    assert not read[1].pbc.any()
    assert read[2].virial is None
    assert read[2].forces is not None


def test_virial_and_stress_of_opposite_sign_are_refused(tmp_path):
    frame = labeled_frames(1).frames[0]
    atoms = as_atoms(frame, "stress")
    atoms.info["virial"] = -frame.virial
    write(tmp_path / "data.xyz", [atoms], format="extxyz")
    with pytest.raises(DataError, match=r"frame 1: virial and -stress · volume disagree"):
        read_structures(tmp_path / "data.xyz")
    read = read_structures(tmp_path / "data.xyz", virial_key="virial")
    np.testing.assert_allclose(read.frames[0].virial, -frame.virial, atol=1e-5)


def test_units_are_converted(tmp_path):
    frame = labeled_frames(1).frames[0]
    write(tmp_path / "data.xyz", [as_atoms(frame)], format="extxyz")
    read = read_structures(tmp_path / "data.xyz", "kJ/mol", "nm").frames[0]
    factor = 1 / 96.48533212331
    np.testing.assert_allclose(read.cell, 10 * frame.cell, rtol=1e-6)
    assert read.energy == pytest.approx(factor * frame.energy, rel=1e-6)
    np.testing.assert_allclose(read.forces, factor / 10 * frame.forces, atol=1e-8)
    np.testing.assert_allclose(read.virial, factor * frame.virial, atol=1e-8)


def test_npz_with_cells(tmp_path):
    rng = np.random.default_rng(0)
    positions = np.stack([f.positions for f in frames(2, 3)])
    energies, forces = rng.standard_normal(3), rng.standard_normal((3, 8, 3))
    arrays = {"z": np.full(8, 14), "R": positions, "E": energies, "F": forces, "cell": np.stack([TRICLINIC] * 3)}
    np.savez(tmp_path / "data.npz", **arrays)
    read = read_structures(tmp_path / "data.npz", "eV")
    assert len(read) == 3
    assert read.frames[2].pbc.all()
    np.testing.assert_allclose(read.frames[2].cell, TRICLINIC)
    assert read.frames[2].energy == energies[2]
    np.savez(tmp_path / "bad.npz", **(arrays | {"cell": np.zeros(9)}))
    with pytest.raises(DataError, match="cell must have shape"):
        read_structures(tmp_path / "bad.npz", "eV")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([14], [[0, 0, 0]], np.zeros((3, 3))), "span 0 Å"),
        (([14], [[0, 0, 0]], [[4, 0, 0], [0, 4, 0], [4, 4, 0]]), "span 0 Å"),
        (([14], [[0, 0, 0]], [[0, 0, 0], [0, 4, 0], [0, 0, 4]], (True, False, False)), "span 0 Å"),
        (([14], [[0, 0, 0]], None, True), "periodic but has no cell"),
        (([14], [[0, 0]]), "positions must have shape"),
        (([14], [[0, 0, np.nan]]), "positions must be finite"),
        (([0], [[0, 0, 0]]), "between 1 and 118"),
        (([14.5], [[0, 0, 0]]), r"must be whole; 14\.5 came"),
        (([14], [[0, 0, 0]], None, None, np.inf), "energy is inf"),
        (([14], [[0, 0, 0]], None, None, 0.0, np.zeros((2, 3))), "forces must have shape"),
    ],
)
def test_bad_structures_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        Structure(*arguments)


def test_mixed_periodicity_needs_only_the_periodic_vectors():
    slab = Structure([14], [[0, 0, 0]], [[4, 0, 0], [0, 4, 0], [0, 0, 0]], (True, True, False))
    assert slab.volume is None
    assert Structure([14], [[0, 0, 0]], 4 * np.eye(3)).pbc.all()


def test_splits_are_disjoint_seeded_and_keep_the_groups():
    structures = labeled_frames(20, ("solid", "solid", "solid", "melt"))
    parts = split_structures(structures, 8, 4, 8, seed=3)
    assert [len(part) for part in parts] == [8, 4, 8]
    energies = [frame.energy for part in parts for frame in part]
    assert len(set(energies)) == 20
    again = split_structures(structures, 8, 4, 8, seed=3)
    assert [part.digest for part in parts] == [part.digest for part in again]
    assert parts[0].groups == {"melt": 2, "solid": 6}
    with pytest.raises(DataError, match="20 different frames"):
        split_structures(structures, 15, 4, 8)


def test_repeated_frames_are_found_and_left_out():
    structures = labeled_frames(3)
    twice = StructureSet([*structures, structures.frames[1]])
    np.testing.assert_array_equal(distinct_structures(twice), [0, 1, 2])
    assert sum(len(part) for part in split_structures(twice, 2, 0)) == 3


def test_digest_sees_labels_and_order_of_frames():
    structures = labeled_frames(3)
    assert structures.digest == StructureSet(structures.frames, "other").digest
    assert structures.digest != structures[[0, 2, 1]].digest
    frame = structures.frames[0]
    changed = Structure(frame.numbers, frame.positions, frame.cell, energy=frame.energy + 1e-9)
    assert StructureSet([frame]).digest != StructureSet([changed]).digest
