"""The second half of a round: runs of dynamics explore, and the reference labels what they found."""

import numpy as np

from openmm_kml.active_learning.explore import FINISHED, UNCERTAIN, UNSTABLE, Explorer, Walk
from openmm_kml.active_learning.rounds import Round
from openmm_kml.files import write_atomically
from openmm_kml.training.progress import progress_bar

FACTORS = (0.01, 10.0)
_LOWEST, _LOWER, _RAISE = 0.3, 0.6, 2.0
_SOON = 0.25  # of the steps: where most runs are stopped sooner, frames are too much alike


class Exploration:
    """The runs of one round and their labels; what is on the disk is not made again.

    Parameters
    ----------
    campaign : openmm_kml.active_learning.campaign.Campaign
    now : openmm_kml.active_learning.rounds.Round
        Trained.
    """

    def __init__(self, campaign, now):
        self.campaign, self.now = campaign, now
        settings = campaign.settings
        self.threshold = campaign.factor * now.base
        self.bound = settings.margin * self.threshold or np.inf

    def run(self):
        """Run all walkers, label what they found, and return what is worth remembering, plain JSON."""
        campaign, now = self.campaign, self.now
        campaign.journal.write(
            "exploring",
            f"round {now.number}: exploring; {self._rule()}",
            round=now.number,
            threshold=self.threshold,
            bound=self.bound if np.isfinite(self.bound) else None,
        )
        walks = self._walks()
        picks = self._label_picks(walks)
        return {
            "threshold": self.threshold,
            "picks": picks,
            "lost": sum(walk.reason == UNSTABLE and walk.frame is None for walk in walks),
            "next_factor": adapted(campaign.factor, walks, campaign.settings.steps),
        }

    def _rule(self):
        """Return in words what is labeled."""
        if not np.isfinite(self.bound):
            return "a random frame of each run is labeled"
        uncertainty = self.now.uncertainty
        return (
            f"a frame is worth a label above {self.threshold:.3g} {uncertainty.unit} (deviation of the "
            f"{uncertainty.what}, {self.campaign.factor:.2g} times that of labeled frames that no training saw), and a "
            f"run is stopped above {self.bound:.3g}"
        )

    def _walks(self):
        """Return what the runs of the round came to."""
        campaign, now, walks = self.campaign, self.now, []
        runs = campaign.walkers()
        with progress_bar(len(runs), f"round {now.number}: exploring", campaign.progress, " runs") as bar:
            for walker, temperature in enumerate(runs):
                walk = self._walk(walker, temperature)
                campaign.journal.write(
                    "explored",
                    f"  {temperature:g} K, run {walker + 1}: {walk.text}",
                    round=now.number,
                    walker=walker,
                    temperature=temperature,
                    **{"reason": walk.reason, "step": walk.step, "uncertainty": walk.uncertainty},
                )
                walks.append(walk)
                bar.update()
        return walks

    def _explorer(self):
        campaign, now = self.campaign, self.now
        now.load()
        return Explorer(
            now.potential,
            now.uncertainty,
            self.threshold,
            self.bound,
            campaign.settings,
            campaign.start[0] if campaign.recipe.molecule else None,
            now.model_path,
        )

    def _walk(self, walker, temperature):
        path = self.now.walk_path(walker)
        if not path.exists():
            entropy = (self.campaign.settings.seed, self.now.number, walker)
            seed = int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)
            folder = path.with_name(f"run-{walker + 1:02d}")
            walk = self._explorer().walk(self._beginning(walker, seed), temperature, seed, folder)
            write_atomically(path, walk.to_bytes())
        return Walk.from_bytes(path.read_bytes())

    def _beginning(self, walker, seed):
        """Return where a run begins: where the last ended, if that is known ground now, else at a labeled frame."""
        campaign = self.campaign
        if campaign.rounds:
            last = Walk.from_bytes(Round(campaign, len(campaign.rounds)).walk_path(walker).read_bytes())
            known = [pick["walker"] for pick in campaign.rounds[-1]["picks"] if pick["labeled"]]
            if last.reason == FINISHED or (last.reason == UNCERTAIN and walker in known):
                return last.end
        return campaign.labeled[int(np.random.default_rng(seed).integers(len(campaign.labeled)))]

    def _label_picks(self, walks):
        """Label the frames that the walkers found, as far as the budget goes; return what came of each."""
        campaign = self.campaign
        found = [(walker, walk) for walker, walk in enumerate(walks) if walk.frame is not None]
        left, picks = campaign.settings.budget - campaign.calls, []
        title = f"round {self.now.number}: labeling"
        with progress_bar(min(left, len(found)), title, campaign.progress, " frames") as bar:
            for walker, walk in found[:left]:
                picks.append(self._label(walker, walk))
                bar.update()
        return picks

    def _label(self, walker, walk):
        """Label the frame of a run and return what came of it."""
        campaign, now = self.campaign, self.now
        campaign.calls += 1
        call = campaign.calls
        temperature = campaign.walkers()[walker]
        info = {"round": now.number, "temperature": temperature, "walker": walker, "step": walk.step}
        frame = campaign.label(call, walk.frame, info | {"uncertainty": walk.uncertainty})
        pick = {"call": call, "labeled": frame is not None, "uncertainty": walk.uncertainty} | info
        if frame is None:
            text = f"  call {call} failed and is left out: {campaign.store.reason(call)}"
        else:
            pick["force_error"] = now.force_error(frame)
            text = f"  call {call}: the model's forces are off by {1e3 * pick['force_error']:.0f} meV/Å"
            campaign.add(frame, call)
        campaign.journal.write("labeled", text, **pick)
        return pick


def adapted(factor, walks, steps):
    """Return the factor of the next round: half of the runs shall give a frame, but not all of them at once.

    Parameters
    ----------
    factor : float
        Of this round.
    walks : list of Walk
    steps : int
        Of each run, at most.
    """
    stopped = [walk.step for walk in walks if walk.reason != FINISHED]
    found = sum(walk.frame is not None for walk in walks)
    if found < len(walks) / 2:
        factor *= _LOWER if found else _LOWEST
    elif len(stopped) > len(walks) / 2 and np.median(stopped) <= _SOON * steps:
        factor *= _RAISE
    return float(np.clip(factor, *FACTORS))
