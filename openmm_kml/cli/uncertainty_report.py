"""``kml test --uncertainty``: predicted standard deviations held against errors."""

from openmm_kml.cli.common import print_table

_COLUMNS = (
    ("coverage_68", "in 68 %", "%", lambda value: f"{100 * value:.1f}"),
    ("coverage_95", "in 95 %", "%", lambda value: f"{100 * value:.1f}"),
    ("rmse", "RMSE", "m", lambda value: f"{1e3 * value:.3g}"),
    ("sharpness", "predicted", "m", lambda value: f"{1e3 * value:.3g}"),
    ("tail", "deg. freedom", "", lambda value: "∞" if value < 1e-3 else f"{1 / value:.1f}"),
    ("nll", "NLL", "", lambda value: f"{value:.2f}"),
    ("rank_correlation", "rank corr.", "", lambda value: f"{value:.2f}"),
)
_ROUNDING = 1e-9  # eV/Å: smaller deviations are those of forces that vanish by symmetry
_UNITS = {"energy_per_atom": "eV", "forces": "eV/Å"}
_TAILS = {"energy_per_atom": "energy_tail", "forces": "force_tail"}


def collect(potential, frames, predictions, progress=True):
    """Return errors and standard deviations of each frame.

    Parameters
    ----------
    potential : openmm_kml.potential.KernelPotential
    frames : iterable of (positions, numbers, cell, pbc, energy or None, forces or None)
    predictions : list of (energy, forces)
    progress : bool

    Returns
    -------
    list of dict
        For each frame: quantity -> (errors, deviations), energies by atom. Components of forces that vanish by
        symmetry, error and deviation both, are left out: their deviation is nothing beside those of all frames.
    """
    from tqdm import tqdm

    from openmm_kml.errors import WeightFileError

    scales = potential.weights.uncertainty
    if scales is None:
        raise WeightFileError("this model has no uncertainty: train it again without --no-uncertainty")
    found = []
    disabled, total = not progress, len(predictions)
    bar = tqdm(frames, "uncertainty", total, disable=disabled, delay=2.0, leave=False, dynamic_ncols=True)
    for (positions, numbers, cell, pbc, energy, forces), (e, f) in zip(bar, predictions, strict=True):
        said = potential.evaluate_uncertainty(positions, numbers, cell, pbc, forces=forces is not None)
        found.append(_frame(said, energy, forces, e, f))
    return _without_vanishing(found, scales)


def _frame(said, energy, forces, e, f):
    import numpy as np

    result, n = {}, np.shape(f)[0]
    if energy is not None:
        result["energy_per_atom"] = (np.array([(e - energy) / n]), np.array([said.energy_std / n]))
    if forces is not None:
        result["forces"] = ((f - forces).ravel(), said.force_std.ravel())
    return result


def _without_vanishing(found, scales):
    """Return the same frames without the components of forces that vanish; of a perfect crystal all do."""
    import numpy as np

    from openmm_kml.calibration import is_open

    places = [k for k, one in enumerate(found) if "forces" in one]
    if not places:
        return found
    deviations = [found[k]["forces"][1] for k in places]
    stacked = np.concatenate(deviations)
    kept = is_open((stacked / scales.force_scale) ** 2 - scales.force_floor**2) & (stacked > _ROUNDING)
    ends = np.cumsum([len(values) for values in deviations])[:-1]
    for k, mask in zip(places, np.split(kept, ends), strict=True):
        found[k]["forces"] = tuple(values[mask] for values in found[k]["forces"])
    return found


def measures(collected, uncertainty):
    """Return quantity -> `openmm_kml.calibration.measure` of frames, by the distributions of an `Uncertainty`."""
    from openmm_kml.calibration import measure

    found = [name for name in _UNITS if any(name in one for one in collected)]
    return {name: measure(*joined(collected, name, uncertainty)) for name in found}


def joined(collected, name, uncertainty):
    """Return the errors and the deviations of one quantity of all frames, and the tail of its distribution."""
    import numpy as np

    parts = [one[name] for one in collected if name in one]
    errors, deviations = (np.concatenate(values) for values in zip(*parts, strict=True))
    return errors, deviations, getattr(uncertainty, _TAILS[name])


def by_group(collected, groups, uncertainty):
    """Return group -> `measures`; nothing where there is only one group."""
    names = sorted(set(groups))
    if len(names) < 2:
        return {}
    return {
        name or "(no group)": measures(
            [one for one, group in zip(collected, groups, strict=True) if group == name], uncertainty
        )
        for name in names
    }


def print_uncertainty(measured, groups):
    """Print a table of `measures`, of all frames and of groups."""
    for quantity, title in (("energy_per_atom", "energy per atom"), ("forces", "force components")):
        rows = [("all", measured), *groups.items()]
        rows = [(name, part[quantity]) for name, part in rows if part.get(quantity, {}).get("n")]
        if not rows:
            continue
        unit = _UNITS[quantity]
        print(f"\nuncertainty of {title}")
        header = ("", "n", *(label for _, label, _, _ in _COLUMNS))
        units = ("", "", *(f"m{unit}" if text == "m" else text for _, _, text, _ in _COLUMNS))
        print_table([header, units, *(_line(name, part) for name, part in rows)])


def _line(name, part):
    cells = ["-" if part[key] is None else text(part[key]) for key, _, _, text in _COLUMNS]
    return (name, str(part["n"]), *cells)
