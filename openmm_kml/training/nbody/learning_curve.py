"""Learning curves of two- and three-body potentials."""

from openmm_kml.structures import split_structures
from openmm_kml.training.nbody.options import NBodyOptions
from openmm_kml.training.nbody.trainer import fit_nbody, reference_errors
from openmm_kml.training.progress import progress_bar


def nbody_learning_curve(structures, sizes, options=None, n_validation=0, n_test=None, seeds=(0,)):
    """Return held-out errors for several numbers of training frames.

    For each seed, the test and validation frames are the same for all sizes, and a smaller training set is part of
    every larger one.

    Parameters
    ----------
    structures : openmm_kml.structures.StructureSet
    sizes : iterable of int
        Numbers of training frames.
    options : NBodyOptions, optional
    n_validation : int
    n_test : int, optional
        All frames left when None.
    seeds : iterable of int

    Returns
    -------
    list of dict
        One entry per seed and size, in that order: ``n_train``, ``seed``, ``test_errors``, ``hyperparameters``,
        ``noise_scale``, ``seconds``.

    Raises
    ------
    DataError
        If there are fewer frames than asked for.
    """
    options = options or NBodyOptions()
    sizes, seeds = sorted(sizes), list(seeds)
    results = []
    with progress_bar(len(sizes) * len(seeds), "learning curve", options.progress, " models") as bar:
        for seed in seeds:
            pool, validation, test = split_structures(structures, sizes[-1], n_validation, n_test, seed)
            for size in sizes:
                fit = fit_nbody(pool[:size], validation, options)
                results.append(
                    {
                        "n_train": size,
                        "seed": seed,
                        "test_errors": reference_errors(fit.weights, test),
                        "hyperparameters": fit.report["hyperparameters"],
                        "noise_scale": fit.report["noise_scale"],
                        "seconds": fit.report["seconds"]["total"],
                    }
                )
                bar.update()
    return results
