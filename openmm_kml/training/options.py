"""Options of the GDML trainer."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from openmm_kml.kernels.radial import KERNELS
from openmm_kml.option_checks import check_choice

PRESETS = ("default", "sgdml")
SOLVERS = ("auto", "direct", "iterative")


@dataclass
class GDMLOptions:
    """What the trainer may be told; None means "chosen on the validation set".

    Parameters
    ----------
    preset : str
        ``default``, or ``sgdml`` for exactly the published model: p = 1, Matérn-5/2, regularization 1e-10 of the
        kernel in Å, forces only, length scale from 10, 20 … 90.
    power : float, optional
        p of the descriptor r^-p.
    kernel : str, optional
        ``matern52``, ``matern72``, ``matern92`` or ``squared_exponential``.
    length_scale : float, optional
        ℓ in Å^-p.
    regularization : float, optional
        λ. With the default preset relative to the mean diagonal of the force-force block; with ``sgdml`` absolute.
    energies : bool or "auto"
        Whether energies are trained together with the forces; ``"auto"`` asks the validation set.
    symmetries : bool or array of int, shape (P, n_atoms)
        True recovers them from the training set; an array is closed into a group.
    ard : bool
        Fit one descriptor weight for each pair of elements and bond distance.
    repulsion : bool
        Add screened nuclear repulsion that ends below the shortest distances of the data, so that it changes nothing
        there; never with the preset ``sgdml``.
    walls : bool
        Add walls that keep bonds and angles near the range that they have in the data, and other atoms apart, so that
        a molecule that left the data comes back; they change nothing there. Never with the preset ``sgdml``.
    solver : str
        ``auto`` takes ``direct`` if it fits into memory, else ``iterative``.
    tolerance : float
        Relative residual at which the iterative solver stops.
    memory_limit : int, optional
        Bytes that the direct solver may use; what the machine has available when None.
    uncertainty : bool
        Whether the model gets what its uncertainty is made of.
    uncertainty_rank : int or "all", optional
        Rows of it; what some 10 MB of the weight file hold when None. ``all`` is exact, and large.
    seed : int
    n_threads : int, optional
        All processors that the process may use when None. The same number gives the same bytes.
    checkpoint : path, optional
        File of the iterative solver, from which an interrupted run goes on. In the end it holds the solution: delete
        it when the model is saved.
    progress : bool
    """

    preset: str = "default"
    power: float | None = None
    kernel: str | None = None
    length_scale: float | None = None
    regularization: float | None = None
    energies: object = "auto"
    symmetries: object = True
    ard: bool = False
    repulsion: bool = True
    walls: bool = True
    solver: str = "auto"
    tolerance: float = 1e-6
    uncertainty: bool = True
    uncertainty_rank: object = None
    memory_limit: int | None = None
    seed: int = 0
    n_threads: int | None = None
    checkpoint: str | Path | None = None
    progress: bool = True

    def __post_init__(self):
        check_choice("preset", self.preset, PRESETS)
        check_choice("solver", self.solver, SOLVERS)
        if self.kernel is not None:
            check_choice("kernel", self.kernel, tuple(KERNELS))
        for name in ("power", "length_scale", "tolerance"):
            _check_number(name, getattr(self, name), lambda value: value > 0, "above zero")
        _check_number("regularization", self.regularization, lambda value: value >= 0, "of zero or more")
        if self.uncertainty_rank != "all":
            _check_number("uncertainty_rank", self.uncertainty_rank, lambda value: value >= 1, "of one or more, or all")
        for name in ("memory_limit", "n_threads"):
            _check_number(name, getattr(self, name), lambda value: value >= 1, "of one or more")
        if not (isinstance(self.energies, bool) or (isinstance(self.energies, str) and self.energies == "auto")):
            raise ValueError(f"energies must be True, False or 'auto'; {self.energies!r} was given")
        if self.preset == "sgdml":
            self._check_published()

    def _check_published(self):
        """The published model has no freedom but the length scale, the regularization and the solver."""
        fixed = {"power": 1.0, "kernel": "matern52"}
        for name, value in fixed.items():
            if getattr(self, name) not in (None, value):
                raise ValueError(f"the preset sgdml has {name} {value}; leave out {name} or the preset")
        if self.ard or self.energies is True:
            raise ValueError("the preset sgdml trains on forces alone, without ard; leave out energies, ard or preset")

    def resolved_threads(self):
        """Return the number of threads to use."""
        if self.n_threads is not None:
            return int(self.n_threads)
        import os

        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def as_dict(self):
        """Return the options that decide the result, as JSON-able values."""
        skip = {"progress", "checkpoint", "memory_limit", "n_threads"}
        result = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in skip}
        if not isinstance(self.symmetries, bool):
            result["symmetries"] = np.asarray(self.symmetries).tolist()
        return result


def _check_number(name, value, accept, text):
    if value is None:
        return
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or not accept(value):
        raise ValueError(f"{name} must be a finite number {text}; {value!r} was given")
