"""What a run may be told."""

import math
from dataclasses import asdict, dataclass

from openmm_kml.doubt import ACTIONS, check_threshold
from openmm_kml.option_checks import check_all_counts, check_all_positive, check_choice, check_dynamics

ENSEMBLES = ("nve", "nvt", "npt")
TRAJECTORIES = ("dcd", "xtc")

# These may differ between a run and its continuation: they do not change the trajectory.
_FREE = ("steps", "checkpoint_seconds", "n_threads", "max_temperature", "max_stretch", "min_contact", "minimize")
_FREE += ("guard_uncertainty", "guard_interval", "guard_action")


@dataclass(frozen=True)
class Settings:
    """Settings of a run.

    Parameters
    ----------
    ensemble : str
        ``nve`` (velocity Verlet in leapfrog form), ``nvt`` (Langevin, LFMiddle) or ``npt`` (the same with OpenMM's
        Monte Carlo barostat; the box keeps its shape). ``npt`` is for periodic structures.
    temperature : float, K
        Of the thermostat and of the first velocities.
    timestep : float, fs
    steps : int
        Steps of the whole run, those before a continuation included.
    pressure : float, bar
        Of the barostat.
    friction : float, 1/ps
        Of the Langevin thermostat.
    interval : int
        Steps between two frames, and between two lines of the table.
    seed : int
    platform : str
        Name of an OpenMM platform. Reference is the fastest for a lone small molecule, and continues bit for bit.
    trajectory : str
        ``dcd`` or ``xtc``.
    minimize : bool
        Relax the start before the first step.
    max_temperature : float, K, optional
        A run that gets hotter is stopped; ten times the temperature when left out.
    max_stretch : float
        A bond longer than this times the sum of the covalent radii stops the run.
    min_contact : float
        Two atoms nearer than this times the sum of their covalent radii stop the run.
    guard_uncertainty : float or ``"auto"``, eV, optional
        A frame of which the model is more uncertain than this stops the run or is flagged. What is compared is the
        largest standard deviation of an atom's energy, or, for one molecule, that of the energy by the number of atoms;
        ``"auto"`` is a multiple of what is usual (`openmm_kml.doubt.resolve_threshold`). No such guard when left out.
    guard_interval : int
        Steps between two looks at the uncertainty.
    guard_action : str
        ``stop`` or ``flag``: what happens above `guard_uncertainty`.
    checkpoint_seconds : float
        Wall-clock time between two checkpoints: at most this much is lost to a kill.
    n_threads : int, optional
        Of one evaluation of the model.

    Raises
    ------
    ValueError
        If a value makes no sense; the message names it.
    """

    ensemble: str = "nvt"
    temperature: float = 300.0
    pressure: float = 1.0
    timestep: float = 0.5
    steps: int = 20000
    friction: float = 1.0
    interval: int = 100
    seed: int = 0
    platform: str = "Reference"
    trajectory: str = "dcd"
    minimize: bool = False
    max_temperature: float | None = None
    max_stretch: float = 1.8
    min_contact: float = 0.5
    guard_uncertainty: float | str | None = None
    guard_interval: int = 100
    guard_action: str = "stop"
    checkpoint_seconds: float = 10.0
    n_threads: int | None = None

    def __post_init__(self):
        choices_of = {"ensemble": ENSEMBLES, "trajectory": TRAJECTORIES, "guard_action": ACTIONS}
        for name, choices in choices_of.items():
            check_choice(name, getattr(self, name), choices)
        check_all_positive(self, ("temperature", "max_stretch", "min_contact", "max_temperature"))
        check_dynamics(self)
        check_all_counts(self, ("steps", "interval", "guard_interval"))
        if self.guard_uncertainty is not None:
            check_threshold(self.guard_uncertainty)
        if not (math.isfinite(self.checkpoint_seconds) and self.checkpoint_seconds >= 0):
            raise ValueError(
                f"checkpoint_seconds must be a finite number, not negative; {self.checkpoint_seconds!r} was given"
            )

    @property
    def hottest(self):
        """Temperature beyond which a run is stopped, K."""
        return 10.0 * self.temperature if self.max_temperature is None else self.max_temperature

    def identity(self):
        """Return what must be the same in a continuation, as plain JSON."""
        return {name: value for name, value in asdict(self).items() if name not in _FREE}
