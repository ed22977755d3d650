"""Models of other programs as weight files of ours."""

from openmm_kml.convert.gap import convert_gap
from openmm_kml.convert.sgdml import convert_sgdml

__all__ = ["convert_gap", "convert_sgdml"]
