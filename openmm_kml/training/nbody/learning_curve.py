"""Learning curves of two- and three-body potentials."""

from openmm_kml.training.evaluation import model_errors
from openmm_kml.training.local_learning_curve import learning_curve_of
from openmm_kml.training.nbody.options import NBodyOptions
from openmm_kml.training.nbody.trainer import fit_nbody


def nbody_learning_curve(structures, sizes, options=None, n_validation=0, n_test=None, seeds=(0,)):
    """Return held-out errors for several numbers of training frames.

    Parameters and result as in `openmm_kml.training.local_learning_curve.learning_curve_of`, with `NBodyOptions`.
    """
    options = options or NBodyOptions()
    return learning_curve_of(fit_nbody, model_errors, structures, sizes, options, n_validation, n_test, seeds)
