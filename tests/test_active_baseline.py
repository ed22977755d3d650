"""Learning on the fly what a baseline gets wrong."""

from dataclasses import replace

import numpy as np
import openmm
import pytest
from ase.calculators.lj import LennardJones
from nbody_cases import frames as spread_frames
from references import MorseMolecule
from test_active_learning import REFERENCE, SETTINGS, WORDS, quiet, water

from openmm_kml.active_learning import Recipe
from openmm_kml.active_learning.reference import label
from openmm_kml.cli import main
from openmm_kml.errors import DataError
from openmm_kml.interfaces.baselines import SumPotential, record, resolve_baseline
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import read_structures
from openmm_kml.structures.extended_xyz import write_frames
from openmm_kml.training.nbody import NBodyOptions
from openmm_kml.weights import Spline2Term, Weights, load, to_bytes

ARGON = list(spread_frames(0, 3, (18,) * 8, least=3.3, cell=np.diag([8.0, 8.2, 8.1])))
LJ = LennardJones(sigma=3.0, epsilon=0.02, rc=6.0, smooth=True)


def pairs():
    """Return a weight file's potential of pairs: the wall of argon, roughly."""
    coefficients = 0.05 * np.exp(-np.arange(9.0))[None]
    return KernelPotential.from_bytes(to_bytes(Weights(elements=(18,), terms=(Spline2Term(3.0, 6.0, coefficients),))))


def test_a_campaign_learns_the_difference_and_goes_on(tmp_path):
    options = NBodyOptions(cutoff2=6.0, cutoff3=0, length_scale2=1.0, amplitude2=3.0, progress=False)
    settings = replace(SETTINGS, temperatures=(80,), walkers=2, timestep=4.0, budget=9)
    recipe = Recipe("nbody", options, pairs())
    quiet(tmp_path / "run", recipe, settings, LJ, ARGON)
    summary = quiet(tmp_path / "run", recipe, replace(settings, budget=11), LJ)
    assert summary.calls == 11
    assert load(summary.model).baseline == record(resolve_baseline(pairs()))  # not said to be added
    total = SumPotential.load(summary.model, pairs())
    frame = read_structures(tmp_path / "run" / "labeled.xyz").frames[-1]
    assert np.array_equal(label(LJ, frame, 1e3).forces, frame.forces)  # labels are whole
    found = total.evaluate(frame.positions, frame.numbers, frame.cell)
    assert np.abs(found.forces - frame.forces).max() < 0.2 * np.abs(frame.forces).max()
    with pytest.raises(DataError, match="is of another campaign: its baseline is"):
        quiet(tmp_path / "run", replace(recipe, baseline=resolve_baseline(other())), replace(settings, budget=12), LJ)


def other():
    weights = replace(pairs().weights, provenance={"another": 1})
    return KernelPotential.from_bytes(to_bytes(weights))


def test_what_the_exploration_cannot_add_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not run the ASE calculator LennardJones"):
        quiet(tmp_path / "run", Recipe("nbody", baseline=LJ), SETTINGS, LJ, ARGON)
    with pytest.raises(DataError, match="adds a baseline in OpenMM alone"):
        quiet(tmp_path / "run", Recipe("nbody", baseline=pairs()), replace(SETTINGS, engine="lammps"), LJ, ARGON)
    assert not (tmp_path / "run").exists()


def test_the_command_line_learns_on_a_force_field_and_resumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    system = openmm.System()
    for mass in (15.999, 1.008, 1.008):
        system.addParticle(mass)
    bonds = openmm.HarmonicBondForce()
    for hydrogen in (1, 2):
        bonds.addBond(0, hydrogen, 0.096, 3e5)
    system.addForce(bonds)
    (tmp_path / "mm.xml").write_text(openmm.XmlSerializer.serialize(system))
    write_frames(tmp_path / "start.xyz", [water()])
    words = [*WORDS, "--budget", "9"]
    assert (
        main(
            [
                "active-learn",
                "--reference",
                REFERENCE,
                "--start",
                "start.xyz",
                "-o",
                "run",
                *words,
                "--baseline",
                "mm.xml",
            ]
        )
        == 0
    )
    monkeypatch.chdir("/")
    assert main(["active-learn", "--resume", str(tmp_path / "run"), "--budget", "10", "--quiet"]) == 0
    model = tmp_path / "run" / "model.safetensors"
    assert load(model).baseline.name == "mm.xml"
    total = SumPotential.load(model, tmp_path / "mm.xml")
    frame = label(MorseMolecule(), water(), 1e3)
    assert np.abs(total.evaluate(frame.positions).forces - frame.forces).max() < 0.5
