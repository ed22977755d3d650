"""Molecular dynamics of one molecule with a trained model, resumable and guarded: what ``kml md`` does."""

from openmm_kml.md.guard import SimulationError
from openmm_kml.md.runner import Summary, run
from openmm_kml.md.settings import Settings

__all__ = ["Settings", "SimulationError", "Summary", "run"]
