"""The scripts in the guides run as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ethanol_case import FORCE_FIELD, PDB
from trained import ethanol_potential

DOCS = Path(__file__).parents[1] / "docs"
SCRIPT = re.compile(r"<!-- This script is run by tests/test_guides\.py\. -->\n```python\n(.*?)```", re.DOTALL)
SCRIPTS = [
    pytest.param(text, id=f"{name}-{k}")
    for name in ("openmm_ml", "collective_variables")
    for k, text in enumerate(SCRIPT.findall((DOCS / f"{name}.md").read_text(encoding="utf-8")))
]


def test_all_scripts_are_found():
    assert len(SCRIPTS) == 3


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_runs(script, tmp_path):
    if "openmmml" in script:
        pytest.importorskip("openmmml", reason="openmm-ml is not installed (pip install openmmml)")
    for name in ("ethanol", "better"):
        (tmp_path / f"{name}.safetensors").write_bytes(ethanol_potential().to_bytes())
    shutil.copy(PDB, tmp_path)
    shutil.copy(FORCE_FIELD, tmp_path)
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    result = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, result.stderr
