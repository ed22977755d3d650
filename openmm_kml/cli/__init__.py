"""The command line, ``kml``: one module for each command."""

from openmm_kml.cli.entry import main

__all__ = ["main"]
