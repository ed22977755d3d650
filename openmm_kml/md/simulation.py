"""A run's steps, from its checkpoint to the last: reports, the guards' looks, checkpoints, signals."""

import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import openmm
from openmm import unit

from openmm_kml import units
from openmm_kml.errors import DataError
from openmm_kml.files import write_atomically
from openmm_kml.md.checkpoint import check_identity, read_checkpoint, write_checkpoint
from openmm_kml.md.guard import Guard, SimulationError
from openmm_kml.md.outputs import TRAJECTORIES, Table, energy_columns
from openmm_kml.md.start import pdb_text
from openmm_kml.md.system import GAS_CONSTANT, build_integrator, degrees_of_freedom, draw_velocities, seed_barostat
from openmm_kml.md.uncertainty import DOUBTS, UNCERTAIN

GUARD_INTERVAL = 100  # steps at most between two looks of the guard: some 60 µs each, against 100 evaluations

CHECKPOINT, TABLE, TRAJECTORY, STRUCTURE, LAST_GOOD = (
    "checkpoint",
    "energies.csv",
    "trajectory",
    "start.pdb",
    "last_good.xyz",
)


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes
    ----------
    first_step, last_step : int
    signal : int
        Number of the signal, SIGINT or SIGTERM, that ended it early; 0 when nothing did. A continuation goes on from
        `last_step`.
    nanoseconds_per_day : float
    temperature : float, K
        Mean over the lines that were written.
    files : tuple of path
    uncertainty : str
        One sentence on what the guard of the uncertainty saw; empty without one.
    """

    first_step: int
    last_step: int
    signal: int
    nanoseconds_per_day: float
    temperature: float
    files: tuple
    uncertainty: str = ""


class _Look(NamedTuple):
    """Positions and box vectors in Å, velocities in nm/ps, potential and kinetic energy in eV or None."""

    step: int
    positions: np.ndarray
    velocities: np.ndarray
    energies: tuple | None
    box: np.ndarray | None


class Simulation:
    """A Context, its guard and its files; a run begins, or begins again, from a checkpoint on the disk."""

    def __init__(self, system, start, settings, platform, identity, directory, molecule, watch=None):
        self._start, self._settings, self._identity, self._directory = start, settings, identity, directory
        self._system, self._platform = system, platform
        self._masses = np.array([system.getParticleMass(k)._value for k in range(system.getNumParticles())])
        self._dof = degrees_of_freedom(len(self._masses), settings.ensemble)
        self._guard = Guard(start, self._masses, self._dof, settings, molecule)
        self._watch = watch
        self._checkpoint = directory / CHECKPOINT

    def begin(self):
        """Write the checkpoint of step 0, from which every run goes on."""
        context = self._context(0)
        context.setPositions(self._start.positions * 0.1)
        if self._settings.minimize:
            openmm.LocalEnergyMinimizer.minimize(context)
        context.setVelocities(draw_velocities(self._masses, self._settings))
        now = self._observe(context, energy=True)
        complaint = self._guard.complaint(now.positions, now.velocities, now.energies[0], now.box)
        if complaint is not None:
            raise DataError(f"the run cannot start: {complaint}; relax the start, for example with --minimize")
        write_atomically(self._directory / STRUCTURE, pdb_text(self._start).encode())
        write_checkpoint(self._checkpoint, now.step, self._identity, {}, context.createCheckpoint())

    def go_on(self, progress):
        """Run from the checkpoint to the last step and return the `Summary`."""
        step, outputs, context = self._restored()
        if step >= self._settings.steps:
            raise DataError(f"the run is already at step {step}; ask for more steps than that to go on")
        table, trajectory = self._open(outputs)
        try:
            if self._watch is not None:
                self._watch.open(outputs, step)
            return self._integrate(context, step, table, trajectory, progress)
        finally:
            table.close()
            trajectory.close()
            if self._watch is not None:
                self._watch.close()

    def _restored(self):
        if not self._checkpoint.exists():
            raise DataError(f"{self._directory} has no run to resume: {self._checkpoint} is missing; start one first")
        step, identity, outputs, context_state = read_checkpoint(self._checkpoint)
        check_identity(self._checkpoint, identity, self._identity)
        context = self._context(step)
        context.loadCheckpoint(context_state)
        return step, outputs, context

    def _context(self, step):
        seed_barostat(self._system, self._settings, step)
        return openmm.Context(self._system, build_integrator(self._settings, step), self._platform)

    def _open(self, outputs):
        settings = self._settings
        kind = TRAJECTORIES[settings.trajectory]
        size = outputs.get("table", {"size": 0})["size"]
        table = Table(self._directory / TABLE, size, energy_columns(self._start.box is not None))
        mark = outputs.get("trajectory", {"size": 0, "frames": 0})
        path = (self._directory / TRAJECTORY).with_suffix(kind.suffix)
        try:
            trajectory = kind(path, self._start.topology, settings.timestep * 1e-3, settings.interval, **mark)
        except BaseException:
            table.close()
            raise
        return table, trajectory

    def _integrate(self, context, first, table, trajectory, progress):
        settings, integrator = self._settings, context.getIntegrator()
        step, temperatures = first, []
        clock = _Clock(settings, first)
        saved = time.monotonic()

        def report():
            now = self._observe(context, energy=True)
            self._check(now, now.energies[0])
            temperature = 2 * now.energies[1] / units.KJ_PER_MOL / (self._dof * GAS_CONSTANT)
            volume = () if now.box is None else (np.linalg.det(now.box),)
            time_ps = now.step * settings.timestep * 1e-3
            table.write(now.step, time_ps, *now.energies, sum(now.energies), temperature, *volume)
            trajectory.write(now.positions, now.box)
            temperatures.append(temperature)
            return now

        def save():
            outputs = {"table": table.mark(), "trajectory": trajectory.mark()}
            if self._watch is not None:
                outputs |= self._watch.marks()
            write_checkpoint(self._checkpoint, step, self._identity, outputs, context.createCheckpoint())

        def watch(now, again=False):
            if self._watch is None or step % settings.guard_interval:
                return
            complaint = self._watch.complaint(now, again)
            if complaint is not None:
                save()  # a continuation with another threshold goes on from here
                raise SimulationError(complaint)

        with _signals() as stop, clock.bar(progress) as bar:
            if step == 0:
                watch(report())
            else:
                now = self._observe(context)
                self._guard.keep(step, now.positions, now.box)  # it was looked at before the checkpoint was written
                watch(now, again=True)  # here the run may have been stopped
            while step < settings.steps and not stop:
                target = _next(step, settings)
                self._advance(integrator, step, target)
                bar.update(target - step)
                step = target
                if step % settings.interval == 0:
                    now = report()
                    clock.show(bar, step)
                else:
                    now = self._observe(context)
                    self._check(now)
                watch(now)
                if time.monotonic() - saved >= settings.checkpoint_seconds:
                    save()
                    saved = time.monotonic()
            save()
        mean = float(np.mean(temperatures)) if temperatures else float("nan")
        ended_by = stop[0] if step < settings.steps else 0
        said = "" if self._watch is None else self._watch.summary()
        return Summary(first, step, ended_by, clock.speed(step), mean, self._files(trajectory), said)

    def _advance(self, integrator, step, target):
        try:
            integrator.step(target - step)
        except openmm.OpenMMException as error:
            self._stop(f"{' '.join(str(error).split())}", step, target)

    def _observe(self, context, energy=False):
        """Return what a Context is like now."""
        state = context.getState(positions=True, velocities=True, energy=energy)
        energies = None
        if energy:
            both = state.getPotentialEnergy(), state.getKineticEnergy()
            energies = tuple(value.value_in_unit(unit.kilojoule_per_mole) * units.KJ_PER_MOL for value in both)
        positions = state.getPositions(asNumpy=True)._value * 10.0
        box = None if self._start.box is None else state.getPeriodicBoxVectors(asNumpy=True)._value * 10.0
        return _Look(state.getStepCount(), positions, state.getVelocities(asNumpy=True)._value, energies, box)

    def _check(self, now, energy=0.0):
        complaint = self._guard.complaint(now.positions, now.velocities, energy, now.box)
        if complaint is not None:
            before = self._guard.frames[-1][0] if self._guard.frames else now.step
            self._stop(complaint, before, now.step)
        self._guard.keep(now.step, now.positions, now.box)

    def _stop(self, complaint, before, step):
        path = self._directory / LAST_GOOD
        self._guard.write_frames(path)
        raise SimulationError(
            f"the run was stopped at step {step}: {complaint}; it was good at step {before}, and {path} has the last "
            f"{len(self._guard.frames)} good frames; take a shorter time step, a lower temperature, or a model that "
            "was trained on such geometries"
        )

    def _files(self, trajectory):
        names = [STRUCTURE, TRAJECTORY + trajectory.suffix, TABLE, CHECKPOINT]
        names += [] if self._watch is None else [DOUBTS, UNCERTAIN]
        return tuple(self._directory / name for name in names if (self._directory / name).exists())


class _Clock:
    """Speed in ns/day, and the progress bar."""

    def __init__(self, settings, first):
        self._settings, self._first, self._started = settings, first, time.perf_counter()

    def speed(self, step):
        seconds = max(time.perf_counter() - self._started, 1e-9)
        return (step - self._first) * self._settings.timestep * 1e-6 * 86400 / seconds

    def bar(self, show):
        from tqdm import tqdm

        total = self._settings.steps
        return tqdm(total=total, initial=self._first, unit=" steps", disable=not show, dynamic_ncols=True)

    def show(self, bar, step):
        bar.set_postfix_str(f"{self.speed(step):.3g} ns/day", refresh=False)


@contextmanager
def _signals():
    """Yield a list that SIGINT and SIGTERM enter: the run then ends after its present steps, with a checkpoint."""
    stop = []
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    former = {number: signal.signal(number, lambda number, _: stop.append(number)) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _next(step, settings):
    """Return the step at which the next report or look of the guard is due."""
    intervals = [settings.interval, min(settings.interval, GUARD_INTERVAL)]
    intervals += [] if settings.guard_uncertainty is None else [settings.guard_interval]
    return min(settings.steps, *((step // interval + 1) * interval for interval in intervals))
