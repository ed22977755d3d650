"""Repulsion and walls beside a model of one molecule: files, digits, the trainer, and what they are for."""

from dataclasses import replace

import numpy as np
import openmm
import pytest
from models import MODELS, model_positions, repelled, walled
from openmm import unit
from trained import DATA, SYMMETRIES, ethanol_data, ethanol_minimum, ethanol_potential, fit

from openmm_kml import _engine
from openmm_kml.bonds import bonds_from_positions, covalent_sums
from openmm_kml.cli import main
from openmm_kml.doubt import AUTO_FACTOR, doubt_of, prior_energy, usual_doubt
from openmm_kml.errors import EvaluationError, WeightFileError
from openmm_kml.interfaces.matching import common_permutations
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.reference import evaluate
from openmm_kml.reference_local import COULOMB, SCREENING, SCREENING_LENGTH, SCREENING_POWER
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.training.repulsion import INNER, OUTER, molecule_repulsion
from openmm_kml.training.walls import CONTACT, MARGIN, ROOM, WIDTH, margin_of, molecule_walls
from openmm_kml.walls_term import walls_energy
from openmm_kml.weights import RepulsionTerm, WallsTerm, Weights, from_bytes, load, to_bytes

MASSES = {1: 1.008, 6: 12.011, 8: 15.999}
FUSED = 0.4  # of the sum of covalent radii


def without_priors(weights):
    return replace(weights, terms=tuple(term for term in weights.terms if term.kind == "gdml"))


def test_repulsion_by_hand():
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


def test_walls_by_hand():
    """The parabola beyond the onset, the cubic within, nothing between the bounds and above a bound of zero."""
    bounds = [[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 0.0]]
    energies, slopes = walls_energy(WallsTerm(6.0, 0.5, np.array(bounds)), np.array([0.9, 1.0, 2.0, 2.5, 9.0]))
    np.testing.assert_allclose(energies, [6 * 0.1**3 / 3, 0, 0, 6 * 0.5**3 / 3, 0], rtol=1e-12)
    np.testing.assert_allclose(slopes, [-6 * 0.1**2, 0, 0, 6 * 0.25, 0], rtol=1e-12)
    far, slope = walls_energy(WallsTerm(6.0, 0.5, np.array([[1.0, 2.0]])), np.array([3.0]))
    np.testing.assert_allclose([far[0], slope[0]], [3 * (1 - 0.5 + 0.25 / 3), 6 * 0.75], rtol=1e-12)


@pytest.mark.parametrize("bound", [1.0, 2.0])
def test_walls_have_the_slope_of_their_energy_across_the_onset(bound):
    term = WallsTerm(6.0, 0.5, np.array([[1.0, 2.0]]))
    step = 1e-5
    for r in (bound + np.array([-0.5001, -0.4999, -0.1, -1e-3, 1e-3, 0.1, 0.4999, 0.5001]))[:, None]:
        low, high = (walls_energy(term, r + sign * step)[0][0] for sign in (-1, 1))
        assert (high - low) / (2 * step) == pytest.approx(walls_energy(term, r)[1][0], rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", [name for name in MODELS if "repulsion" in name or "walls" in name])
def test_the_engine_and_its_batches_agree_with_numpy(name):
    weights = MODELS[name]
    positions = model_positions(weights, 21)
    expected = evaluate(weights, positions)
    potential = KernelPotential.from_bytes(to_bytes(weights))
    assert np.abs(expected[0] - evaluate(without_priors(weights), positions)[0]).min() > 0.1
    for found, value in zip(potential.evaluate_batch(positions), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-10, atol=1e-10)
    for found, value in zip(potential.evaluate(positions[3]), (part[3] for part in expected), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-10, atol=1e-10)


def test_files_keep_it():
    weights = walled(MODELS["two-terms-two-repulsions"])
    data = to_bytes(weights)
    again = from_bytes(data)
    assert to_bytes(again) == data
    assert [term.kind for term in again.terms] == ["gdml", "gdml", "repulsion", "repulsion", "walls"]
    np.testing.assert_array_equal(again.terms[3].switch, weights.terms[3].switch)
    np.testing.assert_array_equal(again.terms[4].bounds, weights.terms[4].bounds)
    assert len(common_permutations(again)) == 1


def bad(name):
    """Return weights that break a rule, as terms."""
    good = MODELS["ethanol-repulsion-walls"]
    gdml, repulsion, walls = good.terms
    gdml = replace(gdml, permutations=gdml.permutations.astype(np.int32))  # as in files: not all writers check
    terms = {
        "first": (repulsion, gdml),
        "alone": (repulsion,),
        "pairs of other elements": (gdml, RepulsionTerm(repulsion.switch[:3])),
        "switch out of order": (gdml, RepulsionTerm(repulsion.switch[:, ::-1])),
        "walls alone": (walls,),
        "bounds of other atoms": (gdml, replace(walls, bounds=walls.bounds[:3])),
        "bounds out of order": (gdml, replace(walls, bounds=walls.bounds[:, ::-1] + [1.0, 0.0])),
        "a negative bound": (gdml, replace(walls, bounds=walls.bounds - 0.5)),
        "no stiffness": (gdml, replace(walls, stiffness=0.0)),
        "no onset": (gdml, replace(walls, onset=-0.1)),
    }
    return good, terms[name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("first", r"terms\[0\].kind is 'repulsion'"),
        ("alone", r"terms\[0\].kind is 'repulsion'"),
        ("pairs of other elements", r"terms\[1\].switch has shape \(3, 2\); \(6, 2\) is expected"),
        ("switch out of order", r"terms\[1\].switch must hold 0 < r_1 < r_2"),
        ("walls alone", r"terms\[0\].kind is 'walls'"),
        ("bounds of other atoms", r"terms\[1\].bounds has shape \(3, 2\); \(36, 2\) is expected"),
        ("bounds out of order", r"terms\[1\].bounds must hold 0 <= lower < upper"),
        ("a negative bound", r"terms\[1\].bounds must hold 0 <= lower < upper"),
        ("no stiffness", r"terms\[1\].stiffness must be a number above 0"),
        ("no onset", r"terms\[1\].onset must be a number above 0"),
    ],
)
def test_the_writer_refuses(name, text):
    weights, terms = bad(name)
    with pytest.raises(WeightFileError, match=text):
        to_bytes(replace(weights, terms=terms))


def test_walls_belong_to_a_molecule():
    walls = MODELS["ethanol-repulsion-walls"].terms[2]
    with pytest.raises(WeightFileError, match="'walls', which needs species"):
        to_bytes(Weights(elements=[6], terms=(walls,)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("first", "terms"),
        ("pairs of other elements", "switch"),
        ("switch out of order", "switch"),
        ("walls alone", "terms"),
        ("bounds of other atoms", "bounds"),
        ("bounds out of order", "bounds"),
        ("a negative bound", "bounds"),
        ("no stiffness", "stiffness"),
        ("no onset", "onset"),
    ],
)
def test_both_readers_refuse(name, text, monkeypatch):
    weights, terms = bad(name)
    with monkeypatch.context() as patch:  # the writer without its checks
        patch.setattr("openmm_kml.weights.checked_weights", lambda given: given)
        data = to_bytes(Weights(weights.species, terms, weights.atom_energies))
    with pytest.raises(WeightFileError, match=text):
        from_bytes(data)
    with pytest.raises(WeightFileError, match=text):
        _engine.Engine(data)


def test_coincident_atoms_are_still_named():
    weights = repelled(MODELS["ethanol-matern52"])
    positions = model_positions(weights)[0]
    positions[4] = positions[2]
    with pytest.raises(EvaluationError, match="atoms 4 and 2 coincide"):
        KernelPotential.from_bytes(to_bytes(weights)).evaluate(positions)


def test_the_trainer_adds_both_and_the_data_do_not_feel_them():
    train, validation = ethanol_data()
    weights = ethanol_potential().weights
    assert [term.kind for term in weights.terms] == ["gdml", "repulsion", "walls"]
    bare = KernelPotential.from_bytes(
        to_bytes(without_priors(replace(weights, uncertainty=None, terms=_bare(weights))))
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


def test_the_walls_are_around_the_bonds_and_angles_of_the_data_and_exchanged_atoms_have_the_same():
    numbers = np.array([8, 1, 1])
    positions = np.array([[[0.0, 0, 0], [1.0, 0, 0], [0, 0.9, 0]], [[0.0, 0, 0], [1.2, 0, 0], [0, 1.1, 0]]])
    low, high = np.hypot(1.0, 0.9), np.hypot(1.2, 1.1)
    exchange = np.array([[0, 1, 2], [0, 2, 1]])
    bounds = molecule_walls(numbers, positions, exchange).bounds
    margin = margin_of(2)
    angle = [low - margin * (high - low), high + margin * (high - low)]
    bond = [0.9 - 0.3 * margin, 1.2 + 0.3 * margin]
    np.testing.assert_allclose(bounds, [bond, bond, angle], rtol=1e-12)
    alone = molecule_walls(numbers, positions[:1], exchange[:1]).bounds
    np.testing.assert_allclose(alone[0], [1.0 - ROOM, 1.0 + ROOM], rtol=1e-12)


def test_few_frames_leave_more_room_and_many_the_least():
    margins = [margin_of(n) for n in (1, 2, 6, 20, 59, 60, 1000)]
    assert margins == sorted(margins, reverse=True)
    assert margins[0] == margins[1]
    assert margins[4] > MARGIN == margins[5] == margins[6]
    rng = np.random.default_rng(5)
    widths = [np.ptp(rng.normal(size=(400, n)), axis=1).mean() * (1 + 2 * margin_of(n)) for n in (6, 20)]
    np.testing.assert_allclose(widths, WIDTH, rtol=0.03)


def test_walls_do_not_hinder_torsions():
    weights = ethanol_potential().weights
    bounds, numbers = weights.terms[2].bounds, weights.species
    i, j = np.tril_indices(9, -1)
    free = bounds[:, 1] == 0
    assert free.sum() == 36 - 8 - 13  # pairs, bonds, angles
    hydrogens = free & (numbers[i] == 1) & (numbers[j] == 1)
    shortest = min(
        np.linalg.norm(r[i[hydrogens]] - r[j[hydrogens]], axis=1).min()
        for part in ethanol_data()
        for r in part.positions
    )
    np.testing.assert_allclose(bounds[hydrogens, 0], CONTACT * shortest, rtol=1e-12)


def test_they_can_be_left_out_and_the_published_model_never_has_them(tmp_path):
    train, validation = ethanol_data()
    assert [term.kind for term in fit(train, validation, repulsion=False, walls=False).weights.terms] == ["gdml"]
    published = GDMLOptions(preset="sgdml", length_scale=10, symmetries=SYMMETRIES, n_threads=1, progress=False)
    assert [term.kind for term in fit_gdml(train[:10], validation, published).weights.terms] == ["gdml"]
    data = str(DATA)
    words = ["train", "gdml", data, "--n-train", "8", "--n-valid", "4", "--n-test", "4", "--quiet", "--threads", "1"]
    words += ["--power", "0.5", "--kernel", "matern92", "--length-scale", "2.5", "--regularization", "1e-6"]
    for option, kinds in (
        ([], ["gdml", "repulsion", "walls"]),
        (["--no-repulsion"], ["gdml", "walls"]),
        (["--no-walls"], ["gdml", "repulsion"]),
    ):
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
    output = capsys.readouterr().out
    assert f"H-C {low:.2f} to {high:.2f}" in output
    assert "walls           on 36 distances, 21 of them from above, too" in output


def run(terms, positions, temperature, seed=1, steps=10000):
    """Return how near atoms come in a run of Langevin dynamics, by the sums of their covalent radii, and its end."""
    weights = replace(ethanol_potential().weights, uncertainty=None, terms=terms)
    system = openmm.System()
    for number in weights.species:
        system.addParticle(MASSES[int(number)])
    system.addForce(KMLForce(KernelPotential.from_bytes(to_bytes(weights))))
    integrator = openmm.LangevinMiddleIntegrator(temperature * unit.kelvin, 5 / unit.picosecond, 0.00025)
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions * 0.1)
    context.setVelocitiesToTemperature(temperature * unit.kelvin, seed)
    i, j = np.triu_indices(len(positions), 1)
    sums, nearest = covalent_sums(weights.species)[i, j], np.inf
    for step in range(0, 2 * steps, 20):
        if step == steps:
            integrator.setTemperature(300)
        integrator.step(20)
        r = context.getState(positions=True).getPositions(asNumpy=True)._value * 10
        nearest = min(nearest, (np.linalg.norm(r[i] - r[j], axis=1) / sums).min())
    return nearest, r


def compressed(i, j, factor):
    positions = ethanol_minimum().copy()
    positions[j] = positions[i] + factor * (positions[j] - positions[i])
    return positions


@pytest.mark.parametrize("case", ["a C–H bond at 0.6 of its length", "a C–C bond at 0.75", "1500 K"])
def test_a_run_that_left_the_data_comes_back(case):
    """The kernel alone fuses atoms, repulsion keeps them apart, and walls bring the molecule of the data back."""
    start, temperature = {
        "a C–H bond at 0.6 of its length": (compressed(0, 6, 0.6), 300),
        "a C–C bond at 0.75": (compressed(0, 1, 0.75), 300),
        "1500 K": (ethanol_minimum(), 1500),
    }[case]
    weights = ethanol_potential().weights
    kernel, (_, repulsion, walls) = _bare(weights), weights.terms
    assert run(kernel, start, temperature)[0] < FUSED
    assert run((*kernel, repulsion), start, temperature)[0] > FUSED
    nearest, end = run((*kernel, repulsion, walls), start, temperature)
    assert nearest > FUSED
    assert bonds_from_positions(weights.species, end) == bonds_from_positions(weights.species, ethanol_minimum())
    usual = usual_doubt(ethanol_potential(), ((r, None, None) for r in ethanol_data()[1].positions))["uncertainty"]
    assert doubt_of(ethanol_potential(), end).value < AUTO_FACTOR * usual["largest"]


def test_what_priors_hold_is_as_uncertain_as_it_is_large():
    potential = ethanol_potential()
    inside = ethanol_data()[0].positions[0]
    assert prior_energy(potential.weights, inside) == 0
    doubt = doubt_of(potential, inside)
    assert doubt.value == doubt.energy_std / 9
    assert "walls" not in doubt.describe(potential.weights.species)
    stretched = inside.copy()
    stretched[6] += 0.5 * (inside[6] - inside[0]) / np.linalg.norm(inside[6] - inside[0])
    kernel = replace(potential.weights, terms=potential.weights.terms[:1])
    bare = KernelPotential.from_bytes(to_bytes(kernel)).evaluate(stretched).energy
    held = potential.evaluate(stretched).energy - bare
    assert held > 0.1
    doubt = doubt_of(potential, stretched)
    np.testing.assert_allclose(doubt.value, np.hypot(doubt.energy_std, held) / 9, rtol=1e-6)
    assert "with that of walls and repulsion" in doubt.describe(potential.weights.species)
