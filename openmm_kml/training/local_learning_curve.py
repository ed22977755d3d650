"""Learning curves of models of any structure: held-out errors against the number of training frames."""

from dataclasses import replace

from openmm_kml.structures import split_structures
from openmm_kml.training.progress import progress_bar


def learning_curve_of(fit, measure, structures, sizes, options, n_validation=0, n_test=None, seeds=(0,)):
    """Return held-out errors for several numbers of training frames.

    For each seed, the test and validation frames are the same for all sizes, and a smaller training set is part of
    every larger one.

    Parameters
    ----------
    fit : callable
        Of training and validation frames and options: an object with `weights` and `report`.
    measure : callable
        Of weights and structures: the errors.
    structures : openmm_kml.structures.StructureSet
    sizes : iterable of int
        Numbers of training frames.
    options : openmm_kml.training.fit_options.FitOptions
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
    sizes, seeds = sorted(sizes), list(seeds)
    options = replace(options, members=0)  # errors alone are asked for
    results = []
    with progress_bar(len(sizes) * len(seeds), "learning curve", options.progress, " models") as bar:
        for seed in seeds:
            pool, validation, test = split_structures(structures, sizes[-1], n_validation, n_test, seed)
            for size in sizes:
                fitted = fit(pool[:size], validation, options)
                results.append(
                    {
                        "n_train": size,
                        "seed": seed,
                        "test_errors": measure(fitted.weights, test),
                        "hyperparameters": fitted.report["hyperparameters"],
                        "noise_scale": fitted.report["noise_scale"],
                        "seconds": fitted.report["seconds"]["total"],
                    }
                )
                bar.update()
    return results
