"""Options of the two- and three-body trainer."""

from dataclasses import dataclass

from openmm_kml.kernels.radial import KERNELS
from openmm_kml.option_checks import check_all_positive, check_choice, check_positive
from openmm_kml.training.fit_options import FitOptions

SELECTIONS = ("likelihood", "gradient", "validation")


@dataclass
class NBodyOptions(FitOptions):
    """What the trainer may be told, `FitOptions` included; None means "chosen by the trainer".

    ``selection`` may be ``gradient``, too: the marginal likelihood climbed along its gradient, not searched along one
    coordinate after the other.

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

    _selections = SELECTIONS

    def __post_init__(self):
        super().__post_init__()
        check_choice("kernel", self.kernel, tuple(KERNELS))
        for name in ("cutoff2", "spacing2", "spacing3", "cutoff_width", "inner_margin"):
            check_positive(name, getattr(self, name))
        check_all_positive(self, ("length_scale2", "length_scale3", "amplitude2", "amplitude3"))
        if self.cutoff3 != 0:
            check_positive("cutoff3", self.cutoff3)
