"""The engine itself: instruction sets, odd sizes, threads, batches, errors, and the table of C functions."""

import ctypes
import subprocess
import sys
import threading

import numpy as np
import pytest
from local_models import LOCAL_MODELS, STRUCTURES, numbers_for
from models import CARBON, LARGE, MODELS, ROTATIONS, model_positions, random_weights

from openmm_kml import _engine, reference
from openmm_kml.errors import EvaluationError, WeightFileError
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import to_bytes

SIXTHS = ROTATIONS[::2]


def available_instruction_sets():
    """Return the names that this processor has; at least the baseline."""
    names = []
    for name in ("baseline", "avx2", "avx512"):
        try:
            _engine.Engine(to_bytes(MODELS["diatomic-one-point"]), isa=name)
        except ValueError:
            continue
        names.append(name)
    return names


INSTRUCTION_SETS = available_instruction_sets()

SIZES = {
    f"{n} atoms, {n_train} points": random_weights((6,) * n, n_train=n_train, energies=bool(n % 2))
    for n in (2, 3, 4, 5, 7)
    for n_train in (1, 7, 8, 9, 33)
}
KINDS = {
    f"{kernel}, power {power}, {'with' if energies else 'without'} energies": random_weights(
        CARBON, SIXTHS, kernel=kernel, power=power, energies=energies, weighted=True, n_train=29
    )
    for kernel in KERNELS
    for power in (1.0, 0.5, 0.25, 2.0, 1.3)
    for energies in (False, True)
}
GROUPS = {
    f"{len(group)} permutations": random_weights(CARBON, group, n_train=90)
    for group in (ROTATIONS[:1], ROTATIONS[::6], SIXTHS, ROTATIONS)
}
TABLE = SIZES | KINDS | GROUPS


def assert_same(result, expected, tolerance=1e-11):
    """Compare energy, forces and virial to a tolerance relative to the largest number of each."""
    for value, reference_value in zip(result, expected, strict=True):
        scale = max(1.0, np.abs(reference_value).max())
        np.testing.assert_allclose(value, reference_value, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@pytest.mark.parametrize("name", TABLE)
def test_every_instruction_set_equals_the_numpy_twin(name, isa):
    weights = TABLE[name]
    engine = _engine.Engine(to_bytes(weights), isa=isa)
    assert engine.instruction_set == isa
    positions = model_positions(weights, n_frames=3)
    expected = reference.evaluate(weights, positions)
    for k, frame in enumerate(positions):
        assert_same(engine.evaluate(frame), [part[k] for part in expected])
    assert_same(engine.evaluate_batch(positions), expected)


def test_instruction_set_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="isa must be"):
        _engine.Engine(to_bytes(LARGE), isa="avx1024")


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_repeated_runs_are_equal_to_the_last_bit(n_threads):
    positions = model_positions(LARGE)[0]
    data = to_bytes(LARGE)
    first = _engine.Engine(data).evaluate(positions, n_threads=n_threads)
    engine = _engine.Engine(data)
    engine.evaluate(positions + 0.05, n_threads=2)  # other work in between leaves no trace
    for _ in range(20):
        again = engine.evaluate(positions, n_threads=n_threads)
        assert all(np.array_equal(a, b) for a, b in zip(again, first, strict=True))


@pytest.mark.parametrize("n_threads", [2, 3, 7])
def test_threads_change_no_more_than_rounding(n_threads):
    engine = _engine.Engine(to_bytes(LARGE))
    assert engine.operations > 7e6
    for positions in model_positions(LARGE, n_frames=3):
        assert_same(engine.evaluate(positions, n_threads=n_threads), engine.evaluate(positions))


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n_frames", [1, 2, 9, 60])
def test_batch_equals_single_evaluations(n_frames, n_threads):
    engine = _engine.Engine(to_bytes(LARGE))
    positions = model_positions(LARGE, n_frames=n_frames)
    singles = [engine.evaluate(frame) for frame in positions]
    batch = engine.evaluate_batch(positions, n_threads=n_threads)
    assert_same(batch, [np.array(part) for part in zip(*singles, strict=True)])
    again = engine.evaluate_batch(positions, n_threads=n_threads)
    assert all(np.array_equal(a, b) for a, b in zip(again, batch, strict=True))


def test_empty_batch_has_empty_results():
    energies, forces, virials = _engine.Engine(to_bytes(LARGE)).evaluate_batch(np.empty((0, 12, 3)))
    assert energies.shape == (0,)
    assert forces.shape == (0, 12, 3)
    assert virials.shape == (0, 3, 3)


def test_forces_and_virial_may_be_left_out():
    engine = _engine.Engine(to_bytes(LARGE))
    positions = model_positions(LARGE)[0]
    energy, forces, virial = engine.evaluate(positions)
    assert engine.evaluate(positions, forces=False, virial=False) == (energy, None, None)
    assert np.array_equal(engine.evaluate(positions, virial=False)[1], forces)
    assert np.array_equal(engine.evaluate(positions, forces=False)[2], virial)


def test_one_engine_may_be_called_from_several_python_threads():
    engine = _engine.Engine(to_bytes(LARGE))
    frames = model_positions(LARGE, n_frames=4)
    expected = [engine.evaluate(frame) for frame in frames]
    differences = []

    def work(k):
        for _ in range(50):
            result = engine.evaluate(frames[k])
            differences.append(max(np.abs(a - b).max() for a, b in zip(result, expected[k], strict=True)))

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(differences) == 200
    assert max(differences) == 0.0


FORK = """
import os, signal, sys, warnings
import numpy as np
from openmm_kml._engine import Engine

engine = Engine(open(sys.argv[1] + "/model.safetensors", "rb").read())
frames = np.load(sys.argv[1] + "/frames.npy")

def digits():
    parts = (*engine.evaluate(frames[0], n_threads=2), *engine.evaluate_batch(frames, n_threads=2))
    return b"".join(np.asarray(part).tobytes() for part in parts)

expected = digits()
warnings.simplefilter("ignore")  # newer Pythons warn of what is tested here
if os.fork() == 0:
    signal.alarm(60)  # ends a child that waits for threads that it does not have
    os._exit(0 if digits() == expected else 1)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_forked_child_gives_the_same_bits(tmp_path):
    """OpenMP's threads do not survive a fork: a child that waited for them would hang."""
    (tmp_path / "model.safetensors").write_bytes(to_bytes(LARGE))
    np.save(tmp_path / "frames.npy", model_positions(LARGE, n_frames=20))
    command = [sys.executable, "-c", FORK, str(tmp_path)]
    assert subprocess.run(command, cwd=sys.prefix, timeout=300, check=False).returncode == 0


def test_large_coefficients_keep_the_digits_of_the_energy():
    """Published models have coefficients of 1e11 whose sums nearly cancel: rounding must stay relative to the terms."""
    weights = random_weights(n_train=200, seed=5)
    term = weights.terms[0]
    rng = np.random.default_rng(0)
    u = rng.normal(size=term.descriptor_coefficients.shape) * 1e9
    term.descriptor_coefficients[:] = u
    positions = model_positions(weights)[0]
    s = np.sqrt(5) / term.length_scale
    x = np.array([1 / np.linalg.norm(positions[i] - positions[j]) for i in range(9) for j in range(i)])
    difference = (x - term.training_descriptors).astype(np.longdouble)
    a = s * np.sqrt((difference**2).sum(axis=1))
    terms = s**2 / 3 * (1 + a) * np.exp(-a) * (difference * u).sum(axis=1)
    exact = terms.sum() + term.energy_offset + 2 * weights.atom_energies[6]
    energy = _engine.Engine(to_bytes(weights)).evaluate(positions)[0]
    assert abs(energy - float(exact)) < 1e-14 * float(np.abs(terms).sum())


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_training_points_themselves_have_no_cusp(kernel, isa):
    """There |q - x|² = |q|² + |x|² - 2 q·x is rounding alone, and may be negative."""
    weights = random_weights((6, 6), kernel=kernel, n_train=40, energies=True)
    engine = _engine.Engine(to_bytes(weights), isa=isa)
    distances = 1 / weights.terms[0].training_descriptors[:, 0]
    for distance in distances:
        positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, distance]])
        assert_same(engine.evaluate(positions), reference.evaluate(weights, positions))


# --- errors


@pytest.fixture
def water():
    weights = MODELS["water-exchange"]
    return _engine.Engine(to_bytes(weights)), model_positions(weights)[0]


def test_coincident_atoms_are_named(water):
    engine, positions = water
    for gap in (0.0, 1e-170):
        close = positions.copy()
        close[2] = close[0]
        close[2] += [gap, 0, 0]
        close -= close[0]
        with pytest.raises(EvaluationError, match=r"atoms 2 and 0 coincide \(distance"):
            engine.evaluate(close)
        with pytest.raises(EvaluationError, match="structure 1: atoms 2 and 0 coincide"):
            engine.evaluate_batch([positions, close, positions])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_coordinate_that_is_not_finite_is_named(water, value):
    engine, positions = water
    positions[1, 2] = value
    with pytest.raises(EvaluationError, match="coordinate of atom 1 is not finite"):
        engine.evaluate(positions)


def test_overflow_is_an_error_and_not_a_number():
    weights = random_weights((8, 1, 1), power=3.0)
    positions = np.array([[0.0, 0.0, 0.0], [1e-55, 0.0, 0.0], [0.0, 1.0, 0.0]])  # r^-3 is finite, its square is not
    with pytest.raises(EvaluationError, match="not finite"):
        _engine.Engine(to_bytes(weights)).evaluate(positions)


def test_later_structure_of_a_large_batch_is_named():
    engine = _engine.Engine(to_bytes(LARGE))
    positions = model_positions(LARGE, n_frames=40)
    positions[33, 4, 0] = np.nan
    for n_threads in (1, 2):
        with pytest.raises(EvaluationError, match="structure 33: a coordinate of atom 4"):
            engine.evaluate_batch(positions, n_threads=n_threads)


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (9,), (1, 3, 3), (0, 3)])
def test_wrong_shape_is_refused(water, shape):
    with pytest.raises(ValueError, match=r"positions have the shape .* \(3, 3\) is expected for 3 atoms"):
        water[0].evaluate(np.zeros(shape))


def test_arguments_are_checked(water):
    engine, positions = water
    with pytest.raises(ValueError, match=r"n_threads is at least 1, .*; -1 was given"):
        engine.evaluate(positions, n_threads=-1)
    with pytest.raises(ValueError, match="cell is a finite array"):
        engine.evaluate(positions, cell=[1, 2, 3])
    with pytest.raises(ValueError, match="array of numbers"):
        engine.evaluate([["a", "b", "c"]] * 3)
    assert engine.evaluate(positions.astype(np.float32).tolist(), cell=9 * np.eye(3))[0] < 0
    with pytest.raises(WeightFileError, match="8 bytes"):
        _engine.Engine(b"")


# --- the potential


def test_elements_are_compared(water):
    _, positions = water
    potential = KernelPotential.from_bytes(to_bytes(MODELS["water-exchange"]))
    assert potential.evaluate(positions, [8, 1, 1]).energy == potential.evaluate(positions).energy
    with pytest.raises(ValueError, match="atom 0 is H, but the model expects O"):
        potential.evaluate(positions, [1, 8, 1])
    for numbers, found in (
        (["O", "H", "H"], "'O'"),
        ([None, 1, 1], "None"),
        ([np.nan, 1, 1], "nan"),
        ([200, 1, 1], "200"),
    ):
        with pytest.raises(ValueError, match=f"atom 0 is {found}, but the model expects O there: give atomic numbers"):
            potential.evaluate(positions, numbers)
    with pytest.raises(ValueError, match="3 atoms"):
        potential.evaluate_batch(positions[None], [8, 1])


def test_info_is_plain(tmp_path):
    weights = random_weights(CARBON, SIXTHS, kernel="matern72", power=0.5, n_train=11, energies=True)
    path = tmp_path / "model.safetensors"
    path.write_bytes(to_bytes(weights))
    info = KernelPotential.load(path).info()
    assert info["formula"] == "C12"
    assert info["n_atoms"] == 12
    assert info["operations_per_evaluation"] == 8 * 11 * 6 * 66
    assert info["file_size"] == path.stat().st_size
    assert info["instruction_set"] in INSTRUCTION_SETS
    (term,) = info["terms"]
    assert (term["kernel"], term["power"], term["n_permutations"], term["energies"]) == ("matern72", 0.5, 6, True)


def test_load_names_the_file(tmp_path):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"12345")
    with pytest.raises(WeightFileError, match=r"broken\.safetensors: a weight file has at least 8 bytes"):
        KernelPotential.load(path)


# --- the table of C functions, as a driver outside Python sees it


class CStructure(ctypes.Structure):
    """`kml_structure`; make one with `c_structure`."""

    _fields_ = (
        ("n_atoms", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("positions", "numbers", "cell", "pbc")),
    )


class COutputs(ctypes.Structure):
    """`kml_outputs`; make one with `c_outputs`."""

    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in ("energy", "forces", "virial", "atomic", "energy_std", "std_forces", "std_virial", "atomic_std")
    )


def c_structure(positions, **arrays):
    """Return a structure that points into arrays, which must outlive it."""
    pointers = {name: array.ctypes.data for name, array in arrays.items()}
    return CStructure(len(positions), positions.ctypes.data, **pointers)


def c_outputs(**arrays):
    """Return outputs that point into arrays."""
    return COutputs(**{name: array.ctypes.data for name, array in arrays.items()})


class Table(ctypes.Structure):
    """`kml_engine_api` of core/include/kml/engine_api.h."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("open", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)),
        ("close", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        ("n_atoms", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)),
        ("species", ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_int), ctypes.c_void_p)),
        ("n_elements", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)),
        ("elements", ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_int), ctypes.c_void_p)),
        ("cutoff", ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p)),
        ("has_uncertainty", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)),
        ("new_workspace", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)),
        ("free_workspace", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        (
            "evaluate",
            ctypes.CFUNCTYPE(
                ctypes.c_int,
                *(ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(CStructure), ctypes.c_int),
                *(ctypes.POINTER(COutputs), ctypes.c_char_p, ctypes.c_size_t),
            ),
        ),
    )


@pytest.fixture
def table():
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return Table.from_address(pointer(_engine.engine_api(), b"openmm_kml.engine_api"))


def test_c_functions_give_the_same_bits(table):
    data = to_bytes(LARGE)
    error = ctypes.create_string_buffer(200)
    assert table.version == 3
    potential = table.open(data, len(data), error, len(error))
    assert potential, error.value
    assert table.n_atoms(potential) == 12
    assert table.species(potential)[:12] == [6] * 12
    assert table.n_elements(potential) == 0
    assert table.cutoff(potential) == 0
    workspace = table.new_workspace(potential)
    positions = model_positions(LARGE)[0]
    for n_threads in (1, 2):
        energy, forces, virial = np.zeros(1), np.full((12, 3), np.nan), np.full((3, 3), np.nan)
        results = {"energy": energy, "forces": forces, "virial": virial}
        call = (potential, workspace, c_structure(positions), n_threads)
        assert table.evaluate(*call, c_outputs(**results), error, len(error)) == 0
        expected = KernelPotential.from_bytes(data).evaluate(positions, n_threads=n_threads)
        assert all(np.array_equal(a, b) for a, b in zip((energy[0], forces, virial), expected, strict=True))
        assert table.evaluate(*call, c_outputs(energy=energy), error, len(error)) == 0
        assert table.evaluate(*call, c_outputs(**results, atomic=np.zeros(12)), error, len(error)) != 0
        assert b"no energies of single atoms" in error.value
        assert not table.has_uncertainty(potential)
        assert table.evaluate(*call, c_outputs(energy_std=energy), error, len(error)) != 0
        assert b"no uncertainty" in error.value
    table.free_workspace(workspace)
    table.close(potential)


def test_c_functions_evaluate_local_terms(table):
    weights = LOCAL_MODELS["all terms of silica"]
    positions, cell, pbc = STRUCTURES["slab"]
    numbers = numbers_for(weights, len(positions))
    data, error = to_bytes(weights), ctypes.create_string_buffer(200)
    potential = table.open(data, len(data), error, len(error))
    assert table.n_atoms(potential) == 0
    assert table.elements(potential)[: table.n_elements(potential)] == [8, 14]
    workspace = table.new_workspace(potential)
    energy, atomic, z, periodic = np.zeros(1), np.zeros(len(positions)), numbers.astype("i4"), np.array(pbc, "i4")
    structure = c_structure(positions, numbers=z, cell=cell, pbc=periodic)
    call = (potential, workspace, structure, 1, c_outputs(energy=energy, atomic=atomic), error, len(error))
    assert table.evaluate(*call) == 0
    assert energy[0] == KernelPotential.from_bytes(data).evaluate(positions, numbers, cell, pbc).energy
    assert atomic.sum() == pytest.approx(energy[0], rel=1e-13)
    z[3] = 6
    assert table.evaluate(*call) != 0
    assert error.value == b"element 6 (C, atom 3) is not in the model, which knows O, Si"
    structure.numbers = None
    assert table.evaluate(*call) != 0
    assert b"atomic numbers" in error.value
    table.free_workspace(workspace)
    table.close(potential)


def test_c_functions_report_errors(table):
    error = ctypes.create_string_buffer(200)
    assert not table.open(b"nonsense", 8, error, len(error))
    assert b"not a weight file" in error.value
    data = to_bytes(MODELS["water-exchange"])
    potential = table.open(data, len(data), error, len(error))
    workspace = table.new_workspace(potential)
    energy, positions = np.zeros(1), np.zeros((3, 3))
    call = (1, c_outputs(energy=energy), error, len(error))
    assert table.evaluate(potential, workspace, c_structure(positions), *call) != 0
    assert b"atoms 1 and 0 coincide" in error.value
    assert table.evaluate(potential, workspace, c_structure(positions[:2]), *call) != 0
    assert b"the potential has 3 atoms; 2 came" in error.value
    table.free_workspace(workspace)
    table.close(potential)
