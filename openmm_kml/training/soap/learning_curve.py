"""Learning curves of SOAP potentials."""

from openmm_kml.training.evaluation import model_errors
from openmm_kml.training.local_learning_curve import learning_curve_of
from openmm_kml.training.soap.options import SoapOptions
from openmm_kml.training.soap.trainer import fit_soap


def soap_learning_curve(structures, sizes, options=None, n_validation=0, n_test=None, seeds=(0,)):
    """Return held-out errors for several numbers of training frames.

    Parameters and result as in `openmm_kml.training.local_learning_curve.learning_curve_of`, with `SoapOptions`.
    """
    options = options or SoapOptions()
    return learning_curve_of(fit_soap, model_errors, structures, sizes, options, n_validation, n_test, seeds)
