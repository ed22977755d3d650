"""Trainings that go on from an earlier one: as good as from nothing, refused where columns change, kept safely."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from synthetic import Potential, template

from openmm_kml.active_learning.reference import label
from openmm_kml.errors import ExtensionError
from openmm_kml.structures import MoleculeSet, Structure, StructureSet
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.training.gdml_factored import FactoredMolecule
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.training.nbody.factored import Factored, rows_digest
from openmm_kml.training.soap import SoapOptions, fit_soap

PAIRS = {"length_scale2": 0.7, "amplitude2": 1.0, "progress": False}
NBODY = NBodyOptions(cutoff2=4.0, cutoff3=3.3, spacing3=0.6, length_scale3=1.0, amplitude3=0.5, **PAIRS)
SOAP = SoapOptions(cutoff=4.0, n_max=3, l_max=2, n_sparse=12, amplitude=1.0, **PAIRS)
LOCAL = [(fit_nbody, NBODY), (fit_soap, SOAP)]
FIRST = 8  # frames of the earlier training


def copper(count, seed=0, deviation=0.03):
    """Return labeled frames of a small cell; the first is disturbed the most, and has the shortest distance."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", "fcc", 3.61, cubic=True)
    frames = []
    for k in range(count):
        shifts = (deviation if k else 0.12) * rng.standard_normal(atoms.positions.shape)
        frame = Structure(atoms.numbers, atoms.positions + shifts, atoms.cell.array, True)
        frames.append(label(EMT(), frame, 1e3))
    return StructureSet(frames)


@pytest.fixture(scope="module")
def frames():
    return copper(16)


def nothing(factored, train, options):
    """Return a factor of no rows, otherwise the same: a training that goes on from it makes all rows."""
    empty = np.zeros((0, factored.factor.shape[1]))
    return replace(factored, factor=empty, n_rows=0, n_frames=0, digest=rows_digest(train[:0], options))


@pytest.mark.parametrize(("fit", "options"), LOCAL)
def test_an_update_is_the_full_fit(fit, options, frames):
    train, held = frames[:12], frames[12:]
    first = fit(train[:FIRST], held, options)
    updated = fit(train, held, options, first.factored)
    full = fit(train, held, options, nothing(first.factored, train, options))
    assert updated.posterior.scale == pytest.approx(full.posterior.scale, rel=1e-8)
    assert updated.posterior.log_likelihood == pytest.approx(full.posterior.log_likelihood, abs=1e-5)
    assert updated.report["n_rows"] == full.report["n_rows"] > first.report["n_rows"]
    scale = np.abs(full.posterior.coefficients).max()
    np.testing.assert_allclose(updated.posterior.coefficients, full.posterior.coefficients, atol=1e-6 * scale)
    # The uncertainty is that of all rows, too: its covariance and its calibration.
    rows = np.random.default_rng(0).standard_normal((5, len(full.posterior.coefficients)))
    np.testing.assert_allclose(updated.posterior.variance(rows), full.posterior.variance(rows), rtol=1e-6)
    assert not np.allclose(first.posterior.variance(rows), full.posterior.variance(rows), rtol=1e-3)
    for name in ("force_scale", "n_force_components"):
        assert updated.report["uncertainty"][name] == pytest.approx(full.report["uncertainty"][name], rel=0.3)


@pytest.mark.parametrize(("fit", "options"), LOCAL)
def test_an_update_predicts_as_a_new_training_does(fit, options, frames):
    train, held = frames[:12], frames[12:]
    first = fit(train[:FIRST], held, options)
    updated = fit(train, held, options, first.factored).report["validation_errors"]
    full = fit(train, held, options).report["validation_errors"]
    tolerance = 1e-3 if fit is fit_nbody else 0.5  # sparse points are chosen anew
    assert updated["forces_mae"] == pytest.approx(full["forces_mae"], rel=tolerance)


@pytest.mark.parametrize(("fit", "options"), LOCAL)
def test_a_factor_survives_the_disk(fit, options, frames, tmp_path):
    train, held = frames[:12], frames[12:]
    first = fit(train[:FIRST], held, options)
    first.factored.write(tmp_path / "factor.npz")
    read = Factored.read(tmp_path / "factor.npz", first.weights)
    one, other = (fit(train, held, options, earlier).posterior.coefficients for earlier in (first.factored, read))
    assert np.array_equal(one, other)
    whole = (tmp_path / "factor.npz").read_bytes()
    middle = len(whole) // 2
    damages = [b"", whole[:middle], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], b"[1]"]
    for damaged in damages:
        (tmp_path / "factor.npz").write_bytes(damaged)
        assert Factored.read(tmp_path / "factor.npz", first.weights) is None
    assert Factored.read(tmp_path / "nowhere.npz", first.weights) is None


def near(frame, distance):
    """Return a frame two of whose atoms are at some distance."""
    positions = frame.positions.copy()
    positions[1] = positions[0] + [0.0, 0.0, distance]
    return replace(frame, positions=positions)


def test_columns_that_would_change_are_refused(frames):
    train, held = frames[:FIRST], frames[12:]
    factored = fit_nbody(train, held, NBODY).factored
    last = frames.frames[10]
    refused = [
        (replace(last, numbers=np.array([29, 29, 29, 47])), "Ag is new"),
        (near(last, 1.2), "two atoms are 1.20 Å apart, and the grids start at"),
        (replace(last, numbers=[29], positions=np.zeros((1, 3)), forces=np.zeros((1, 3))), "a frame of one atom"),
    ]
    for frame, text in refused:
        with pytest.raises(ExtensionError, match=text):
            fit_nbody(StructureSet([*train, frame]), held, NBODY, factored)
    with pytest.raises(ExtensionError, match="frames or options are not those"):
        fit_nbody(frames[1:12], held, NBODY, factored)
    with pytest.raises(ExtensionError, match="frames or options are not those"):
        fit_nbody(frames[:12], held, replace(NBODY, noise_force=0.2), factored)
    with pytest.raises(ExtensionError, match="there are no validation frames"):
        fit_nbody(frames[:12], None, NBODY, factored)


# --- one molecule


WATER = GDMLOptions(
    power=1.0, kernel="matern52", length_scale=1.0, regularization=1e-7, energies=True, symmetries=[[0, 2, 1]],
    n_threads=1, progress=False,
)  # fmt: skip


def water(count, seed=0):
    numbers, positions = template("H2O")
    moved = positions + 0.08 * np.random.default_rng(seed).standard_normal((count, 3, 3))
    return MoleculeSet(numbers, moved, *Potential("H2O")(moved))


@pytest.mark.parametrize("energies", [True, False])
def test_an_update_of_a_molecule_is_the_full_fit(energies, tmp_path):
    options = replace(WATER, energies=energies)
    frames = water(20)
    train, held = frames[:14], frames[14:]
    first = fit_gdml(train[:10], held, options)
    FactoredMolecule.of(first.model).write(tmp_path / "factor.npz")
    earlier = FactoredMolecule.read(tmp_path / "factor.npz")
    updated = fit_gdml(train, held, options, earlier)
    twice = fit_gdml(train, held, options, fit_gdml(train[:12], held, options, earlier).factored)
    # A fit from nothing with the amplitude of the first, which decides what the regularization means.
    problem = updated.model.problem
    geometry = problem.geometry(earlier.hyperparameters)
    empty = replace(earlier, n_frames=0, rows=earlier.rows[:0], factor=np.zeros((0, 0)))
    full = empty.extended(problem, geometry).model(problem, geometry)
    for one in (updated.model, twice.model):
        for mine, theirs in zip(one.predict(held.positions), full.predict(held.positions), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-7)
    refit = fit_gdml(train, held, options)
    assert updated.report["validation_errors"]["forces_mae"] == pytest.approx(
        refit.report["validation_errors"]["forces_mae"], rel=0.02
    )
    assert updated.weights.uncertainty.force_scale == pytest.approx(refit.weights.uncertainty.force_scale, rel=0.05)


def test_a_factor_from_nothing_solves_what_the_direct_solver_does():
    frames = water(14)
    fit = fit_gdml(frames[:10], frames[10:], WATER)
    model = FactoredMolecule.of(fit.model).model(fit.model.problem, fit.model.geometry)
    np.testing.assert_allclose(model.coefficients.u, fit.model.coefficients.u, rtol=1e-6, atol=1e-9)


def test_other_symmetries_of_a_molecule_are_refused():
    frames = water(14)
    factored = FactoredMolecule.of(fit_gdml(frames[:10], frames[10:], WATER).model)
    with pytest.raises(ExtensionError, match="change which symmetries"):
        fit_gdml(frames[:12], frames[12:], replace(WATER, symmetries=False), factored)
    with pytest.raises(ExtensionError, match="frames are not those"):
        fit_gdml(frames[1:12], frames[12:], WATER, factored)
