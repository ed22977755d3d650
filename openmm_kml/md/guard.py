"""The guard: a run that has left physics is stopped before it fills a disk with nonsense."""

from collections import deque

import numpy as np

from openmm_kml.bonds import covalent_sums
from openmm_kml.elements import symbol
from openmm_kml.errors import KMLError
from openmm_kml.md.system import GAS_CONSTANT
from openmm_kml.weights import write_atomically

KEPT_FRAMES = 10


class SimulationError(KMLError, RuntimeError):
    """The guard stopped a run; the message says at which step and why."""


class Guard:
    """Watches positions and velocities, and keeps the last good frames.

    Parameters
    ----------
    start : openmm_kml.md.start.Start
    masses : ndarray of shape (n,), dalton
    degrees_of_freedom : int
    settings : openmm_kml.md.settings.Settings
    """

    def __init__(self, start, masses, degrees_of_freedom, settings):
        self._numbers = start.numbers
        self._masses = masses
        self._degrees_of_freedom = degrees_of_freedom
        self._hottest = settings.hottest
        self._i, self._j = np.triu_indices(len(start.numbers), 1)
        sums = covalent_sums(start.numbers)[self._i, self._j]
        bonded = {tuple(bond) for bond in start.bonds}
        is_bond = np.array([pair in bonded for pair in zip(self._i.tolist(), self._j.tolist(), strict=True)], bool)
        self._longest = np.where(is_bond, settings.max_stretch * sums, np.inf)
        self._shortest = settings.min_contact * sums
        self.frames = deque(maxlen=KEPT_FRAMES)

    def temperature(self, velocities):
        """Return the temperature of velocities, shape (n, 3) in nm/ps, in K."""
        kinetic = 0.5 * np.sum(self._masses[:, None] * velocities**2)
        return 2 * kinetic / (self._degrees_of_freedom * GAS_CONSTANT)

    def complaint(self, positions, velocities, energy=0.0):
        """Return what is wrong in one clause, or None.

        Parameters
        ----------
        positions : ndarray of shape (n, 3), Å
        velocities : ndarray of shape (n, 3), nm/ps
        energy : float
        """
        if not (np.isfinite(positions).all() and np.isfinite(velocities).all() and np.isfinite(energy)):
            return "a position, a velocity or the energy is not finite"
        temperature = self.temperature(velocities)
        if temperature > self._hottest:
            return f"the temperature is {temperature:.0f} K, above the bound of {self._hottest:.0f} K"
        difference = positions[self._i] - positions[self._j]
        distances = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        long, close = distances > self._longest, distances < self._shortest
        if long.any():
            pair = int(np.argmax(np.where(long, distances / self._longest, 0)))
            return f"the bond {self._names(pair)} is {distances[pair]:.2f} Å long, above {self._longest[pair]:.2f} Å"
        if close.any():
            pair = int(np.argmin(distances / self._shortest))
            return f"{self._names(pair)} are {distances[pair]:.2f} Å apart, below {self._shortest[pair]:.2f} Å"
        return None

    def keep(self, step, positions):
        """Remember a good frame."""
        self.frames.append((step, positions))

    def write_frames(self, path):
        """Write the last good frames as extended XYZ, Å."""
        lines = []
        for step, positions in self.frames:
            lines += [str(len(positions)), f"Properties=species:S:1:pos:R:3 step={step}"]
            for number, position in zip(self._numbers, positions, strict=True):
                lines.append(f"{symbol(number):<2} " + " ".join(f"{x:.8f}" for x in position))
        write_atomically(path, ("\n".join(lines) + "\n").encode())

    def _names(self, pair):
        first, second = int(self._i[pair]), int(self._j[pair])
        return f"{symbol(self._numbers[first])}{first + 1}–{symbol(self._numbers[second])}{second + 1}"
