"""Reading, checking, digests and splits of reference data."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from datasets import WATER, WATER_NUMBERS, water_set, write_npz, write_xyz

from openmm_kml import metrics, units
from openmm_kml.errors import DataError
from openmm_kml.structures import MoleculeSet, duplicate_of, read_molecules, split


@pytest.fixture
def water():
    return water_set(12)


def assert_same(read, expected, rtol=1e-14):
    np.testing.assert_array_equal(read.numbers, expected.numbers)
    np.testing.assert_allclose(read.positions, expected.positions, rtol=rtol)
    np.testing.assert_allclose(read.energies, expected.energies, rtol=rtol)
    np.testing.assert_allclose(read.forces, expected.forces, rtol=rtol)


# --- reading


@pytest.mark.parametrize(
    ("energy", "forces"),
    [("energy", "forces"), ("Energy", "force"), ("REF_energy", "REF_forces"), ("dft_energy", "dft_force")],
)
def test_xyz_with_usual_names(tmp_path, water, energy, forces):
    path = write_xyz(tmp_path / "a.xyz", water, energy, forces, extra=" kinetic_energy=1.0 energy_std=0.1")
    assert_same(read_molecules(path), water)


def test_a_name_with_an_at_sign_is_no_choice_of_frames(tmp_path, water):
    assert len(read_molecules(write_xyz(tmp_path / "water@300K.xyz", water))) == len(water)


def test_xyz_without_energies_and_without_forces(tmp_path, water):
    no_energies = read_molecules(write_xyz(tmp_path / "a.xyz", water, energy=None))
    assert no_energies.energies is None
    assert no_energies.forces is not None
    no_forces = read_molecules(write_xyz(tmp_path / "b.xyz", water, forces=None))
    assert no_forces.forces is None
    assert no_forces.energies is not None


def test_ambiguous_energies_are_refused_by_name_and_chosen_with_a_key(tmp_path, water):
    path = write_xyz(tmp_path / "a.xyz", water, extra=" xtb_energy=-1.5")
    with pytest.raises(DataError, match=r"several candidates for the energy .*: energy, xtb_energy; .*--energy-key"):
        read_molecules(path)
    assert_same(read_molecules(path, energy_key="energy"), water)
    assert set(read_molecules(path, energy_key="xtb_energy").energies) == {-1.5}


def test_energies_of_equal_value_under_two_names_are_no_ambiguity(tmp_path, water):
    one = water[:1]
    path = write_xyz(tmp_path / "a.xyz", one, extra=f" dft_energy={float(one.energies[0])!r}")
    assert_same(read_molecules(path), one)


def test_xyz_in_kcal_per_mol_and_bohr(tmp_path, water):
    bohr = 0.529177210544
    kcal = 0.0433641043
    scaled = MoleculeSet(
        water.numbers, water.positions / bohr, water.energies / kcal, water.forces / kcal * bohr, "scaled"
    )
    path = write_xyz(tmp_path / "a.xyz", scaled)
    assert_same(read_molecules(path, "kcal/mol", "bohr"), water, rtol=1e-8)


@pytest.mark.parametrize("e_unit", ["kcal/mol", b"kcal/mol", np.array(["kcal/mol"]), np.bytes_(b"kcal/mol")])
def test_npz_states_its_energy_unit(tmp_path, water, e_unit):
    path = write_npz(tmp_path / "a.npz", water, e_unit=np.asarray(e_unit))
    read = read_molecules(path)
    np.testing.assert_allclose(read.energies, water.energies * units.KCAL_PER_MOL)
    np.testing.assert_allclose(read.forces, water.forces * units.KCAL_PER_MOL)


@pytest.mark.parametrize("shape", [(12,), (12, 1), (1, 12)])
def test_npz_energies_of_any_usual_shape(tmp_path, water, shape):
    assert_same(read_molecules(write_npz(tmp_path / "a.npz", water, E=water.energies.reshape(shape))), water)


def test_npz_with_the_names_of_revised_md17(tmp_path, water):
    path = tmp_path / "a.npz"
    np.savez(path, nuclear_charges=water.numbers, coords=water.positions, energies=water.energies, forces=water.forces)
    assert_same(read_molecules(path, "eV"), water)


def test_npz_in_fortran_order_and_single_precision(tmp_path, water):
    path = write_npz(tmp_path / "a.npz", water, R=np.asfortranarray(water.positions), F=water.forces.astype(np.float32))
    assert_same(read_molecules(path), water, rtol=1e-6)


def test_npz_of_positions_alone_needs_no_unit(tmp_path, water):
    read = read_molecules(write_npz(tmp_path / "a.npz", water, E=None, F=None, e_unit=None, r_unit=None))
    assert read.energies is None
    assert read.forces is None


class Trap:
    """Unpickling an instance makes a file: a stand-in for code that must never run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["E", "theory", "md5"])
def test_object_arrays_are_never_unpickled(tmp_path, water, name):
    trap = tmp_path / "trapped"
    path = write_npz(tmp_path / "a.npz", water, **{name: np.array([Trap(trap)], dtype=object)})
    if name == "E":
        with pytest.raises(DataError, match="'E' holds object"):
            read_molecules(path)
    else:
        assert_same(read_molecules(path), water)
    assert not trap.exists()
    np.load(path, allow_pickle=True)[name]  # the trap works
    assert trap.exists()


# --- wrong input


def _changed(water, array, value, index=(3, 1, 2)):
    values = np.array(getattr(water, array))
    values[index if values.ndim == 3 else index[0]] = value
    return values


NPZ_ERRORS = {
    "no energy unit": (lambda w: {"e_unit": None}, r"does not name the unit of its energies.*--energy-unit"),
    "unknown energy unit": (lambda w: {"e_unit": np.array("furlong")}, r"'furlong' is not a unit of energy"),
    "NaN position": (lambda w: {"R": _changed(w, "positions", np.nan)}, r"frame 4, atom H2: the position is nan"),
    "infinite force": (lambda w: {"F": _changed(w, "forces", np.inf)}, r"frame 4, atom H2: the force is inf along z"),
    "NaN energy": (lambda w: {"E": _changed(w, "energies", np.nan)}, r"frame 4: the energy is nan"),
    "coincident atoms": (
        lambda w: {"R": _changed(w, "positions", w.positions[3, 0], (3, 1))},
        r"frame 4: atoms O1 and H2 are 0 Å apart",
    ),
    "positions in Bohr": (
        lambda w: {"R": w.positions / 0.529177, "r_unit": None},
        r"does not name its unit of length.*--length-unit bohr",
    ),
    "no positions": (lambda w: {"R": None}, r"has no array 'R' or 'coords' or 'positions'; it has E, F, e_unit"),
    "no frames": (lambda w: {"R": w.positions[:0], "E": w.energies[:0], "F": w.forces[:0]}, r"must have shape \(fram"),
    "forces of another shape": (lambda w: {"F": w.forces[:, :2]}, r"forces must have the shape of the positions"),
    "energies of another number": (lambda w: {"E": w.energies[:5]}, r"energies must have shape \(12,\).*\(5,\) came"),
    "other number of atoms": (lambda w: {"z": np.array([8, 1])}, r"shape \(frames, 2, 3\) for 2 atoms"),
    "a part of an atomic number": (lambda w: {"z": np.array([8, 1, 1.5])}, r"atomic numbers must be whole; 1\.5 came"),
    "atomic number zero": (lambda w: {"z": np.array([8, 1, 0])}, r"atomic numbers lie between 1 and 118; 0 to 8"),
    "frames of other atoms": (
        lambda w: {"z": np.array([[8, 1, 1]] * 11 + [[1, 8, 1]])},
        r"frame 12 has other atoms, or another order",
    ),
    "periodic": (lambda w: {"lattice": np.eye(3)}, r"periodic system \(array 'lattice'\)"),
    "text for numbers": (lambda w: {"E": np.array(["a"] * 12)}, r"'E' must hold numbers; its type is <U1"),
    "complex numbers": (lambda w: {"F": w.forces + 1j}, r"'F' holds complex128, not plain numbers"),
}


@pytest.mark.parametrize("case", NPZ_ERRORS)
def test_wrong_npz_is_refused(tmp_path, water, case):
    change, message = NPZ_ERRORS[case]
    path = write_npz(tmp_path / "a.npz", water, **change(water))
    with pytest.raises(DataError, match=message):
        read_molecules(path)


def test_unit_against_the_statement_of_the_file_is_refused(tmp_path, water):
    path = write_npz(tmp_path / "a.npz", water)
    with pytest.raises(DataError, match="states eV as its unit of energy, but kcal/mol was asked for"):
        read_molecules(path, "kcal/mol")


def _swap_atoms(text):
    lines = text.splitlines(keepends=True)
    lines[7], lines[8] = lines[8], lines[7]  # O and the first H of the second frame
    return "".join(lines)


XYZ_ERRORS = {
    "empty file": (lambda text: "", r"is empty"),
    "not XYZ": (lambda text: "hello\nworld\n", r"cannot be read by ASE"),
    "other order": (_swap_atoms, r"frame 2 has the atoms HOH, but frame 1 has OH2"),
    "another element": (lambda text: text.replace("H ", "C ", 1), r"frame 2 has the atoms OH2, but frame 1 has OCH"),
    "cut off": (lambda text: text[: len(text) // 2].rsplit("\n", 2)[0], r"cannot be read by ASE after frame"),
    "NaN": (
        lambda text: re.sub(r"\nO \S+", "\nO nan", text, count=1),
        r"frame 1, atom O1: the position is nan along x",
    ),
    "energy missing in one frame": (lambda text: text.replace(" energy=", " e=", 1), r"frame 1 has no energy 'energy'"),
}


@pytest.mark.parametrize("case", XYZ_ERRORS)
def test_wrong_xyz_is_refused(tmp_path, water, case):
    change, message = XYZ_ERRORS[case]
    path = write_xyz(tmp_path / "a.xyz", water)
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message):
        read_molecules(path)


def test_molecule_cut_by_its_cell_is_refused(tmp_path, water):
    path = write_xyz(tmp_path / "a.xyz", water)
    text = path.read_text().replace('pbc="F F F"', 'pbc="T T T" Lattice="{0} 0 0 0 {0} 0 0 0 {0}"')
    path.write_text(text.replace("{0}", "12.0"))
    assert_same(read_molecules(path), water)
    path.write_text(text.replace("{0}", "1.6"))
    with pytest.raises(DataError, match=r"frame 1 is periodic, and .* nearer across the cell's border"):
        read_molecules(path)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "not a zip"])
def test_damaged_npz_is_refused(tmp_path, water, damage):
    path = write_npz(tmp_path / "a.npz", water)
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[data.index(b"R.npy") + 200] ^= 0xFF
    else:
        data = bytearray(b"PK not an archive")
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"damaged"):
        read_molecules(path)


def _npy_header(shape, dtype="<f8"):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (_npy_header("(1000000000, 9, 3)") + bytes(64), "declares shape"),
        (_npy_header("(-1, 9, 3)") + bytes(64), "declares shape|damaged"),
        (_npy_header("(4,)")[:20], "damaged"),
        (_npy_header("(__import__('os'),)"), "damaged"),
        (b"\x93NUMPY\x09\x00" + bytes(50), "version|damaged"),
        (bytes(40 << 20), "would swell"),
    ],
    ids=["huge shape", "negative shape", "cut header", "code in the header", "unknown version", "zip bomb"],
)
def test_hostile_npz_is_refused_without_taking_the_memory(tmp_path, water, member, message):
    path = write_npz(tmp_path / "a.npz", water, R=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("R.npy", member)
    with pytest.raises(DataError, match=message):
        read_molecules(path)


# --- the set itself


def test_digest_depends_on_the_numbers_alone(water):
    again = MoleculeSet(list(water.numbers), water.positions.copy(), water.energies, water.forces, "another name")
    assert again.digest == water.digest
    assert water.digest.startswith("sha256:")
    changed = np.array(water.positions)
    changed[0, 0, 0] += 1e-12
    others = {
        MoleculeSet(water.numbers, changed, water.energies, water.forces).digest,
        MoleculeSet(water.numbers, water.positions, None, water.forces).digest,
        MoleculeSet(water.numbers, water.positions, water.energies).digest,
        water[::-1].digest,
    }
    assert len(others | {water.digest}) == 5


def test_known_digest_never_changes():
    molecules = MoleculeSet([1, 1], [[[0, 0, 0], [0, 0, 0.75]]], [-31.5])
    assert molecules.digest == "sha256:54a0be77f21b37a08a1b1ab3b4b5171a23a017539227072b7bfd7c263ff7bf59"


def test_a_set_cannot_be_changed(water):
    with pytest.raises(ValueError, match="read-only"):
        water.positions[0, 0, 0] = 1.0


def test_indexing_keeps_frames_together(water):
    picked = water[[3, 1]]
    assert len(picked) == 2
    np.testing.assert_array_equal(picked.energies, water.energies[[3, 1]])
    np.testing.assert_array_equal(picked.forces[1], water.forces[1])
    assert len(water[[]]) == 0
    assert len(water[5]) == 1


# --- duplicates and splits


def test_duplicates_are_found_when_moved_turned_or_mirrored(water):
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    copies = [water.positions[2] + 1.5, water.positions[4] @ turn, -water.positions[2], water.positions[6] + 1e-10]
    molecules = MoleculeSet(WATER_NUMBERS, np.concatenate([water.positions, copies]))
    expected = [*range(12), 2, 4, 2, 6]
    np.testing.assert_array_equal(duplicate_of(molecules), expected)


def test_distinct_frames_are_no_duplicates():
    positions = np.repeat(WATER[None], 2, axis=0)
    positions[1, 1, 1] += 1e-3
    np.testing.assert_array_equal(duplicate_of(MoleculeSet(WATER_NUMBERS, positions)), [0, 1])


def _rows(*sets):
    return [row.tobytes() for part in sets for row in part.positions]


def test_splits_are_disjoint_complete_and_repeatable():
    molecules = water_set(100)
    parts = split(molecules, 30, 20, seed=7)
    assert [len(part) for part in parts] == [30, 20, 50]
    assert sorted(_rows(*parts)) == sorted(_rows(molecules))
    again = split(molecules, 30, 20, seed=7)
    assert [part.digest for part in parts] == [part.digest for part in again]
    assert split(molecules, 30, 20, seed=8)[0].digest != parts[0].digest
    assert [len(part) for part in split(molecules, 30, 20, 10)] == [30, 20, 10]


def test_splits_are_stratified_over_the_energy():
    molecules = water_set(400)
    edges = np.quantile(molecules.energies, np.linspace(0, 1, 11))
    for part in split(molecules, 100, 100, 100, seed=3):
        counts, _ = np.histogram(part.energies, edges)
        # A tenth of the frames lies in each tenth of the energies, give or take one at either border (the sets drawn
        # later come from thinned runs and may miss by one more).
        assert np.abs(counts - 10).max() <= 4
    counts, _ = np.histogram(split(molecules, 100, 0, seed=3)[0].energies, edges)
    assert np.abs(counts - 10).max() <= 1


def test_the_first_frames_of_a_split_are_a_random_choice():
    train = split(water_set(400), 200, 0, seed=0)[0]
    ranks = np.argsort(np.argsort(train.energies))
    assert abs(np.corrcoef(ranks, np.arange(200))[0, 1]) < 0.2


def test_duplicates_never_reach_the_test_set():
    molecules = water_set(40)
    twice = MoleculeSet(
        molecules.numbers,
        *(np.concatenate([a, a]) for a in (molecules.positions, molecules.energies, molecules.forces)),
    )
    parts = split(twice, 20, 10, seed=1)
    assert [len(part) for part in parts] == [20, 10, 10]
    assert len(set(_rows(*parts))) == 40


@pytest.mark.parametrize("keep", ["forces", "neither"])
def test_splits_without_energies(keep):
    molecules = water_set(30)
    bare = MoleculeSet(molecules.numbers, molecules.positions, None, molecules.forces if keep == "forces" else None)
    parts = split(bare, 10, 10, seed=1)
    assert sorted(_rows(*parts)) == sorted(_rows(bare))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((9, 4), r"9 frames for training, 4 for validation and 0 for the test are 13 in all, but the set has 12"),
        ((6, 3, 4), r"13 in all"),
        ((0, 3), r"n_train of at least 1"),
        ((5, -1), r"no negative count"),
    ],
)
def test_impossible_splits_are_refused(water, counts, message):
    with pytest.raises(DataError, match=message):
        split(water, *counts)


# --- units and metrics


def test_units_agree_with_ase():
    from ase import units as ase_units

    assert units.energy_factor("Hartree") == pytest.approx(ase_units.Hartree, rel=1e-7)
    assert units.energy_factor("kcal/mol") == pytest.approx(ase_units.kcal / ase_units.mol, rel=1e-7)
    assert units.energy_factor("kJ/mol") == pytest.approx(ase_units.kJ / ase_units.mol, rel=1e-7)
    assert units.energy_factor("Ry") == pytest.approx(ase_units.Rydberg, rel=1e-7)
    assert units.length_factor("bohr") == pytest.approx(ase_units.Bohr, rel=1e-7)


@pytest.mark.parametrize("name", ["kcal/mol", "KCAL/MOL", "kcal mol-1", "kcal mol^-1"])
def test_spellings_of_a_unit(name):
    assert units.energy_unit(name) == "kcal/mol"


def test_unknown_unit_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'parsec' is not a unit of length known here; use one of Angstrom, Bohr"):
        units.length_factor("parsec")


def test_errors_by_hand():
    molecules = MoleculeSet([1, 1], [[[0, 0, 0], [0, 0, 1]]] * 2, [1.0, 2.0], np.zeros((2, 2, 3)))
    forces = np.zeros((2, 2, 3))
    forces[0, 0, 0] = 0.6
    measured = metrics.errors(np.array([1.1, 2.3]), forces, molecules)
    assert measured == pytest.approx(
        {
            "energy_mae": 0.2,
            "energy_rmse": np.sqrt(0.05),
            "energy_mae_per_atom": 0.1,
            "forces_mae": 0.05,
            "forces_rmse": np.sqrt(0.03),
            "n_structures": 2,
        }
    )


def test_errors_without_reference_energies():
    molecules = MoleculeSet([1, 1], [[[0, 0, 0], [0, 0, 1]]], None, np.zeros((1, 2, 3)))
    measured = metrics.errors(np.zeros(1), np.zeros((1, 2, 3)), molecules)
    assert measured["energy_mae"] is None
    assert measured["energy_mae_per_atom"] is None
    assert measured["forces_mae"] == 0.0
