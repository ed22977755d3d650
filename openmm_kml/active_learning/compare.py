"""Was it worth it? Errors of learning on the fly against random sampling, at equal numbers of reference calls."""

import json

import numpy as np

from openmm_kml.active_learning.explore import Explorer
from openmm_kml.active_learning.frames import LabeledFrames
from openmm_kml.active_learning.reference import LabelError, label
from openmm_kml.active_learning.rounds import Round, errors_of
from openmm_kml.errors import DataError
from openmm_kml.files import write_atomically
from openmm_kml.structures import read_structures
from openmm_kml.structures.extended_xyz import write_frames
from openmm_kml.training.progress import progress_bar
from openmm_kml.weights import to_bytes

_SIZES = 8  # points of the curve of random sampling
_DISCARDED = 0.25  # of each trajectory, at its beginning
_SWEEPS = 20  # of dynamics at most, until there are enough frames


def compare_with_random(campaign, n_test):
    """Return the errors of the models of all rounds, and of models trained on random frames, on the same test frames.

    Random frames and test frames are drawn from dynamics with the last model at the temperatures of the campaign, and
    labeled by the reference; models of as many labeled frames as the rounds had are trained on start frames and random
    ones. Everything is in ``random/`` and is not made twice.

    Parameters
    ----------
    campaign : openmm_kml.active_learning.campaign.Campaign
        That has run.
    n_test : int
        Test frames.

    Returns
    -------
    dict
        ``active`` and ``random``: lists of ``labeled`` (frames), ``forces_mae``, ``forces_rmse`` (eV/Å) and
        ``energy_mae_per_atom`` (eV); ``test_frames``; ``reference_calls`` that the comparison took.
    """
    started = _n_start(campaign)
    n_random = len(campaign.labeled) - started
    # A campaign that went on, or is compared on more frames, is compared anew.
    directory = campaign.directory / "random" / f"{n_test}+{n_random}"
    directory.mkdir(parents=True, exist_ok=True)
    drawn = _drawn(campaign, directory / "frames.xyz", n_random + n_test)
    labeled = _labeled(campaign, directory, drawn)
    chosen, test = labeled[n_test:], labeled[:n_test]
    if not test:
        raise DataError("the reference failed for all test frames; there is nothing to compare on")
    result = {"active": [], "random": [], "test_frames": len(test), "reference_calls": len(drawn)}
    sizes = []
    for number in range(1, len(campaign.rounds) + 2):
        now = Round(campaign, number)
        size = sum(
            (campaign.rounds[number - 1] if number <= len(campaign.rounds) else _last(campaign))[key] for key in _COUNTS
        )
        errors = errors_of(campaign.recipe.load(now.model_path), test)
        result["active"].append(_point(size, errors))
        sizes.append(size)
    sizes = sorted({sizes[k] for k in np.linspace(0, len(sizes) - 1, min(_SIZES, len(sizes))).round().astype(int)})
    with progress_bar(len(sizes), "random sampling: training", campaign.progress, " models") as bar:
        for size in sizes:
            frames = [*campaign.labeled[:started], *chosen[: size - started]]
            result["random"].append(_point(len(frames), errors_of(_trained(campaign, directory, frames), test)))
            bar.update()
    write_atomically(campaign.directory / "comparison.json", (json.dumps(result, indent=1) + "\n").encode())
    _tell(campaign, result)
    return result


_COUNTS = ("n_train", "n_validation")


def _last(campaign):
    return {"n_train": len(campaign.labeled), "n_validation": 0}


def _n_start(campaign):
    """Return the number of labeled frames that the campaign began with."""
    later = sum(pick["labeled"] for one in campaign.rounds for pick in one["picks"])
    return len(campaign.labeled) - later


def _drawn(campaign, path, count):
    """Return frames of dynamics with the last model, drawn at random."""
    if not path.exists():
        seen, settings = [], campaign.settings
        with progress_bar(count, "random sampling: dynamics", campaign.progress, " frames") as bar:
            for sweep in range(_SWEEPS):
                for walker, temperature in enumerate(campaign.walkers()):
                    kept = []
                    seed = int(np.random.SeedSequence((settings.seed, 10**6 + sweep, walker)).generate_state(1)[0] >> 1)
                    start, folder = _beginning(campaign, seed), path.with_name("run")
                    _explorer(campaign).walk(start, temperature, seed, folder, kept.append)
                    seen += kept[int(_DISCARDED * len(kept)) :]
                bar.update(min(len(seen), count) - bar.n)
                if len(seen) >= 4 * count:  # of fewer, neighbors in time would be drawn
                    break
        if len(seen) < count:
            raise DataError(
                f"dynamics with the last model gave {len(seen)} frames, but {count} are needed for the comparison; "
                "take more steps, or fewer test frames"
            )
        places = np.random.default_rng((settings.seed, 2)).permutation(len(seen))[:count]
        write_frames(path, [seen[k] for k in places])
    return read_structures(path).frames


def _explorer(campaign):
    molecule = campaign.start[0] if campaign.recipe.molecule else None
    model = campaign.model
    return Explorer(model.potential, _certain, np.inf, np.inf, campaign.settings, molecule, model.model_path)


def _certain(*_):
    return 0.0


_certain.unit = "eV"


def _beginning(campaign, seed):
    return campaign.labeled[int(np.random.default_rng(seed).integers(_n_start(campaign)))]


def _labeled(campaign, directory, frames):
    """Return those frames that the reference could label."""
    store, result = LabeledFrames(directory / "labeled"), []
    with progress_bar(len(frames), "random sampling: labeling", campaign.progress, " frames") as bar:
        for call, frame in enumerate(frames, 1):
            if call not in store:
                try:
                    store.add(call, label(campaign.calculator, frame, campaign.settings.max_force), {})
                except LabelError as failure:
                    store.add_failure(call, str(failure))
            if store.get(call) is not None:
                result.append(store.get(call))
            bar.update()
    return result


def _trained(campaign, directory, frames):
    path = directory / f"model-{len(frames):04d}.safetensors"
    if not path.exists():
        write_atomically(path, to_bytes(campaign.recipe.fit(*campaign.parts(frames)).weights))
    return campaign.recipe.load(path)


def _point(labeled, errors):
    keys = ("forces_mae", "forces_rmse", "energy_mae_per_atom")
    return {"labeled": labeled} | {key: errors[key] for key in keys}


def _tell(campaign, result):
    active, random = result["active"][-1], result["random"][-1]
    campaign.journal.write(
        "compared",
        f"on {result['test_frames']} frames of dynamics with the last model, forces are off by "
        f"{1e3 * active['forces_mae']:.1f} meV/Å after learning on the fly from {active['labeled']} frames, and by "
        f"{1e3 * random['forces_mae']:.1f} meV/Å after random sampling of {random['labeled']} "
        f"({result['reference_calls']} more reference calls)",
        **result,
    )
