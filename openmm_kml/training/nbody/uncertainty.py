"""Uncertainty of two- and three-body models: members of all columns, calibrated on frames that fits have not seen."""

from dataclasses import replace

import numpy as np

from openmm_kml.training.nbody.design import design_rows
from openmm_kml.training.nbody.parts import stacked
from openmm_kml.training.nbody.solve import solve
from openmm_kml.training.uncertainty import Predictions, column_members, with_members


class Uncertain:
    """Makes the uncertainty of one training.

    Parameters
    ----------
    basis : SplineBasis
    known : openmm_kml.training.labels.KnownPart
    train : StructureSet
    options : NBodyOptions
    """

    def __init__(self, basis, known, train, options):
        self.basis, self.known, self.train, self.options = basis, known, train, options

    def members(self, posterior):
        """Return deviations of all columns, shape (S, n_columns)."""
        return column_members(posterior, self.options.members, self.train, self.known)

    def unseen(self, posterior, frames):
        """Return the `Predictions` of frames that a posterior has not seen."""
        members, predictions = self.members(posterior), Predictions()
        fixed = np.flatnonzero(np.isin(self.basis.elements, list(self.known.atom_energies)))
        for frame, label in zip(frames, self.known.labels(frames), strict=True):
            rows = design_rows(self.basis, frame)
            rows.energy[fixed] = 0.0
            predictions.add(rows, label, posterior.coefficients, members)
        return predictions

    def left_out(self, chosen, parts):
        """Return the `Predictions` of training frames by fits without them, and their number.

        Parameters
        ----------
        chosen : Hyperparameters
        parts : list of openmm_kml.training.nbody.parts.Part
            Of which the first always stays.
        """
        predictions, n_frames = Predictions(), 0
        for part in parts[1:]:
            rest = [other for other in parts if other is not part]
            if not any(other.n_rows for other in rest):
                continue
            self._add_part(predictions, part, solve(*stacked(rest), chosen.prior(self.basis, self.options)))
            n_frames += len(part.places)
        return predictions, n_frames

    def complete(self, weights, posterior, calibrations):
        """Return the model with its uncertainty, and notes."""
        members = self.members(posterior)
        terms = [self.basis.terms(member) for member in members]
        return with_members(weights, terms, members[:, : self.basis.n_elements], calibrations)

    def _add_part(self, predictions, part, fit):
        """Add the frames of a part: all energies, and forces where the rows were kept."""
        labels = [self.known.train_labels[k] for k in part.places]
        sizes = [len(frame) for frame in self.train[part.places]]
        members = self.members(fit)
        predictions.add_energies(part.energies, labels, fit.coefficients, members, sizes)
        for place, rows in part.kept.items():
            predictions.add(rows, replace(labels[place], energy=None), fit.coefficients, members)
