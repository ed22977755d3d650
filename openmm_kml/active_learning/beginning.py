"""How a campaign begins: its directory, its start frames, and their labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from openmm_kml.active_learning.journal import STATE, write_state
from openmm_kml.active_learning.models import LEAST_TRAINING
from openmm_kml.errors import DataError
from openmm_kml.structures import StructureSet, distinct_structures
from openmm_kml.structures.extended_xyz import write_frames

SAME_ENERGY = 2e-3  # eV an atom: given labels may differ from the reference's by so much
SAME_FORCE = 2e-2  # eV/Å


def begin(directory, recipe, settings, start, identity):
    """Make the directory of a campaign, with its start frames and its first state.

    Raises
    ------
    DataError
        If the directory holds something else, the frames do not fit the kind of model, the models shall tell an
        uncertainty and have none, or the budget does not suffice to label the frames.
    """
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise DataError(f"{directory} is a file; name a directory for the campaign")
    if (directory / STATE).exists():
        raise DataError(f"{directory} holds a campaign already: --resume goes on with it, or name another directory")
    # A kill in this function may have left start frames or a hidden half-written file.
    if directory.exists() and any(not path.name.startswith((".", "start.xyz")) for path in directory.iterdir()):
        raise DataError(f"{directory} is not empty and holds no campaign; name another directory")
    recipe.check(start)
    if settings.uncertainty == "model" and not recipe.uncertain:
        raise DataError("uncertainty model asks models for what --no-uncertainty leaves out; take committee")
    frames = StructureSet(start)
    frames = [frames.frames[k] for k in distinct_structures(frames)]
    frames += _rattled(frames, settings)
    needed = len(calls_of(frames))
    if needed > settings.budget:
        raise DataError(
            f"the budget of {settings.budget} reference calls does not suffice for the start frames, of which {needed} "
            "are to be labeled; raise the budget or give fewer start frames"
        )
    directory.mkdir(parents=True, exist_ok=True)
    write_frames(directory / "start.xyz", frames)
    write_state(directory, {"identity": identity, "calls": 0, "rounds": [], "log_size": 0})


def calls_of(frames):
    """Return the places of the start frames that the reference labels: those without labels, and always the first."""
    return [k for k, frame in enumerate(frames) if k == 0 or frame.energy is None or frame.forces is None]


def label_start(campaign):
    """Label the start frames of a campaign, and add all of them.

    Raises
    ------
    DataError
        If given labels are not the reference's, or too few frames could be labeled.
    """
    wanted, fresh = calls_of(campaign.start), campaign.calls == 0
    failed = 0
    for place, frame in enumerate(campaign.start):
        if place not in wanted:
            campaign.add(frame, None)
            continue
        call = wanted.index(place) + 1
        found = campaign.label(call, frame, {"round": 0})
        if found is None:
            failed += 1
            text = f"call {call}, start frame {place + 1}, failed and is left out: {campaign.store.reason(call)}"
            if fresh:
                campaign.journal.write("labeled", text, call=call, labeled=False, round=0)
            continue
        if place == 0 and frame.energy is not None and frame.forces is not None:
            _check_same(frame, found)
        campaign.add(found, call)
    if len(campaign.labeled) < LEAST_TRAINING + 1:
        raise DataError(
            f"only {len(campaign.labeled)} start frames have labels, and at least {LEAST_TRAINING + 1} are needed: "
            f"{failed} reference calls failed, the last because {_last_reason(campaign, len(wanted))}"
        )
    if fresh:
        campaign.calls = len(wanted)
        campaign.journal.write(
            "started",
            f"{len(campaign.labeled)} start frames: {len(wanted)} reference calls, {failed} of them failed",
            calls=len(wanted),
            failures=failed,
        )
        campaign.save()


def _last_reason(campaign, calls):
    failed = [call for call in range(1, calls + 1) if campaign.store.get(call) is None]
    return campaign.store.reason(failed[-1]) if failed else "none failed"


def _check_same(given, found):
    energy = abs(given.energy - found.energy) / len(given)
    force = np.abs(given.forces - found.forces).max()
    if energy > SAME_ENERGY or force > SAME_FORCE:
        raise DataError(
            f"the labels of the start frames are of another reference: of the first, the energy differs by "
            f"{1e3 * energy:.3g} meV an atom and a force by {1e3 * force:.3g} meV/Å; give frames without labels, which "
            "are then computed, or the reference of the labels"
        )


def _rattled(frames, settings):
    """Return copies with shifted atoms, as many as are missing to `settings.initial` frames."""
    rng = np.random.default_rng((settings.seed, 1))
    copies = []
    for k in range(settings.initial - len(frames)):
        frame = frames[k % len(frames)]
        shifted = frame.positions + settings.rattle * rng.standard_normal(frame.positions.shape)
        copies.append(replace(frame, positions=shifted, energy=None, forces=None, virial=None))
    return copies
