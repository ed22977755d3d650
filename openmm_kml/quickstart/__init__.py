"""The main job in a minute: data, training, test, dynamics and a report."""

from openmm_kml.quickstart.run import Settings, run_quickstart

__all__ = ["Settings", "run_quickstart"]
