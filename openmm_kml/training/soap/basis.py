"""The columns of the design matrix: one-body energies, two-body splines, kernels with the sparse points."""

from dataclasses import dataclass, replace

import numpy as np

from openmm_kml.training.nbody.basis import SplineBasis
from openmm_kml.training.nbody.design import VIRIAL_ROWS, Rows, design_rows
from openmm_kml.training.soap.environments import Environments
from openmm_kml.weights import SoapTerm

_FIRST, _SECOND = np.array(VIRIAL_ROWS).T


@dataclass(frozen=True)
class SoapPart:
    """The columns of one element's environments.

    Attributes
    ----------
    columns : slice
    term : SoapTerm
        Its sparse points; the coefficients mean nothing yet.
    """

    columns: slice
    term: SoapTerm


class SoapBasis:
    """Columns: one-body energies of the elements, f2 of all pairs, then the sparse points of each element.

    Parameters
    ----------
    splines : SplineBasis
        Of one and two bodies.
    pairs : bool
        Whether f2 has columns.
    terms : list of SoapTerm
    n_threads : int
        Of the engine.

    Attributes
    ----------
    elements : tuple of int
    parts : list of SoapPart
    n_columns : int
    """

    def __init__(self, splines: SplineBasis, pairs, terms, n_threads=1):
        self.splines, self.pairs, self.elements = splines, bool(pairs), splines.elements
        self.n_splines = splines.n_columns if pairs else len(self.elements)
        ends = self.n_splines + np.cumsum([0, *(term.n_sparse for term in terms)])
        self.parts = [
            SoapPart(slice(int(a), int(b)), term) for a, b, term in zip(ends[:-1], ends[1:], terms, strict=True)
        ]
        self.n_columns = int(ends[-1])
        self._environments = Environments(self.elements, terms, n_threads=n_threads)

    def rows(self, structure):
        """Return the `Rows` of a structure: energy, forces and virial for unit coefficients."""
        spline = design_rows(self.splines, structure)
        kept = slice(0, self.n_splines)
        energies, forces, virials = [spline.energy[kept]], [spline.forces[:, kept]], [spline.virial[:, kept]]
        for number in range(len(self.parts)):
            e, f, v = self._environments.rows(structure, number)
            energies.append(e)
            forces.append(f.reshape(len(e), -1).T)
            virials.append(v[:, _FIRST, _SECOND].T)
        return Rows(np.concatenate(energies), np.hstack(forces), np.hstack(virials), 0)

    def descriptors(self, structure, number):
        """Return the power spectra of the environments of one part, shape (m, D)."""
        return self._environments.descriptors(structure, number)[1]

    def terms(self, solution):
        """Return the two-body term, if there is one, and the SOAP terms of a solution of shape (n_columns,)."""
        terms = []
        if self.pairs:
            terms += self.splines.terms(solution[: self.n_splines])
        return [*terms, *(replace(part.term, coefficients=solution[part.columns]) for part in self.parts)]
