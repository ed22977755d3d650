"""The option ``--baseline``, which the commands share: what a model is the difference to."""

import dataclasses
from pathlib import Path

from openmm_kml.cli.common import warn

_DIMERS = 40  # distances at which two atoms are looked at


def add_baseline_option(parser):
    parser.add_argument(
        "--baseline",
        metavar="WHAT",
        help="what the model is the difference to: a weight file, MODULE:FUNCTION or FILE.py:FUNCTION that makes an "
        "ASE calculator, or a serialized OpenMM System (.xml)",
    )


def baseline_files(baseline):
    """Return the files that the word after ``--baseline`` names, which no output may replace."""
    if baseline is None:
        return []
    module = baseline.rpartition(":")[0]
    return [path for path in (Path(baseline), Path(module)) if path.name and path.is_file()]


def load_potential(model, baseline):
    """Return the `KernelPotential` of a weight file, of the sum with the baseline where there is one.

    Parameters
    ----------
    model : path
    baseline : str or None
        The word after ``--baseline``.

    Raises
    ------
    openmm_kml.errors.WeightFileError
        If the model is the difference to a baseline and none or another one is given, or if one is given to a model
        that is the whole energy.
    openmm_kml.errors.DataError
        If the baseline is none.
    """
    from openmm_kml.potential import KernelPotential

    if baseline is None:
        return KernelPotential.load(model)
    from openmm_kml.interfaces.baselines import SumPotential

    return SumPotential.load(model, baseline)


def without_baseline(name, *sets):
    """Return the baseline, None without one, and sets of reference data minus what it gives.

    Parameters
    ----------
    name : str or None
        The word after ``--baseline``.
    *sets : MoleculeSet or StructureSet
    """
    if name is None:
        return None, sets
    from openmm_kml.interfaces.baselines import resolve_baseline, subtract_from

    baseline = resolve_baseline(name)
    rest = [subtract_from(part, baseline) for part in sets]
    whole, left = (_rms_force(part) for part in (sets[0], rest[0]))
    if left >= whole > 0:
        warn(
            f"the baseline {baseline.name} makes nothing easier: forces of {whole:.3g} eV/Å (root mean square) become "
            f"{left:.3g} once it is subtracted; check that its atoms are in the order of the data, or leave it out"
        )
    return baseline, rest


def _rms_force(data):
    """Return the root mean square of the force components of a set, eV/Å; 0 without forces."""
    import numpy as np

    from openmm_kml.structures import MoleculeSet

    forces = [data.forces] if isinstance(data, MoleculeSet) else [frame.forces for frame in data]
    components = [np.ravel(part) for part in forces if part is not None]
    return float(np.sqrt(np.mean(np.concatenate(components) ** 2))) if components else 0.0


def with_record(weights, baseline):
    """Return the weights of a model that says what it is the difference to; as they are without a baseline."""
    if baseline is None:
        return weights
    from openmm_kml.interfaces.baselines import record

    return dataclasses.replace(weights, baseline=record(baseline))


def warn_of_lost_virials(baseline, train, rest):
    """Warn of virials that the training frames have, and their difference to a baseline lacks."""
    from openmm_kml.interfaces.baselines import lost_virials

    lost = lost_virials(train, rest)
    if lost:
        warn(f"the baseline {baseline.name} has no stress: the virials of {lost} training frames are left out")


def warn_of_attraction(weights, baseline, shortest):
    """Warn of two atoms that the sum of a baseline and a model draws together at distances without data."""
    import numpy as np

    from openmm_kml.elements import SYMBOLS
    from openmm_kml.errors import KMLError
    from openmm_kml.interfaces.baselines import SumPotential
    from openmm_kml.weights import to_bytes

    potential = SumPotential(to_bytes(weights), baseline)
    for pair, distance in shortest.items():
        numbers = [SYMBOLS.index(name) for name in pair.split("-")]
        places = [[[0.0, 0.0, 0.0], [0.0, 0.0, r]] for r in np.linspace(0.3 * distance, distance, _DIMERS)]
        try:
            energies = [potential.evaluate(positions, numbers).energy for positions in places]
        except KMLError:  # calculators that do not converge there, or do not know two atoms alone
            continue
        if np.any(np.diff(energies) > 0):
            warn(
                f"{pair}: model and baseline together attract somewhere below {distance:.2f} Å, where there are no "
                "data; add frames with short distances, or choose a baseline that repels there"
            )
