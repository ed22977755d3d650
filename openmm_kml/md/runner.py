"""A run of molecular dynamics: what it needs, and what a continuation must have in common with it."""

import hashlib
import json
from pathlib import Path

import openmm

from openmm_kml.errors import DataError
from openmm_kml.md.outputs import TRAJECTORIES
from openmm_kml.md.simulation import CHECKPOINT, TABLE, TRAJECTORY, Simulation
from openmm_kml.md.start import model_order, read_start
from openmm_kml.md.system import add_barostat, build_system, find_platform
from openmm_kml.md.uncertainty import DOUBTS, UNCERTAIN, UncertaintyWatch


def run(potential, start_path, directory, settings, *, resume=False, progress=True):
    """Run molecular dynamics of one molecule, or of any structure under a model of local terms.

    Parameters
    ----------
    potential : openmm_kml.potential.KernelPotential
        Of a sum of a baseline and a model of one molecule, the start has the model's order of atoms.
    start_path : path
        Atoms and positions, as `openmm_kml.md.start.read_start` reads them.
    directory : path
        Where the files are written; made if it does not exist.
    settings : Settings
    resume : bool
        Go on from the checkpoint in the directory, up to ``settings.steps``.
    progress : bool
        Show a progress bar with ns/day and the remaining time.

    Returns
    -------
    Summary

    Raises
    ------
    SimulationError
        If the guard stopped the run; the last good frames are in ``last_good.xyz``, or the frame of which the model was
        not certain in ``uncertain.xyz``.
    ValueError, DataError, OSError
        If the input is not right; nothing was run then.
    """
    platform = find_platform(settings.platform)
    start = read_start(start_path, molecule=potential.species is not None)
    particles = model_order(potential, start)
    if potential.source is not None and particles != tuple(range(len(particles))):
        raise ValueError(f"with a baseline, the atoms of {start_path} must stand in the model's order; they do not")
    system = build_system(potential, start, particles, settings.n_threads)
    if settings.ensemble == "npt":
        add_barostat(system, start, settings)
    identity = _identity(potential, start, particles, settings, platform)
    directory = Path(directory)
    watch = None
    if settings.guard_uncertainty is not None:
        watch = UncertaintyWatch(potential, start_path, start, particles, settings, directory)
    if not resume:
        _prepare(directory, settings)
    molecule = potential.species is not None
    simulation = Simulation(system, start, settings, platform, identity, directory, molecule, watch)
    if not resume:
        simulation.begin()
    return simulation.go_on(progress)


def _identity(potential, start, particles, settings, platform):
    """Return what a continuation must have in common with the run, as plain JSON."""
    result = settings.identity() | {
        "platform": platform.getName(),
        "model": f"sha256:{hashlib.sha256(potential.to_bytes()).hexdigest()}",
        "atoms": [int(number) for number in start.numbers],
        "order of the atoms": [int(index) for index in particles],
        "version of OpenMM": openmm.version.short_version,
    }
    if start.box is not None:
        result["box"] = start.box.tolist()
    if potential.source is not None:
        result["baseline"] = potential.source.digest
    return json.loads(json.dumps(result))


def _prepare(directory, settings):
    """Make the directory, and refuse one that holds a run."""
    if directory.exists() and not directory.is_dir():
        raise DataError(f"{directory} is a file; name a directory for the run")
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / CHECKPOINT).exists():
        raise DataError(f"{directory} holds a run already: --resume goes on with it, or name another directory")
    for name in (TABLE, TRAJECTORY + TRAJECTORIES[settings.trajectory].suffix, DOUBTS, UNCERTAIN):
        if (directory / name).exists():
            raise DataError(f"{directory / name} exists already and is kept; name another directory")
