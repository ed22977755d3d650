"""One round: the model on all frames labeled so far, its uncertainty and its threshold."""

import json
import time
from functools import cached_property

import numpy as np

from openmm_kml.active_learning.training import KEPT, UPDATED, Training, errors_of
from openmm_kml.active_learning.uncertainty import (
    Blind,
    Committee,
    ModelUncertainty,
    check_uncertainty,
    committee_parts,
    score,
)
from openmm_kml.files import write_atomically

_KEPT = (".safetensors", ".npz")


class Round:
    """A round of a campaign, with its files; what is on the disk is not made again.

    Attributes
    ----------
    potential : openmm_kml.potential.KernelPotential
    uncertainty : callable
    errors : dict
        On the labeled frames that no training saw.
    """

    def __init__(self, campaign, number):
        self._campaign, self.number = campaign, number
        self.directory = campaign.directory / f"round-{number:03d}"
        self.model_path = self.directory / "model.safetensors"

    def walk_path(self, walker):
        """Return the file of a run."""
        return self.directory / f"walk-{walker + 1:02d}.json"

    def train(self):
        """Train the model, and the committee where one is needed, unless a killed run had done so."""
        campaign = self._campaign
        train, held = campaign.parts()
        self._held, self._counts = held, {"n_train": len(train), "n_validation": len(held)}
        self.directory.mkdir(exist_ok=True)
        marker = self.directory / "training.json"
        if not marker.exists():
            chosen = self._train_members(train, held)
            write_atomically(marker, (json.dumps(chosen, indent=1) + "\n").encode())
        for path in Round(campaign, self.number - 1).directory.glob("*.npz"):
            path.unlink()  # only the next round needs them
        self.chosen = json.loads(marker.read_bytes())
        self.load()
        self.errors = errors_of(self.potential, held)
        errors = self.errors
        campaign.journal.write(
            "trained",
            f"round {self.number}: {self._how()} on {len(train)} frames; on {len(held)} others, forces are off by "
            f"{1e3 * errors['forces_mae']:.1f} meV/Å, energies by {1e3 * errors['energy_mae_per_atom']:.2f} meV an atom"
            f" ({campaign.calls} reference calls)",
            round=self.number,
            calls=campaign.calls,
            **self._counts,
            how=self.chosen["how"],
            why=self.chosen["why"],
            errors=errors,
        )
        campaign.journal.remark(f"  {self.chosen['how']} in {self.chosen['seconds']:.2g} s")

    def load(self):
        """Load the model and its uncertainty anew.

        Lists of neighbors outlast an evaluation, and their order is in the last digits of the next. What is on the disk
        must not depend on what else one process evaluated before.
        """
        self.potential = self._campaign.recipe.load(self.model_path)
        self.uncertainty = self._uncertainty()

    def _how(self):
        """Return in words how the model was made."""
        how, why = self.chosen["how"], self.chosen["why"]
        return how if how == UPDATED or not why else f"{how} ({why})"

    @cached_property
    def base(self):
        """A high quantile of the uncertainties of the labeled frames that no training saw."""
        if isinstance(self.uncertainty, Blind):
            return 0.0
        values = [score(self.uncertainty, frame) for frame in self._held]
        values = [value for value in values if np.isfinite(value)]
        base = np.quantile(values, self._campaign.settings.quantile) if values else 0.0
        return float(max(base, np.finfo(float).tiny))

    def force_error(self, frame):
        """Return the mean absolute error of the model's force components on a labeled frame, eV/Å."""
        self.load()
        return errors_of(self.potential, [frame])["forces_mae"]

    def record(self):
        """Return what is worth remembering, plain JSON."""
        return {
            "round": self.number,
            "calls": self._campaign.calls,
            **self._counts,
            "errors": self.errors,
            "chosen": self.chosen,
        }

    def _train_members(self, train, held):
        """Write the weight files; return the hyperparameters, on how many frames they were chosen, and how it went."""
        campaign = self._campaign
        before = campaign.rounds[-1]["chosen"] if campaign.rounds else None
        previous = Round(campaign, self.number - 1).directory
        if before is not None and not any(pick["labeled"] for pick in campaign.rounds[-1]["picks"]):
            for path in previous.glob("*.*"):
                if path.suffix in _KEPT:
                    write_atomically(self.directory / path.name, path.read_bytes())
            return before | {"how": KEPT, "why": "there are no new frames", "seconds": 0.0}
        fresh = before is None or before["hyperparameters"] is None
        fresh = fresh or len(train) >= campaign.settings.growth * before["on"]
        started, wanted = time.perf_counter(), campaign.settings.uncertainty
        kept = None if fresh else before["hyperparameters"]
        training = Training(campaign, self.directory, previous, train, held, kept)
        potential = training.model(members=wanted in ("auto", "model"))
        if wanted == "model":
            check_uncertainty(potential)
        committee = wanted == "committee" or (wanted == "auto" and not potential.has_uncertainty)
        if committee:
            for member, part in enumerate(committee_parts(train), 1):
                training.member(f"member-{member}", part)
        return {
            "hyperparameters": training.hyperparameters,
            "on": len(train) if training.fresh else before["on"],
            "committee": committee,
            "how": training.how,
            "why": training.why,
            "seconds": time.perf_counter() - started,
        }

    def _uncertainty(self):
        if self._campaign.settings.uncertainty == "none":
            return Blind()
        if not self.chosen["committee"]:
            return ModelUncertainty(self.potential)
        load = self._campaign.recipe.load
        return Committee([load(path) for path in sorted(self.directory.glob("member-*.safetensors"))])
