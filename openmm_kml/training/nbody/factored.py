"""What a training leaves for the next one: the factor of its rows, to which the rows of new frames are added.

With R the triangular factor of all weighted rows so far, that of all rows with new ones A below them is the factor of
(R; A): Golub and Van Loan, Matrix Computations (2013), section 6.5.3. Columns and labels must mean the same in both:
the grids, the repulsion and the estimate of one-body energies stay those of the first training, the sparse points too.
"""

import hashlib
import json
from dataclasses import dataclass, replace

import numpy as np

from openmm_kml.elements import symbol
from openmm_kml.errors import ExtensionError
from openmm_kml.training.array_file import read_arrays, write_arrays
from openmm_kml.training.nbody.solve import triangular_factor

# Options that change neither rows nor columns.
_FREE = ("amplitude", "amplitude2", "amplitude3", "length_scale2", "length_scale3", "members", "n_sparse", "selection")


@dataclass(frozen=True)
class Factored:
    """The rows of a local model's training, factorized, and what their columns and labels depend on.

    Attributes
    ----------
    digest : str
        Of the frames and of the options that the rows depend on.
    n_frames, n_rows : int
        That the factor stands for.
    factor : ndarray of shape (k, n_columns + 1)
        Triangular; the labels are the last column.
    elements : ndarray of int
    shortest : ndarray of shape (pairs,), Å
        Shortest distances that grids and repulsion were made for; infinite where there were none.
    energies : bool
        Whether there are energies that are trained on.
    center : ndarray of shape (n_elements,), eV
        The estimate of one-body energies that labels are free of.
    known : ndarray of shape (n_elements,), eV
        Energies of isolated atoms; nan where they are fitted.
    sparse_terms : tuple of SoapTerm
        By element, for their sparse points; none for two and three bodies. They stand in the weight file.
    """

    digest: str
    n_frames: int
    n_rows: int
    factor: np.ndarray
    elements: np.ndarray
    shortest: np.ndarray
    energies: bool
    center: np.ndarray
    known: np.ndarray
    sparse_terms: tuple = ()

    @classmethod
    def of(cls, train, options, known, shortest, factor, n_rows, sparse_terms=()):
        """Return what a training leaves; `known` is its `openmm_kml.training.labels.KnownPart`."""
        atoms = np.array([known.atom_energies.get(z, np.nan) for z in known.elements])
        digest = rows_digest(train, options)
        elements, center = np.array(known.elements), np.array(known.center)
        fields = (elements, np.array(shortest), bool(known.energies), center, atoms)
        return cls(digest, len(train), int(n_rows), np.array(factor), *fields, tuple(sparse_terms))

    @property
    def atom_energies(self):
        """Atomic number -> energy of the isolated atom, eV, where it is known."""
        return {int(z): float(e) for z, e in zip(self.elements, self.known, strict=True) if np.isfinite(e)}

    def check(self, train, validation, options):
        """Raise `ExtensionError` unless the frames go on from those of the factor."""
        if len(train) < self.n_frames or rows_digest(train[: self.n_frames], options) != self.digest:
            raise ExtensionError("the frames or options are not those that the factor was made with")
        fresh = train[self.n_frames :]
        for z in np.setdiff1d(fresh.elements, self.elements):
            raise ExtensionError(f"{symbol(int(z))} is new")
        if validation is None and options.members:
            raise ExtensionError("there are no validation frames, so that training frames are to be left out in turn")
        if any(len(frame) == 1 for frame in fresh):
            raise ExtensionError("there is a frame of one atom, whose energy may be that of the isolated atom")
        if not self.energies and options.energies and any(frame.energy is not None for frame in fresh):
            raise ExtensionError("these are the first frames with energies")

    def check_distances(self, shortest, start):
        """Raise `ExtensionError` if atoms come closer than where grids start, in Å, or as pairs that there were not."""
        if shortest.min() < start:
            raise ExtensionError(f"two atoms are {shortest.min():.2f} Å apart, and the grids start at {start:.2f} Å")
        if (np.isfinite(shortest) & ~np.isfinite(self.shortest)).any():
            raise ExtensionError("two elements come within the cutoff that did not before")

    def counted(self, n_columns):
        """Return the factor and the rows that it stands for; ExtensionError unless it has so many columns."""
        if self.factor.shape[1] != n_columns + 1:
            raise ExtensionError(f"the factor has {self.factor.shape[1] - 1} columns, the new rows have {n_columns}")
        return self.factor, self.n_rows

    def stacked(self, rows):
        """Return the triangular factor of all rows, and their number.

        Parameters
        ----------
        rows : StackedQR or None
            The new ones.
        """
        if rows is None:
            return self.factor, self.n_rows
        self.counted(rows.n_columns - 1)
        return triangular_factor(np.concatenate([self.factor, rows.factor()])), self.n_rows + rows.n_rows

    def write(self, path):
        """Write all but the sparse terms."""
        write_arrays(path, {name: value for name, value in vars(self).items() if name != "sparse_terms"})

    @classmethod
    def read(cls, path, weights):
        """Return what `write` wrote, None if the file is not there, or not whole.

        Parameters
        ----------
        path : path
        weights : openmm_kml.weights.Weights
            The model of that training.
        """
        names = [name for name in cls.__dataclass_fields__ if name != "sparse_terms"]
        found = read_arrays(path, names)
        if found is None:
            return None
        for name, kind in (("digest", str), ("n_frames", int), ("n_rows", int), ("energies", bool)):
            found[name] = kind(found[name])
        return cls(**found, sparse_terms=tuple(bare(term) for term in weights.terms if term.kind == "soap"))


def bare(term):
    """Return a SOAP term with its sparse points alone."""
    zero = np.zeros(len(term.sparse_points))
    return replace(term, coefficients=zero, deviations=None, explained=None, prior_variance=None)


def rows_digest(frames, options):
    """Return the digest of a set's frames, their groups, and the options that its rows depend on."""
    chosen = {name: value for name, value in options.as_dict().items() if name not in _FREE}
    text = json.dumps([chosen, [frame.group for frame in frames]], sort_keys=True)
    return hashlib.sha256(f"{frames.digest} {text}".encode()).hexdigest()
