"""What the XML of a GAP potential says, as plain records."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from openmm_kml.convert.gap_sparse import read_sparse_file
from openmm_kml.errors import DataError


@dataclass(frozen=True)
class Coordinates:
    """One `gpCoordinates` element: a descriptor and the Gaussian process on it.

    Attributes
    ----------
    where : str
        How messages call it.
    text : str
        The descriptor with its hyperparameters, as written.
    covariance_type : int
        1 squared exponential, 2 power of a dot product.
    delta : float
        Standard deviation of the signal; QUIP's attribute `signal_variance` holds it, not its square.
    mean : float
        Mean of the signal, f0.
    zeta : float or None
        Power of the dot product.
    theta : ndarray of shape (D,) or None
        Length scales of the squared exponential.
    sparse_points : ndarray of shape (M, D)
    coefficients : ndarray of shape (M,)
        alpha times sparseCutoff.
    """

    where: str
    text: str
    covariance_type: int
    delta: float
    mean: float
    zeta: float | None
    theta: np.ndarray | None
    sparse_points: np.ndarray
    coefficients: np.ndarray


@dataclass
class GapFile:
    """What a GAP file says.

    Attributes
    ----------
    path : Path
    label : str
    version : int
        Of the program that wrote it, as a time stamp; 0 for the oldest.
    potentials : tuple of (label, init_args)
        The `Potential` elements.
    has_core : bool
        Whether the model was fitted on top of a core potential.
    e0 : float
        One-body energy in eV of elements that are not in `atom_energies`.
    atom_energies : dict
        Atomic number -> one-body energy in eV.
    coordinates : list of Coordinates
    command_line : str
        What gap_fit was called with; empty when not recorded.
    digest : str
        sha256 of the XML.
    """

    path: Path
    label: str = ""
    version: int = 0
    potentials: tuple = ()
    has_core: bool = False
    e0: float = 0.0
    atom_energies: dict = field(default_factory=dict)
    coordinates: list = field(default_factory=list)
    command_line: str = ""
    digest: str = ""


@dataclass
class Draft:
    """A gpCoordinates element while it is read."""

    dimension: int = 0
    n_sparse: int = 0
    covariance_type: int = 0
    delta: float = 0.0
    mean: float = 0.0
    zeta: float | None = None
    file_name: str | None = None
    md5: str = ""
    theta: np.ndarray | None = None
    text: str | None = None
    weights: dict = field(default_factory=dict)  # number of the sparse point -> alpha · sparseCutoff
    points: dict = field(default_factory=dict)
    current: int = 0
    sliced: bool = False
    point: list = field(default_factory=list)
    slice: int = 0

    def finished(self, path, where):
        """Return the `Coordinates`, with the sparse points of the file beside the XML if it names one."""
        numbers = range(1, self.n_sparse + 1)
        if len(self.weights) != self.n_sparse:
            raise DataError(f"{where} holds {len(self.weights)} elements 'sparseX'; its n_sparseX is {self.n_sparse}")
        if self.file_name is None:
            points = np.stack([self.points[k] for k in numbers])
        else:
            points = read_sparse_file(path, self.file_name, (self.n_sparse, self.dimension), self.md5)
        if self.covariance_type == 2 and self.zeta is None:  # files before the attribute
            if self.theta is None:
                raise DataError(f"{where} has neither the attribute 'zeta' nor an element 'theta' that holds it")
            self.zeta = float(self.theta[0])
        weights = np.array([self.weights[k] for k in numbers])
        return Coordinates(
            where, self.text, self.covariance_type, self.delta, self.mean, self.zeta, self.theta, points, weights
        )
