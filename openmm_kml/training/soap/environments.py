"""Descriptors and kernel rows of the environments of a structure: by the engine where it can, else in NumPy."""

import numpy as np

from openmm_kml.training.evaluation import NATIVE
from openmm_kml.training.soap import jacobians
from openmm_kml.weights import Weights, to_bytes


class Environments:
    """What SOAP terms say of structures.

    Parameters
    ----------
    elements : sequence of int
        Of the model.
    terms : list of SoapTerm
    native : bool, optional
        Whether the engine does the work; by default where it can.
    n_threads : int
        Of the engine; the results do not depend on it.
    """

    def __init__(self, elements, terms, native=None, n_threads=1):
        self.elements, self.terms = tuple(int(z) for z in elements), list(terms)
        self.native = NATIVE if native is None else native
        self.n_threads = int(n_threads)
        self._engine = None

    def __getstate__(self):
        return {**vars(self), "_engine": None}  # opened anew where this object goes

    def descriptors(self, structure, number=0):
        """Return the indices of the centers of a term, shape (m,), and their power spectra, shape (m, D)."""
        if not self.native:
            return jacobians.descriptors(self.terms[number], self.elements, structure)
        return self._opened().soap_descriptors(*_arguments(structure), term=number, n_threads=self.n_threads)

    def rows(self, structure, number=0):
        """Return energies (M,), forces (M, n, 3), virials (M, 3, 3) of each sparse point with a coefficient of one."""
        if not self.native:
            return jacobians.kernel_rows(self.terms[number], self.elements, structure)
        return self._opened().soap_rows(*_arguments(structure), term=number, n_threads=self.n_threads)

    def _opened(self):
        if self._engine is None:
            from openmm_kml._engine import SoapTrainingEngine

            # Reading back what was written checks it, too.
            weights = Weights(elements=np.array(self.elements), terms=tuple(self.terms))
            self._engine = SoapTrainingEngine(to_bytes(weights))
        return self._engine


def _arguments(structure):
    return structure.positions, structure.numbers, structure.cell, structure.pbc
