"""The SOAP trainer: from structures to a weight file."""

from contextlib import ExitStack

import numpy as np
from threadpoolctl import threadpool_limits

from openmm_kml.elements import symbol
from openmm_kml.errors import DataError
from openmm_kml.training.labels import KnownPart
from openmm_kml.training.local_training import LocalFit, LocalTraining
from openmm_kml.training.nbody.basis import SplineBasis
from openmm_kml.training.nbody.left_out import ALL_BUT_ONE, FramesLeftOut
from openmm_kml.training.nbody.rows import KINDS
from openmm_kml.training.nbody.selection import likelihood_loss, search, validation_loss
from openmm_kml.training.nbody.solve import solve, triangular_factor
from openmm_kml.training.nbody.survey import data_warnings, noise_warnings, survey
from openmm_kml.training.progress import progress_bar
from openmm_kml.training.repulsion import local_repulsion, wall_notes
from openmm_kml.training.soap import memory
from openmm_kml.training.soap.assembly import assemble
from openmm_kml.training.soap.basis import SoapBasis
from openmm_kml.training.soap.cross_validation import cross_validation_loss, smallest_amplitude
from openmm_kml.training.soap.descriptors import make_descriptors
from openmm_kml.training.soap.environments import Environments
from openmm_kml.training.soap.options import SoapOptions
from openmm_kml.training.soap.prior import Whitening, first_guess
from openmm_kml.training.soap.sparse import draw_pool, share_points, sparse_points
from openmm_kml.training.soap.uncertainty import Uncertain
from openmm_kml.training.uncertainty import describe


def fit_soap(train, validation=None, options=None, earlier=None):
    """Return a many-body potential: a sparse Gaussian process on SOAP, with two-body functions and repulsion.

    Parameters
    ----------
    train : openmm_kml.structures.StructureSet
    validation : openmm_kml.structures.StructureSet, optional
        Frames whose errors are reported, and on which hyperparameters are chosen if the options say so.
    options : SoapOptions, optional
    earlier : openmm_kml.training.nbody.factored.Factored, optional
        Of a training on the first of these frames with the same options: only the rows of the others are made. Sparse
        points, repulsion and the zero of energies stay.

    Returns
    -------
    LocalFit
        Its basis is a `SoapBasis`.

    Raises
    ------
    DataError
        If the sets lack what is to be trained on, hold unknown elements or fused atoms, do not support a cutoff, or
        have fewer different environments than sparse points are wanted.
    TrainingError
        If the memory does not suffice; the message has the number.
    ExtensionError
        If the frames do not go on from those of the earlier training.
    """
    options = options or SoapOptions()
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(int(options.n_threads)))
        client = None
        if options.dask is not None:
            from openmm_kml.training.soap.distributed import dask_client

            client = stack.enter_context(dask_client(options.dask, options.workers))
        return _Training(train, validation, options, client, earlier).run()


class _Training(LocalTraining):
    def __init__(self, train, validation, options, client, earlier=None):
        super().__init__(train, validation, options, earlier)
        self.client = client

    def run(self):
        options, lap = self.options, self.stopwatch.lap
        found = self._survey()
        shortest = self.shortest(found)
        splines = SplineBasis.for_data(self.elements, shortest.min(), options.two_body)
        descriptors, loss = make_descriptors(self.train, options)
        counts = {z: sum(int((frame.numbers == z).sum()) for frame in self.train) for z in self.elements}
        points = self._points(counts)
        needed = self._check_memory(splines, descriptors, counts, points)
        lap("distances")
        if self.earlier is None:
            terms = self._sparse_terms(descriptors, counts, points)
        else:
            self.earlier.check_distances(found.shortest, splines.grid2.start)
            terms = list(self.earlier.sparse_terms)
        lap("sparse points")
        self.basis = basis = SoapBasis(splines, options.pairs, terms, options.n_threads)
        repulsion = local_repulsion(found.elements, shortest) if options.repulsion else None
        self.known = KnownPart(self.fresh, repulsion, max(options.cutoff, splines.reach), options, self.earlier)
        lap("repulsion")
        # Where the uncertainty has no validation frames, it is calibrated on training frames, one left out at a time.
        leave_out = bool(options.members) and self.validation is None
        here = self.client is None
        self.frames = FramesLeftOut(self.train, SoapBasis.rows, here) if leave_out else None
        folds = self._folds()
        if not any(folds) and self.earlier is None:
            raise DataError("the training frames have nothing to train on: no energies, forces or virials")
        lap("design")
        self.whitening = Whitening(basis, options.jitter)
        folds = [
            {kind: (self.whitening.apply_to_rows(factor), count) for kind, (factor, count) in fold.items()}
            for fold in folds
        ]
        if self.earlier is not None:
            folds.insert(0, {"earlier": self.earlier.counted(basis.n_columns)})
        factor = triangular_factor(np.concatenate([factor for fold in folds for factor, _ in fold.values()]))
        n_rows = sum(count for fold in folds for _, count in fold.values())
        choice = self._choose(folds, factor, n_rows)
        lap("selection")
        posterior = solve(factor, n_rows, choice[0].prior(basis, options))
        solution = self.whitening.coefficients(posterior.coefficients)
        weights = self.known.complete(basis.terms(solution), solution[: len(self.elements)])
        lap("solution")
        weights, described, notes = self._with_uncertainty(weights, posterior, choice[0])
        lap("uncertainty")
        report = self.common_report(weights, posterior, found, choice, n_rows) | {
            "environments": {symbol(z): count for z, count in counts.items()},
            "sparse_points": {symbol(z): count for z, count in points.items()},
            "dimension": int(descriptors[0].dimension),
            "radial_loss": loss,
            "memory": needed,
            "uncertainty": described,
            "notes": [
                *data_warnings(self.train, options),
                *notes,
                *([] if options.difference else wall_notes(weights, splines.grid2.start)),
                *noise_warnings(posterior.scale),
            ],
        }
        lap("validation")
        report["seconds"] = self.stopwatch.report()
        factored = self.factored(found, factor, n_rows, terms)
        return LocalFit(weights, report, basis, posterior, factored)

    def _points(self, counts):
        """Return the number of sparse points of each element, a dict by atomic number."""
        if self.earlier is None:
            return share_points(self.options.n_sparse, counts)
        return {z: term.n_sparse for z, term in zip(self.elements, self.earlier.sparse_terms, strict=True)}

    def _survey(self):
        """Return the `Survey` of distances, errors by the names that were used."""
        try:
            return survey(self.train, self.options.two_body)
        except DataError as error:
            if self.options.cutoff2 is not None:
                raise
            raise DataError(str(error).replace("cutoff2", "cutoff")) from None

    def _check_memory(self, splines, descriptors, counts, points):
        """Return the bytes that the training takes; TrainingError if there are not so many."""
        options = self.options
        sizes = {z: one.dimension for z, one in zip(self.elements, descriptors, strict=True)}
        n_splines = splines.n_columns if options.pairs else len(self.elements)
        stages = memory.estimate(
            n_splines + sum(points.values()),
            sum(7 + 3 * len(frame) for frame in self.train),
            max(map(len, self.train)),
            {z: (min(counts[z], options.pool), size) for z, size in sizes.items()},
            {z: (points[z], size) for z, size in sizes.items()},
            options.folds if options.selection == "cross_validation" else 1,
            bool(options.members) and self.validation is None and self.client is None,
        )
        return memory.check(stages, options.memory_limit)

    def _sparse_terms(self, descriptors, counts, points):
        """Return a `SoapTerm` for each element, with its sparse points and coefficients of zero."""
        options, terms = self.options, []
        for z, descriptor in zip(self.elements, descriptors, strict=True):
            rng = np.random.default_rng((options.seed, z))
            p = self._pool(z, descriptor, counts[z], rng)
            with progress_bar(points[z], f"sparse points of {symbol(z)}", options.progress, " points") as bar:
                x = sparse_points(p, points[z], options.sparse_method, rng, z, bar.update)
            terms.append(descriptor.term(float(options.zeta), x, np.zeros(len(x))))
        return terms

    def _pool(self, z, descriptor, count, rng):
        """Return the power spectra of environments of an element, shape (n, D): all of them, or as many as allowed."""
        options = self.options
        blank = descriptor.term(1.0, np.zeros((1, descriptor.dimension)), np.zeros(1))
        environments = Environments(self.elements, [blank], n_threads=options.n_threads)
        places = draw_pool([int((frame.numbers == z).sum()) for frame in self.train], options.pool, rng)
        pool, start = np.empty((min(count, options.pool), descriptor.dimension)), 0
        with progress_bar(len(pool), f"environments of {symbol(z)}", options.progress, " atoms") as bar:
            for frame, drawn in zip(self.train, places, strict=True):
                if len(drawn):
                    pool[start : start + len(drawn)] = environments.descriptors(frame)[1][drawn]
                    start += len(drawn)
                    bar.update(len(drawn))
        return pool

    def _assemble(self, sets, description, by_kind=False, rows_of=None):
        """Return the factors of each of some sets of (structures, labels), by kind of label."""
        known = self.known.atom_energies
        return assemble(self.basis, sets, self.options, description, by_kind, known, self.client, rows_of)

    def _folds(self):
        """Return the factors of each part of the training frames, by kind; one part where none will be left out."""
        train, labels, folds = self.fresh, self.known.train_labels, self._n_folds()
        parts = [np.arange(len(train))[k::folds] for k in range(folds)]
        sets = [(train[places], [labels[k] for k in places]) for places in parts]
        return self._assemble(sets, "design matrix", folds > 1, self.frames)

    def _n_folds(self):
        """Return the parts for cross-validation, one without it."""
        options = self.options
        cross = options.selection == "cross_validation" and first_guess(options)[1] and len(self.train) > 1
        return min(options.folds, len(self.train)) if cross and self.earlier is None else 1

    def _with_uncertainty(self, weights, posterior, chosen):
        """Return the model with its uncertainty, what the report says of it, and notes."""
        if not self.options.members:
            return weights, None, []
        uncertain = Uncertain(self.basis, self.whitening, self.known, self.train, self.options)
        if self.validation is not None:
            source, n_frames = "validation frames", len(self.validation)
            labels = self.known.labels(self.validation)
            predictions = uncertain.predictions(posterior, chosen.amplitude, self.validation, labels)
        else:
            source, n_frames = ALL_BUT_ONE, len(self.frames.places)
            predictions = uncertain.left_out(posterior, chosen.amplitude, self.frames)
        weights, notes = uncertain.complete(weights, posterior, chosen.amplitude, predictions)
        described = describe(weights, predictions.calibrations(), n_frames, source)
        return weights, described | {"open_share": predictions.open_share()}, notes

    def _choose(self, folds, factor, n_rows):
        """Return hyperparameters, the log of trials and the name of the criterion."""
        options, basis = self.options, self.basis
        start, free = first_guess(options)
        criterion = options.selection
        if not free:
            return start, [], "given"
        if criterion == "cross_validation" and len(folds) > 1:
            loss = cross_validation_loss(basis, options, folds)
        elif criterion != "validation":
            criterion = "likelihood"  # of a single frame no part can be left out
            loss = likelihood_loss(basis, options, factor, n_rows)
        else:
            labels = self.known.labels(self.validation)
            (factors,) = self._assemble([(self.validation, labels)], "validation rows", by_kind=True)
            parts = [factors[kind] for kind in KINDS if kind in factors]
            parts = [(self.whitening.apply_to_rows(part), count) for part, count in parts]
            loss = validation_loss(basis, options, factor, n_rows, parts)
        with progress_bar(None, "hyperparameters", options.progress, " trials") as bar:
            best, log = search(start, free, loss, bar.update)
        if criterion == "cross_validation" and "amplitude" in free:
            best = smallest_amplitude(best, loss, log)
        return best, log, criterion
