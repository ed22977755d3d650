"""Training: NumPy and SciPy only, never an engine."""

from openmm_kml.training.gdml import GDMLFit, fit_gdml
from openmm_kml.training.learning_curve import learning_curve
from openmm_kml.training.memory import estimate_memory
from openmm_kml.training.options import GDMLOptions

__all__ = ["GDMLFit", "GDMLOptions", "estimate_memory", "fit_gdml", "learning_curve"]
