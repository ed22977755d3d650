"""What learning on the fly may be told."""

import math
from dataclasses import asdict, dataclass

from openmm_kml.option_checks import check_all_counts, check_all_positive, check_choice, check_dynamics

UNCERTAINTIES = ("auto", "model", "committee", "none")
ENGINES = ("openmm", "lammps")
_INTERVAL = 20  # steps between two looks
_POSITIVE = ("growth", "factor", "margin", "max_force", "rattle", "target")


@dataclass(frozen=True)
class Settings:
    """Settings of a campaign: how it explores, what it labels, when it ends.

    Parameters
    ----------
    temperatures : tuple of float, K
        Each has its own walkers.
    walkers : int
        Runs of molecular dynamics at each temperature, in each round.
    steps : int
        Of each run, at most.
    interval : int
        Steps between two looks at the uncertainty.
    timestep : float, fs
    friction : float, 1/ps
    pressure : float, bar, optional
        Constant pressure, of periodic structures; constant volume without it.
    budget : int
        Reference calls in all, those that fail included.
    target : float, eV/Å, optional
        Mean absolute error of force components on the labeled frames that no training sees; learning ends below it.
    uncertainty : str
        ``model``: of the model's own posterior; ``committee``: of models trained on parts of the frames; ``auto``: the
        first where the models have it; ``none``: a random frame of each run is labeled, and only the guard stops it.
    quantile, factor : float
        The most uncertain frame of a run is worth a label when it is above `factor` times this quantile of the
        uncertainties of the labeled frames that no training sees. The factor is where the adaptation begins.
    margin : float
        A run is stopped when it is so many times above that.
    growth : float
        Hyperparameters are chosen anew when the training frames have become so many times more since the last choice.
    updates : bool
        In between, the rows of new frames are added to the factorization of the round before; otherwise every training
        begins from nothing.
    every : int
        Every so many-th labeled frame is kept from the training.
    initial : int
        Frames to begin with; where fewer are given, copies with shifted atoms are added.
    rattle : float, Å
        Standard deviation of these shifts, along each axis.
    max_force : float, eV/Å
        A reference force component above it: the frame is not learned from.
    seed : int
    engine : str
        What runs the dynamics: ``openmm`` or ``lammps``.
    platform : str
        Of OpenMM.
    """

    temperatures: tuple = (300.0,)
    walkers: int = 4
    steps: int = 1000
    interval: int = _INTERVAL
    timestep: float = 0.5
    friction: float = 5.0
    pressure: float | None = None
    budget: int = 100
    target: float | None = None
    uncertainty: str = "auto"
    quantile: float = 0.9
    factor: float = 0.5
    margin: float = 2.0
    growth: float = 1.2
    updates: bool = True
    every: int = 5
    initial: int = 10
    rattle: float = 0.02
    max_force: float = 50.0
    seed: int = 0
    engine: str = "openmm"
    platform: str = "Reference"

    def __post_init__(self):
        object.__setattr__(self, "temperatures", tuple(float(kelvin) for kelvin in self.temperatures))
        if not self.temperatures or not all(math.isfinite(kelvin) and kelvin > 0 for kelvin in self.temperatures):
            raise ValueError(f"temperatures must be finite numbers above zero, in K; {self.temperatures!r} were given")
        check_choice("uncertainty", self.uncertainty, UNCERTAINTIES)
        check_choice("engine", self.engine, ENGINES)
        check_all_positive(self, _POSITIVE)
        check_dynamics(self)
        check_all_counts(self, ("budget", "walkers", "steps", "interval"))
        check_all_counts(self, ("initial", "every"), least=2)
        if self.growth < 1:
            raise ValueError(f"growth must be at least 1, to be growth; {self.growth} was given")
        if self.margin < 1:
            raise ValueError(f"margin must be at least 1, to stop a run above what is labeled; {self.margin} was given")
        if not 0 < self.quantile <= 1:
            raise ValueError(f"quantile must be above 0 and at most 1; {self.quantile!r} was given")
        if self.interval > self.steps:
            raise ValueError(
                f"interval must be at most steps, {self.steps}: otherwise nobody looks; {self.interval} was given"
            )

    def identity(self):
        """Return what must be the same in a continuation, as plain JSON: all but the budget and the target."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name not in ("budget", "target")
        }
