"""The examples for OpenMM run, briefly, and print what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from trained import ethanol_potential

EXAMPLES = Path(__file__).parents[1] / "examples"
# name: options, and what stands in the output
RUNS = {
    "openmm_minimal": (["--steps", 500], r"^0\.25\d*,-40\d{4}\."),
    "ligand_in_water": (["--waters", 60, "--steps", 50], r"wrote ethanol_in_water\.pdb"),
    "alchemical_switch": (["--steps", 400, "--windows", 2], r"free-energy difference: -?\d+\.\d\d ± \d+\.\d\d kJ/mol"),
    "metadynamics": (["--steps", 2000], r"^ +180°  "),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the path of a trained model of ethanol."""
    path = tmp_path_factory.mktemp("model") / "ethanol.safetensors"
    path.write_bytes(ethanol_potential().to_bytes())
    return path


def run(name, *arguments, cwd):
    """Run an example in a fresh interpreter; return its output."""
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", RUNS)
def test_example_runs(name, model, tmp_path):
    if name == "ligand_in_water":
        pytest.importorskip("openmmml", reason="openmm-ml is not installed (pip install openmmml)")
    options, shown = RUNS[name]
    printed = run(name, model, *options, cwd=tmp_path)
    assert re.search(shown, printed, re.MULTILINE), printed
    assert "nan" not in printed.lower()


def test_the_alchemical_switch_is_linear_and_its_derivative_the_difference_of_the_ends(model):

    sys.path.insert(0, str(EXAMPLES))
    try:
        import alchemical_switch as example
    finally:
        sys.path.pop(0)
    import openmm
    from openmm import app, unit

    pdb = app.PDBFile(str(EXAMPLES / "data" / "ethanol.pdb"))
    system = example.switchable_system(str(model), pdb)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(pdb.positions)

    def energy(scale):
        context.setParameter("ml_scale", scale)
        context.setParameter("mm_scale", 1 - scale)
        return context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)

    for scale in (0.0, 0.4, 1.0):
        assert energy(scale) == pytest.approx((1 - scale) * energy(0.0) + scale * energy(1.0), abs=1e-6)
        assert example.derivative(context) == pytest.approx(energy(1.0) - energy(0.0), abs=1e-6)
    classical = app.ForceField(str(EXAMPLES / "data" / "ethanol_opls.xml")).createSystem(pdb.topology)
    alone = openmm.Context(classical, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    alone.setPositions(pdb.positions)
    expected = alone.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    assert energy(0.0) == pytest.approx(expected, abs=1e-6)
