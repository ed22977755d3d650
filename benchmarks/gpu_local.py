"""What gpu.py measures of two- and three-body models: crystals of silicon at 300 K, by platform and route."""

import numpy as np
import openmm
from crystals import CRYSTALS
from gpu_common import DEVICE_ROUTE, HOST_ROUTE, USUAL_ROUTE, energy_and_forces, measure

from openmm_kml.interfaces._openmm_library import load_library
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import RepulsionTerm, Spline2Term, Spline3Term, Weights, to_bytes

SILICON = CRYSTALS["Si"]
SPACING = 0.25  # of the grids, Å
START, CUTOFF2 = 1.6, 6.0  # Å
TIME_STEP = 1e-3  # ps
CUTOFFS3 = (3.5, 4.0)  # of triples, Å: the first shell of silicon, and into the second


def grid(cutoff):
    """Return the number of intervals up to a cutoff."""
    return round((cutoff - START) / SPACING)


def crystal_model(cutoff3):
    """Return a model that keeps silicon a crystal: wells at its first two shells; small random triples."""
    r = START + SPACING * (np.arange(grid(CUTOFF2)) - 1)
    shells = SILICON.constant * np.array([3**0.5 / 4, 0.5**0.5])
    wells = np.exp(-(((r - shells[:, None]) / 0.45) ** 2))
    c = np.random.default_rng(0).normal(0, 0.005, (1, 1, grid(cutoff3), grid(cutoff3), grid(2 * cutoff3) + 3))
    terms = (
        Spline2Term(START, CUTOFF2, (-1.5 * wells[0] - 0.3 * wells[1])[None]),
        Spline3Term(START, cutoff3, START, False, 1.7, 0.4, c + c.swapaxes(2, 3)),
        RepulsionTerm(np.array([[1.2, 2.0]])),
    )
    return KernelPotential.from_bytes(to_bytes(Weights(elements=[SILICON.number], terms=terms)))


def crystal_context(potential, repeat, platform, precision=None, route=USUAL_ROUTE):
    """Return a Context of repeat³ unit cells at 300 K. No model: particles without force."""
    positions, cell = SILICON.structure((repeat,) * 3)
    positions += np.random.default_rng(1).normal(0, 0.03, positions.shape)
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(0.1 * cell))
    for _ in positions:
        system.addParticle(SILICON.mass)
    if potential is not None:
        system.addForce(KMLForce(potential, numbers=[SILICON.number] * len(positions), periodic=True))
    load_library().set_route(route)
    try:
        target = openmm.Platform.getPlatformByName(platform)
        properties = {"Precision": precision} if precision else {}
        context = openmm.Context(system, openmm.VerletIntegrator(TIME_STEP), target, properties)
    finally:
        load_library().set_route(USUAL_ROUTE)
    context.setPositions(0.1 * positions)
    context.setVelocitiesToTemperature(300, 1)
    return context


def crystal_correctness(platform, precisions, repeat):
    """Return the difference of every precision to Reference for a crystal, by cutoff of its triples."""
    rows = []
    for cutoff3 in CUTOFFS3:
        potential = crystal_model(cutoff3)
        expected = energy_and_forces(crystal_context(potential, repeat, "Reference"))
        for precision in precisions:
            context = crystal_context(potential, repeat, platform, precision, DEVICE_ROUTE)
            energy, forces = energy_and_forces(context)
            rows.append(
                {
                    "atoms": len(forces),
                    "cutoff3": cutoff3,
                    "precision": precision,
                    "energy_error_meV": abs(energy - expected[0]) / len(forces) * 1e3,
                    "relative_force_error": float(np.abs(forces - expected[1]).max() / np.abs(expected[1]).max()),
                }
            )
    return rows


def crystal_rates(options, repeats):
    """Return the time of a step of crystals by both routes, for every cutoff of the triples."""
    rows = []
    for cutoff3 in CUTOFFS3:
        potential = crystal_model(cutoff3)
        for repeat in repeats:
            for precision in options.precision:
                cases = [(potential, DEVICE_ROUTE), (potential, HOST_ROUTE), (None, USUAL_ROUTE)]
                contexts = [crystal_context(m, repeat, options.platform, precision, route) for m, route in cases]
                native, host, empty = measure(contexts, options.rounds, options.seconds)
                n_atoms = contexts[0].getSystem().getNumParticles()
                rows.append(
                    {
                        "atoms": n_atoms,
                        "cutoff3": cutoff3,
                        "precision": precision,
                        "native_us": native,
                        "host_us": host,
                        "no_force_us": empty,
                        "native_us_per_atom": native / n_atoms,
                        "host_us_per_atom": host / n_atoms,
                        "speedup": host / native,
                    }
                )
                del contexts
    return rows


CRYSTAL_ERROR_COLUMNS = {
    "atoms": ("atoms", "d"),
    "cutoff of triples, Å": ("cutoff3", ".1f"),
    "precision": ("precision", "s"),
    "energy, meV/atom": ("energy_error_meV", ".1e"),
    "largest force error / largest force": ("relative_force_error", ".1e"),
}
CRYSTAL_COLUMNS = {
    "atoms": ("atoms", "d"),
    "cutoff of triples, Å": ("cutoff3", ".1f"),
    "precision": ("precision", "s"),
    "device, µs/step": ("native_us", ".1f"),
    "host, µs/step": ("host_us", ".1f"),
    "no force, µs/step": ("no_force_us", ".1f"),
    "device, µs/atom": ("native_us_per_atom", ".3f"),
    "host, µs/atom": ("host_us_per_atom", ".3f"),
    "device / host": ("speedup", ".2f"),
}
