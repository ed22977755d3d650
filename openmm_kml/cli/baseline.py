"""The option ``--baseline``, which the commands share: the classical System that a model is the difference to."""

from pathlib import Path


def add_baseline_option(parser):
    parser.add_argument(
        "--baseline", type=Path, metavar="XML", help="serialized OpenMM System that the model is the difference to"
    )


def load_potential(model, baseline):
    """Return the `KernelPotential` of a weight file, and the baseline's System or None.

    Parameters
    ----------
    model : path
    baseline : path or None

    Raises
    ------
    openmm_kml.errors.WeightFileError
        If the model is the difference to a baseline and none or another one is given, or if one is given to a model
        that is the whole energy.
    openmm_kml.errors.DataError
        If the file of the baseline is not a System that can be one.
    """
    from openmm_kml.potential import KernelPotential

    if baseline is None:
        return KernelPotential.load(model), None
    from openmm_kml.interfaces.baseline import check_digest, load_baseline

    potential = KernelPotential.load(model, delta=True)
    system = load_baseline(baseline, potential.species)
    check_digest(potential.weights.baseline, system)
    return potential, system
