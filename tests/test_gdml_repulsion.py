"""Nuclear repulsion beside a model of one molecule: files, digits, the trainer, and what it is for."""

from dataclasses import replace

import numpy as np
import openmm
import pytest
from models import MODELS, model_positions, repelled
from openmm import unit
from trained import DATA, SYMMETRIES, ethanol_data, ethanol_minimum, ethanol_potential, fit

from openmm_kml import _engine
from openmm_kml.bonds import covalent_sums
from openmm_kml.cli import main
from openmm_kml.errors import EvaluationError, WeightFileError
from openmm_kml.interfaces.matching import common_permutations
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.reference import evaluate
from openmm_kml.reference_local import COULOMB, SCREENING, SCREENING_LENGTH, SCREENING_POWER
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.training.repulsion import INNER, OUTER, molecule_repulsion
from openmm_kml.weights import RepulsionTerm, Weights, from_bytes, load, to_bytes

MASSES = {1: 1.008, 6: 12.011, 8: 15.999}
FUSED = 0.4  # of the sum of covalent radii


def without_repulsion(weights):
    return replace(weights, terms=tuple(term for term in weights.terms if term.kind != "repulsion"))


def test_by_hand():
    """Water with all three pairs in the full part of the switch: the sum of three screened Coulomb energies."""
    bare = MODELS["water-exchange"]
    term = RepulsionTerm(np.array([[5.0, 6.0], [7.0, 8.0], [5.0, 6.0]]))  # H-H, H-O, O-O
    weights = replace(bare, terms=(*bare.terms, term))
    positions = model_positions(bare)[0]
    added = KernelPotential.from_bytes(to_bytes(weights)).evaluate(positions).energy
    added -= KernelPotential.from_bytes(to_bytes(bare)).evaluate(positions).energy
    expected = 0.0
    for i, j in ((0, 1), (0, 2), (1, 2)):
        z, r = np.array(bare.species)[[i, j]].astype(float), np.linalg.norm(positions[i] - positions[j])
        x = r * (z**SCREENING_POWER).sum() / SCREENING_LENGTH
        expected += COULOMB * z.prod() / r * sum(a * np.exp(-b * x) for a, b in SCREENING)
    assert added == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", [name for name in MODELS if "repulsion" in name])
def test_the_engine_and_its_batches_agree_with_numpy(name):
    weights = MODELS[name]
    positions = model_positions(weights, 21)
    expected = evaluate(weights, positions)
    potential = KernelPotential.from_bytes(to_bytes(weights))
    assert np.abs(expected[0] - evaluate(without_repulsion(weights), positions)[0]).min() > 0.1
    for found, value in zip(potential.evaluate_batch(positions), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-10, atol=1e-10)
    for found, value in zip(potential.evaluate(positions[3]), (part[3] for part in expected), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-10, atol=1e-10)


def test_files_keep_it():
    weights = MODELS["two-terms-two-repulsions"]
    data = to_bytes(weights)
    again = from_bytes(data)
    assert to_bytes(again) == data
    assert [term.kind for term in again.terms] == ["gdml", "gdml", "repulsion", "repulsion"]
    np.testing.assert_array_equal(again.terms[3].switch, weights.terms[3].switch)
    assert len(common_permutations(again)) == 1


def bad(name):
    """Return weights that break a rule, as terms."""
    good = MODELS["ethanol-repulsion"]
    gdml, repulsion = good.terms
    terms = {
        "first": (repulsion, gdml),
        "alone": (repulsion,),
        "pairs of other elements": (gdml, RepulsionTerm(repulsion.switch[:3])),
        "switch out of order": (gdml, RepulsionTerm(repulsion.switch[:, ::-1])),
    }
    return good, terms[name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("first", r"terms\[0\].kind is 'repulsion'"),
        ("alone", r"terms\[0\].kind is 'repulsion'"),
        ("pairs of other elements", r"terms\[1\].switch has shape \(3, 2\); \(6, 2\) is expected"),
        ("switch out of order", r"terms\[1\].switch must hold 0 < r_1 < r_2"),
    ],
)
def test_the_writer_refuses(name, text):
    weights, terms = bad(name)
    with pytest.raises(WeightFileError, match=text):
        to_bytes(replace(weights, terms=terms))


@pytest.mark.parametrize("name", ["first", "pairs of other elements", "switch out of order"])
def test_both_readers_refuse(name, monkeypatch):
    weights, terms = bad(name)
    with monkeypatch.context() as patch:  # the writer without its checks
        patch.setattr("openmm_kml.weights.checked_weights", lambda given: given)
        data = to_bytes(Weights(weights.species, terms, weights.atom_energies))
    with pytest.raises(WeightFileError, match=r"switch|terms"):
        from_bytes(data)
    with pytest.raises(WeightFileError, match=r"switch|terms"):
        _engine.Engine(data)


def test_coincident_atoms_are_still_named():
    weights = repelled(MODELS["ethanol-matern52"])
    positions = model_positions(weights)[0]
    positions[4] = positions[2]
    with pytest.raises(EvaluationError, match="atoms 4 and 2 coincide"):
        KernelPotential.from_bytes(to_bytes(weights)).evaluate(positions)


def test_the_trainer_adds_it_and_the_data_do_not_feel_it():
    train, validation = ethanol_data()
    weights = ethanol_potential().weights
    assert [term.kind for term in weights.terms] == ["gdml", "repulsion"]
    bare = KernelPotential.from_bytes(
        to_bytes(without_repulsion(replace(weights, uncertainty=None, terms=_bare(weights))))
    )
    for part in (train, validation):
        for with_it, without in zip(
            ethanol_potential().evaluate_batch(part.positions), bare.evaluate_batch(part.positions), strict=True
        ):
            np.testing.assert_array_equal(with_it, without)


def _bare(weights):
    """Return the kernel terms, without what their uncertainty is made of."""
    none = dict.fromkeys(("explained_descriptor_coefficients", "explained_energy_coefficients", "prior_variance"))
    return tuple(replace(term, **none) for term in weights.terms if term.kind == "gdml")


def test_the_switch_is_below_the_shortest_distance_of_each_pair_of_elements():
    numbers = np.array([8, 1, 1])
    positions = np.array([[[0.0, 0, 0], [1.0, 0, 0], [0, 0.9, 0]], [[0.0, 0, 0], [1.2, 0, 0], [0, 1.1, 0]]])
    switch = molecule_repulsion(numbers, positions).switch
    shortest = np.array([np.hypot(1.0, 0.9), 0.9, covalent_sums([8])[0, 0]])  # H-H, H-O, and O-O by its radii
    np.testing.assert_allclose(switch, np.outer(shortest, [INNER, OUTER]), rtol=1e-12)


def test_it_can_be_left_out_and_the_published_model_never_has_it(tmp_path):
    train, validation = ethanol_data()
    assert [term.kind for term in fit(train, validation, repulsion=False).weights.terms] == ["gdml"]
    published = GDMLOptions(preset="sgdml", length_scale=10, symmetries=SYMMETRIES, n_threads=1, progress=False)
    assert [term.kind for term in fit_gdml(train[:10], validation, published).weights.terms] == ["gdml"]
    data = str(DATA)
    words = ["train", "gdml", data, "--n-train", "8", "--n-valid", "4", "--n-test", "4", "--quiet", "--threads", "1"]
    words += ["--power", "0.5", "--kernel", "matern92", "--length-scale", "2.5", "--regularization", "1e-6"]
    for option, kinds in (([], ["gdml", "repulsion"]), (["--no-repulsion"], ["gdml"])):
        path = tmp_path / "m.safetensors"
        assert main([*words, "-o", str(path), *option]) == 0
        weights = load(path)
        assert [term.kind for term in weights.terms] == kinds
        assert weights.provenance["uncertainty"]["n_frames"] == 8
        assert 0 < weights.provenance["uncertainty"]["median"] <= weights.provenance["uncertainty"]["largest"]


def test_info_shows_it(tmp_path, capsys):
    path = tmp_path / "m.safetensors"
    path.write_bytes(ethanol_potential().to_bytes())
    assert main(["info", str(path)]) == 0
    low, high = ethanol_potential().weights.terms[1].switch[1]
    assert f"H-C {low:.2f} to {high:.2f}" in capsys.readouterr().out


def closest(potential, positions, temperature, seed, steps=10000):
    """Return how near atoms come in a run of Langevin dynamics, by the sums of their covalent radii."""
    system = openmm.System()
    for number in potential.species:
        system.addParticle(MASSES[int(number)])
    system.addForce(KMLForce(potential))
    integrator = openmm.LangevinMiddleIntegrator(temperature * unit.kelvin, 1 / unit.picosecond, 0.00025)
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions * 0.1)
    context.setVelocitiesToTemperature(temperature * unit.kelvin, seed)
    i, j = np.triu_indices(len(positions), 1)
    sums, nearest = covalent_sums(potential.species)[i, j], np.inf
    for _ in range(steps // 20):
        integrator.step(20)
        r = context.getState(positions=True).getPositions(asNumpy=True)._value * 10
        nearest = min(nearest, (np.linalg.norm(r[i] - r[j], axis=1) / sums).min())
    return nearest


def compressed(i, j, factor):
    positions = ethanol_minimum().copy()
    positions[j] = positions[i] + factor * (positions[j] - positions[i])
    return positions


@pytest.mark.parametrize("case", ["a C–H bond at 0.6 of its length", "a C–C bond at 0.75", "1500 K"])
def test_atoms_of_a_run_that_left_the_data_do_not_fuse(case):
    start, temperature = {
        "a C–H bond at 0.6 of its length": (compressed(0, 6, 0.6), 300),
        "a C–C bond at 0.75": (compressed(0, 1, 0.75), 300),
        "1500 K": (ethanol_minimum(), 1500),
    }[case]
    weights = ethanol_potential().weights
    safe = KernelPotential.from_bytes(
        to_bytes(replace(weights, uncertainty=None, terms=(*_bare(weights), weights.terms[1])))
    )
    bare = KernelPotential.from_bytes(to_bytes(replace(weights, uncertainty=None, terms=_bare(weights))))
    assert closest(bare, start, temperature, 1) < FUSED
    assert closest(safe, start, temperature, 1) > FUSED
