"""Molecular dynamics of one molecule with a trained model, resumable and guarded: what ``kml md`` does."""

from openmm_kml.md.guard import SimulationError
from openmm_kml.md.runner import run
from openmm_kml.md.settings import Settings
from openmm_kml.md.simulation import Summary

__all__ = ["Settings", "SimulationError", "Summary", "run"]
