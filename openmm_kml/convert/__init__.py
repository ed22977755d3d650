"""Models of other programs as weight files of ours."""

from openmm_kml.convert.sgdml import convert_sgdml

__all__ = ["convert_sgdml"]
