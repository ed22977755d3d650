"""Frames worth labeling, chosen from a pool."""

from openmm_kml.selection.farthest import farthest_frames
from openmm_kml.selection.variance import most_uncertain_frames

__all__ = ["farthest_frames", "most_uncertain_frames"]
