"""Multiple time steps: cheap classical bonds every 1 fs, the kernel potential every 2 fs.

    kml train gdml examples/data/ethanol_pbe.npz -o ethanol.safetensors --n-train 200 --n-valid 100
    python examples/multiple_time_step.py ethanol.safetensors examples/data/ethanol.pdb

The inner force is a set of harmonic bonds and angles taken from the model's own Hessian: no force field is needed. The
outer force is what is left, so that the sum is exactly the kernel potential.
"""

import argparse

import openmm
from openmm import app, unit

from openmm_kml import KMLForce
from openmm_kml.interfaces.bonded_model import bonded_model
from openmm_kml.interfaces.integrators import multiple_time_step_integrator, split_forces
from openmm_kml.potential import KernelPotential

parser = argparse.ArgumentParser(description="Multiple time steps with a kernel potential.")
parser.add_argument("model", help="weight file")
parser.add_argument("start", help="PDB file with the atoms in the model's order")
parser.add_argument("--steps", type=int, default=5000, help="outer steps of 2 fs (default: 5000)")
args = parser.parse_args()

pdb = app.PDBFile(args.start)
potential = KernelPotential.load(args.model)
positions = pdb.getPositions(asNumpy=True).value_in_unit(unit.angstrom)

system = openmm.System()
for atom in pdb.topology.atoms():
    system.addParticle(atom.element.mass)
accurate = KMLForce(potential, topology=pdb.topology)
system.addForce(accurate)

# From here on group 0 holds the bonded model, and group 1 the kernel potential minus the bonded model.
split_forces(system, [accurate], bonded_model(potential, positions))
integrator = multiple_time_step_integrator(
    2 * unit.femtosecond, inner_steps=2, temperature=300 * unit.kelvin, friction=5 / unit.picosecond
)

simulation = app.Simulation(pdb.topology, system, integrator, openmm.Platform.getPlatformByName("Reference"))
simulation.context.setPositions(pdb.positions)
simulation.minimizeEnergy()
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
for _ in range(10):
    simulation.step(max(args.steps // 10, 1))
    state = simulation.context.getState(energy=True)
    kinetic = state.getKineticEnergy() / (1.5 * system.getNumParticles() * unit.MOLAR_GAS_CONSTANT_R)
    print(f"{state.getTime()}  {state.getPotentialEnergy()}  {kinetic.value_in_unit(unit.kelvin):.0f} K")
