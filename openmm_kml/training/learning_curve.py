"""Learning curves: held-out errors against the number of training points."""

from dataclasses import replace

from openmm_kml.errors import DataError
from openmm_kml.structures import split
from openmm_kml.training.gdml import fit_gdml
from openmm_kml.training.options import GDMLOptions
from openmm_kml.training.progress import progress_bar


def learning_curve(molecules, sizes, options=None, n_validation=200, n_test=None, seeds=(0,)):
    """Return held-out errors for several numbers of training points.

    For each seed, the test and validation frames are the same for all sizes, and a smaller training set is part of
    every larger one: the curve shows the number of points and nothing else.

    Parameters
    ----------
    molecules : MoleculeSet
    sizes : iterable of int
        Numbers of training points.
    options : GDMLOptions, optional
    n_validation : int
    n_test : int, optional
        All frames left when None.
    seeds : iterable of int
        One curve for each.

    Returns
    -------
    list of dict
        One entry per seed and size, in that order: ``n_train``, ``seed``, ``test_errors``, ``validation_errors``,
        ``hyperparameters``, ``n_permutations``, ``seconds``.

    Raises
    ------
    DataError
        If there are fewer frames than asked for, or none is left for the test.
    """
    options = options or GDMLOptions()
    sizes, seeds = sorted(set(sizes)), list(seeds)
    results = []
    with progress_bar(len(sizes) * len(seeds), "learning curve", options.progress, " models") as bar:
        for seed in seeds:
            pool, validation, test = split(molecules, sizes[-1], n_validation, n_test, seed=seed)
            if len(test) == 0:
                raise DataError(
                    f"none of the {len(molecules)} frames is left for the test; ask for fewer training or validation "
                    "frames"
                )
            for size in sizes:
                fit = fit_gdml(pool[:size], validation, replace(options, seed=seed, uncertainty=False))
                results.append(
                    {
                        "n_train": size,
                        "seed": seed,
                        "test_errors": fit.model.errors(test),
                        "validation_errors": fit.report["validation_errors"],
                        "hyperparameters": fit.report["hyperparameters"],
                        "n_permutations": fit.report["symmetries"]["n_permutations"],
                        "seconds": fit.report["seconds"],
                    }
                )
                bar.update()
    return results
