"""Many-body potentials: sparse Gaussian-process regression on the smooth overlap of atomic positions."""

from openmm_kml.training.soap.learning_curve import soap_learning_curve
from openmm_kml.training.soap.options import SoapOptions
from openmm_kml.training.soap.trainer import LocalFit, fit_soap

__all__ = ["LocalFit", "SoapOptions", "fit_soap", "soap_learning_curve"]
