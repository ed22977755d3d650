"""The baseline of a Δ-model on the particles of a larger System, in which its molecule is one of many."""

import numpy as np
import openmm

from openmm_kml.errors import DataError
from openmm_kml.interfaces.baseline import energy_forces

COULOMB = 138.93545764438198  # kJ/mol nm, OpenMM's e²/(4 π ε0)

# Classes of bonded forces: what their terms are called, and how many particles each has, which come first.
_BONDED = {
    openmm.HarmonicBondForce: ("Bond", 2),
    openmm.HarmonicAngleForce: ("Angle", 3),
    openmm.PeriodicTorsionForce: ("Torsion", 4),
    openmm.RBTorsionForce: ("Torsion", 4),
    openmm.CustomBondForce: ("Bond", 2),
    openmm.CustomAngleForce: ("Angle", 3),
    openmm.CustomTorsionForce: ("Torsion", 4),
}


def check_placeable(system):
    """Raise DataError if a force of a baseline cannot be put onto particles of another System."""
    for force in energy_forces(system):
        if type(force) is openmm.NonbondedForce:
            fits = (
                force.getNonbondedMethod() == openmm.NonbondedForce.NoCutoff
                and force.getNumParticleParameterOffsets() == force.getNumExceptionParameterOffsets() == 0
            )
        else:
            fits = type(force) in _BONDED
        if not fits:
            raise DataError(
                f"{force.getName()} of the baseline ({type(force).__name__}) cannot be moved to a molecule of a larger "
                "System: keep the classical System whole there and add KMLForce(model, particles, baseline_added=True)"
            )


def forces_on(system, particles):
    """Return the forces of a baseline, to be added to a larger System.

    Parameters
    ----------
    system : openmm.System
        The baseline; `check_placeable` accepts it.
    particles : sequence of int
        Particle of the larger System in the place of each of the baseline's.

    Returns
    -------
    list of openmm.Force
        Energies and forces are those of the molecule alone: no cutoff, no periodic images.
    """
    particles = [int(particle) for particle in particles]
    return [
        _pairs_on(force, particles) if isinstance(force, openmm.NonbondedForce) else _bonded_on(force, particles)
        for force in energy_forces(system)
    ]


def _bonded_on(force, particles):
    name, size = _BONDED[type(force)]
    copy = openmm.XmlSerializer.clone(force)
    for k in range(getattr(copy, f"getNum{name}s")()):
        values = list(getattr(copy, f"get{name}Parameters")(k))
        values[:size] = [particles[index] for index in values[:size]]
        getattr(copy, f"set{name}Parameters")(k, *values)
    return copy


def _pairs_on(force, particles):
    """Return the interactions of all pairs of a NonbondedForce as a bonded force: no other particle takes part."""
    charge, sigma, epsilon = np.array(
        [[value._value for value in force.getParticleParameters(k)] for k in range(force.getNumParticles())]
    ).T
    pairs = {
        (i, j): (charge[i] * charge[j], (sigma[i] + sigma[j]) / 2, np.sqrt(epsilon[i] * epsilon[j]))
        for j in range(len(charge))
        for i in range(j)
    }
    for k in range(force.getNumExceptions()):
        i, j, *values = force.getExceptionParameters(k)
        pairs[min(i, j), max(i, j)] = tuple(value._value for value in values)
    result = openmm.CustomBondForce(f"{COULOMB}*q/r + 4*epsilon*((sigma/r)^12 - (sigma/r)^6)")
    result.setName(force.getName())
    for name in ("q", "sigma", "epsilon"):
        result.addPerBondParameter(name)
    for (i, j), values in pairs.items():
        if values[0] or values[2]:
            result.addBond(particles[i], particles[j], [float(value) for value in values])
    return result
