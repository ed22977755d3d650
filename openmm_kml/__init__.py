"""Kernel machine-learned interatomic potentials: trained in Python, run natively in OpenMM.

`KernelPotential` evaluates a weight file; `KMLForce` runs it inside an OpenMM Simulation. Both are imported at first
use, so that importing the package costs nothing and needs neither OpenMM nor the trainer.
"""

from importlib import import_module
from importlib.metadata import version as _version

__version__ = _version("openmm_kml")

_LAZY = {
    "KernelPotential": "openmm_kml.potential",
    "KMLForce": "openmm_kml.interfaces.openmm",
    "KMLCalculator": "openmm_kml.interfaces.ase",
}

__all__ = ["__version__", *sorted(_LAZY)]  # noqa: PLE0604


def __getattr__(name):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'openmm_kml' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LAZY})
