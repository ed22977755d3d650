"""The script in docs/openmm.md runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from models import MODELS, model_positions

from openmm_kml.weights import save

GUIDE = Path(__file__).parent.parent / "docs" / "openmm.md"


def test_the_script_of_the_guide_runs(tmp_path):
    scripts = re.findall(
        r"tests/test_openmm_guide.py. -->\n```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(scripts) == 1
    shorter = scripts[0].replace("simulation.step(2000)", "simulation.step(200)")
    assert shorter != scripts[0]
    weights = MODELS["ethanol-matern52"]
    save(weights, tmp_path / "ethanol.safetensors")
    symbols = np.array(["X", "H", "", "", "", "", "C", "N", "O"])[weights.species]
    lines = [f"{s} {x} {y} {z}" for s, (x, y, z) in zip(symbols, model_positions(weights)[0], strict=True)]
    (tmp_path / "ethanol.xyz").write_text("\n".join([str(len(lines)), "", *lines]) + "\n")
    # The model is random, so it has no minimum to be found; the minimizer is bounded, the script otherwise unchanged.
    shorter = shorter.replace("minimize(simulation.context)", "minimize(simulation.context, 10, 20)")
    (tmp_path / "script.py").write_text(shorter)
    result = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert len((tmp_path / "ethanol.csv").read_text().splitlines()) == 3
    assert (tmp_path / "ethanol.chk").stat().st_size > 0
