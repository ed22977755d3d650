"""Options of the two- and three-body trainer."""

from dataclasses import dataclass, field, fields

import numpy as np

from openmm_kml.kernels.radial import KERNELS

SELECTIONS = ("likelihood", "gradient", "validation")


@dataclass
class NBodyOptions:
    """What the trainer may be told; None means "chosen by the trainer".

    Parameters
    ----------
    cutoff2, cutoff3 : float, Å
        Radii of the two- and of the three-body functions; zero for ``cutoff3`` leaves three bodies out.
    compact : bool
        Count only triangles whose three sides are all below ``cutoff3``; otherwise two sides (those at the center).
    spacing2, spacing3 : float, Å
        Largest spacing of the spline grids.
    kernel : str
        ``squared_exponential`` (default), ``matern52``, ``matern72`` or ``matern92``, multiplied over the distances.
    length_scale2, length_scale3 : float, Å, optional
    amplitude2, amplitude3 : float, eV, optional
        Prior standard deviations of the functions, in units of the learned noise scale.
    cutoff_width : float, Å
        Over which the prior amplitude falls to zero at each cutoff (at most half of the grid).
    inner_margin : float, Å
        The grids start, and three-body energies begin to rise, this far below the shortest distance of the data.
    noise_energy, noise_virial : float, eV per atom
    noise_force : float, eV/Å
        Standard deviations; their ratios are fixed, one common scale is learned.
    group_noise : dict
        Group of frames -> factor on its noises, or three factors (energy, force, virial).
    selection : str
        What chooses the hyperparameters: the marginal ``likelihood`` of the training data, searched along one
        coordinate after the other or climbed along its ``gradient``; or the errors on the ``validation`` frames, of
        which it takes many to do as well.
    energies, virials : bool
        Whether to train on them where the data have them. Both off: forces alone (coarse-grained force matching).
    atom_energies : dict, optional
        Atomic number -> energy of the isolated atom, eV. By default from frames of one lonely atom, else fitted.
    repulsion : bool
        Subtract screened nuclear repulsion before the fit; switch it off for beads that are not atoms.
    n_threads : int
        Of the linear algebra. Its threads spin while they wait: on a busy machine two of them were slower by ten.
    progress : bool
    """

    cutoff2: float = 6.0
    cutoff3: float = 3.5
    compact: bool = False
    spacing2: float = 0.25
    spacing3: float = 0.3
    kernel: str = "squared_exponential"
    length_scale2: float | None = None
    length_scale3: float | None = None
    amplitude2: float | None = None
    amplitude3: float | None = None
    cutoff_width: float = 1.0
    inner_margin: float = 0.3
    noise_energy: float = 0.002
    noise_force: float = 0.1
    noise_virial: float = 0.05
    group_noise: dict = field(default_factory=dict)
    selection: str = "likelihood"
    energies: bool = True
    virials: bool = True
    atom_energies: dict | None = None
    repulsion: bool = True
    n_threads: int = 1
    progress: bool = True

    def __post_init__(self):
        _check_choice("kernel", self.kernel, tuple(KERNELS))
        _check_choice("selection", self.selection, SELECTIONS)
        positive = ("cutoff2", "spacing2", "spacing3", "cutoff_width", "inner_margin", "n_threads")
        noises = ("noise_energy", "noise_force", "noise_virial")
        for name in (*positive, *noises):
            _check_positive(name, getattr(self, name))
        for name in ("length_scale2", "length_scale3", "amplitude2", "amplitude3"):
            if getattr(self, name) is not None:
                _check_positive(name, getattr(self, name))
        if self.cutoff3 != 0:
            _check_positive("cutoff3", self.cutoff3)
        for group, factors in self.group_noise.items():
            for factor in np.atleast_1d(factors):
                _check_positive(f"the noise of group {group!r}", float(factor))
            if np.size(factors) not in (1, 3):
                raise ValueError(f"the noise of group {group!r} must be one factor or three; {factors!r} was given")

    def noises(self, group):
        """Return the noises of energies, forces and virials of a group."""
        factors = np.broadcast_to(np.asarray(self.group_noise.get(group, 1.0), dtype=float), 3)
        return factors * (self.noise_energy, self.noise_force, self.noise_virial)

    def as_dict(self):
        """Return the options that decide the result, as JSON-able values."""
        skip = {"progress", "n_threads"}
        result = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in skip}
        result["group_noise"] = {name: np.asarray(f, float).tolist() for name, f in self.group_noise.items()}
        if self.atom_energies is not None:
            result["atom_energies"] = {str(z): float(e) for z, e in self.atom_energies.items()}
        return result


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; {value!r} was given")


def _check_positive(name, value):
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a finite number above zero; {value!r} was given")
