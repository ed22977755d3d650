"""Kernel matrix, direct and iterative solution, memory, checkpoints."""

import numpy as np
import pytest
import synthetic
from checks import four_point_difference

from openmm_kml.descriptors.inverse_distances import descriptor, permuted_pairs
from openmm_kml.errors import TrainingError
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.training import (
    GDMLOptions,
    assembly,
    checkpoint,
    direct,
    estimate_memory,
    fit_gdml,
    iterative,
    memory,
    trainer,
)
from openmm_kml.training.assembly import kernel_columns, kernel_matrix, matrix_size, mean_force_diagonal
from openmm_kml.training.direct import DirectSystem, cholesky_in_place
from openmm_kml.training.geometry import build_geometry
from openmm_kml.training.iterative import IterativeSystem, default_columns, solve_iterative
from openmm_kml.training.permutations import close_group
from openmm_kml.training.prediction import Coefficients, predict
from openmm_kml.training.progress import progress_bar

POWER, LENGTH_SCALE = 0.5, 1.3
RTOL = 1e-12


@pytest.fixture(scope="module")
def molecules():
    return synthetic.frames("NH3", 12)


@pytest.fixture(scope="module")
def group():
    return close_group(synthetic.geometric_group("NH3"))


@pytest.fixture(scope="module")
def weights(group):
    """Descriptor weights that the group leaves alone: one for N-H, one for H-H."""
    return np.array([1.0, 1.0, 0.6, 1.0, 0.6, 0.6])


def full(K):
    return np.tril(K) + np.tril(K, -1).T


def scalar_kernel(r, r_prime, kernel, group, weights):
    """Return Σ_π k(x, π x') of two structures, straight from its definition."""
    x, x_prime = (descriptor(positions, POWER, weights) for positions in (r, r_prime))
    copies = x_prime[permuted_pairs(group)]
    return kernel.functions(kernel.scale(LENGTH_SCALE) * np.linalg.norm(x - copies, axis=1))[0].sum()


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_blocks_are_derivatives_of_the_scalar_kernel(kernel, molecules, group, weights):
    """Between two different points: second derivatives for forces, first ones with energies, the value itself."""
    r, r_prime = molecules.positions[0], molecules.positions[1]
    K = full(kernel_matrix(build_geometry(molecules.positions[:2], group, POWER, weights), kernel, LENGTH_SCALE))
    m = r.size

    def moved(positions, component, t):
        result = positions.copy()
        result.flat[component] += t
        return result

    def value(a, b):
        return scalar_kernel(a, b, kernel, group, weights)

    def slope(component, b):
        return four_point_difference(lambda t: value(moved(r, component, t), b))

    scale = np.abs(K[:m, m : 2 * m]).max()
    assert K[2 * m, 2 * m + 1] == pytest.approx(value(r, r_prime), rel=1e-13)
    for a in range(m):
        assert K[a, 2 * m + 1] == pytest.approx(slope(a, r_prime), abs=1e-9 * scale)
        other = four_point_difference(lambda t, a=a: value(moved(r_prime, a, t), r))
        assert K[m + a, 2 * m] == pytest.approx(other, abs=1e-9 * scale)
    for a, b in ((0, 0), (1, 5), (7, 2), (11, 11), (4, 9)):
        second = four_point_difference(lambda t, a=a, b=b: slope(a, moved(r_prime, b, t)), step=3e-3)
        assert K[a, m + b] == pytest.approx(second, abs=1e-7 * scale)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("energies", [True, False])
def test_the_matrix_is_symmetric_and_positive_semidefinite(kernel, energies, molecules, group):
    geometry = build_geometry(molecules.positions, group, POWER)
    K = kernel_matrix(geometry, kernel, LENGTH_SCALE, 1.0, energies)
    columns = kernel_columns(geometry, kernel, LENGTH_SCALE, np.arange(len(K)), 1.0, energies)
    scale = np.abs(columns).max()
    np.testing.assert_allclose(columns, columns.T, atol=1e-14 * scale)  # every block computed from both sides
    np.testing.assert_allclose(full(K), columns, atol=1e-14 * scale)
    values = np.linalg.eigvalsh(columns)
    assert values[0] > -1e-13 * values[-1]
    assert np.count_nonzero(values > 1e-9 * values[-1]) > 20  # and far from zero altogether


def test_the_amplitude_and_the_mean_diagonal(molecules, group):
    kernel = KERNELS["matern92"]
    geometry = build_geometry(molecules.positions, group, POWER)
    mean = mean_force_diagonal(geometry, kernel, LENGTH_SCALE)
    K = kernel_matrix(geometry, kernel, LENGTH_SCALE, 1 / mean, energies=True)
    n_forces = molecules.forces.size
    assert K.diagonal()[:n_forces].mean() == pytest.approx(1.0, rel=1e-13)
    np.testing.assert_allclose(
        np.tril(K) * mean, np.tril(kernel_matrix(geometry, kernel, LENGTH_SCALE)), rtol=RTOL, atol=1e-15
    )


def test_columns_in_any_order(molecules, group):
    kernel = KERNELS["matern72"]
    geometry = build_geometry(molecules.positions, group, POWER)
    K = full(kernel_matrix(geometry, kernel, LENGTH_SCALE, 2.0))
    chosen = np.random.default_rng(0).permutation(len(K))[:31]
    np.testing.assert_allclose(
        kernel_columns(geometry, kernel, LENGTH_SCALE, chosen, 2.0), K[:, chosen], atol=1e-13 * np.abs(K).max()
    )


def test_threads_change_no_digit_and_chunks_none_that_counts(molecules, group, monkeypatch):
    geometry = build_geometry(molecules.positions, group, POWER)
    one = kernel_matrix(geometry, KERNELS["matern92"], LENGTH_SCALE, n_threads=1)
    three = kernel_matrix(geometry, KERNELS["matern92"], LENGTH_SCALE, n_threads=3)
    np.testing.assert_array_equal(np.tril(one), np.tril(three))
    monkeypatch.setattr(assembly, "CHUNK_BYTES", 1)  # one point at a time
    np.testing.assert_allclose(
        np.tril(kernel_matrix(geometry, KERNELS["matern92"], LENGTH_SCALE)), np.tril(one), rtol=RTOL, atol=1e-15
    )


@pytest.mark.parametrize("energies", [True, False])
def test_prediction_at_the_training_points_is_the_product_with_the_matrix(energies, molecules, group, weights):
    kernel = KERNELS["matern52"]
    geometry = build_geometry(molecules.positions, group, POWER, weights)
    K = full(kernel_matrix(geometry, kernel, LENGTH_SCALE, 3.0, energies))
    vector = np.random.default_rng(0).normal(size=len(K))
    expected = K @ vector
    n_forces = molecules.forces.size
    alpha = vector[:n_forces].reshape(len(molecules), -1)
    beta = vector[n_forces:] if energies else None
    got_energies, gradients = predict(
        geometry, geometry, kernel, LENGTH_SCALE, Coefficients(geometry.push(alpha), beta)
    )
    np.testing.assert_allclose(3 * gradients.ravel(), expected[:n_forces], rtol=1e-11, atol=1e-11)
    if energies:
        np.testing.assert_allclose(3 * got_energies, expected[n_forces:], rtol=1e-11, atol=1e-11)
    for n_threads in (1, 2):
        system = IterativeSystem(geometry, kernel, LENGTH_SCALE, 3.0, energies, n_threads)
        assert system.size == len(K)
        np.testing.assert_allclose(system.product(vector), expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(system.diagonal(), K.diagonal(), rtol=RTOL)


@pytest.mark.parametrize("n", [1, 7, 50])
@pytest.mark.parametrize("blocked", [True, False])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_cholesky_in_place(n, blocked, n_threads, monkeypatch):
    monkeypatch.setattr(direct, "_BLOCKED_FROM", 0 if blocked else 1000)
    monkeypatch.setattr(direct, "_PANEL", 8)
    monkeypatch.setattr(direct, "_ROWS", 5)
    A = np.random.default_rng(n).normal(size=(n, n + 3))
    A = A @ A.T
    K = np.asfortranarray(np.tril(A))
    assert cholesky_in_place(K, n_threads)
    np.testing.assert_allclose(np.tril(K), np.linalg.cholesky(A), rtol=1e-10, atol=1e-12)
    K = np.asfortranarray(A)
    K[n // 2, n // 2] = -1.0
    assert not cholesky_in_place(K, n_threads)


def test_cholesky_refuses_an_array_that_it_would_have_to_copy():
    with pytest.raises(ValueError, match="Fortran order"):
        cholesky_in_place(np.eye(4)[::2])


def test_one_assembly_serves_all_regularizations(molecules, group):
    geometry = build_geometry(molecules.positions, group, POWER)
    kernel = KERNELS["matern92"]
    K = full(kernel_matrix(geometry, kernel, LENGTH_SCALE))
    system = DirectSystem(geometry, kernel, LENGTH_SCALE, 1.0, True)
    y = np.random.default_rng(1).normal(size=len(K))
    for regularization in (1e-2, 1e-5, 1e-2, 1.0):
        expected = np.linalg.solve(K + regularization * np.eye(len(K)), y)
        np.testing.assert_allclose(system.solve(regularization, y), expected, rtol=1e-7)


def test_a_matrix_that_is_not_positive_definite_names_the_kernel_and_the_remedy(molecules, group):
    repeated = np.repeat(molecules.positions[:3], 4, axis=0)
    system = DirectSystem(build_geometry(repeated, group, POWER), KERNELS["matern72"], LENGTH_SCALE, 1.0, True)
    with pytest.raises(TrainingError, match=r"matern72 kernel matrix is not positive definite.*raise the regular"):
        system.solve(0.0, np.ones(len(system.K)))


# --- memory


def test_the_estimate_of_memory_is_that_of_one_square_matrix():
    assert 27_000**2 * 8 < estimate_memory(1000, 9, False) < 27_000**2 * 8 * 1.2
    assert estimate_memory(1000, 9, True) < 8e9
    assert estimate_memory(1000, 9, True) > estimate_memory(1000, 9, False)


def test_a_large_group_needs_memory_in_each_thread():
    """The permuted Jacobians of one point alone: P D m numbers."""
    n_permutations, n_pairs, m = 6912, 136, 51
    more = estimate_memory(100, 17, True, n_permutations, 4) - estimate_memory(100, 17, True)
    assert more > 8 * 4 * n_permutations * n_pairs * m


def test_what_does_not_fit_is_refused_before_it_starts(molecules, monkeypatch):
    monkeypatch.setattr(direct, "kernel_matrix", None)  # any start would fail
    options = GDMLOptions(**FIXED, solver="direct", memory_limit=1000, progress=False)
    with pytest.raises(
        TrainingError, match=r"needs 0\.2 GB for 12 training points.*but 0\.001 MB are allowed.*iterative"
    ):
        fit_gdml(molecules, molecules, options)


def test_auto_takes_the_iterative_solver_when_memory_does_not_suffice(molecules):
    small = GDMLOptions(**FIXED, memory_limit=10**6, progress=False)
    large = GDMLOptions(**FIXED, progress=False)
    assert fit_gdml(molecules, molecules, small).report["solver"]["name"] == "iterative"
    assert fit_gdml(molecules, molecules, large).report["solver"]["name"] == "direct"


def test_pages_of_files_that_the_system_may_drop_are_available(tmp_path, monkeypatch):
    files = {
        "memory.max": "3000000",
        "memory.current": "2900000",
        "memory.stat": "anon 400000\ninactive_file 2000000\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.available_memory() == 2_100_000
    (tmp_path / "memory.max").write_text("max")
    assert memory.available_memory() > 2_100_000


# --- the iterative solver

FIXED = {"power": 0.5, "kernel": "matern92", "length_scale": 1.3, "regularization": 1e-5, "energies": True}


@pytest.fixture
def system(molecules, group):
    return IterativeSystem(
        build_geometry(molecules.positions, group, POWER), KERNELS["matern92"], LENGTH_SCALE, 1.0, True
    )


@pytest.mark.parametrize("n_columns", [5, 40])
def test_iterative_and_direct_solutions_agree(system, n_columns):
    y = np.random.default_rng(2).normal(size=system.size)
    expected = DirectSystem(system.geometry, system.kernel, LENGTH_SCALE, 1.0, True).solve(1e-3, y)
    solution, info = solve_iterative(system, 1e-3, y, 1e-10, n_columns)
    assert np.abs(solution - expected).max() < 1e-6 * np.abs(expected).max()
    assert info["residual"] <= 1e-10
    residual = y - system.product(solution) - 1e-3 * solution
    assert np.linalg.norm(residual) < 2e-10 * np.linalg.norm(y)


def test_more_columns_of_the_preconditioner_save_iterations(system):
    y = np.random.default_rng(2).normal(size=system.size)
    few, many = (solve_iterative(system, 1e-4, y, 1e-8, n)[1]["iterations"] for n in (5, 80))
    assert many < 0.7 * few


def test_the_preconditioner_of_full_rank_solves_at_once(system):
    y = np.random.default_rng(2).normal(size=system.size)
    assert solve_iterative(system, 1e-4, y, 1e-6, system.size)[1]["iterations"] <= 3


def test_models_of_both_solvers_agree():
    molecules = synthetic.frames("CH3OH", 25)
    one, other = (
        fit_gdml(molecules, molecules, GDMLOptions(**FIXED, solver=name, tolerance=1e-9, progress=False))
        for name in ("direct", "iterative")
    )
    assert other.report["solver"]["iterations"] > 1
    for a, b in zip(one.model.predict(molecules.positions), other.model.predict(molecules.positions), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_iterative_solver_is_not_given_a_regularization_that_it_cannot_reach(monkeypatch):
    """Exact data ask for next to none, with which conjugate gradients would go on for ever."""
    monkeypatch.setattr(iterative, "MAX_ITERATIONS", 1500)
    train, validation = synthetic.frames("CH3OH", 30, 1), synthetic.frames("CH3OH", 15, 2)
    open_options = {name: FIXED[name] for name in ("power", "kernel", "energies")} | {"progress": False}
    report = fit_gdml(train, validation, GDMLOptions(**open_options, solver="iterative")).report
    assert report["hyperparameters"]["regularization"] == trainer.LEAST_ITERATIVE
    assert any("regularization was raised" in note and "iterative" in note for note in report["notes"])
    direct_report = fit_gdml(train, validation, GDMLOptions(**open_options)).report
    assert direct_report["hyperparameters"]["regularization"] < trainer.LEAST_ITERATIVE
    given = fit_gdml(train, validation, GDMLOptions(**FIXED, solver="iterative", progress=False)).report
    assert given["hyperparameters"]["regularization"] == FIXED["regularization"]


def test_an_interrupted_solution_goes_on_from_its_checkpoint(system, tmp_path, monkeypatch):
    """A kill between two iterations: what is written is complete, and the rest of the way is the same to the digit."""
    y = np.random.default_rng(2).normal(size=system.size)
    whole, info = solve_iterative(system, 1e-5, y, 1e-9, 20)
    path = tmp_path / "solver.npz"
    step, calls = iterative._step, []
    half = info["iterations"] // 2

    def counted(*arguments):
        calls.append(1)
        if len(calls) == half:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(iterative, "_step", counted)
    with pytest.raises(KeyboardInterrupt):
        solve_iterative(system, 1e-5, y, 1e-9, 20, checkpoint=path, digest="a")
    assert [file.name for file in tmp_path.iterdir()] == ["solver.npz"]
    resumed, resumed_info = solve_iterative(system, 1e-5, y, 1e-9, 20, checkpoint=path, digest="a")
    np.testing.assert_array_equal(resumed, whole)
    assert resumed_info == info
    assert len(calls) == info["iterations"] + 1  # nothing was done twice but the step that was interrupted
    # What is solved stays until the model is safe: a kill before that costs nothing.
    again, _ = solve_iterative(system, 1e-5, y, 1e-9, 20, checkpoint=path, digest="a")
    np.testing.assert_array_equal(again, whole)
    assert len(calls) == info["iterations"] + 1


def test_a_resumed_solution_keeps_its_preconditioner_whatever_memory_is_free_now(system, tmp_path, monkeypatch):
    y = np.random.default_rng(2).normal(size=system.size)
    whole, info = solve_iterative(system, 1e-5, y, 1e-9, 20)
    monkeypatch.setattr(iterative, "MAX_ITERATIONS", 5)
    path = tmp_path / "solver.npz"
    with pytest.raises(TrainingError, match="did not reach"):
        solve_iterative(system, 1e-5, y, 1e-9, 20, checkpoint=path, digest="a")
    monkeypatch.undo()
    resumed, resumed_info = solve_iterative(system, 1e-5, y, 1e-9, 7, checkpoint=path, digest="a")
    np.testing.assert_array_equal(resumed, whole)
    assert resumed_info == info


def test_a_training_goes_on_from_its_checkpoint_when_less_memory_is_free(tmp_path, monkeypatch):
    molecules = synthetic.frames("NH3", 12)
    path = tmp_path / "solver.npz"
    options = GDMLOptions(**FIXED, solver="iterative", tolerance=1e-10, checkpoint=path, progress=False)
    whole = fit_gdml(molecules, molecules, options).report["solver"]
    path.unlink()
    with monkeypatch.context() as context:
        context.setattr(iterative, "MAX_ITERATIONS", 1)
        with pytest.raises(TrainingError, match="did not reach"):
            fit_gdml(molecules, molecules, options)
    monkeypatch.setattr(trainer, "available_memory", lambda: 10**5)
    assert fit_gdml(molecules, molecules, options).report["solver"]["iterations"] == whole["iterations"]


def test_a_training_that_fails_is_not_done_twice(monkeypatch):
    molecules = synthetic.frames("NH3", 12)
    monkeypatch.setattr(iterative, "MAX_ITERATIONS", 1)
    solve, calls = trainer.solve_iterative, []
    monkeypatch.setattr(trainer, "solve_iterative", lambda *arguments: calls.append(1) or solve(*arguments))
    options = GDMLOptions(**FIXED, solver="iterative", tolerance=1e-12, progress=False)
    with pytest.raises(TrainingError, match="did not reach"):
        fit_gdml(molecules, molecules, options)
    assert len(calls) == 1


def test_a_preconditioner_below_rounding_names_the_remedy(system):
    with pytest.raises(TrainingError, match=r"matern92.*raise the regularization"):
        solve_iterative(system, 1e-25, np.ones(system.size), 1e-6, system.size)


def test_checkpoints_are_written_now_and_then(system, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    written = []
    monkeypatch.setattr(checkpoint, "write_atomically", lambda path, data: written.append(path))
    y = np.random.default_rng(2).normal(size=system.size)
    _, info = solve_iterative(system, 1e-3, y, 1e-6, 20, checkpoint=tmp_path / "c", digest="a")
    assert len(written) == info["iterations"] + 1  # and the solution


def test_a_checkpoint_of_other_data_is_refused_and_kept(system, tmp_path):
    path = tmp_path / "c"
    file = checkpoint.Checkpoint(path, "other")
    state = {name: np.zeros(system.size) for name in ("solution", "residual", "direction")}
    file.write(state | {"iteration": 3, "product": 1.0, "columns": 20})
    before = path.read_bytes()
    with pytest.raises(TrainingError, match="belongs to other data"):
        solve_iterative(system, 1e-3, np.ones(system.size), 1e-6, 20, checkpoint=path, digest="a")
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"text"])
def test_a_damaged_checkpoint_is_refused(system, tmp_path, content):
    path = tmp_path / "c"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"is not a checkpoint.*delete it"):
        solve_iterative(system, 1e-3, np.ones(system.size), 1e-6, 20, checkpoint=path, digest="a")


def test_the_iterative_solver_needs_a_regularization(system):
    with pytest.raises(TrainingError, match="regularization above zero"):
        solve_iterative(system, 0.0, np.ones(system.size), 1e-6, 20)


def test_an_iteration_without_end_is_an_error(system, monkeypatch):
    monkeypatch.setattr(iterative, "MAX_ITERATIONS", 2)
    with pytest.raises(TrainingError, match=r"matern92.*did not reach.*raise the regularization"):
        solve_iterative(system, 1e-8, np.random.default_rng(0).normal(size=system.size), 1e-12, 3)


def test_the_preconditioner_keeps_within_the_memory_given():
    assert default_columns(28_000) == 6000
    assert default_columns(28_000, 10**8) * 1.5 * 8 * 28_000 <= 10**8
    assert default_columns(50) == 50


def test_the_size_of_the_matrix():
    assert matrix_size(10, 9, True) == 280
    assert matrix_size(10, 9, False) == 270


# --- progress


def test_large_counts_are_shown_in_short(capsys):
    with progress_bar(114_333_333_333, "Cholesky", True, " flop") as bar:
        bar.update(57_000_000_000)
        assert "57.0G/114G" in str(bar)
    with progress_bar(12, "weights", True) as bar:
        bar.update(3)
        assert "3/12" in str(bar)
