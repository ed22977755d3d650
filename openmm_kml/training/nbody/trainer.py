"""The two- and three-body trainer: from structures to a weight file."""

from threadpoolctl import threadpool_limits

from openmm_kml.errors import DataError, TrainingError
from openmm_kml.training.labels import KnownPart
from openmm_kml.training.local_training import LocalFit, LocalTraining
from openmm_kml.training.memory import available_memory
from openmm_kml.training.nbody import selection
from openmm_kml.training.nbody.basis import SplineBasis
from openmm_kml.training.nbody.design import design_rows
from openmm_kml.training.nbody.left_out import ALL_BUT_ONE, FramesLeftOut
from openmm_kml.training.nbody.options import NBodyOptions
from openmm_kml.training.nbody.rows import KINDS, reduce_set
from openmm_kml.training.nbody.solve import memory, solve
from openmm_kml.training.nbody.survey import data_warnings, noise_warnings, reach_warnings, shell_warnings, survey
from openmm_kml.training.nbody.uncertainty import Uncertain
from openmm_kml.training.progress import progress_bar
from openmm_kml.training.repulsion import local_repulsion, wall_notes
from openmm_kml.training.uncertainty import describe


def fit_nbody(train, validation=None, options=None, earlier=None):
    """Return a potential of two- and three-body functions, trained on energies, forces and virials.

    Parameters
    ----------
    train : openmm_kml.structures.StructureSet
    validation : openmm_kml.structures.StructureSet, optional
        Frames whose errors are reported, and on which hyperparameters are chosen if the options say so.
    options : NBodyOptions, optional
    earlier : openmm_kml.training.nbody.factored.Factored, optional
        Of a training on the first of these frames with the same options: only the rows of the others are made. Grids,
        repulsion and the zero of energies stay.

    Returns
    -------
    LocalFit
        Its basis is a `SplineBasis`.

    Raises
    ------
    DataError
        If the sets lack what is to be trained on, hold unknown elements or fused atoms, or do not support a cutoff.
    ExtensionError
        If the frames do not go on from those of the earlier training.
    """
    options = options or NBodyOptions()
    with threadpool_limits(int(options.n_threads)):
        return _Training(train, validation, options, earlier).run()


class _Training(LocalTraining):
    def run(self):
        options, lap = self.options, self.stopwatch.lap
        found = survey(self.train, options)
        lap("distances")
        shortest = self.shortest(found)
        self.basis = basis = SplineBasis.for_data(self.elements, shortest.min(), options)
        if self.earlier is not None:
            self.earlier.check_distances(found.shortest, basis.grid2.start)
        self._check_memory()
        repulsion = local_repulsion(found.elements, shortest) if options.repulsion else None
        self.known = KnownPart(self.fresh, repulsion, basis.reach, options, self.earlier)
        lap("repulsion")
        # Where the uncertainty has no validation frames, it is calibrated on training frames, one left out at a time.
        leave_out = bool(options.members) and self.validation is None
        frames = FramesLeftOut(self.train, design_rows) if leave_out else None
        factor, n_rows, n_triples = self._reduced(frames or design_rows)
        lap("design")
        choice = self._choose(factor, n_rows)
        lap("selection")
        posterior = solve(factor, n_rows, choice[0].prior(basis, options))
        solution = posterior.coefficients
        weights = self.known.complete(basis.terms(solution), solution[: basis.n_elements])
        lap("solution")
        weights, described, notes = self._with_uncertainty(weights, posterior, frames)
        lap("uncertainty")
        report = self.common_report(weights, posterior, found, choice, n_rows)
        report["hyperparameters"]["kernel"] = options.kernel
        report |= {
            "triples_per_atom": n_triples / max(1, self.fresh.n_atoms),
            "grids": _describe_grids(basis),
            "memory": memory(basis.n_columns),
            "uncertainty": described,
            "notes": [
                *shell_warnings(found, options),
                *data_warnings(self.train, options),
                *reach_warnings(found, options),
                *notes,
                *([] if options.difference else wall_notes(weights, basis.grid2.start)),
                *noise_warnings(posterior.scale),
            ],
        }
        lap("validation")
        report["seconds"] = self.stopwatch.report()
        return LocalFit(weights, report, basis, posterior, self.factored(found, factor, n_rows))

    def _reduced(self, rows_of):
        """Return the triangular factor of all training rows, the rows it stands for, and the number of triples."""
        labels, known = self.known.train_labels, self.known.atom_energies
        reduced = reduce_set(
            self.basis, self.fresh, labels, self.options, "design matrix", known=known, rows_of=rows_of
        )
        rows = reduced.factors.get("all")
        if self.earlier is not None:
            return *self.earlier.stacked(rows), reduced.n_triples
        if rows is None:
            raise DataError("the training frames have nothing to train on: no energies, forces or virials")
        return rows.factor(), rows.n_rows, reduced.n_triples

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

    def _with_uncertainty(self, weights, posterior, frames):
        """Return the model with its uncertainty, what the report says of it, and notes."""
        if not self.options.members:
            return weights, None, []
        uncertain = Uncertain(self.basis, self.known, self.train, self.options)
        if self.validation is not None:
            source, n_frames = "validation frames", len(self.validation)
            predictions = uncertain.unseen(posterior, self.validation)
        else:
            source, n_frames = ALL_BUT_ONE, len(frames.places)
            predictions = uncertain.left_out(posterior, frames)
        calibrations = predictions.calibrations()
        weights, notes = uncertain.complete(weights, posterior, calibrations)
        return weights, describe(weights, calibrations, n_frames, source), notes


def _describe_grids(basis):
    grids = {"two": basis.grid2, "three": basis.grid3, "three_far": basis.grid_far}
    return {
        name: {"start": grid.start, "end": grid.end, "intervals": grid.n_intervals, "spacing": grid.spacing}
        for name, grid in grids.items()
        if grid is not None
    }
