"""The two- and three-body trainer: from structures to a weight file."""

import time
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from openmm_kml import __version__
from openmm_kml.elements import symbol
from openmm_kml.errors import DataError, TrainingError
from openmm_kml.local_terms import Spline2Term, Spline3Term
from openmm_kml.metrics import structure_errors
from openmm_kml.reference import evaluate_structure
from openmm_kml.training.labels import KnownPart, check_sets
from openmm_kml.training.memory import available_memory
from openmm_kml.training.nbody import selection
from openmm_kml.training.nbody.basis import SplineBasis
from openmm_kml.training.nbody.design import design_rows
from openmm_kml.training.nbody.options import NBodyOptions
from openmm_kml.training.nbody.rows import KINDS, reduce_set
from openmm_kml.training.nbody.solve import Posterior, StackedQR, memory, solve, triangular_factor
from openmm_kml.training.nbody.survey import (
    missing_energies,
    missing_forces,
    noise_warnings,
    reach_warnings,
    shell_warning,
    survey,
)
from openmm_kml.training.progress import progress_bar
from openmm_kml.training.repulsion import local_repulsion, wall_notes
from openmm_kml.training.uncertainty import Predictions, composition_projector, describe, folds_of, with_members
from openmm_kml.weights import Weights

_SEED = 95  # of the members
_FOLDS = 5  # parts left out in turn
_MOST_COLUMNS = 2500  # with more, only two parts: each fit is a factorization
_KEPT = 250e6  # bytes of rows of forces that are kept for the calibration


@dataclass(frozen=True)
class NBodyFit:
    """What the trainer returns.

    Attributes
    ----------
    weights : openmm_kml.weights.Weights
    report : dict
        JSON-able: what was chosen and why, errors on the validation set, times.
    basis : SplineBasis
    posterior : Posterior
        Coefficients and their covariance.
    """

    weights: Weights
    report: dict
    basis: SplineBasis
    posterior: Posterior


def fit_nbody(train, validation=None, options=None):
    """Return a potential of two- and three-body functions, trained on energies, forces and virials.

    Parameters
    ----------
    train : openmm_kml.structures.StructureSet
    validation : openmm_kml.structures.StructureSet, optional
        Frames whose errors are reported, and on which hyperparameters are chosen if the options say so.
    options : NBodyOptions, optional

    Returns
    -------
    NBodyFit

    Raises
    ------
    DataError
        If the sets lack what is to be trained on, hold unknown elements or fused atoms, or do not support a cutoff.
    """
    options = options or NBodyOptions()
    with threadpool_limits(int(options.n_threads)):
        return _Training(train, validation, options).run()


@dataclass(frozen=True)
class _Part:
    """The rows of some training frames.

    Attributes
    ----------
    places : ndarray of int
        Of the frames.
    factor : ndarray
        Triangular, with the labels as the last column.
    n_rows, n_triples : int
    energies : list of ndarray of shape (n_columns,)
        Rows of the energies of the frames.
    kept : dict
        Place among these frames -> all rows of the frame; as many as memory is given.
    """

    places: np.ndarray
    factor: np.ndarray
    n_rows: int
    n_triples: int
    energies: list
    kept: dict


def _stacked(parts):
    """Return the factor of all rows of some parts, and their number."""
    factor = parts[0].factor if len(parts) == 1 else triangular_factor(np.concatenate([part.factor for part in parts]))
    return factor, sum(part.n_rows for part in parts)


class _Training:
    def __init__(self, train, validation, options):
        self.options = options
        self.train = train
        self.validation = validation if validation is not None and len(validation) else None
        self.clock = time.perf_counter()
        self.seconds = {}
        self.notes = []
        check_sets(train, self.validation, options)

    def run(self):
        options = self.options
        found = survey(self.train, options)
        self._lap("distances")
        warnings = (shell_warning(found, options), missing_energies(self.train, options), missing_forces(self.train))
        self.notes += [warning for warning in warnings if warning] + reach_warnings(found, options)
        self.elements = found.elements
        self.repulsion = local_repulsion(found.elements, found.shortest) if options.repulsion else None
        self.basis = basis = SplineBasis.for_data(found.elements, found.shortest.min(), options)
        self._check_memory()
        self.known = KnownPart(self.train, self.repulsion, basis.reach, options)
        self._lap("repulsion")
        parts = self._rows()
        self._lap("design")
        factor, n_rows = _stacked([part for part in parts if part.n_rows])
        chosen, log, criterion = self._choose(factor, n_rows)
        self._lap("selection")
        posterior = solve(factor, n_rows, chosen.prior(basis, options))
        weights = self._weights(posterior)
        self._lap("solution")
        calibrations, n_left, source = (None, 0, None)
        if options.members:
            weights, calibrations, n_left, source = self._uncertain(weights, posterior, chosen, parts)
        self._lap("uncertainty")
        self.notes += wall_notes(weights, basis.grid2.start) + noise_warnings(posterior.scale)
        report = {
            "hyperparameters": vars(chosen) | {"kernel": options.kernel},
            "selection": {"criterion": criterion, "trials": log},
            "noise_scale": posterior.scale,
            "log_likelihood": posterior.log_likelihood,
            "elements": [symbol(z) for z in self.elements],
            "atom_energies": {symbol(z): e for z, e in weights.atom_energies.items()},
            "shortest_distances": found.pair_distances(),
            "triples_per_atom": sum(part.n_triples for part in parts) / self.train.n_atoms,
            "grids": _describe_grids(basis),
            "n_columns": basis.n_columns,
            "memory": memory(basis.n_columns),
            "n_rows": n_rows,
            "n_train": len(self.train),
            "n_validation": 0 if self.validation is None else len(self.validation),
            "validation_errors": None if self.validation is None else reference_errors(weights, self.validation),
            "uncertainty": describe(weights, calibrations, n_left, source),
            "options": options.as_dict(),
            "notes": self.notes,
        }
        self._lap("validation")
        report["seconds"] = {**self.seconds, "total": sum(self.seconds.values())}
        return NBodyFit(weights, report, basis, posterior)

    def _lap(self, name):
        now = time.perf_counter()
        self.seconds[name] = now - self.clock
        self.clock = now

    def _check_memory(self):
        """Raise `TrainingError` if there are more splines than memory for them."""
        needed, free = memory(self.basis.n_columns), available_memory()
        if needed > free:
            raise TrainingError(
                f"{self.basis.n_columns} splines need {needed / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are "
                "free; choose a smaller cutoff3, a larger spacing3, compact triangles or fewer elements"
            )

    def _choose(self, factor, n_rows):
        """Return hyperparameters, the log of trials and the name of the criterion."""
        options, basis = self.options, self.basis
        start, free = selection.first_guess(options)
        criterion = options.selection
        if criterion == "validation" and self.validation is None:
            raise DataError("the hyperparameters are to be chosen on validation frames, but there are none")
        if not free:
            return start, [], "given"
        find = selection.climb if criterion == "gradient" else selection.search
        if criterion == "gradient":
            loss = selection.likelihood_gradient(basis, options, factor, n_rows)
        elif criterion == "likelihood":
            loss = selection.likelihood_loss(basis, options, factor, n_rows)
        else:
            labels, known = self.known.labels(self.validation), self.known.atom_energies
            reduced = reduce_set(basis, self.validation, labels, options, "validation rows", by_kind=True, known=known)
            parts = [reduced.factors[kind] for kind in KINDS if kind in reduced.factors]
            loss = selection.validation_loss(
                basis, options, factor, n_rows, [(part.factor(), part.n_rows) for part in parts]
            )
        with progress_bar(None, "hyperparameters", options.progress, " trials") as bar:
            best, log = find(start, free, loss, bar.update)
        return best, log, criterion

    def _rows(self):
        """Return the `_Part`s of the training rows: first the frames that always stay, then those left out in turn.

        Where the uncertainty has no validation frames, it is calibrated on training frames that are left out of fits of
        the same hyperparameters.
        """
        known, options = self.known, self.options
        parts, staying = [], np.arange(len(self.train))
        if options.members and self.validation is None:
            parts, staying = folds_of(self.train, _FOLDS if self.basis.n_columns <= _MOST_COLUMNS else 2)
        found = []
        for number, places in enumerate((staying, *parts)):
            energies, kept = [], {}
            size = 8 * self.basis.n_columns * sum(3 * len(self.train.frames[k]) for k in places)
            stride = max(1, int(np.ceil(size * max(1, len(parts)) / _KEPT)))

            def rows_of(basis, frame, energies=energies, kept=kept, stride=stride):
                rows = design_rows(basis, frame)
                if parts and len(energies) % stride == 0:
                    kept[len(energies)] = rows
                energies.append(rows.energy)
                return rows

            labels = [known.train_labels[k] for k in places]
            description = f"design matrix, {number} of {len(parts)}" if parts else "design matrix"
            reduced = reduce_set(
                self.basis,
                self.train[places],
                labels,
                options,
                description if len(places) else None,
                known=known.atom_energies,
                rows_of=rows_of,
            )
            rows = reduced.factors.get("all", StackedQR(self.basis.n_columns + 1))
            found.append(_Part(places, rows.factor(), rows.n_rows, reduced.n_triples, energies, kept))
        if not any(part.n_rows for part in found):
            raise DataError("the training frames have nothing to train on: no energies, forces or virials")
        return found

    def _uncertain(self, weights, posterior, chosen, parts):
        """Return the model with members and calibration, the calibrations, and on what they rest."""
        predictions = Predictions()
        if self.validation is not None:
            source, n_frames = "validation frames", len(self.validation)
            self._predict(predictions, posterior, self.validation, self.known.labels(self.validation))
        else:
            source, n_frames = "training frames left out of fits of the same hyperparameters", 0
            for part in parts[1:]:
                rest = [other for other in parts if other is not part and other.n_rows]
                if not rest:
                    continue
                fit = solve(*_stacked(rest), chosen.prior(self.basis, self.options))
                labels = [self.known.train_labels[k] for k in part.places]
                members = self._members(fit)
                predictions.add_energies(part.energies, labels, fit.coefficients, members, self._sizes(part))
                for place, rows in part.kept.items():
                    predictions.add(rows, replace(labels[place], energy=None), fit.coefficients, members)
                n_frames += len(part.places)
        calibrations = predictions.calibrations()
        final = [self.basis.coefficients(member) for member in self._members(posterior)]
        terms = [self._terms(two, three) for _, two, three in final]
        weights, notes = with_members(weights, terms, np.stack([free for free, *_ in final]), calibrations)
        self.notes += notes
        return weights, calibrations, n_frames, source

    def _sizes(self, part):
        return [len(frame) for frame in self.train[part.places]]

    def _predict(self, predictions, fit, frames, labels):
        """Add frames to predictions of a posterior that has not seen them."""
        members = self._members(fit)
        fixed = np.isin(self.basis.elements, list(self.known.atom_energies))
        for frame, label in zip(frames, labels, strict=True):
            rows = design_rows(self.basis, frame)
            rows.energy[: len(fixed)][fixed] = 0.0
            predictions.add(rows, label, fit.coefficients, members)

    def _members(self, posterior):
        """Return deviations of all columns, shape (S, n_columns); one-body energies only as far as the data tell."""
        members = posterior.samples(self.options.members, np.random.default_rng(_SEED))
        n = len(self.elements)
        projector = composition_projector(self.train, self.elements, self.known.atom_energies)
        members[:, :n] = members[:, :n] @ projector if self._has_energies() else 0.0
        return members

    def _has_energies(self):
        return self.options.energies and any(frame.energy is not None for frame in self.train)

    def _terms(self, two, three):
        """Return the terms of spline coefficients."""
        basis = self.basis
        terms = [Spline2Term(basis.grid2.start, basis.grid2.end, two)]
        if three is not None:
            near, far = basis.grid3, basis.grid_far
            terms.append(
                Spline3Term(near.start, near.end, far.start, far.closed, basis.taper_start, basis.taper_width, three)
            )
        return terms

    def _weights(self, posterior):
        """Return the `Weights` of a solution."""
        free, two, three = self.basis.coefficients(posterior.coefficients)
        if not self._has_energies():
            free = np.zeros(len(free))  # forces say nothing of them
        terms = self._terms(two, three)
        if self.repulsion is not None:
            terms.append(self.repulsion)
        return Weights(
            elements=np.array(self.elements),
            terms=tuple(terms),
            atom_energies=self.known.one_body(free),
            provenance={"program": f"openmm_kml {__version__}", "options": self.options.as_dict()},
        )


def _describe_grids(basis):
    grids = {"two": basis.grid2, "three": basis.grid3, "three_far": basis.grid_far}
    return {
        name: {"start": grid.start, "end": grid.end, "intervals": grid.n_intervals, "spacing": grid.spacing}
        for name, grid in grids.items()
        if grid is not None
    }


def reference_errors(weights, structures):
    """Return `openmm_kml.metrics.structure_errors` of the NumPy evaluation of a model."""
    predictions = [
        evaluate_structure(weights, frame.positions, frame.numbers, frame.cell, frame.pbc)[:3] for frame in structures
    ]
    return structure_errors(predictions, structures)
