"""The arrows of docs/architecture.md: what an engine may not import, shown in a fresh interpreter."""

import subprocess
import sys

import pytest

FORBIDDEN = {
    "openmm_kml": ("numpy", "scipy", "openmm", "ase", "openmm_kml.training"),
    "openmm_kml.potential": ("scipy", "openmm", "ase", "openmm_kml.training", "openmm_kml.kernels"),
    "openmm_kml.interfaces.openmm": ("openmm_kml.training", "openmm_kml.kernels", "openmm_kml.descriptors"),
    "openmm_kml.interfaces.ase": ("openmm", "openmm_kml.training", "openmm_kml.kernels", "openmm_kml.descriptors"),
    "openmm_kml.training.nbody": ("openmm", "openmm_kml.interfaces", "openmm_kml.potential"),
    "openmm_kml.training": ("openmm", "openmm_kml.interfaces", "openmm_kml.potential"),
    "openmm_kml.interfaces.baseline": ("openmm_kml.training",),
    "openmm_kml.interfaces.baselines": ("openmm", "openmm_kml.training", "openmm_kml.kernels"),
    "openmm_kml.md": ("openmm_kml.training",),
    "openmm_kml.cli": ("numpy", "scipy", "openmm", "ase", "openmm_kml.training"),
}


@pytest.mark.parametrize("module", FORBIDDEN)
def test_import_stays_within_its_layer(module, tmp_path):
    code = f"import sys, {module}; print(' '.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert module in loaded
    assert not [name for name in FORBIDDEN[module] if name in loaded]
