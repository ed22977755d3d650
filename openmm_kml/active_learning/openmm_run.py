"""One run of exploration in OpenMM."""

import numpy as np
import openmm
from openmm import unit

from openmm_kml import units
from openmm_kml.md.guard import Guard
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


class OpenMMRun:
    """A Context and its guard.

    Parameters
    ----------
    potential : openmm_kml.potential.KernelPotential
    start : openmm_kml.md.start.Start
    chosen : openmm_kml.md.settings.Settings
        Of this run.
    molecule : bool
        Whether the model is of one molecule.
    """

    def __init__(self, potential, start, chosen, molecule):
        system = build_system(potential, start, tuple(range(len(start.numbers))), n_threads=1)
        if chosen.ensemble == "npt":
            add_barostat(system, start, chosen)
            seed_barostat(system, chosen, 0)
        masses = np.array([system.getParticleMass(k)._value for k in range(system.getNumParticles())])
        guard_dof = degrees_of_freedom(len(masses), chosen.ensemble)
        self._guard = Guard(start, masses, guard_dof, chosen, molecule)
        self._start, self._chosen, self._step = start, chosen, 0
        self._context = openmm.Context(system, build_integrator(chosen, 0), find_platform(chosen.platform))
        self._context.setPositions(start.positions * 0.1)
        self._context.setVelocities(draw_velocities(masses, chosen))

    def advance(self):
        """Go on to the next look; return the step, what is wrong or None, the structure, and its energy in eV."""
        target = min(self._step + self._chosen.interval, self._chosen.steps)
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
