"""Baselines of any structure: weight files and ASE calculators, subtracted, recorded, added, recognized."""

import pickle
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import numpy as np
import openmm
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.calculators.morse import MorsePotential
from ase.io import write
from checks import check_forces, check_rigid_motion, check_virial
from delta_case import FOLDER, classical
from local_models import LOCAL_MODELS, STRUCTURES, UNCERTAIN_MODELS, numbers_for, random_spline2
from models import MODELS, model_positions
from nbody_cases import frames, labeled
from openmm_helpers import context_for, energy_and_forces, system_with
from test_nbody_structures import as_atoms
from trained import ethanol_data, ethanol_potential

from openmm_kml.cli import main
from openmm_kml.cli.baseline import without_baseline
from openmm_kml.errors import DataError, WeightFileError
from openmm_kml.interfaces.ase import KMLCalculator
from openmm_kml.interfaces.baseline import SystemBaseline
from openmm_kml.interfaces.baseline_kinds import CalculatorBaseline, ModelBaseline
from openmm_kml.interfaces.baselines import (
    SumPotential,
    atom_energies_left,
    lost_virials,
    record,
    resolve_baseline,
    subtract_from,
)
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import Structure, StructureSet
from openmm_kml.weights import Baseline, Weights, baseline_of, load, save, to_bytes

PAIRS = LOCAL_MODELS["all terms of silica"]
DIFFERENCE = UNCERTAIN_MODELS["soap, pairs and repulsion of silica"]
POSITIONS, CELL, _ = STRUCTURES["triclinic cell, atoms outside"]
NUMBERS = numbers_for(PAIRS, len(POSITIONS))


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a baseline, pairs.safetensors, and the difference to it, delta.safetensors."""
    save(PAIRS, tmp_path / "pairs.safetensors")
    save(replace(PAIRS, provenance={"another": 1}), tmp_path / "other.safetensors")
    save(replace(DIFFERENCE, baseline=record(pairs())), tmp_path / "delta.safetensors")
    return tmp_path


def pairs():
    return ModelBaseline(KernelPotential.from_bytes(to_bytes(PAIRS)), "pairs.safetensors")


def parts(positions=POSITIONS, numbers=NUMBERS, cell=CELL):
    """Return what baseline and difference give on their own."""
    return [KernelPotential.from_bytes(to_bytes(w)).evaluate(positions, numbers, cell) for w in (PAIRS, DIFFERENCE)]


def lennard_jones(**changes):
    return LennardJones(**{"sigma": 1.6, "epsilon": 0.2, "rc": 3.5, "smooth": True} | changes)


class NoStress(LennardJones):
    implemented_properties = ("energy", "forces")


# --- the sum


def test_the_sum_is_that_of_both(folder):
    total = SumPotential.load(folder / "delta.safetensors", folder / "pairs.safetensors")
    found = total.evaluate(POSITIONS, NUMBERS, CELL)
    for name in ("energy", "forces", "virial"):
        np.testing.assert_allclose(getattr(found, name), sum(getattr(part, name) for part in parts()), rtol=1e-13)
    assert total.evaluate_atomic(POSITIONS, NUMBERS, CELL).sum() == pytest.approx(found.energy, rel=1e-12)
    alone = KernelPotential.from_bytes(to_bytes(DIFFERENCE))
    assert total.evaluate_uncertainty(POSITIONS, NUMBERS, CELL).energy_std == (
        alone.evaluate_uncertainty(POSITIONS, NUMBERS, CELL).energy_std
    )
    assert pickle.loads(pickle.dumps(total)).evaluate(POSITIONS, NUMBERS, CELL).energy == found.energy
    batch = total.evaluate_batch([POSITIONS, POSITIONS + 0.1], NUMBERS, cell=CELL)
    np.testing.assert_allclose(batch.energy, found.energy, rtol=1e-12)


def sums(folder):
    """Return name -> sum of a difference and a baseline of each kind."""
    by_calculator = replace(DIFFERENCE, baseline=record(CalculatorBaseline(lennard_jones())))
    return {
        "weight file": SumPotential.load(folder / "delta.safetensors", folder / "pairs.safetensors"),
        "calculator": SumPotential(to_bytes(by_calculator), lennard_jones()),
    }


@pytest.mark.parametrize("kind", ["weight file", "calculator"])
def test_forces_and_virials_of_the_sum_are_its_derivatives(kind, folder):
    total = sums(folder)[kind]

    def evaluate(positions, cell=CELL):
        return total.evaluate(positions, NUMBERS, cell)

    check_forces(evaluate, POSITIONS)
    check_virial(evaluate, POSITIONS, CELL)


@pytest.mark.parametrize("kind", ["weight file", "calculator"])
def test_a_sum_moves_rigidly_and_has_a_virial_without_a_cell(kind, folder):
    total = sums(folder)[kind]
    positions = STRUCTURES["trimer"][0]

    def evaluate(positions):
        return total.evaluate(positions, NUMBERS[:3])

    check_rigid_motion(evaluate, positions, np.random.default_rng(3))
    check_virial(evaluate, positions)


def test_a_molecule_may_have_a_model_of_any_structure_as_its_baseline():
    """A difference of one molecule, its baseline of local terms: energies, forces and batches add up."""
    weights = MODELS["ethanol-matern52"]
    positions = model_positions(weights)
    elements = tuple(int(z) for z in np.unique(weights.species))
    local = Weights(elements=elements, terms=(random_spline2(len(elements), np.random.default_rng(1)),))
    baseline = ModelBaseline(KernelPotential.from_bytes(to_bytes(local)))
    total = SumPotential(to_bytes(replace(weights, baseline=record(baseline))), baseline)
    alone = KernelPotential.from_bytes(to_bytes(weights)).evaluate_batch(positions)
    batch = total.evaluate_batch(positions)
    for k, r in enumerate(positions):
        known = baseline.evaluate(r, weights.species)
        one = total.evaluate(r)
        assert one.energy == pytest.approx(alone.energy[k] + known.energy, rel=1e-12)
        assert batch.energy[k] == pytest.approx(one.energy, rel=1e-12)
        np.testing.assert_allclose(batch.forces[k], one.forces, atol=1e-10)
        np.testing.assert_allclose(batch.virial[k], one.virial, atol=1e-9)


# --- what is subtracted


def test_what_is_subtracted_leaves_the_difference():
    data = labeled(frames(1, 3, (8, 8, 14, 14, 8, 8)), PAIRS)
    rest = subtract_from(data, pairs())
    for frame in rest:
        assert abs(frame.energy) < 1e-9
        assert max(np.abs(frame.forces).max(), np.abs(frame.virial).max()) < 1e-9
    bare = StructureSet([replace(frame, energy=None, forces=None, virial=None) for frame in data])
    assert all(frame.energy is frame.forces is frame.virial is None for frame in subtract_from(bare, pairs()))


def test_virials_are_left_out_where_the_calculator_has_no_stress():
    data = labeled(frames(1, 2, (8, 8, 14, 14, 8, 8)), PAIRS)
    with_stress = subtract_from(data, CalculatorBaseline(lennard_jones()))
    without = subtract_from(data, CalculatorBaseline(NoStress()))
    assert (lost_virials(data, with_stress), lost_virials(data, without)) == (0, 2)
    free = StructureSet([replace(frame, cell=None, pbc=False) for frame in data])
    assert lost_virials(free, subtract_from(free, CalculatorBaseline(NoStress()))) == 0  # known from the forces


def test_energies_of_isolated_atoms_lose_the_baselines_part():
    left = atom_energies_left({8: -5.0}, pairs())
    assert left == {8: pytest.approx(-5.0 - PAIRS.atom_energies[8])}


def test_a_molecules_system_is_a_baseline_of_structures_of_that_molecule():
    molecules = ethanol_data()[1]
    baseline = SystemBaseline(classical())
    frame = Structure(molecules.numbers, molecules.positions[0], energy=1.0, forces=np.zeros((9, 3)), virial=np.eye(3))
    (rest,) = subtract_from(StructureSet([frame]), baseline)
    (energy,), (forces,) = (
        subtract_from(molecules[[0]], baseline).energies,
        subtract_from(molecules[[0]], baseline).forces,
    )
    assert 1.0 - rest.energy == pytest.approx(molecules.energies[0] - energy)
    np.testing.assert_allclose(-rest.forces, molecules.forces[0] - forces, atol=1e-12)
    check_virial(lambda r: baseline.evaluate(r, molecules.numbers), molecules.positions[0])
    periodic = replace(frame, cell=20 * np.eye(3), pbc=True)
    with pytest.raises(DataError, match=r"frame 1: .*the System of one molecule, and the structure is periodic"):
        subtract_from(StructureSet([periodic]), baseline)
    with pytest.raises(DataError, match=r"frame 2: .*9 particles, the molecule 2 atoms"):
        subtract_from(StructureSet([frame, Structure([6, 8], [[0, 0, 0], [0, 0, 1.1]])]), baseline)


def test_an_unknown_element_names_frame_and_baseline():
    other = StructureSet([Structure([8, 14], [[0, 0, 0], [0, 0, 2]]), Structure([8, 13], [[0, 0, 0], [0, 0, 2]])])
    with pytest.raises(
        DataError, match=r"frame 2: the baseline pairs\.safetensors does not fit: element 13 \(Al, atom 1\)"
    ):
        subtract_from(other, pairs())


def test_a_calculator_that_fails_names_frame_and_baseline():
    from ase.calculators.emt import EMT

    with pytest.raises(DataError, match=r"frame 1: the baseline EMT failed: .*No EMT-potential for Si"):
        subtract_from(StructureSet([Structure([14, 14], [[0, 0, 0], [0, 0, 2]])]), resolve_baseline(EMT()))


# --- how a baseline is found, and its digest


def test_a_system_is_a_baseline_where_nothing_else_of_openmm_was_imported(tmp_path):
    (tmp_path / "mm.xml").write_text(openmm.XmlSerializer.serialize(classical()))
    np.save(tmp_path / "positions.npy", ethanol_data()[0].positions[0])
    code = (
        "import numpy as np\n"
        "from openmm_kml.interfaces.baselines import resolve_baseline\n"
        "positions, numbers = np.load('positions.npy'), [6, 6, 8, 1, 1, 1, 1, 1, 1]\n"
        "print(resolve_baseline('mm.xml').evaluate(positions, numbers).energy)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert np.isfinite(float(done.stdout))


def test_a_baseline_is_found_by_its_name(folder):
    path = folder / "pairs.safetensors"
    found = resolve_baseline(str(path))
    assert found.name == "pairs.safetensors"
    assert found.digest == f"sha256:{sha256(path.read_bytes()).hexdigest()}" == pairs().digest
    renamed = path.rename(folder / "pairs.model")
    assert resolve_baseline(renamed).digest == found.digest
    (folder / "mine.py").write_text("from ase.calculators.lj import LennardJones as make\n")
    calculator = resolve_baseline(f"{folder / 'mine.py'}:make")
    assert (calculator.name, calculator.digest) == ("mine.py:make", CalculatorBaseline(LennardJones()).digest)
    (folder / "mm.xml").write_text(openmm.XmlSerializer.serialize(classical()))
    assert resolve_baseline(folder / "mm.xml").digest == resolve_baseline(classical()).digest
    assert resolve_baseline(KMLCalculator(renamed)).digest == found.digest  # the model, whoever evaluates it
    assert resolve_baseline(found) is found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("delta.safetensors", "is itself only the difference to the baseline 'pairs.safetensors'"),
        ("damaged.safetensors", r"the baseline .*damaged\.safetensors: .*bytes"),
        ("damaged.xml", "is not a serialized OpenMM System"),
        ("missing.py:make", "the module missing.py of the baseline cannot be imported"),
        ("ase.calculators.lj:Nothing", "has no function 'Nothing' that makes a baseline"),
    ],
)
def test_what_is_no_baseline_is_refused(name, text, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for damaged in ("damaged.safetensors", "damaged.xml"):
        (folder / damaged).write_text("nothing")
    with pytest.raises(DataError, match=text):
        resolve_baseline(name)


def test_other_objects_and_missing_files_are_refused(folder):
    with pytest.raises(DataError, match="a int is no baseline"):
        resolve_baseline(7)
    for name in ("missing.safetensors", "missing.xml"):
        with pytest.raises(FileNotFoundError):
            resolve_baseline(folder / name)


def test_the_digest_of_a_calculator_depends_on_class_and_parameters():
    digests = [
        CalculatorBaseline(calculator).digest
        for calculator in (
            lennard_jones(),
            lennard_jones(epsilon=0.21),
            NoStress(),
            MorsePotential(),
            SumCalculator([lennard_jones(), MorsePotential()]),
            SumCalculator([lennard_jones(epsilon=0.21), MorsePotential()]),
        )
    ]
    assert len(set(digests)) == len(digests)
    assert CalculatorBaseline(lennard_jones(rc=np.float64(3.5))).digest == digests[0]
    silent = lennard_jones()
    silent.parameters["verbosity"] = 0
    assert CalculatorBaseline(silent).digest == digests[0]


# --- the ways of forgetting


def test_no_reader_evaluates_the_difference_alone(folder):
    path = folder / "delta.safetensors"
    for read in (KernelPotential.load, KMLCalculator, lambda p: KMLForce(p, numbers=NUMBERS, periodic=True)):
        with pytest.raises(WeightFileError, match=r"only the difference to the baseline 'pairs\.safetensors'"):
            read(path)


def test_another_baseline_is_refused_everywhere(folder):
    path, other = folder / "delta.safetensors", folder / "other.safetensors"
    for add in (
        lambda: SumPotential.load(path, other),
        lambda: KMLCalculator(path, baseline=other),
        lambda: KMLCalculator(path, baseline=lennard_jones()),
        lambda: KMLCalculator(KernelPotential.load(path, delta=True), baseline=other),
    ):
        with pytest.raises(
            WeightFileError, match=r"is not the baseline of the model: 'pairs\.safetensors' has the digest"
        ):
            add()
    with pytest.raises(WeightFileError, match="the whole energy and not the difference"):
        KMLCalculator(other, baseline=folder / "pairs.safetensors")


# --- ASE


def test_the_calculator_returns_the_sum(folder):
    atoms = Atoms(NUMBERS, POSITIONS, cell=CELL, pbc=True)
    total, expected = sums(folder), {}
    baseline_atoms = atoms.copy()
    baseline_atoms.calc = lennard_jones()
    difference = parts()[1]
    expected["calculator"] = baseline_atoms.get_potential_energy() + difference.energy
    expected["weight file"] = sum(part.energy for part in parts())
    for kind, baseline in (("weight file", folder / "pairs.safetensors"), ("calculator", lennard_jones())):
        atoms.calc = KMLCalculator(KernelPotential.from_bytes(total[kind].to_bytes()), baseline=baseline)
        assert atoms.get_potential_energy() == pytest.approx(expected[kind], rel=1e-12)
        found = total[kind].evaluate(POSITIONS, NUMBERS, CELL)
        np.testing.assert_allclose(atoms.get_forces(), found.forces, atol=1e-12)
        np.testing.assert_allclose(atoms.get_stress(voigt=False), -found.virial / atoms.get_volume(), atol=1e-12)
        std = atoms.calc.get_property("energy_std", atoms)
        both = total[kind].evaluate_uncertainty(POSITIONS, NUMBERS, CELL, prediction=True)
        assert std == both.energy_std
        assert both.prediction.energy == pytest.approx(expected[kind], rel=1e-12)
        np.testing.assert_allclose(both.prediction.forces, found.forces, atol=1e-12)


def test_a_calculator_without_stress_gives_a_sum_without_stress():
    baseline = NoStress(sigma=1.6)
    weights = replace(DIFFERENCE, baseline=record(CalculatorBaseline(baseline)))
    calculator = KMLCalculator(KernelPotential.from_bytes(to_bytes(weights), delta=True), baseline=baseline)
    atoms = Atoms(NUMBERS, POSITIONS, cell=CELL, pbc=True, calculator=calculator)
    assert np.isfinite(atoms.get_forces()).all()
    assert "stress" not in calculator.results


# --- OpenMM


def with_baseline(weights=PAIRS, particles=None, numbers=NUMBERS, count=1, **options):
    """Return a System whose forces are those of the baseline."""
    forces = [
        KMLForce(KernelPotential.from_bytes(to_bytes(weights)), particles, numbers=numbers, periodic=True, **options)
        for _ in range(count)
    ]
    system = system_with(*forces, n_particles=len(NUMBERS))
    system.setDefaultPeriodicBoxVectors(*(box() * 0.1))
    return system


def box():
    return np.diag([9.0, 9.5, 10.0])


def test_openmm_recognizes_the_baselines_weight_file(folder):
    system = with_baseline()
    system.addForce(openmm.CustomExternalForce("0*x"))  # whatever else there is
    options = {"numbers": NUMBERS, "periodic": True}
    system.addForce(KMLForce(folder / "delta.safetensors", baseline_system=system, **options))
    positions = STRUCTURES["distorted crystal"][0]
    expected = parts(positions, cell=box())
    for one in (system, openmm.XmlSerializer.clone(system)):
        energy, forces = energy_and_forces(context_for(one, positions))
        assert energy == pytest.approx(sum(part.energy for part in expected), rel=1e-10)
        np.testing.assert_allclose(forces, sum(part.forces for part in expected), atol=1e-9)


def test_openmm_accepts_the_particles_of_a_part_in_any_order(folder):
    order = [3, 1, 2]
    system = with_baseline(particles=order, numbers=NUMBERS[order])
    mine = [1, 2, 3]
    KMLForce(folder / "delta.safetensors", mine, numbers=NUMBERS[mine], periodic=True, baseline_system=system)


@pytest.mark.parametrize(
    ("system", "options", "text"),
    [
        (lambda: with_baseline(count=2), {}, "holds the baseline 'pairs.safetensors' 2 times"),
        (lambda: with_baseline(replace(PAIRS, provenance={"a": 1})), {}, "this System is not the baseline"),
        (with_baseline, {"periodic": False}, "has another periodicity"),
        (with_baseline, {"scale_parameter": "scale"}, "has another scale parameter"),
        (lambda: with_baseline(particles=[0, 1], numbers=NUMBERS[:2]), {}, "has another particles"),
        (lambda: with_baseline(numbers=NUMBERS[::-1]), {}, "has another particles"),
    ],
)
def test_openmm_refuses_a_baseline_that_is_not_alike(system, options, text, folder):
    options = {"numbers": NUMBERS, "periodic": True} | options
    with pytest.raises(WeightFileError, match=text):
        KMLForce(folder / "delta.safetensors", baseline_system=system(), **options)


# --- the command line

SMALL = ["--cutoff", "3.6", "--n-max", "3", "--l-max", "2", "--sparse", "12", "--amplitude", "0.1"]
SMALL += ["--amplitude2", "0.1", "--length-scale2", "0.7", "--threads", "1", "--quiet"]


@pytest.fixture
def data(folder):
    """Return a file of frames whose labels are those of the baseline and a little more."""
    more = replace(DIFFERENCE, terms=tuple(t for t in DIFFERENCE.terms if t.kind == "spline2"), uncertainty=None)
    structures = frames(4, 10, (8, 8, 14, 14, 8, 8))
    one, two = labeled(structures, PAIRS), labeled(structures, more)
    total = [
        replace(a, energy=a.energy + b.energy, forces=a.forces + b.forces, virial=a.virial + b.virial, group="melt")
        for a, b in zip(one, two, strict=True)
    ]
    write(folder / "data.xyz", [as_atoms(frame) for frame in total], format="extxyz")
    return folder / "data.xyz"


def last_numbers(capsys):
    return [line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.startswith(("test", "errors"))]


@pytest.mark.parametrize(
    ("kind", "baseline"), [("soap", "pairs.safetensors"), ("nbody", "ase.calculators.morse:MorsePotential")]
)
def test_the_command_line_trains_and_tests(kind, baseline, folder, data, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    options = SMALL if kind == "soap" else ["--cutoff2", "4", "--cutoff3", "0", "--length-scale2", "1", "--quiet"]
    given = ["train", kind, "data.xyz", "-o", "new.safetensors", "--n-test", "2", "--baseline", baseline, *options]
    assert main(given) == 0
    ((*trained,),) = last_numbers(capsys)
    weights = load("new.safetensors")
    assert weights.baseline == record(resolve_baseline(baseline))
    assert not baseline_of((folder / "new.safetensors").read_bytes()).added
    assert "repulsion" not in {term.kind for term in weights.terms}  # the baseline's, once
    assert main(["test", "new.safetensors", "data.xyz", "--held-out", "--baseline", baseline]) == 0
    ((*tested,),) = last_numbers(capsys)
    assert trained == tested
    assert main(["test", "new.safetensors", "data.xyz"]) == 2
    assert "only the difference to the baseline" in capsys.readouterr().err
    assert main(["test", "new.safetensors", "data.xyz", "--baseline", "other.safetensors"]) == 2
    assert "this weight file is not the baseline of the model" in capsys.readouterr().err


def test_an_output_does_not_replace_the_baseline(folder, data, capsys):
    baseline = folder / "pairs.safetensors"
    before = baseline.read_bytes()
    words = ["train", "soap", str(data), "-o", str(baseline), "--baseline", str(baseline), *SMALL]
    assert main(words) == 2
    assert "is an input, too" in capsys.readouterr().err
    assert baseline.read_bytes() == before


def test_lost_virials_are_said(folder, data, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "bare.py").write_text(
        "from ase.calculators.morse import MorsePotential\n\n\nclass Bare(MorsePotential):\n"
        "    implemented_properties = ('energy', 'forces')\n"
    )
    words = ["train", "nbody", "data.xyz", "-o", "new.safetensors", "--cutoff2", "4", "--cutoff3", "0", "--quiet"]
    assert main([*words, "--baseline", "bare.py:Bare"]) == 0
    assert "the baseline bare.py:Bare has no stress: the virials of 9 training frames are left out" in (
        capsys.readouterr().err
    )


def test_a_baseline_that_leaves_larger_forces_is_said(folder, capsys):
    structures = StructureSet(labeled(frames(4, 10, (8, 8, 14, 14, 8, 8)), PAIRS), "melt")
    terms = tuple(replace(t, coefficients=-t.coefficients) if t.kind == "spline2" else t for t in PAIRS.terms)
    save(replace(PAIRS, terms=terms), folder / "worse.safetensors")
    _, (rest,) = without_baseline(str(folder / "pairs.safetensors"), structures)
    assert max(np.abs(frame.forces).max() for frame in rest) < 1e-9
    assert capsys.readouterr().err == ""
    without_baseline(str(folder / "worse.safetensors"), structures)
    assert "worse.safetensors makes nothing easier: forces of" in capsys.readouterr().err


def test_attraction_is_looked_for_in_the_sum(folder, monkeypatch, capsys):
    """The difference alone may attract; what counts is the sum."""
    monkeypatch.chdir(folder)
    (folder / "deep.py").write_text(
        "from ase.calculators.lj import LennardJones\n\n\ndef wall():\n    return LennardJones(sigma=1.7, rc=3.5)\n\n\n"
        "def well():\n    return LennardJones(sigma=1.7, epsilon=-0.01, rc=3.5)\n"
    )
    truth = resolve_baseline("deep.py:wall")
    labels = [
        replace(frame, **dict(zip(("energy", "forces", "virial"), truth.evaluate(*where), strict=True)), group="melt")
        for frame in frames(4, 8)
        for where in [(frame.positions, frame.numbers, frame.cell, frame.pbc)]
    ]
    write(folder / "data.xyz", [as_atoms(frame) for frame in labels], format="extxyz")
    said = {}
    words = ["train", "nbody", "data.xyz", "-o", "new.safetensors", "--cutoff2", "4", "--cutoff3", "0", "--quiet"]
    for name in ("wall", "well"):
        assert main([*words, "--baseline", f"deep.py:{name}", "--n-test", "1", "--length-scale2", "1"]) == 0
        said[name] = capsys.readouterr().err
    assert "attract" not in said["wall"]
    assert "Si-Si: model and baseline together attract somewhere below" in said["well"]


def test_dynamics_adds_the_weight_file(folder, capsys):
    quiet = replace(
        PAIRS, terms=tuple(replace(t, coefficients=0.05 * t.coefficients) for t in PAIRS.terms[:2]), atom_energies={}
    )
    save(quiet, folder / "pairs.safetensors")
    baseline = resolve_baseline(folder / "pairs.safetensors")
    weights = LOCAL_MODELS["soap, pairs and repulsion of silica"]
    soft = tuple(replace(t, coefficients=0.02 * t.coefficients) for t in weights.terms[:-1])
    weights = replace(weights, terms=soft, baseline=record(baseline))
    save(weights, folder / "delta.safetensors")
    atoms = Atoms(NUMBERS, STRUCTURES["crystal"][0], cell=4.6 * np.eye(3), pbc=True)
    write(folder / "start.xyz", atoms, format="extxyz")
    words = ["md", str(folder / "delta.safetensors"), str(folder / "start.xyz"), "-o", str(folder / "run"), "--quiet"]
    words += ["--ensemble", "nve", "--steps", "40", "--interval", "20", "--temperature", "100"]
    assert main([*words, "--baseline", str(folder / "pairs.safetensors")]) == 0
    rows = np.genfromtxt(folder / "run" / "energies.csv", delimiter=",", names=True)
    expected = SumPotential.load(folder / "delta.safetensors", baseline).evaluate(
        atoms.positions, NUMBERS, atoms.cell[:]
    )
    assert rows["potential_energy_eV"][0] == pytest.approx(expected.energy, abs=1e-6)
    assert np.ptp(rows["total_energy_eV"]) < 1e-3
    assert main([*words[:4], str(folder / "again"), *words[5:]]) == 2
    assert "only the difference to the baseline" in capsys.readouterr().err
    assert not (folder / "again").exists()


def test_dynamics_refuses_a_calculator(folder, capsys):
    weights = replace(DIFFERENCE, baseline=record(CalculatorBaseline(MorsePotential())))
    save(weights, folder / "delta.safetensors")
    write(
        folder / "start.xyz", Atoms(NUMBERS, STRUCTURES["crystal"][0], cell=4.6 * np.eye(3), pbc=True), format="extxyz"
    )
    words = ["md", str(folder / "delta.safetensors"), str(folder / "start.xyz"), "-o", str(folder / "run")]
    assert main([*words, "--baseline", "ase.calculators.morse:MorsePotential"]) == 2
    assert "run the dynamics in ASE" in capsys.readouterr().err
    assert not (folder / "run").exists()


def test_a_molecule_is_trained_on_the_difference_to_another_model(folder, capsys):
    """gdml on top of a model of the same molecule: what is left is nearly nothing."""
    from trained import DATA

    baseline = folder / "ethanol.safetensors"
    baseline.write_bytes(ethanol_potential().to_bytes())
    words = ["train", "gdml", str(DATA), "-o", str(folder / "d.safetensors"), "--n-train", "20", "--n-valid", "10"]
    words += ["--n-test", "10", "--power", "0.5", "--kernel", "matern92", "--length-scale", "2.5", "--energies"]
    words += ["--regularization", "1e-4", "--quiet", "--threads", "1", "--baseline", str(baseline)]
    assert main(words) == 0
    assert load(folder / "d.safetensors").baseline == Baseline(resolve_baseline(baseline).digest, "ethanol.safetensors")
    trained = capsys.readouterr().out.splitlines()[-1].split()[1:]
    assert main(["test", str(folder / "d.safetensors"), str(DATA), "--held-out", "--baseline", str(baseline)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[1:] == trained
    words = ["md", str(folder / "d.safetensors"), str(FOLDER / "ethanol.pdb"), "-o", str(folder / "run"), "--quiet"]
    words += ["--steps", "20", "--interval", "10", "--minimize", "--ensemble", "nve", "--baseline", str(baseline)]
    assert main(words) == 0
    rows = np.genfromtxt(folder / "run" / "energies.csv", delimiter=",", names=True)
    assert np.ptp(rows["total_energy_eV"]) < 0.02
