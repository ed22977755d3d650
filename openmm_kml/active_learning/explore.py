"""One run of molecular dynamics that ends where the model is unsure."""

import json
from dataclasses import dataclass, replace

import numpy as np
import openmm
from openmm import unit

from openmm_kml import units
from openmm_kml.active_learning.uncertainty import score
from openmm_kml.md.guard import Guard
from openmm_kml.md.settings import Settings as DynamicsSettings
from openmm_kml.md.start import start_of_atoms
from openmm_kml.md.system import (
    add_barostat,
    build_integrator,
    build_system,
    degrees_of_freedom,
    draw_velocities,
    find_platform,
    seed_barostat,
)
from openmm_kml.structures import Structure

UNCERTAIN, FINISHED, UNSTABLE = "uncertain", "finished", "unstable"


@dataclass(frozen=True)
class Walk:
    """What a run came to.

    Attributes
    ----------
    reason : str
        ``uncertain``: stopped above the bound; ``finished``: all steps done; ``unstable``: left physics.
    text : str
        In words.
    step : int
        The last one.
    frame : Structure, optional
        To be labeled: where it was stopped, or the most uncertain frame before.
    end : Structure, optional
        Where the next run may begin.
    uncertainty : float
        Of `frame`, or the largest that was seen.
    looks : list of (int, float, float)
        Step, energy in eV, uncertainty.
    """

    reason: str
    text: str
    step: int
    frame: Structure | None
    end: Structure | None
    uncertainty: float
    looks: list

    def to_bytes(self):
        """Return the walk as JSON, every digit kept."""
        content = vars(self) | {"frame": _plain(self.frame), "end": _plain(self.end)}
        return (json.dumps(content) + "\n").encode()

    @classmethod
    def from_bytes(cls, data):
        """Return the walk of `to_bytes`."""
        content = json.loads(data)
        return cls(**content | {"frame": _structure(content["frame"]), "end": _structure(content["end"])})


def _plain(frame):
    if frame is None:
        return None
    cell = None if frame.cell is None else frame.cell.tolist()
    return {"numbers": frame.numbers.tolist(), "positions": frame.positions.tolist(), "cell": cell}


def _structure(content):
    return None if content is None else Structure(content["numbers"], content["positions"], content["cell"])


class Explorer:
    """Runs dynamics under one model until its uncertainty crosses a bound.

    Parameters
    ----------
    potential : openmm_kml.potential.KernelPotential
    uncertainty : callable
        As in `openmm_kml.active_learning.uncertainty`.
    threshold : float
        Above it, the most uncertain frame of a run that was not stopped is worth a label; in the unit of the
        uncertainty.
    bound : float
        Above it, a run is stopped; infinity never stops.
    settings : openmm_kml.active_learning.settings.Settings
    molecule : Structure, optional
        Of a model of one molecule: the geometry whose bonds the guard watches.
    """

    def __init__(self, potential, uncertainty, threshold, bound, settings, molecule=None):
        self._potential, self._uncertainty = potential, uncertainty
        self._threshold, self._bound = threshold, bound
        self._settings = settings
        self._molecule = None if molecule is None else start_of_atoms(_atoms(molecule))

    def walk(self, frame, temperature, seed, keep=None):
        """Return the `Walk` from a structure.

        Parameters
        ----------
        frame : Structure
        temperature : float, K
        seed : int
            Of velocities and noise.
        keep : callable, optional
            Given each frame that was looked at.
        """
        run = _Run(self._potential, self._start(frame), temperature, seed, self._settings, self._molecule is not None)
        looks, best, last = [], (-np.inf, None), None
        while True:
            step, complaint, now, energy = run.advance()
            if complaint is not None:
                text = f"left physics by step {step}: {complaint}"
                return Walk(UNSTABLE, text, step, best[1], None, float(max(best[0], 0.0)), looks)
            value = score(self._uncertainty, now)
            if not np.isfinite(value):
                text = f"has no defined uncertainty at step {step}"
                return Walk(UNSTABLE, text, step, best[1], None, float(max(best[0], 0.0)), looks)
            looks.append((step, energy, value))
            if keep is not None:
                keep(now)
            last = now
            if value > self._bound:
                text = f"stopped at step {step}: {value:.3g} above {self._bound:.3g} {self._uncertainty.unit}"
                return Walk(UNCERTAIN, text, step, now, now, value, looks)
            best = max(best, (value, now), key=lambda pair: pair[0])
            if step >= self._settings.steps:
                text = f"ran {step} steps, uncertain by at most {best[0]:.3g} {self._uncertainty.unit}"
                return Walk(FINISHED, text, step, best[1] if best[0] > self._threshold else None, last, best[0], looks)

    def _start(self, frame):
        if self._molecule is not None:
            return replace(self._molecule, positions=np.array(frame.positions))
        return start_of_atoms(_atoms(frame), molecule=False)


class _Run:
    """A Context and its guard."""

    def __init__(self, potential, start, temperature, seed, settings, molecule):
        ensemble = "nvt" if settings.pressure is None or start.box is None else "npt"
        chosen = DynamicsSettings(
            ensemble=ensemble,
            temperature=temperature,
            pressure=1.0 if settings.pressure is None else settings.pressure,
            timestep=settings.timestep,
            steps=settings.steps,
            friction=settings.friction,
            seed=seed,
            platform=settings.platform,
        )
        system = build_system(potential, start, tuple(range(len(start.numbers))), n_threads=1)
        if ensemble == "npt":
            add_barostat(system, start, chosen)
            seed_barostat(system, chosen, 0)
        masses = np.array([system.getParticleMass(k)._value for k in range(system.getNumParticles())])
        guard_dof = degrees_of_freedom(len(masses), ensemble)
        self._guard = Guard(start, masses, guard_dof, chosen, molecule)
        self._start, self._settings = start, settings
        self._context = openmm.Context(system, build_integrator(chosen, 0), find_platform(settings.platform))
        self._context.setPositions(start.positions * 0.1)
        self._context.setVelocities(draw_velocities(masses, chosen))
        self._step = 0

    def advance(self):
        """Go on to the next look; return the step, what is wrong or None, the structure, and its energy in eV."""
        target = min(self._step + self._settings.interval, self._settings.steps)
        try:
            self._context.getIntegrator().step(target - self._step)
        except openmm.OpenMMException as error:
            return target, " ".join(str(error).split()), None, None
        self._step = target
        state = self._context.getState(positions=True, velocities=True, energy=True)
        positions, velocities = state.getPositions(asNumpy=True)._value * 10.0, state.getVelocities(asNumpy=True)._value
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * units.KJ_PER_MOL
        box = None if self._start.box is None else state.getPeriodicBoxVectors(asNumpy=True)._value * 10.0
        complaint = self._guard.complaint(positions, velocities, energy, box)
        if complaint is not None:
            return target, complaint, None, None
        return target, None, Structure(self._start.numbers, positions, box), energy


def _atoms(frame):
    from ase import Atoms

    return Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
