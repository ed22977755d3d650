"""Options of the SOAP trainer."""

from dataclasses import dataclass

import numpy as np

from openmm_kml.option_checks import check_all_positive, check_choice, check_count, check_positive
from openmm_kml.training.fit_options import SELECTIONS, FitOptions
from openmm_kml.training.nbody.options import NBodyOptions

SPARSE_METHODS = ("cur", "farthest")
LARGEST_L = 20


@dataclass
class SoapOptions(FitOptions):
    """What the trainer may be told, `FitOptions` included; None means "chosen by the trainer".

    The noise of energies is smaller than in `FitOptions`: many bodies can describe them.

    Parameters
    ----------
    cutoff, cutoff_width : float, Å
        Radius of environments, and width of the cosine before it.
    n_max, l_max : int
        Radial functions, and the largest l.
    atom_sigma : float, Å
        Width of an atom's density.
    central_weight : float
        Weight of the center itself in the density.
    zeta : float
        Power of the kernel (p · p')^zeta.
    n_sparse : int or dict
        Sparse points in all, shared among the elements as their environments are; or atomic number -> sparse points.
    sparse_method : str
        ``cur``: drawn by leverage scores; ``farthest``: each point is the environment farthest from those before.
    pool : int
        Environments of each element, drawn at random, that sparse points are chosen from.
    radial_functions : int, optional
        Keep only so many combinations of the n_max radial functions, the best for the distances in the data. All by
        default: what is zero to rounding costs nothing at run time.
    channels : int, optional
        Mix the densities of the elements into so many channels. By default each element has one of its own.
    pairs : bool
        Fit two-body functions together with the many-body term.
    cutoff2 : float, Å, optional
        Their radius; that of the environments by default.
    spacing2 : float, Å
        Of their splines.
    selection : str
        What chooses the hyperparameters: ``cross_validation`` over parts of the training frames; or the marginal
        ``likelihood``, which takes the noise for independent and chooses amplitudes that are too large; or the errors
        on the ``validation`` frames.
    folds : int
        Parts of the training frames, each in turn left out.
    length_scale2 : float, Å, optional
    amplitude2, amplitude : float, eV, optional
        Prior standard deviations of two-body functions and of the many-body energy of an atom, in units of the learned
        noise scale.
    jitter : float
        Added to the diagonal of the covariance of the sparse points, relative to its largest eigenvalue.
    memory_limit : int, optional
        Bytes that the training may take; what the machine has available when None.
    seed : int
        Of the pool, of the sparse points, of mixed channels.
    dask : str, optional
        Compute the rows on Dask workers: ``local`` for processes on this machine, else the address of a scheduler. The
        model is the same.
    workers : int, optional
        Of a local cluster; as many as processors when None.
    """

    noise_energy: float = 0.0005
    cutoff: float = 5.0
    cutoff_width: float = 0.5
    n_max: int = 8
    l_max: int = 8
    atom_sigma: float = 0.5
    central_weight: float = 1.0
    zeta: float = 4.0
    n_sparse: object = 500
    sparse_method: str = "cur"
    pool: int = 20_000
    radial_functions: int | None = None
    channels: int | None = None
    pairs: bool = True
    cutoff2: float | None = None
    spacing2: float = 0.25
    selection: str = "cross_validation"
    folds: int = 5
    length_scale2: float | None = None
    amplitude2: float | None = None
    amplitude: float | None = None
    jitter: float = 1e-12
    memory_limit: int | None = None
    seed: int = 0
    dask: str | None = None
    workers: int | None = None

    _selections = ("cross_validation", *SELECTIONS)
    _not_recorded = frozenset({"progress", "n_threads", "memory_limit", "dask", "workers"})

    def __post_init__(self):
        super().__post_init__()
        check_choice("sparse_method", self.sparse_method, SPARSE_METHODS)
        for name in ("cutoff", "cutoff_width", "atom_sigma", "zeta", "spacing2", "jitter"):
            check_positive(name, getattr(self, name))
        check_all_positive(self, ("cutoff2", "length_scale2", "amplitude2", "amplitude"))
        for name in ("n_max", "pool", "radial_functions", "channels", "memory_limit", "workers"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        for name, least in (("l_max", 0), ("seed", 0), ("folds", 2)):
            check_count(name, getattr(self, name), least)
        if self.l_max > LARGEST_L:
            raise ValueError(f"l_max must be at most {LARGEST_L}; {self.l_max!r} was given")
        if not np.isfinite(self.central_weight) or self.central_weight < 0:
            raise ValueError(
                f"central_weight must be a finite number of zero or more; {self.central_weight!r} was given"
            )
        if self.cutoff_width > self.cutoff:
            raise ValueError(
                f"cutoff_width must be at most the cutoff of {self.cutoff:g} Å; {self.cutoff_width!r} was given"
            )
        if self.radial_functions is not None and self.radial_functions > self.n_max:
            raise ValueError(f"radial_functions must be at most n_max, {self.n_max}; {self.radial_functions} was given")
        counts = self.n_sparse.items() if isinstance(self.n_sparse, dict) else [("all elements", self.n_sparse)]
        for name, count in counts:
            check_count(f"n_sparse of {name}", count)

    @property
    def two_body(self):
        """The options of the two-body part as those of a two-body fit."""
        return NBodyOptions(
            cutoff2=self.cutoff2 or self.cutoff,
            cutoff3=0.0,
            spacing2=self.spacing2,
            length_scale2=self.length_scale2,
            amplitude2=self.amplitude2,
            progress=self.progress,
        )

    def as_dict(self):
        """Return the options that decide the result, as JSON-able values."""
        result = super().as_dict()
        if isinstance(self.n_sparse, dict):
            result["n_sparse"] = {str(z): int(count) for z, count in self.n_sparse.items()}
        return result
