"""The guard: a run that has left physics is stopped before it fills a disk with nonsense."""

from collections import deque

import numpy as np

from openmm_kml.bonds import covalent_sums, radii_of
from openmm_kml.elements import symbol
from openmm_kml.errors import KMLError
from openmm_kml.files import write_atomically
from openmm_kml.md.system import GAS_CONSTANT
from openmm_kml.neighbors import neighbor_list

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
    molecule : bool
        True looks at all pairs and at the bonds of a molecule; False at the neighbors in the box alone.
    """

    def __init__(self, start, masses, degrees_of_freedom, settings, molecule=True):
        self._numbers = start.numbers
        self._masses = masses
        self._degrees_of_freedom = degrees_of_freedom
        self._hottest = settings.hottest
        self._min_contact = settings.min_contact
        self._molecule = molecule
        self._radii = radii_of(start.numbers)
        if molecule:
            self._set_pairs(start, settings)
        self.frames = deque(maxlen=KEPT_FRAMES)

    def _set_pairs(self, start, settings):
        self._i, self._j = np.triu_indices(len(start.numbers), 1)
        sums = covalent_sums(start.numbers)[self._i, self._j]
        bonded = {tuple(bond) for bond in start.bonds}
        is_bond = np.array([pair in bonded for pair in zip(self._i.tolist(), self._j.tolist(), strict=True)], bool)
        self._longest = np.where(is_bond, settings.max_stretch * sums, np.inf)
        self._shortest = settings.min_contact * sums

    def temperature(self, velocities):
        """Return the temperature of velocities, shape (n, 3) in nm/ps, in K."""
        kinetic = 0.5 * np.sum(self._masses[:, None] * velocities**2)
        return 2 * kinetic / (self._degrees_of_freedom * GAS_CONSTANT)

    def complaint(self, positions, velocities, energy=0.0, box=None):
        """Return what is wrong in one clause, or None.

        Parameters
        ----------
        positions : ndarray of shape (n, 3), Å
        velocities : ndarray of shape (n, 3), nm/ps
        energy : float
        box : ndarray of shape (3, 3), Å, optional
        """
        if not (np.isfinite(positions).all() and np.isfinite(velocities).all() and np.isfinite(energy)):
            return "a position, a velocity or the energy is not finite"
        temperature = self.temperature(velocities)
        if temperature > self._hottest:
            return f"the temperature is {temperature:.0f} K, above the bound of {self._hottest:.0f} K"
        return self._bad_pair(positions) if self._molecule else self._bad_contact(positions, box)

    def _bad_contact(self, positions, box):
        widest = 2 * self._min_contact * self._radii.max()
        cell = {} if box is None else {"cell": box, "pbc": True}
        i, j, _, _, distances = neighbor_list(positions, cutoff=widest, **cell)
        shortest = self._min_contact * (self._radii[i] + self._radii[j])
        if not (distances < shortest).any():
            return None
        pair = int(np.argmin(distances / shortest))
        names = self._name(i[pair]), self._name(j[pair])
        return f"{names[0]} and {names[1]} are {distances[pair]:.2f} Å apart, below {shortest[pair]:.2f} Å"

    def _bad_pair(self, positions):
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

    def keep(self, step, positions, box=None):
        """Remember a good frame."""
        self.frames.append((step, positions, box))

    def write_frames(self, path):
        """Write the last good frames as extended XYZ, Å."""
        lines = []
        for step, positions, box in self.frames:
            cell = "" if box is None else 'Lattice="' + " ".join(f"{x:.8f}" for x in np.ravel(box)) + '" pbc="T T T" '
            lines += [str(len(positions)), f"{cell}Properties=species:S:1:pos:R:3 step={step}"]
            for number, position in zip(self._numbers, positions, strict=True):
                lines.append(f"{symbol(number):<2} " + " ".join(f"{x:.8f}" for x in position))
        write_atomically(path, ("\n".join(lines) + "\n").encode())

    def _names(self, pair):
        return f"{self._name(self._i[pair])}–{self._name(self._j[pair])}"

    def _name(self, atom):
        return f"{symbol(self._numbers[atom])}{int(atom) + 1}"
