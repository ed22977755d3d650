"""Run a trained potential inside an OpenMM System beside other forces: ethanol in a drop of argon.

    python examples/run_openmm.py ethanol.safetensors

The potential describes the nine atoms of ethanol; a Lennard-Jones force describes argon and its contact with them, and
a weak spring keeps the drop together. For the molecule alone, see the script that `kml quickstart` writes.
"""

import sys

import numpy as np
import openmm
from ase.build import molecule
from openmm import app, unit

from openmm_kml import KMLForce

SIGMA = {"Ar": 3.40, "C": 3.40, "O": 3.00, "H": 2.50}  # Å
EPSILON = {"Ar": 0.0103, "C": 0.0047, "O": 0.0091, "H": 0.0013}  # eV


def main(model, n_steps=1000, n_argon=40):
    ethanol = molecule("CH3CH2OH")
    rng = np.random.default_rng(0)
    shell = fibonacci_sphere(n_argon) * 7.0 + rng.normal(0, 0.1, (n_argon, 3))
    symbols = [*ethanol.get_chemical_symbols(), *["Ar"] * n_argon]
    positions = np.vstack([ethanol.positions - ethanol.get_center_of_mass(), shell])

    system = openmm.System()
    contact = openmm.NonbondedForce()
    contact.setNonbondedMethod(openmm.NonbondedForce.NoCutoff)
    for symbol in symbols:
        system.addParticle(app.Element.getBySymbol(symbol).mass)
        epsilon = EPSILON[symbol] * unit.elementary_charge * unit.volt * unit.AVOGADRO_CONSTANT_NA
        contact.addParticle(0.0, SIGMA[symbol] * unit.angstrom, epsilon)
    # Inside ethanol the trained potential says everything.
    for i in range(len(ethanol)):
        for j in range(i):
            contact.addException(i, j, 0.0, 1.0, 0.0)
    system.addForce(contact)

    # Particles in the order of the model's atoms. The global parameter scales the energy of this force alone.
    force = KMLForce(model, particles=range(len(ethanol)), scale_parameter="ethanol_scale", n_threads=1)
    force.setForceGroup(1)
    system.addForce(force)

    spring = openmm.CustomExternalForce("0.5*k*max(0, r-0.9)^2; r=sqrt(x^2+y^2+z^2)")
    spring.addGlobalParameter("k", 1000.0)
    for particle in range(system.getNumParticles()):
        spring.addParticle(particle)
    system.addForce(spring)

    integrator = openmm.LangevinMiddleIntegrator(120 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"))
    context.setPositions(positions * unit.angstrom)
    openmm.LocalEnergyMinimizer.minimize(context)
    context.setVelocitiesToTemperature(120 * unit.kelvin, 1)
    for _ in range(5):
        integrator.step(n_steps // 5)
        total = context.getState(energy=True).getPotentialEnergy()
        ethanol_alone = context.getState(energy=True, groups={1}).getPotentialEnergy()
        rest = (total - ethanol_alone).value_in_unit(unit.kilojoule_per_mole)
        print(f"{context.getTime().value_in_unit(unit.picosecond):6.3f} ps   argon and contacts {rest:9.2f} kJ/mol")

    # The serialized System carries the whole model: it runs elsewhere without the weight file.
    print(f"system.xml would have {len(openmm.XmlSerializer.serialize(system)) / 1e3:.0f} kB")


def fibonacci_sphere(count):
    """Return points of shape (count, 3) spread evenly over the unit sphere."""
    k = np.arange(count)
    z = 1 - (2 * k + 1) / count
    angle = np.pi * (3 - np.sqrt(5)) * k
    return np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], axis=1)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
