"""Two- and three-body potentials: Gaussian-process regression in the basis of the splines that will run."""

from openmm_kml.training.nbody.learning_curve import nbody_learning_curve
from openmm_kml.training.nbody.options import NBodyOptions
from openmm_kml.training.nbody.trainer import LocalFit, fit_nbody

__all__ = ["LocalFit", "NBodyOptions", "fit_nbody", "nbody_learning_curve"]
