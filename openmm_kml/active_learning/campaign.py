"""A campaign of learning on the fly: rounds of training, exploring and labeling, until a budget or a target."""

from dataclasses import dataclass
from pathlib import Path

from openmm_kml.active_learning.beginning import label_start
from openmm_kml.active_learning.exploration import Exploration
from openmm_kml.active_learning.frames import LabeledFrames
from openmm_kml.active_learning.journal import write_state
from openmm_kml.active_learning.reference import LabelError, label
from openmm_kml.active_learning.rounds import Round
from openmm_kml.active_learning.training import REFITTED, UPDATED
from openmm_kml.files import write_atomically
from openmm_kml.structures import read_structures
from openmm_kml.structures.extended_xyz import write_frames

IDLE_ROUNDS = 5  # rounds without a new frame, after which nothing is expected of another


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
            self.rounds.append(now.record() | Exploration(self, now).run())
            self.save()

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
        last = self.rounds[-IDLE_ROUNDS:]
        if len(last) < IDLE_ROUNDS or any(pick["labeled"] for one in last for pick in one["picks"]):
            return None
        verdict = f"{IDLE_ROUNDS} rounds gave no new frame"
        if all(one.get("lost") == len(self.walkers()) for one in last):
            verdict += (
                ": all runs left physics before the first look; give more start frames, a smaller --interval or "
                "--timestep, or the right baseline"
            )
        return verdict

    def walkers(self):
        """Return the temperature of each run of a round."""
        return [kelvin for kelvin in self.settings.temperatures for _ in range(self.settings.walkers)]

    def _learn_from(self, calls):
        for call in calls:
            frame = self.store.get(call)
            if frame is not None:
                self.add(frame, call)

    def _tell_times(self, trainings):
        """Say how many trainings were updates, and what they took; times are no part of the log."""
        parts = []
        for how in (UPDATED, REFITTED):
            seconds = [one["seconds"] for one in trainings if one["how"] == how]
            parts.append(f"{len(seconds)} {how} in {sum(seconds):.1f} s")
        self.journal.remark(f"of {len(trainings)} models, {' and '.join(parts)}")

    def _finish(self, now, reason):
        failures = sum(self.store.get(call) is None for call in range(1, self.calls + 1))
        self.journal.write(
            "finished",
            f"finished: {reason}; {self.calls} reference calls ({failures} failed), {len(self.labeled)} labeled frames",
            reason=reason,
            calls=self.calls,
            failures=failures,
        )
        self._tell_times([*(known["chosen"] for known in self.rounds), now.chosen])
        write_frames(self.directory / "labeled.xyz", self.labeled)
        path = self.directory / "model.safetensors"
        write_atomically(path, now.model_path.read_bytes())
        self.journal.size()
        return Summary(reason, len(self.rounds), self.calls, failures, len(self.labeled), now.errors, path)
