"""Ring-polymer molecular dynamics: how much nuclear quantum effects widen the O–H bond of ethanol.

    kml train gdml examples/data/ethanol_pbe.npz -o ethanol.safetensors --n-train 200 --n-valid 100
    python examples/rpmd.py ethanol.safetensors examples/data/ethanol.pdb

Each atom becomes a ring of beads (copies) joined by springs. One bead is classical mechanics; some 32 are converged for
hydrogen at 300 K. OpenMM evaluates the force once for each bead.
"""

import argparse

import numpy as np
import openmm
from openmm import app, unit

from openmm_kml import KMLForce

parser = argparse.ArgumentParser(description="Ring-polymer molecular dynamics with a kernel potential.")
parser.add_argument("model", help="weight file")
parser.add_argument("start", help="PDB file with the atoms in the model's order")
parser.add_argument("--beads", type=int, default=32)
parser.add_argument("--steps", type=int, default=20000, help="of 0.5 fs, a fifth of them for equilibration")
args = parser.parse_args()

pdb = app.PDBFile(args.start)
temperature = 300 * unit.kelvin
oxygen = next(atom.index for atom in pdb.topology.atoms() if atom.element.symbol == "O")


def sampled(n_beads):
    """Return the mean and the spread of the O–H bond, Å, and the quantum kinetic energy over the classical one."""
    system = openmm.System()
    for atom in pdb.topology.atoms():
        system.addParticle(atom.element.mass)
    system.addForce(KMLForce(args.model, topology=pdb.topology, n_threads=1))
    integrator = openmm.RPMDIntegrator(n_beads, temperature, 10 / unit.picosecond, 0.5 * unit.femtosecond)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(pdb.positions)
    openmm.LocalEnergyMinimizer.minimize(context)
    context.setVelocitiesToTemperature(temperature, 1)
    start = context.getState(positions=True, velocities=True)
    for bead in range(n_beads):
        integrator.setPositions(bead, start.getPositions())
        integrator.setVelocities(bead, start.getVelocities())
    hydrogen = partner_of(oxygen, start.getPositions(asNumpy=True).value_in_unit(unit.angstrom))
    kT = (unit.MOLAR_GAS_CONSTANT_R * temperature).value_in_unit(unit.kilojoule_per_mole)
    lengths, kinetic = [], []
    for step in range(0, args.steps, 10):
        integrator.step(10)
        if step < args.steps // 5:
            continue
        states = [integrator.getState(bead, getPositions=True, getForces=True) for bead in range(n_beads)]
        x = np.array([state.getPositions(asNumpy=True)._value for state in states])
        f = np.array([state.getForces(asNumpy=True)._value for state in states])
        lengths.append(10 * np.linalg.norm(x[:, oxygen] - x[:, hydrogen], axis=-1))
        # Centroid virial: K = 3/2 N kT - 1/2 <(x - centroid) · f>, the mean over the beads.
        virial = -0.5 * np.sum((x - x.mean(axis=0)) * f) / n_beads
        kinetic.append(1 + virial / (1.5 * x.shape[1] * kT))
    return np.mean(lengths), np.std(lengths), np.mean(kinetic)


def partner_of(atom, positions):
    """Return the hydrogen nearest to an atom."""
    hydrogens = [other.index for other in pdb.topology.atoms() if other.element.symbol == "H"]
    return min(hydrogens, key=lambda other: np.linalg.norm(positions[other] - positions[atom]))


for n_beads in (1, args.beads):
    mean, spread, ratio = sampled(n_beads)
    print(f"{n_beads:3} beads: O–H {mean:.3f} ± {spread:.3f} Å, kinetic energy {ratio:.2f} times the classical one")
