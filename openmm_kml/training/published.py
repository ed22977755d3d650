"""The published model (sGDML) and the choice of its length scale.

p = 1, Matérn-5/2, forces only, λ = 1e-10 on the kernel in Å with forces over their standard deviation, and the length
scale from 10, 20 … 90 by the root mean square force error on the validation set: the defaults of the program that its
authors provide (Chmiela et al., Comput. Phys. Commun. 240, 38 (2019)).
"""

from openmm_kml.training.model import Hyperparameters
from openmm_kml.training.trial import Choice

LENGTH_SCALES = tuple(float(length_scale) for length_scale in range(10, 100, 10))
REGULARIZATION = 1e-10


def published_hyperparameters(length_scale, regularization=None):
    """Return the hyperparameters of the published model."""
    return Hyperparameters(
        power=1.0,
        kernel="matern52",
        length_scale=float(length_scale),
        regularization=REGULARIZATION if regularization is None else regularization,
        energies=False,
        unit_amplitude=True,
    )


def walk_length_scales(evaluate, scales=LENGTH_SCALES, regularization=None, bar=None):
    """Return the `Choice` of the best length scale.

    The scales are tried in their order until the error has risen twice in a row.

    Parameters
    ----------
    evaluate : callable
        Hyperparameters -> error, infinity where there is no model.
    scales : sequence of float
    regularization : float, optional
    bar : progress bar, optional

    Returns
    -------
    best : Choice, or None where no length scale gave a model
    """
    best, rising = None, 0
    for length_scale in scales:
        hyperparameters = published_hyperparameters(length_scale, regularization)
        error = evaluate(hyperparameters)
        if bar is not None:
            bar.update()
        if best is None or error < best.error:
            best, rising = Choice(hyperparameters, error), 0
        else:
            rising += 1
        if rising == 2:
            break
    return None if best is None or best.error == float("inf") else best
