"""The GDML trainer: from reference data to a weight file."""

import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from threadpoolctl import threadpool_limits

from openmm_kml.errors import DataError
from openmm_kml.training.gdml_uncertainty import add_uncertainty
from openmm_kml.training.model import Model, Problem
from openmm_kml.training.options import GDMLOptions
from openmm_kml.training.permutations import check_permutations, describe_group
from openmm_kml.training.repulsion import molecule_repulsion
from openmm_kml.training.symmetries import find_symmetries
from openmm_kml.training.trainer import LEAST_FOR_ARD, Outcome, train_default, train_published
from openmm_kml.training.walls import molecule_walls
from openmm_kml.weights import Weights


@dataclass(frozen=True)
class GDMLFit:
    """What the trainer returns.

    Attributes
    ----------
    weights : openmm_kml.weights.Weights
    report : dict
        JSON-able: what was chosen and why, errors on the validation set, time and memory.
    model : Model
        The trained model, which predicts many structures at once with NumPy.
    factored : openmm_kml.training.gdml_factored.FactoredMolecule, optional
        Of a training that went on from another, for the next.
    """

    weights: Weights
    report: dict
    model: Model
    factored: object = None


def fit_gdml(train, validation, options=None, earlier=None):
    """Return a GDML model of one molecule, trained on its forces (and energies).

    Hyperparameters that the options leave open are chosen on the validation set, which the linear system never sees.

    Parameters
    ----------
    train, validation : openmm_kml.structures.MoleculeSet
        Frames of one molecule with forces; without energies the energy offset is zero.
    options : GDMLOptions, optional
    earlier : openmm_kml.training.gdml_factored.FactoredMolecule, optional
        Of a training on the first of these frames: its hyperparameters stay, and its factorization is extended.

    Returns
    -------
    GDMLFit

    Raises
    ------
    DataError
        If the sets are empty, lack forces or the energies asked for, differ in their atoms or hold a number that is not
        finite.
    TrainingError
        If the direct solver needs more memory than there is, or the kernel matrix is not positive definite.
    ExtensionError
        If the frames or their symmetries do not go on from those of the earlier training.
    """
    options = options or GDMLOptions()
    started = time.perf_counter()
    check_data(train, validation)
    if train.energies is None and options.energies is True:
        raise DataError("the training set has no energies to train on; leave out energies=True (--energies)")
    notes = []
    n_threads = options.resolved_threads()
    with threadpool_limits(1):  # threads are our own: openmm_kml.training.threads
        permutations = _symmetries(train, options, notes)
        problem = Problem(train, permutations)
        if earlier is not None:
            outcome, earlier = _extended(earlier, problem, validation)
        else:
            train_preset = train_published if options.preset == "sgdml" else train_default
            outcome = train_preset(problem, validation, options, n_threads)
    if train.energies is None:
        notes.append("no energies were given: trained on forces alone, the energy offset is 0")
    model = outcome.model
    term, uncertainty, described = model.term(), None, None
    if options.uncertainty:
        with threadpool_limits(1):
            term, uncertainty, described, found = add_uncertainty(
                model, validation, options.uncertainty_rank, n_threads
            )
        notes += found
    notes += outcome.notes + _without_effect(options, model, outcome.solver)
    n_atoms = len(train.numbers)
    report = {
        "program": program_version(),
        "preset": options.preset,
        "n_train": len(train),
        "n_validation": len(validation),
        "n_atoms": n_atoms,
        "hyperparameters": model.hyperparameters.as_dict(),
        "symmetries": describe_group(permutations, train.numbers),
        "energy_offset": model.offset,
        "validation_errors": outcome.errors,
        "solver": outcome.solver,
        "uncertainty": described,
        "choice": _explain(outcome, validation, options.preset),
        "log": outcome.log,
        "notes": notes,
        "n_threads": n_threads,
        "seconds": round(time.perf_counter() - started, 3),
        "peak_memory_estimate": outcome.solver.pop("memory"),
    }
    provenance = _provenance(train, validation, options, report)
    terms = (term, *_priors(train, validation, permutations, options))
    return GDMLFit(Weights(train.numbers, terms, {}, provenance, uncertainty=uncertainty), report, model, earlier)


def check_data(train, validation):
    """Check that two sets can be trained and validated on.

    Raises
    ------
    DataError
        Naming the set, and the frame and atom where there is one.
    """
    for name, molecules in (("training", train), ("validation", validation)):
        if len(molecules) == 0:
            raise DataError(f"the {name} set is empty; at least one frame is needed")
        if molecules.forces is None:
            raise DataError(f"the {name} set has no forces; a GDML model is trained on forces")
        for what in ("positions", "forces"):
            bad = np.argwhere(~np.isfinite(getattr(molecules, what)))
            if len(bad):
                raise DataError(
                    f"{what} of atom {bad[0][1] + 1} in frame {bad[0][0] + 1} of the {name} set are not finite; "
                    "remove the frame"
                )
        if molecules.energies is not None and not np.isfinite(molecules.energies).all():
            bad = int(np.flatnonzero(~np.isfinite(molecules.energies))[0])
            raise DataError(f"the energy of frame {bad + 1} of the {name} set is not finite; remove the frame")
    if len(train.numbers) < 2:
        raise DataError("a GDML model needs a molecule of at least two atoms")
    if not np.array_equal(train.numbers, validation.numbers):
        raise DataError(
            f"the training set has atoms {train.numbers.tolist()} and the validation set {validation.numbers.tolist()};"
            " both must hold the same atoms in the same order"
        )


def _extended(earlier, problem, validation):
    """Return the outcome of a training that goes on from an earlier one, and its factor."""
    earlier.check(problem.molecules, problem.permutations)
    geometry = problem.geometry(earlier.hyperparameters)
    factored = earlier.extended(problem, geometry)
    model = factored.model(problem, geometry)
    solver = {"name": "direct", "n_unknowns": len(factored.rows), "memory": factored.factor.nbytes}
    return Outcome(model, model.errors(validation), solver, []), factored


def _symmetries(train, options, notes):
    if isinstance(options.symmetries, bool):
        if not options.symmetries:
            return np.arange(len(train.numbers))[None]
        group, found = find_symmetries(train.positions, train.numbers, progress=options.progress)
        notes += found
        return group
    return check_permutations(options.symmetries, train.numbers)


def _priors(train, validation, permutations, options):
    """Return the terms beside the kernel's, none for the published model; they are zero for all frames."""
    positions, terms = np.concatenate([train.positions, validation.positions]), []
    if options.repulsion and options.preset != "sgdml":
        terms.append(molecule_repulsion(train.numbers, positions))
    if options.walls and options.preset != "sgdml":
        terms.append(molecule_walls(train.numbers, positions, permutations))
    return terms


def _without_effect(options, model, solver):
    """Return notes on options that were given and changed nothing."""
    notes = []
    if options.ard and model.hyperparameters.descriptor_weights is None:
        few = len(model.problem) < LEAST_FOR_ARD
        reason = f"they take at least {LEAST_FOR_ARD} training points" if few else "without them validation was better"
        notes.append(f"the model has no weights of pairs: {reason}")
    if options.checkpoint is not None and solver["name"] == "direct":
        notes.append("the checkpoint was not used: it is for the iterative solver, and this was the direct solver")
    return notes


def _explain(outcome, validation, preset):
    """Return why this model was chosen, in one sentence."""
    trials = [entry for entry in outcome.log if "power" in entry]
    if len(trials) < 2:
        return "as the options say; nothing was left to choose"
    metric, key = ("root mean square", "forces_rmse") if preset == "sgdml" else ("mean absolute", "forces_mae")
    error = outcome.errors[key]
    return (
        f"lowest {metric} force error, {1000 * error:.1f} meV/Å on {len(validation)} validation frames, of the models "
        f"trained on all points; {len(trials)} trials in all"
    )


def _provenance(train, validation, options, report):
    """Return what the weight file says about its making: nothing that depends on the clock."""
    said = report["uncertainty"]
    rows = {name: said[name] for name in ("rows", "n_points", "exact", "std_over_all_rows")} if said else {}
    return {
        "program": report["program"],
        "data_digest": train.digest,
        "validation_digest": validation.digest,
        "options": options.as_dict(),
        "hyperparameters": report["hyperparameters"],
        "n_train": report["n_train"],
        "errors": {"validation": report["validation_errors"]},
        "solver": report["solver"]["name"],
        **({"explained": rows} if rows else {}),
    }


def program_version():
    """Return the name and version of this program."""
    try:
        return f"openmm_kml {version('openmm_kml')}"
    except PackageNotFoundError:
        return "openmm_kml"
