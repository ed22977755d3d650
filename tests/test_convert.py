"""sGDML model files, of both generations, against the published formula."""

from pathlib import Path

import numpy as np
import pytest
from models import ETHANOL_GENERATORS, ETHANOL_SPECIES, closed, spread_positions

from openmm_kml.convert import convert_sgdml
from openmm_kml.errors import DataError
from openmm_kml.potential import KernelPotential
from openmm_kml.reference import evaluate
from openmm_kml.weights import to_bytes

KCAL = 4184 / 96485.33212331  # eV
BOHR = 0.529177210544  # Å
PERMUTATIONS = closed(ETHANOL_GENERATORS)
SPECIES = np.array(ETHANOL_SPECIES)


def inverse_distances(positions):
    i, j = np.tril_indices(len(positions), -1)
    return 1 / np.linalg.norm(positions[i] - positions[j], axis=1)


def sgdml_arrays(seed=0, n_train=11, energies=False):
    """Return the arrays of a random sGDML model of ethanol, as files since 2019 have them, in kcal/mol and Å."""
    rng = np.random.default_rng(seed)
    base = spread_positions(9, rng)
    x = np.array([inverse_distances(base + rng.normal(0, 0.08, (9, 3))) for _ in range(n_train)])
    arrays = {
        "type": np.array("m"),
        "z": SPECIES.astype(np.uint8),
        "R_desc": x.T,
        "R_d_desc_alpha": rng.normal(0, 40.0, x.shape),
        "perms": PERMUTATIONS,
        "sig": np.array(3),
        "c": np.array(-97000.5),
        "std": np.array(1.75),
        "use_E": np.array(True),
        "use_cprsn": np.array(False),
        "f_err": np.array({"mae": 0.1, "rmse": 0.2}, dtype=object),
    }
    if energies:
        arrays["alphas_E"] = rng.normal(0, 2.0, n_train)
    return arrays, base + rng.normal(0, 0.08, (4, 9, 3))


def as_of_2018(arrays):
    """Return the same model under the names and conventions of 2018 (without std, so that is multiplied in)."""
    return {
        "z": arrays["z"],
        "Rt_desc": arrays["R_desc"],
        "Rt_d_desc_alpha": (arrays["R_d_desc_alpha"] * arrays["std"])[:, :, None],
        "perms": (arrays["perms"] + 1).astype(np.uint8),
        "sig": arrays["sig"],
        "c": arrays["c"],
        "dataset": np.array("ethanol"),
    }


def published_energy(arrays, positions):
    """Return the energy by the published formula, training points replicated under the permutations."""
    i, j = np.tril_indices(9, -1)
    q, sigma, energy = inverse_distances(positions), float(arrays["sig"]), 0.0
    square = np.zeros((9, 9), dtype=int)
    square[i, j] = square[j, i] = np.arange(36)
    alphas = arrays.get("alphas_E", np.zeros(len(arrays["R_d_desc_alpha"])))
    for permutation in arrays["perms"]:
        index = square[permutation[i], permutation[j]]
        for x, u, alpha in zip(arrays["R_desc"].T, arrays["R_d_desc_alpha"], alphas, strict=True):
            difference = q - x[index]
            a = np.sqrt(5) * np.linalg.norm(difference) / sigma
            energy += 5 / (3 * sigma**2) * (1 + a) * np.exp(-a) * (difference @ u[index])
            energy += alpha * (1 + a + a**2 / 3) * np.exp(-a)
    return float(arrays["c"] + arrays["std"] * energy)


def published_forces(arrays, positions, step=1e-3):
    """Return forces by the four-point difference; its error is of the order of step⁴."""
    forces = np.zeros_like(positions)
    for index in np.ndindex(positions.shape):
        values = []
        for k in (-2, -1, 1, 2):
            moved = positions.copy()
            moved[index] += k * step
            values.append(published_energy(arrays, moved))
        forces[index] = -(values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    return forces


def write(path, arrays, **changes):
    arrays = arrays | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


LAYOUTS = {
    "since 2019": lambda arrays: arrays,
    "of 2018": as_of_2018,
    "of 2018, points first": lambda arrays: as_of_2018(arrays) | {"Rt_desc": arrays["R_desc"].T},
    "with units": lambda arrays: arrays | {"r_unit": np.array("Ang"), "e_unit": np.bytes_(b"kcal/mol")},
    "permutations in another order": lambda arrays: arrays | {"perms": arrays["perms"][::-1]},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_converted_model_equals_the_published_formula(tmp_path, layout):
    arrays, positions = sgdml_arrays()
    weights = convert_sgdml(write(tmp_path / "m.npz", LAYOUTS[layout](arrays)))
    energies, forces, _ = evaluate(weights, positions)
    expected = [published_energy(arrays, r) * KCAL for r in positions]
    np.testing.assert_allclose(energies, expected, rtol=1e-11)
    spread = np.ptp(expected)
    assert spread > 0.1  # the energy beyond the offset is not lost in its digits
    np.testing.assert_allclose(forces[0], published_forces(arrays, positions[0]) * KCAL, atol=1e-7)
    assert np.abs(forces).max() > 0.5


def test_model_with_energy_constraints(tmp_path):
    arrays, positions = sgdml_arrays(energies=True)
    weights = convert_sgdml(write(tmp_path / "m.npz", arrays))
    energies, forces, _ = evaluate(weights, positions)
    np.testing.assert_allclose(energies, [published_energy(arrays, r) * KCAL for r in positions], rtol=1e-11)
    np.testing.assert_allclose(forces[0], published_forces(arrays, positions[0]) * KCAL, atol=1e-7)
    without = convert_sgdml(write(tmp_path / "n.npz", arrays, alphas_E=None))
    assert np.abs(evaluate(without, positions)[0] - energies).max() > 1e-3


def test_the_engine_runs_a_converted_model(tmp_path):
    arrays, positions = sgdml_arrays()
    potential = KernelPotential.from_bytes(to_bytes(convert_sgdml(write(tmp_path / "m.npz", arrays))))
    energy = potential.evaluate(positions[0]).energy
    assert energy == pytest.approx(published_energy(arrays, positions[0]) * KCAL, rel=1e-11)


def test_model_in_other_units(tmp_path):
    arrays, positions = sgdml_arrays()
    # The same numbers in Hartree and Bohr are another model, whose energy at the scaled geometry is the same number.
    path = write(tmp_path / "m.npz", arrays, e_unit=np.array("Hartree"), r_unit=np.array("bohr"))
    energies, forces, _ = evaluate(convert_sgdml(path), positions * BOHR)
    hartree = 27.211386245981
    np.testing.assert_allclose(energies, [published_energy(arrays, r) * hartree for r in positions], rtol=1e-11)
    np.testing.assert_allclose(forces[0], published_forces(arrays, positions[0]) * hartree / BOHR, atol=1e-4)
    overridden = convert_sgdml(path, "kcal/mol", "Angstrom")
    np.testing.assert_allclose(
        evaluate(overridden, positions)[0], [published_energy(arrays, r) * KCAL for r in positions], rtol=1e-11
    )


def test_provenance_names_the_source(tmp_path):
    arrays, _ = sgdml_arrays()
    path = write(tmp_path / "m.npz", arrays, dataset_name=np.bytes_(b"ethanol"), dataset_theory=np.array("PBE"))
    source = convert_sgdml(path).provenance["converted_from"]
    assert source["format"] == "sGDML"
    assert source["dataset_name"] == "ethanol"
    assert source["dataset_theory"] == "PBE"
    assert source["energy_unit"] == "kcal/mol"


class Trap:
    """Unpickling an instance makes a file: a stand-in for code that must never run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["f_err", "sig", "R_desc", "dataset_name"])
def test_pickled_members_are_never_loaded(tmp_path, name):
    arrays, _ = sgdml_arrays()
    trap = tmp_path / "trapped"
    path = write(tmp_path / "m.npz", arrays, **{name: np.array([Trap(trap)], dtype=object)})
    if name == "f_err":
        convert_sgdml(path)
    else:
        with pytest.raises(DataError, match=f"array '{name}' holds object, not plain numbers or text"):
            convert_sgdml(path)
    assert not trap.exists()


ERRORS = {
    "no coefficients": ({"R_d_desc_alpha": None}, "not an sGDML model"),
    "a data set": (
        {"R_d_desc_alpha": None, "type": np.array("d")},
        r"is a data set, not an sGDML model .* kml train gdml",
    ),
    "a training task": ({"R_d_desc_alpha": None, "type": np.bytes_(b"t")}, "is a training task, not an sGDML model"),
    "periodic": ({"lattice": np.eye(3)}, r"periodic system \(array 'lattice'\)"),
    "compressed": ({"use_cprsn": np.array(True)}, "use_cprsn"),
    "no length scale": ({"sig": None}, "not a whole sGDML model: it has no number 'sig'"),
    "no offset": ({"c": None}, "it has no number 'c'"),
    "no atoms": ({"z": None}, "it has no array 'z'"),
    "no descriptors": ({"R_desc": None}, "it has no array 'Rt_desc'"),
    "no permutations": ({"perms": None}, "it has no array 'perms'"),
    "no std": ({"std": None}, "it has no number 'std'"),
    "length scale of zero": ({"sig": np.array(0)}, "'sig' must be above zero; 0.0 came"),
    "negative std": ({"std": np.array(-1.0)}, "'std' must be above zero"),
    "NaN offset": ({"c": np.array(np.nan)}, "'c' is nan, not a finite number"),
    "offset of two numbers": ({"c": np.zeros(2)}, "'c' should be one number"),
    "other number of atoms": ({"z": np.array([8, 1, 1])}, r"\(training points, 3\) is expected for 3 atoms"),
    "species not whole": ({"z": np.full(9, 6.0)}, "'z' must hold the atomic numbers"),
    "too few descriptors": ({"R_desc": np.ones((36, 3))}, r"shape \(36, 3\); \(36, 11\) is expected"),
    "NaN descriptors": ({"R_desc": np.full((36, 11), np.nan)}, "'R_desc' holds numbers that are not finite"),
    "complex coefficients": ({"R_d_desc_alpha": np.ones((11, 36), dtype=complex)}, "holds complex128"),
    "wrong energy coefficients": ({"alphas_E": np.ones(5)}, r"'alphas_E' has shape \(5,\)"),
    "not a permutation": ({"perms": np.zeros((1, 9), dtype=int)}, "a row that is not a permutation of 9 atoms"),
    "permutation out of range": ({"perms": np.arange(9)[None] + 5}, "a row that is not a permutation"),
    "permutations not whole": ({"perms": PERMUTATIONS.astype(float)}, "'perms' must be whole numbers"),
    "elements exchanged": ({"perms": np.array([[2, 1, 0, 3, 4, 5, 6, 7, 8]])}, "exchanges atoms of different elements"),
    "no group": ({"perms": PERMUTATIONS[:-1]}, "repeats a row or is not a group"),
    "unknown unit": ({"e_unit": np.array("furlong")}, "'furlong' is not a unit of energy"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_wrong_model_is_refused(tmp_path, case):
    changes, message = ERRORS[case]
    path = write(tmp_path / "m.npz", sgdml_arrays()[0], **changes)
    with pytest.raises(DataError, match=message):
        convert_sgdml(path)


def test_truncated_at_every_kilobyte_is_refused(tmp_path):
    data = write(tmp_path / "m.npz", sgdml_arrays()[0]).read_bytes()
    path = tmp_path / "cut.npz"
    for size in range(0, len(data) - 1, 1024):
        path.write_bytes(data[:size])
        with pytest.raises(DataError, match="damaged"):
            convert_sgdml(path)


def test_flipped_bytes_are_refused_or_harmless(tmp_path):
    arrays, positions = sgdml_arrays(energies=True)
    data = write(tmp_path / "m.npz", arrays).read_bytes()
    expected = evaluate(convert_sgdml(tmp_path / "m.npz"), positions)[0]
    rng = np.random.default_rng(0)
    path = tmp_path / "flipped.npz"
    directory = data.index(b"PK\x01\x02")  # names and sizes stand at the end: as many flips there as in the arrays
    positions_in_file = [*rng.integers(0, directory, 50), *rng.integers(directory, len(data), 150)]
    for position in positions_in_file:
        flipped = bytearray(data)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            weights = convert_sgdml(path)
        except DataError:
            continue
        # What is read at all is read right: the archive carries check sums of its arrays.
        np.testing.assert_array_equal(evaluate(weights, positions)[0], expected, err_msg=f"byte {position}")
