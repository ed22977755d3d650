"""What the tests of the OpenMM side share: Systems, Contexts, and the ways in which a platform evaluates a KMLForce."""

from contextlib import contextmanager

import numpy as np
import openmm
import pytest
from models import MODELS, model_positions
from openmm import unit

from openmm_kml.interfaces._openmm_library import load_library
from openmm_kml.interfaces.openmm import device_warnings
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import to_bytes

# From the exact constants of the SI, written down independently of the plugin.
KJ_PER_MOL = 6.02214076e23 * 1.602176634e-19 / 1e3  # in one eV
NM = 0.1  # in one Å
MASS = 12.0  # of every particle, dalton

# The base-class route is OpenMM's own way for any platform; here it is taken on the Reference platform.
ROUTES = ("Reference", "CPU", "base-class", "OpenCL")
OWN_KERNEL_ROUTES = ("Reference", "CPU")
USUAL_ROUTE, BASE_CLASS_ROUTE, DEVICE_ROUTE, FAILING_DEVICE_ROUTE = range(4)  # of kml_openmm_set_route()

PRECISIONS = ("single", "mixed", "double")
NAMES = [openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())]
needs_opencl = pytest.mark.skipif(
    "OpenCL" not in NAMES, reason="OpenMM found no OpenCL on this machine (Debian's pocl-opencl-icd provides one)"
)

SUBSET_SIZE = 14
SUBSET = (13, 3, 4, 5, 0, 7, 8, 12, 9)  # nine particles of fourteen, in no order


def potential_of(name):
    """Return the model `name` of the table as a KernelPotential."""
    return KernelPotential.from_bytes(to_bytes(MODELS[name]))


def ethanol():
    """Return a model of nine atoms and positions for it, shape (9, 3), Å."""
    name = "ethanol-matern52"
    return potential_of(name), model_positions(MODELS[name])[0]


@contextmanager
def route(name):
    """Yield the platform of a route; a Context made inside takes that route."""
    platform = "Reference" if name == "base-class" else name
    if platform not in NAMES:
        pytest.skip(f"this OpenMM has no {platform} platform")
    load_library().set_route(BASE_CLASS_ROUTE if name == "base-class" else USUAL_ROUTE)
    try:
        yield openmm.Platform.getPlatformByName(platform)
    finally:
        load_library().set_route(USUAL_ROUTE)


def device_context(system, positions, precision="double", time_step=0.0005, route=DEVICE_ROUTE):
    """Return a Context on OpenCL at positions (n, 3) in Å, by default one that uses the device's compute kernels."""
    integrator = openmm.VerletIntegrator(time_step)
    platform = openmm.Platform.getPlatformByName("OpenCL")
    load_library().set_route(route)
    try:
        context = openmm.Context(system, integrator, platform, {"Precision": precision})
    finally:
        load_library().set_route(USUAL_ROUTE)
    if route == DEVICE_ROUTE:  # the host would give the right numbers, too
        assert all("a test lets it fail" in text for text in device_warnings())
    context.setPositions(np.asarray(positions) * NM)
    return context


def tolerance(route_name):
    """Return the relative error allowed: rounding in double precision, in single for OpenCL's force buffers."""
    return 2e-6 if route_name == "OpenCL" else 1e-12


def system_with(*forces, n_particles):
    """Return a System of equal particles under the given forces."""
    system = openmm.System()
    for _ in range(n_particles):
        system.addParticle(MASS)
    for force in forces:
        system.addForce(force)
    return system


def context_for(system, positions, route_name="Reference", time_step=0.0005):
    """Return a Context with a Verlet integrator (`time_step` in ps) at positions (n, 3) in Å."""
    with route(route_name) as platform:
        context = openmm.Context(system, openmm.VerletIntegrator(time_step), platform)
    context.setPositions(np.asarray(positions) * NM)
    return context


def energy_and_forces(context, **options):
    """Return energy in eV and forces in eV/Å, shape (n, 3)."""
    state = context.getState(energy=True, forces=True, **options)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) / KJ_PER_MOL
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return energy, forces * NM / KJ_PER_MOL


def total_energy(context):
    """Return potential plus kinetic energy in eV."""
    state = context.getState(energy=True)
    total = state.getPotentialEnergy() + state.getKineticEnergy()
    return total.value_in_unit(unit.kilojoule_per_mole) / KJ_PER_MOL
