"""The trainings of a round: the factorization of the round before is updated where that is allowed, else made anew."""

import dataclasses

from openmm_kml.active_learning.models import Trained
from openmm_kml.errors import ExtensionError
from openmm_kml.files import write_atomically
from openmm_kml.metrics import structure_errors
from openmm_kml.structures import StructureSet
from openmm_kml.weights import load, to_bytes

UPDATED, REFITTED, KEPT = "updated", "refitted", "kept"
_WORSE = 1.1  # times the errors of the model before, on the same frames: its hyperparameters are not kept


class Training:
    """Trains the models of one round and writes them.

    Parameters
    ----------
    campaign : openmm_kml.active_learning.campaign.Campaign
    directory : path
        Of the round.
    before : path, optional
        Of the round before.
    train, held : list of Structure
        Frames that are trained on, and those that no training sees.
    kept : dict, optional
        Hyperparameters of the round before; chosen anew without.

    Attributes
    ----------
    how : str
        ``updated`` or ``refitted``.
    why : str
        It was not updated.
    fresh : bool
        Whether hyperparameters are chosen anew.
    hyperparameters : dict or None
        Of the model.
    """

    def __init__(self, campaign, directory, before, train, held, kept):
        self._campaign, self._directory, self._before = campaign, directory, before
        self._train, self._held = train, held
        self.hyperparameters, self.fresh = kept, kept is None
        self.how, self.why = REFITTED, "hyperparameters were due to be chosen" if self.fresh else ""

    def model(self, members):
        """Train and write the model; return it as a `KernelPotential`.

        Parameters
        ----------
        members : bool
            Whether it shall know its own uncertainty.
        """
        made = None if self.fresh else self._updated("model", self._train, members)
        if made is None:
            made = self._fit(self._train, None if self.fresh else self.hyperparameters, members)
        record = {"round": len(self._campaign.rounds) + 1, "reference_calls": self._campaign.calls}
        weights = dataclasses.replace(made.weights, provenance={**made.weights.provenance, "active_learning": record})
        self._write("model", Trained(weights, made.hyperparameters, made.factored))
        self.hyperparameters = made.hyperparameters
        return self._campaign.recipe.load(self._directory / "model.safetensors")

    def member(self, name, part):
        """Train and write a member of the committee."""
        made = self._updated(name, part, False) if self.how == UPDATED else None
        self._write(name, made or self._fit(part, self.hyperparameters, False))

    def _fit(self, frames, hyperparameters, members):
        return self._campaign.recipe.fit(frames, self._held, hyperparameters, members)

    def _updated(self, name, frames, members):
        """Return the model whose factorization is updated; None, and why, where that is not allowed."""
        path, settings = self._before / f"{name}.safetensors", self._campaign.settings
        if not settings.updates or not path.exists():
            self.why = "updates were not wanted" if path.exists() else "there is no model before"
            return None
        weights, recipe = load(path), self._campaign.recipe
        # A factorization knows nothing of the baseline: it is of what was left.
        earlier = recipe.read_factored(path.with_suffix(".npz"), dataclasses.replace(weights, baseline=None))
        if earlier is None:
            self.why = "no factorization of the round before is there"
            return None
        try:
            made = recipe.fit(frames, self._held, self.hyperparameters, members, earlier)
        except ExtensionError as error:
            self.why = str(error)
            return None
        if name == "model" and recipe.chooses and self._is_worse(made.weights, weights):
            self.fresh, self.why = True, "on frames that no training saw, errors grew"
            return None
        self.how, self.why = UPDATED, ""
        return made

    def _is_worse(self, new, old):
        potential_of = self._campaign.recipe.potential
        new, old = (errors_of(potential_of(one), self._held)["forces_mae"] for one in (new, old))
        return new > _WORSE * old

    def _write(self, name, made):
        write_atomically(self._directory / f"{name}.safetensors", to_bytes(made.weights))
        path = self._directory / f"{name}.npz"
        path.unlink(missing_ok=True)
        if made.factored is not None and self._campaign.settings.updates:
            made.factored.write(path)


def errors_of(potential, frames):
    """Return `openmm_kml.metrics.structure_errors` of a potential on labeled frames."""
    predictions = [tuple(potential.evaluate(frame.positions, frame.numbers, frame.cell, frame.pbc)) for frame in frames]
    return structure_errors(predictions, StructureSet(frames))
