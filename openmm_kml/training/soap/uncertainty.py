"""Uncertainty of SOAP models: members of all columns together, and the prior that sparse points leave open."""

from dataclasses import replace

import numpy as np

from openmm_kml.training.soap.prior import jittered_kernel, kernel
from openmm_kml.training.uncertainty import Predictions, column_members, with_members

MOST_ROWS = 512  # explained rows of a term: each costs at most as much as a member


def explained_rows(term, variance, jitter):
    """Return rows U with UᵀU = σ² K_MM⁻¹, as leading eigenvectors of K_MM have it where they are more than `MOST_ROWS`.

    The rows are turned among each other until sparse point m has zeros in all but the last m + 1, which leaves their
    products as they are and spares up to half of the work. With fewer rows than sparse points the explained variance is
    too small, and what is left open too large.

    Parameters
    ----------
    term : SoapTerm
    variance : float, eV²
        σ².
    jitter : float
        As in `Whitening`.

    Returns
    -------
    ndarray of shape (R, M)
    """
    values, vectors = np.linalg.eigh(jittered_kernel(term, jitter))
    values, vectors = values[::-1][:MOST_ROWS], vectors[:, ::-1][:, :MOST_ROWS]
    rows = np.sqrt(variance / np.maximum(values, np.finfo(float).tiny))[:, None] * vectors.T
    return np.linalg.qr(rows, mode="r")[::-1].copy()


def unexplained(basis, terms, structure):
    """Return Σ_i v_i of a structure in eV²: what the sparse points leave open of the prior variance of atoms."""
    total = 0.0
    for number, term in enumerate(terms):
        p = basis.descriptors(structure, number)
        explained = np.sum((kernel(p, term.sparse_points, term.zeta) @ term.explained.T) ** 2, axis=1)
        own = np.einsum("id,id->i", p, p) ** term.zeta
        total += float(np.maximum(0.0, term.prior_variance * own - explained).sum())
    return total


class Uncertain:
    """Makes the uncertainty of one training.

    Parameters
    ----------
    basis : SoapBasis
    whitening : Whitening
    known : KnownPart
    train : StructureSet
    options : SoapOptions
    """

    def __init__(self, basis, whitening, known, train, options):
        self.basis, self.whitening, self.known = basis, whitening, known
        self.train, self.options = train, options

    def members(self, posterior):
        """Return deviations of all columns, shape (S, n_columns)."""
        return column_members(posterior, self.options.members, self.train, self.known, self.whitening.coefficients)

    def predictions(self, posterior, amplitude, frames, labels):
        """Return the `Predictions` of frames that a posterior has not seen."""
        basis, members = self.basis, self.members(posterior)
        terms = self.open_terms([part.term for part in basis.parts], posterior, amplitude)
        coefficients = self.whitening.coefficients(posterior.coefficients)
        fixed = np.flatnonzero(np.isin(basis.elements, list(self.known.atom_energies)))
        predictions = Predictions()
        for frame, label in zip(frames, labels, strict=True):
            rows = basis.rows(frame)
            rows.energy[fixed] = 0.0
            predictions.add(rows, label, coefficients, members, unexplained(basis, terms, frame))
        return predictions

    def left_out(self, posterior, amplitude, frames):
        """Return the `Predictions` of `FramesLeftOut`, each by the fit to all other training frames."""
        terms = self.open_terms([part.term for part in self.basis.parts], posterior, amplitude)
        return frames.predictions(
            self.basis,
            self.known,
            posterior,
            self.whitening.coefficients(posterior.coefficients),
            self.members(posterior),
            self.whitening.apply_to_rows,
            lambda frame: unexplained(self.basis, terms, frame),
        )

    def open_terms(self, terms, posterior, amplitude, share=1.0):
        """Return SOAP terms with what their sparse points explain of the prior, its variance multiplied by a share."""
        variance = share * (amplitude * posterior.scale) ** 2
        return [
            replace(term, prior_variance=variance, explained=explained_rows(term, variance, self.options.jitter))
            for term in terms
        ]

    def complete(self, weights, posterior, amplitude, predictions):
        """Return the model with its uncertainty, calibrated on `Predictions`, and notes."""
        members = self.members(posterior)
        n = len(self.basis.elements)
        terms = [self.basis.terms(member) for member in members]
        weights, notes = with_members(weights, terms, members[:, :n], predictions.calibrations())
        blank = [term for term in weights.terms if term.kind == "soap"]
        opened = iter(self.open_terms(blank, posterior, amplitude, predictions.open_share()))
        terms = tuple(next(opened) if term.kind == "soap" else term for term in weights.terms)
        return replace(weights, terms=terms), notes
