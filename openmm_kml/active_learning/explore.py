"""One run of molecular dynamics that ends where the model is unsure."""

import json
from dataclasses import dataclass, replace

import numpy as np

from openmm_kml.active_learning.uncertainty import ModelUncertainty, score
from openmm_kml.md.settings import Settings as DynamicsSettings
from openmm_kml.md.start import start_of_atoms
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
    model : path, optional
        Weight file of the potential, which LAMMPS reads.
    molecule : Structure, optional
        Of a model of one molecule: the geometry whose bonds the guard watches.
    """

    def __init__(self, potential, uncertainty, threshold, bound, settings, molecule=None, model=None):
        self._potential, self._uncertainty, self._model = potential, uncertainty, model
        self._threshold, self._bound = threshold, bound
        self._settings = settings
        self._molecule = None if molecule is None else start_of_atoms(_atoms(molecule))

    def walk(self, frame, temperature, seed, folder=None, keep=None):
        """Return the `Walk` from a structure.

        Parameters
        ----------
        frame : Structure
        temperature : float, K
        seed : int
            Of velocities and noise.
        folder : path, optional
            Where LAMMPS runs; made anew.
        keep : callable, optional
            Given each frame that was looked at.
        """
        run = self._begin(self._start(frame), temperature, seed, folder)
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

    def _begin(self, start, temperature, seed, folder):
        """Return a run, whose `advance` goes on to the next look."""
        settings = self._settings
        chosen = DynamicsSettings(
            ensemble="nvt" if settings.pressure is None or start.box is None else "npt",
            temperature=temperature,
            pressure=1.0 if settings.pressure is None else settings.pressure,
            timestep=settings.timestep,
            steps=settings.steps,
            friction=settings.friction,
            interval=settings.interval,
            seed=seed,
            platform=settings.platform,
        )
        molecule = self._molecule is not None
        if settings.engine == "openmm":
            from openmm_kml.active_learning.openmm_run import OpenMMRun

            return OpenMMRun(self._potential, start, chosen, molecule)
        from openmm_kml.active_learning.lammps_run import LAMMPSRun

        knows = isinstance(self._uncertainty, ModelUncertainty) and not molecule
        return LAMMPSRun(self._model, start, chosen, molecule, self._bound if knows else np.inf, folder)


def _atoms(frame):
    from ase import Atoms

    return Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
