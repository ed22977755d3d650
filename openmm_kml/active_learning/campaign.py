"""A campaign of learning on the fly: rounds of training, exploring and labeling, until a budget or a target."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmm_kml.active_learning import pictures
from openmm_kml.active_learning.beginning import begin, label_start
from openmm_kml.active_learning.explore import FINISHED, UNCERTAIN, Explorer, Walk
from openmm_kml.active_learning.frames import LabeledFrames
from openmm_kml.active_learning.journal import STATE, Journal, read_state, write_state
from openmm_kml.active_learning.reference import LabelError, label
from openmm_kml.active_learning.rounds import Round
from openmm_kml.errors import DataError
from openmm_kml.files import write_atomically
from openmm_kml.structures import read_structures
from openmm_kml.structures.extended_xyz import write_frames
from openmm_kml.training.progress import progress_bar

IDLE_ROUNDS = 5  # rounds without a new frame, after which nothing is expected of another
_FACTORS = (0.01, 10.0)
_LOWER, _RAISE = 0.6, 2.0
_SOON = 0.25  # of the steps: where most runs are stopped sooner, frames are too much alike


@dataclass(frozen=True)
class Summary:
    """What a campaign came to.

    Attributes
    ----------
    reason : str
        Why it ended.
    rounds, calls, failures, labeled : int
        Rounds, reference calls, those that failed, and frames with labels, given ones included.
    errors : dict
        Of the last model on the frames that no training saw (`openmm_kml.metrics.structure_errors`).
    model : path
        Weight file.
    comparison : dict, optional
        With random sampling, where it was asked for.
    """

    reason: str
    rounds: int
    calls: int
    failures: int
    labeled: int
    errors: dict
    model: Path
    comparison: dict | None = None


def learn(directory, recipe, settings, calculator, start=None, *, identity=None, compare=0, say=print, progress=True):
    """Learn on the fly until the budget is used or the target is reached.

    Parameters
    ----------
    directory : path
        Where everything is written; made if it does not exist.
    recipe : openmm_kml.active_learning.models.Recipe
    settings : openmm_kml.active_learning.settings.Settings
    calculator : ase.calculators.calculator.Calculator
        The reference, with energy and forces.
    start : list of openmm_kml.structures.Structure, optional
        Frames to begin with, with labels of the same reference or without. None goes on with what the directory holds.
    identity : dict, optional
        What else a continuation must have in common, such as the name of the reference; plain JSON.
    compare : int
        Test frames of a comparison with random sampling at the end; 0 for none. Its reference calls are not part of
        the budget.
    say : callable
        Given the log in words.
    progress : bool

    Returns
    -------
    Summary

    Raises
    ------
    DataError
        If the start frames, the directory or the budget do not fit, or the reference fails from the beginning.
    """
    directory = Path(directory)
    identity = recipe.identity() | {"settings": settings.identity()} | (identity or {})
    if start is not None:
        begin(directory, recipe, settings, start, identity)
    state = read_state(directory)
    _check_identity(directory, state["identity"], identity)
    journal = Journal(directory, state["log_size"], say)
    try:
        campaign = Campaign(directory, recipe, settings, calculator, state, journal, progress)
        summary = campaign.run()
        if compare:
            from openmm_kml.active_learning.compare import compare_with_random

            comparison = compare_with_random(campaign, compare)
            summary = Summary(**vars(summary) | {"comparison": comparison})
        pictures.draw(directory, campaign, summary.comparison)
        return summary
    finally:
        journal.close()


def _check_identity(directory, found, expected):
    for name in sorted(expected):
        if found.get(name) != expected[name]:
            raise DataError(
                f"{directory / STATE} is of another campaign: its {name} is {_short(found.get(name))}, now it would be "
                f"{_short(expected[name])}; resume with the options of the campaign, or name another directory"
            )


def _short(value):
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + " …"


class Campaign:
    """The frames, rounds and files of a campaign in a directory.

    Attributes
    ----------
    labeled : list of Structure
        All frames with labels, in the order in which they came.
    origins : list of int or None
        The call of each; None for labels that were given.
    rounds : list of dict
        What each finished round came to, plain JSON.
    """

    def __init__(self, directory, recipe, settings, calculator, state, journal, progress):
        self.directory, self.recipe, self.settings, self.calculator = directory, recipe, settings, calculator
        self.journal, self.progress = journal, progress
        self.store = LabeledFrames(directory / "labeled")
        self.start = read_structures(directory / "start.xyz").frames
        self._state = state
        self.rounds = list(state["rounds"])
        self.calls = state["calls"]
        self.labeled, self.origins = [], []
        self.model = None

    def run(self):
        """Go on until something ends the campaign; return the `Summary`."""
        label_start(self)
        for known in self.rounds:
            self._learn_from([pick["call"] for pick in known["picks"]])
        while True:
            now = Round(self, len(self.rounds) + 1)
            now.train()
            self.model = now
            reason = self._verdict(now.errors)
            if reason is not None:
                return self._finish(now, reason)
            self._explore(now)

    def save(self):
        """Write the state: from here a continuation goes on."""
        write_state(
            self.directory,
            {
                "identity": self._state["identity"],
                "calls": self.calls,
                "rounds": self.rounds,
                "log_size": self.journal.size(),
            },
        )

    def add(self, frame, call):
        """Add a labeled frame; `call` is None where the labels were given."""
        self.labeled.append(frame)
        self.origins.append(call)

    def parts(self, frames=None):
        """Return the frames that are trained on, and those that no training sees."""
        frames = self.labeled if frames is None else frames
        every = self.settings.every
        held = [k for k in range(len(frames)) if k % every == every - 1] or [len(frames) - 1]
        return [frame for k, frame in enumerate(frames) if k not in held], [frames[k] for k in held]

    def label(self, call, frame, info):
        """Return the labeled frame of a call, None if the reference failed; call it unless it was called before."""
        if call not in self.store:
            try:
                self.store.add(call, label(self.calculator, frame, self.settings.max_force), info)
            except LabelError as failure:
                self.store.add_failure(call, str(failure))
        return self.store.get(call)

    @property
    def factor(self):
        """Of the threshold, in the next round."""
        return self.rounds[-1]["next_factor"] if self.rounds else self.settings.factor

    def _verdict(self, errors):
        settings = self.settings
        if settings.target is not None and errors["forces_mae"] <= settings.target:
            return f"the target is reached: {1e3 * errors['forces_mae']:.1f} of {1e3 * settings.target:g} meV/Å"
        if self.calls >= settings.budget:
            return f"the budget of {settings.budget} reference calls is used"
        if len(self.rounds) >= IDLE_ROUNDS and not any(
            pick["labeled"] for one in self.rounds[-IDLE_ROUNDS:] for pick in one["picks"]
        ):
            return f"{IDLE_ROUNDS} rounds gave no new frame"
        return None

    def _explore(self, now):
        """Run all walkers of a round, label what they found, and write the state."""
        number, threshold = now.number, self.factor * now.base
        bound = self.settings.margin * threshold or np.inf
        self.journal.write(
            "exploring",
            f"round {number}: exploring; {self._rule(now, threshold, bound)}",
            round=number,
            threshold=threshold,
            bound=bound if np.isfinite(bound) else None,
        )
        molecule = self.start[0] if self.recipe.molecule else None
        explorer = Explorer(now.potential, now.uncertainty, threshold, bound, self.settings, molecule)
        walks = []
        runs = self.walkers()
        with progress_bar(len(runs), f"round {number}: exploring", self.progress, " runs") as bar:
            for walker, temperature in enumerate(runs):
                walk = self._walk(explorer, now, walker, temperature)
                self.journal.write(
                    "explored",
                    f"  {temperature:g} K, run {walker + 1}: {walk.text}",
                    round=number,
                    walker=walker,
                    temperature=temperature,
                    **{"reason": walk.reason, "step": walk.step, "uncertainty": walk.uncertainty},
                )
                walks.append(walk)
                bar.update()
        picks = self._label_picks(now, walks)
        self.rounds.append(now.record() | {"threshold": threshold, "picks": picks, "next_factor": self._adapted(walks)})
        self.save()

    def _rule(self, now, threshold, bound):
        """Return in words what is labeled."""
        if not np.isfinite(bound):
            return "a random frame of each run is labeled"
        return (
            f"a frame is worth a label above {threshold:.3g} {now.uncertainty.unit} (deviation of the "
            f"{now.uncertainty.what}, {self.factor:.2g} times that of labeled frames that no training saw), and a run "
            f"is stopped above {bound:.3g}"
        )

    def walkers(self):
        """Return the temperature of each run of a round."""
        return [kelvin for kelvin in self.settings.temperatures for _ in range(self.settings.walkers)]

    def _walk(self, explorer, now, walker, temperature):
        path = now.walk_path(walker)
        if not path.exists():
            seed = int(np.random.SeedSequence((self.settings.seed, now.number, walker)).generate_state(1)[0] >> 1)
            walk = explorer.walk(self._beginning(walker, seed), temperature, seed)
            write_atomically(path, walk.to_bytes())
        return Walk.from_bytes(path.read_bytes())

    def _beginning(self, walker, seed):
        """Return where a run begins: where the last ended, if that is known ground now, else at a labeled frame."""
        if self.rounds:
            last = Walk.from_bytes(Round(self, len(self.rounds)).walk_path(walker).read_bytes())
            known = [pick["walker"] for pick in self.rounds[-1]["picks"] if pick["labeled"]]
            if last.reason == FINISHED or (last.reason == UNCERTAIN and walker in known):
                return last.end
        return self.labeled[int(np.random.default_rng(seed).integers(len(self.labeled)))]

    def _label_picks(self, now, walks):
        """Label the frames that the walkers found, as far as the budget goes; return what came of each."""
        found = [(walker, walk) for walker, walk in enumerate(walks) if walk.frame is not None]
        left = self.settings.budget - self.calls
        temperatures, picks = self.walkers(), []
        with progress_bar(min(left, len(found)), f"round {now.number}: labeling", self.progress, " frames") as bar:
            for walker, walk in found[:left]:
                self.calls += 1
                info = {"round": now.number, "temperature": temperatures[walker], "walker": walker, "step": walk.step}
                frame = self.label(self.calls, walk.frame, info | {"uncertainty": walk.uncertainty})
                pick = {"call": self.calls, "labeled": frame is not None, "uncertainty": walk.uncertainty} | info
                if frame is None:
                    text = f"  call {self.calls} failed and is left out: {self.store.reason(self.calls)}"
                else:
                    pick["force_error"] = now.force_error(frame)
                    text = f"  call {self.calls}: the model's forces are off by {1e3 * pick['force_error']:.0f} meV/Å"
                    self.add(frame, self.calls)
                self.journal.write("labeled", text, **pick)
                picks.append(pick)
                bar.update()
        return picks

    def _learn_from(self, calls):
        for call in calls:
            frame = self.store.get(call)
            if frame is not None:
                self.add(frame, call)

    def _adapted(self, walks):
        """Return the factor of the next round: half of the runs shall give a frame, but not all of them at once."""
        stopped = [walk.step for walk in walks if walk.reason != FINISHED]
        factor = self.factor
        if sum(walk.frame is not None for walk in walks) < len(walks) / 2:
            factor *= _LOWER
        elif len(stopped) > len(walks) / 2 and np.median(stopped) <= _SOON * self.settings.steps:
            factor *= _RAISE
        return float(np.clip(factor, *_FACTORS))

    def _finish(self, now, reason):
        failures = sum(self.store.get(call) is None for call in range(1, self.calls + 1))
        self.journal.write(
            "finished",
            f"finished: {reason}; {self.calls} reference calls ({failures} failed), {len(self.labeled)} labeled frames",
            reason=reason,
            calls=self.calls,
            failures=failures,
        )
        write_frames(self.directory / "labeled.xyz", self.labeled)
        path = self.directory / "model.safetensors"
        write_atomically(path, now.potential.to_bytes())
        self.journal.size()
        return Summary(reason, len(self.rounds), self.calls, failures, len(self.labeled), now.errors, path)
