"""From model and settings to an OpenMM Context."""

import hashlib

import numpy as np
import openmm
from openmm import unit

from openmm_kml.interfaces.openmm import KMLForce

GAS_CONSTANT = 8.31446261815324e-3  # kJ/mol/K, exact


def build_system(potential, start, particles, n_threads=None):
    """Return an OpenMM System of one molecule, or of atoms in a periodic box, under a model.

    Parameters
    ----------
    potential : openmm_kml.potential.KernelPotential
        Of a sum (`openmm_kml.interfaces.baselines.SumPotential`), the forces of the baseline are added, too.
    start : openmm_kml.md.start.Start
    particles : sequence of int
        Index in the start of each atom of the model.
    n_threads : int, optional

    Raises
    ------
    ValueError
        If the baseline is none that runs in OpenMM.
    """
    baseline = potential.source
    classical = getattr(baseline, "system", None)
    system = openmm.System() if classical is None else openmm.XmlSerializer.clone(classical)
    for index, atom in enumerate(start.topology.atoms()):
        if classical is None:
            system.addParticle(atom.element.mass)
        else:
            system.setParticleMass(index, atom.element.mass)
    if start.box is not None:
        system.setDefaultPeriodicBoxVectors(*(start.box * 0.1))
    if classical is None and baseline is not None:
        system.addForce(_force(_model_of(baseline), start, particles, n_threads))
    with_baseline = None if baseline is None else system
    system.addForce(_force(potential, start, particles, n_threads, with_baseline))
    return system


def _force(potential, start, particles, n_threads, baseline_system=None):
    options = {"n_threads": n_threads, "baseline_system": baseline_system}
    if potential.species is None:
        return KMLForce(potential, topology=start.topology, **options)
    return KMLForce(potential, particles, **options)


def _model_of(baseline):
    potential = getattr(baseline, "potential", None)
    if potential is None:
        raise ValueError(
            f"OpenMM does not run the ASE calculator {baseline.name}: run the dynamics in ASE, with "
            "KMLCalculator(model, baseline=calculator)"
        )
    return potential


def add_barostat(system, start, settings):
    """Add the barostat of a run at constant pressure to its System.

    Raises
    ------
    ValueError
        If the structure is not periodic.
    """
    if not system.usesPeriodicBoundaryConditions() or start.box is None:
        raise ValueError(
            "npt is not possible for a lone molecule: it has no walls and no neighbors, so that its box would grow or "
            "shrink without end; use nvt, put the molecule into a solvent (openmm-ml, createMixedSystem), or start "
            "from a periodic structure under a model of local terms"
        )
    pressure, temperature = settings.pressure * unit.bar, settings.temperature * unit.kelvin
    system.addForce(openmm.MonteCarloBarostat(pressure, temperature))


def seed_barostat(system, settings, step):
    """Give the barostat random numbers for a Context that starts at a step; no checkpoint holds their state."""
    for force in system.getForces():
        if isinstance(force, openmm.MonteCarloBarostat):
            force.setRandomNumberSeed(_seed(settings.seed + 1, step))


def build_integrator(settings, step):
    """Return the integrator of an ensemble for a Context that starts at a step.

    The CPU platform's checkpoints do not hold the state of its random numbers: a continuation draws from another
    seed, so that the noise of the beginning is never repeated. Reference restores the state, whatever the seed.
    """
    timestep = settings.timestep * unit.femtosecond
    if settings.ensemble == "nve":
        return openmm.VerletIntegrator(timestep)
    temperature, friction = settings.temperature * unit.kelvin, settings.friction / unit.picosecond
    integrator = openmm.LangevinMiddleIntegrator(temperature, friction, timestep)
    integrator.setRandomNumberSeed(_seed(settings.seed, step))
    return integrator


def find_platform(name):
    """Return an OpenMM platform by its name, in whatever case.

    Raises
    ------
    ValueError
        If there is none; the message lists those that there are.
    """
    platforms = [openmm.Platform.getPlatform(k) for k in range(openmm.Platform.getNumPlatforms())]
    for platform in platforms:
        if platform.getName().lower() == name.lower():
            return platform
    known = ", ".join(platform.getName() for platform in platforms)
    raise ValueError(f"OpenMM has no platform {name!r} here; choose one of {known}")


def draw_velocities(masses, settings):
    """Return velocities of shape (n, 3) in nm/ps from Maxwell and Boltzmann's distribution.

    At constant energy the molecule as a whole is at rest.
    """
    rng = np.random.default_rng(settings.seed)
    spread = np.sqrt(GAS_CONSTANT * settings.temperature / masses)
    velocities = spread[:, None] * rng.standard_normal((len(masses), 3))
    if settings.ensemble == "nve":
        velocities -= masses @ velocities / masses.sum()
    return velocities


def degrees_of_freedom(n_atoms, ensemble):
    """Return the number of velocities that heat can go to: the thermostat also drives the molecule as a whole."""
    return 3 * n_atoms - (3 if ensemble == "nve" else 0)


def _seed(seed, step):
    digest = hashlib.sha256(f"{seed} {step}".encode()).digest()
    return 1 + int.from_bytes(digest[:4], "little") % (2**31 - 2)  # zero would mean "choose one"
