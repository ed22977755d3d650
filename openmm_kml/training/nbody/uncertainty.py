"""Uncertainty of two- and three-body models: members of all columns, calibrated on frames that a fit has not seen."""

import numpy as np

from openmm_kml.training.nbody.design import design_rows
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

    def left_out(self, posterior, frames):
        """Return the `Predictions` of `FramesLeftOut`, each by the fit to all other training frames."""
        return frames.predictions(self.basis, self.known, posterior, posterior.coefficients, self.members(posterior))

    def complete(self, weights, posterior, calibrations):
        """Return the model with its uncertainty, and notes."""
        members = self.members(posterior)
        terms = [self.basis.terms(member) for member in members]
        return with_members(weights, terms, members[:, : self.basis.n_elements], calibrations)
