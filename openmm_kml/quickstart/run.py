"""The quickstart, step by step."""

import dataclasses
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from openmm_kml.bonds import bonds_from_positions
from openmm_kml.errors import DataError
from openmm_kml.quickstart.observables import bond_lengths, energy_drift

TEMPERATURE = 500.0  # K, at which the bundled geometries were sampled
SCRIPT = "simulate.py"
_DATA = "ethanol_pbe.npz"


@dataclass(frozen=True)
class Settings:
    """Sizes of the quickstart.

    Parameters
    ----------
    n_train, n_validation : int
        Frames; all the others are the test set.
    sizes : tuple of int
        Smaller training sets of the learning curve.
    picoseconds : float
        Length of each of the two runs.
    options : dict
        Fields of `openmm_kml.training.GDMLOptions` that are set beforehand.
    """

    n_train: int = 250
    n_validation: int = 100
    sizes: tuple = (25, 50, 100)
    picoseconds: float = 5.0
    options: dict = field(default_factory=dict)

    @classmethod
    def quick(cls):
        """Return sizes for tests: every step is made, none takes long, and the numbers mean little."""
        return cls(n_train=20, n_validation=10, sizes=(10,), picoseconds=0.1, options={"kernel": "matern92"})


@dataclass
class Results:
    """What the steps found, for the report."""

    molecule: object
    theory: str
    bundled: bool
    counts: dict
    fit_report: dict
    errors: dict
    test_set: object
    test_energies: np.ndarray
    test_forces: np.ndarray
    curve: list
    langevin: object
    nve: object
    reference_bonds: dict
    simulated_bonds: dict
    drift: tuple
    seconds: dict


def bundled_data():
    """Return the path of the bundled ethanol set, installed with the package or in a source checkout."""
    installed = files("openmm_kml") / "data" / _DATA
    if installed.is_file():
        with as_file(installed) as path:
            return Path(path)
    checkout = Path(__file__).resolve().parents[2] / "examples" / "data" / _DATA
    if checkout.is_file():
        return checkout
    raise DataError(
        f"the bundled ethanol set is missing (looked for {installed} and {checkout}); install the package again, or "
        "name a file with --data"
    )


def run_quickstart(output, settings, seed=0, data=None, n_threads=None, say=print):
    """Train, test and simulate, and leave the files in a directory.

    Everything is written into a temporary directory first and moved to its place at the end, so that a run that is
    stopped leaves nothing behind. A ``simulate.py`` that is there already and differs is kept.

    Parameters
    ----------
    output : path-like
        Directory; made if it is not there.
    settings : Settings
    seed : int
    data : path-like, optional
        Reference data instead of the bundled set.
    n_threads : int, optional
    say : callable
        Where progress goes.

    Returns
    -------
    list of pathlib.Path
        The files left, and the report among them.
    """
    output = Path(output).resolve()
    if output.exists() and not output.is_dir():
        raise DataError(f"{output} is a file; name a directory with --output")
    if not output.parent.is_dir():
        raise DataError(f"there is no directory {output.parent}; create it first")
    work = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent))
    try:
        _steps(work, settings, seed, data, n_threads, say)
        return _move(work, output, say)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _steps(work, settings, seed, data, n_threads, say):
    """Do all the work in the directory ``work``."""
    from openmm_kml.quickstart.report import write_report
    from openmm_kml.structures import read_molecules, split

    clock = _Clock()
    path = Path(data) if data else bundled_data()
    molecules = read_molecules(path)
    if molecules.energies is None or molecules.forces is None:
        raise DataError(f"{path} needs energies and forces for every frame")
    train, validation, test = split(molecules, settings.n_train, settings.n_validation, seed=seed)
    if len(test) == 0:
        raise DataError(f"{path} has {len(molecules)} frames, none of which is left for the test; at least one must be")
    counts = {"n_train": len(train), "n_validation": len(validation), "n_test": len(test)}
    say(
        f"1/5  data: {len(molecules)} frames of {molecules.formula}: {len(train)} for training, {len(validation)} for "
        f"validation, {len(test)} for the test"
    )

    say("2/5  training")
    fit, (energies, forces, errors) = _train(work, (train, validation, test), molecules, settings, seed, n_threads)
    clock.lap("training")
    say(f"     forces on the test set are off by {1e3 * errors['forces_mae']:.1f} meV/Å on average")

    say("3/5  learning curve")
    curve = _curve(train, validation, test, fit, settings, seed, n_threads)
    curve.append({"n_train": len(train), "seed": seed, **errors})
    clock.lap("learning curve")

    say(f"4/5  dynamics: {settings.picoseconds:g} ps of Langevin and {settings.picoseconds:g} ps at constant energy")
    pairs, langevin, nve = _simulate(work, molecules, settings, seed)
    clock.lap("dynamics")
    say(f"     {langevin.nanoseconds_per_day:.1f} ns a day on one core, mean {langevin.temperature.mean():.0f} K")

    say("5/5  report")
    results = Results(
        molecule=molecules,
        theory=_theory(path),
        bundled=not data,
        counts=counts,
        fit_report=fit.report,
        errors=errors,
        test_set=test,
        test_energies=energies,
        test_forces=forces,
        curve=curve,
        langevin=langevin,
        nve=nve,
        reference_bonds=bond_lengths(molecules.numbers, pairs, molecules.positions),
        simulated_bonds=bond_lengths(molecules.numbers, pairs, langevin.positions),
        drift=energy_drift(nve.time, nve.potential + nve.kinetic, molecules.n_atoms),
        seconds=clock.laps,
    )
    write_report(work / "report.html", results)


def _train(work, parts, molecules, settings, seed, n_threads):
    """Return the fit, and its energies, forces and errors on the test set; the weight file is in ``work``."""
    from openmm_kml.training import GDMLOptions, fit_gdml
    from openmm_kml.weights import save

    train, validation, test = parts
    fit = fit_gdml(train, validation, GDMLOptions(seed=seed, n_threads=n_threads, **settings.options))
    tested = _tested(fit.weights, test, n_threads)
    counts = {"n_train": len(train), "n_validation": len(validation), "n_test": len(test)}
    provenance = {
        **fit.weights.provenance,
        "command": f"kml quickstart --seed {seed}",
        "data": {"name": molecules.name, "digest": molecules.digest, "frames": len(molecules)},
        "split": counts | {"seed": seed},
        "errors": {"validation": fit.report["validation_errors"], "test": tested[2]},
    }
    save(dataclasses.replace(fit.weights, provenance=provenance), work / "ethanol.safetensors")
    return fit, tested


def _tested(weights, test, n_threads):
    """Return the energies, forces and errors of the engine on the test set."""
    from openmm_kml.metrics import errors
    from openmm_kml.potential import KernelPotential
    from openmm_kml.weights import to_bytes

    result = KernelPotential.from_bytes(to_bytes(weights)).evaluate_batch(test.positions, n_threads=n_threads)
    return result.energy, result.forces, errors(result.energy, result.forces, test)


def _curve(train, validation, test, fit, settings, seed, n_threads):
    """Return the errors of smaller training sets, parts of the whole one, with what the whole one chose."""
    from openmm_kml.training import GDMLOptions, fit_gdml

    chosen = fit.report["hyperparameters"]
    fixed = {name: chosen[name] for name in ("power", "kernel", "energies") if name in chosen}
    points = []
    for size in settings.sizes:
        options = GDMLOptions(seed=seed, n_threads=n_threads, progress=False, **fixed)
        # Splits are in random order, so the first frames of the training set are a random choice.
        smaller = fit_gdml(train[:size], validation, options)
        points.append({"n_train": size, "seed": seed, **_tested(smaller.weights, test, n_threads)[2]})
    return points


def _simulate(work, molecules, settings, seed):
    """Return the bonds and the two runs; the script, the start and the trajectories are in ``work``."""
    from openmm_kml.quickstart.dynamics import langevin_and_nve, write_start

    lowest = molecules.positions[np.argmin(molecules.energies)]
    pairs = bonds_from_positions(molecules.numbers, lowest)
    write_start(work / "ethanol.pdb", molecules.numbers, lowest, pairs, "ethanol")
    script = files("openmm_kml.quickstart") / SCRIPT
    (work / SCRIPT).write_text(script.read_text(encoding="utf-8"), encoding="utf-8")
    langevin, nve = langevin_and_nve(
        work / "ethanol.safetensors", work / "ethanol.pdb", work, TEMPERATURE, settings.picoseconds, seed
    )
    return pairs, langevin, nve


def _theory(path):
    """Return the level of theory that an ``.npz`` file states, or a plain word for it."""
    from openmm_kml.structures.npz import NpzFile

    if path.suffix != ".npz":
        return "the reference method"
    with NpzFile(path) as file:
        return file.text("theory", "the reference method")


def _move(work, output, say):
    """Move the finished files into the output directory, one rename each, and return their paths."""
    output.mkdir(exist_ok=True)
    moved = []
    for source in sorted(work.iterdir()):
        target = output / source.name
        if source.name == SCRIPT and target.exists() and target.read_bytes() != source.read_bytes():
            say(f"     {target} differs from the new one and is kept; the new one is simulate.new.py")
            target = output / "simulate.new.py"
        source.replace(target)
        moved.append(target)
    return moved


class _Clock:
    """Seconds that the steps took."""

    def __init__(self):
        self.laps = {}
        self._last = time.perf_counter()

    def lap(self, name):
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
