"""The two- and three-body trainer: from structures to a weight file."""

import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from threadpoolctl import threadpool_limits

from openmm_kml.dimers import dimer_energies
from openmm_kml.elements import symbol
from openmm_kml.errors import DataError, TrainingError
from openmm_kml.local_terms import RepulsionTerm, Spline2Term, Spline3Term
from openmm_kml.metrics import structure_errors
from openmm_kml.neighbors import neighbor_list
from openmm_kml.reference import evaluate_structure
from openmm_kml.training.memory import available_memory
from openmm_kml.training.nbody import selection
from openmm_kml.training.nbody.basis import SplineBasis
from openmm_kml.training.nbody.options import NBodyOptions
from openmm_kml.training.nbody.rows import KINDS, Labels, reduce_set
from openmm_kml.training.nbody.solve import Posterior, memory, solve
from openmm_kml.training.nbody.survey import (
    missing_energies,
    missing_forces,
    noise_warnings,
    reach_warnings,
    repulsion_switch,
    shell_warning,
    survey,
)
from openmm_kml.training.progress import progress_bar
from openmm_kml.weights import Weights


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


class _Training:
    def __init__(self, train, validation, options):
        self.options = options
        self.train = train
        self.validation = validation if validation is not None and len(validation) else None
        self.clock = time.perf_counter()
        self.seconds = {}
        self.notes = []
        _check_labels(train, options, "training")
        if self.validation is not None:
            _check_labels(self.validation, options, "validation")
            unknown = np.setdiff1d(self.validation.elements, train.elements)
            if unknown.size:
                raise DataError(f"the validation frames have {symbol(unknown[0])}, which the training frames lack")

    def run(self):
        options = self.options
        found = survey(self.train, options)
        self._lap("distances")
        warnings = (shell_warning(found, options), missing_energies(self.train, options), missing_forces(self.train))
        self.notes += [warning for warning in warnings if warning] + reach_warnings(found, options)
        self.elements = found.elements
        self.repulsion = RepulsionTerm(repulsion_switch(found)) if options.repulsion else None
        self.basis = basis = SplineBasis.for_data(found.elements, found.shortest.min(), options)
        self._check_memory()
        self.known = self._known_atom_energies()
        labels = self._labels(self.train)
        self.center = self._energy_center(labels)
        labels = self._centered(self.train, labels)
        self._lap("repulsion")
        reduced = reduce_set(basis, self.train, labels, options, "design matrix", known=self.known)
        if not reduced.factors:
            raise DataError("the training frames have nothing to train on: no energies, forces or virials")
        self._lap("design")
        rows = reduced.factors["all"]
        factor, n_rows = rows.factor(), rows.n_rows
        chosen, log, criterion = self._choose(factor, n_rows)
        self._lap("selection")
        posterior = solve(factor, n_rows, chosen.prior(basis, options))
        weights = self._weights(posterior)
        self._lap("solution")
        self._check_wall(weights)
        self.notes += noise_warnings(posterior.scale)
        report = {
            "hyperparameters": vars(chosen) | {"kernel": options.kernel},
            "selection": {"criterion": criterion, "trials": log},
            "noise_scale": posterior.scale,
            "log_likelihood": posterior.log_likelihood,
            "elements": [symbol(z) for z in self.elements],
            "atom_energies": {symbol(z): e for z, e in weights.atom_energies.items()},
            "shortest_distances": found.pair_distances(),
            "triples_per_atom": reduced.n_triples / self.train.n_atoms,
            "grids": _describe_grids(basis),
            "n_columns": basis.n_columns,
            "memory": memory(basis.n_columns),
            "n_rows": n_rows,
            "n_train": len(self.train),
            "n_validation": 0 if self.validation is None else len(self.validation),
            "validation_errors": None if self.validation is None else reference_errors(weights, self.validation),
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

    def _known_atom_energies(self):
        """Return energies of isolated atoms by atomic number: those given, and those of frames of one lonely atom."""
        known = {} if self.options.atom_energies is None else dict(self.options.atom_energies)
        for z in known:
            if z not in self.elements:
                raise DataError(f"an energy is given for {symbol(z)}, which the training frames lack")
        for frame in self.train:
            if len(frame) == 1 and frame.energy is not None and self._is_lonely(frame):
                known.setdefault(int(frame.numbers[0]), frame.energy)
        return known

    def _is_lonely(self, frame):
        """Return whether an atom has no neighbors, not even its own images."""
        return len(neighbor_list(frame.positions, frame.cell, frame.pbc, self.basis.reach)[0]) == 0

    def _labels(self, structures):
        """Return the `Labels` of each frame without the repulsion and the energies of known isolated atoms."""
        options, result = self.options, []
        prior = None if self.repulsion is None else Weights(elements=np.array(self.elements), terms=(self.repulsion,))
        with progress_bar(len(structures), "repulsion", options.progress, " frames") as bar:
            for frame in structures:
                energy = frame.energy if options.energies else None
                forces, virial = frame.forces, frame.virial if options.virials else None
                if prior is not None:
                    e, f, v, _ = evaluate_structure(prior, frame.positions, frame.numbers, frame.cell, frame.pbc)
                    energy = None if energy is None else energy - e
                    forces = None if forces is None else forces - f
                    virial = None if virial is None else virial - v
                if energy is not None:
                    energy -= sum(self.known.get(int(z), 0.0) for z in frame.numbers)
                result.append(Labels(energy, forces, virial))
                bar.update()
        return result

    def _energy_center(self, labels):
        """Return a first estimate of the unknown one-body energies, shape (n_elements,), eV."""
        pairs = [
            (frame, label.energy) for frame, label in zip(self.train, labels, strict=True) if label.energy is not None
        ]
        if not pairs:
            return np.zeros(len(self.elements))
        counts = np.array([[(frame.numbers == z).sum() for z in self.elements] for frame, _ in pairs], dtype=float)
        counts[:, [z in self.known for z in self.elements]] = 0.0
        sizes = np.array([len(frame) for frame, _ in pairs], dtype=float)
        return np.linalg.lstsq(counts / sizes[:, None], np.array([e for _, e in pairs]) / sizes, rcond=1e-8)[0]

    def _centered(self, structures, labels):
        """Return labels without the estimate of the one-body energies."""
        for frame, label in zip(structures, labels, strict=True):
            if label.energy is not None:
                label.energy -= self.center[np.searchsorted(self.elements, frame.numbers)].sum()
        return labels

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
            labels = self._centered(self.validation, self._labels(self.validation))
            reduced = reduce_set(
                basis, self.validation, labels, options, "validation rows", by_kind=True, known=self.known
            )
            parts = [reduced.factors[kind] for kind in KINDS if kind in reduced.factors]
            loss = selection.validation_loss(
                basis, options, factor, n_rows, [(part.factor(), part.n_rows) for part in parts]
            )
        with progress_bar(None, "hyperparameters", options.progress, " trials") as bar:
            best, log = find(start, free, loss, bar.update)
        return best, log, criterion

    def _weights(self, posterior):
        """Return the `Weights` of a solution."""
        basis = self.basis
        free, two, three = basis.coefficients(posterior.coefficients)
        if not self.options.energies or all(frame.energy is None for frame in self.train):
            free = np.zeros(len(free))  # forces say nothing of them
        energies = {
            z: float(self.known.get(z, c + f)) for z, c, f in zip(self.elements, self.center, free, strict=True)
        }
        terms = [Spline2Term(basis.grid2.start, basis.grid2.end, two)]
        if three is not None:
            near, far = basis.grid3, basis.grid_far
            terms.append(
                Spline3Term(near.start, near.end, far.start, far.closed, basis.taper_start, basis.taper_width, three)
            )
        if self.repulsion is not None:
            terms.append(self.repulsion)
        return Weights(
            elements=np.array(self.elements),
            terms=tuple(terms),
            atom_energies=energies,
            provenance={"program": f"openmm_kml {_version()}", "options": self.options.as_dict()},
        )

    def _check_wall(self, weights):
        """Note pairs of atoms that would attract each other below the shortest distance seen."""
        start = self.basis.grid2.start
        distances = np.linspace(0.3 * start, start, 40)
        for a, first in enumerate(self.elements):
            for second in self.elements[a:]:
                energies, _ = dimer_energies(weights, first, second, distances)
                if np.any(np.diff(energies) > 0):
                    self.notes.append(
                        f"{symbol(first)} and {symbol(second)} attract each other somewhere below {start:.2f} Å, where "
                        "there are no data; add frames with short distances"
                        + ("" if self.options.repulsion else " or the repulsion")
                    )


def _check_labels(structures, options, what):
    """Raise `DataError` unless a set has frames, and the labels that the options train on."""
    if len(structures) == 0:
        raise DataError(f"there are no {what} frames")
    if not options.energies:
        for index, frame in enumerate(structures):
            if frame.forces is None:
                raise DataError(f"{what} frame {index + 1} has no forces, but forces alone are trained; leave it out")


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


def _version():
    try:
        return version("openmm_kml")
    except PackageNotFoundError:
        return "unknown"
