"""Temperature replica exchange with OpenMM's own sampler: the torsion of ethanol's hydroxyl group.

    kml train gdml examples/data/ethanol_pbe.npz -o ethanol.safetensors --n-train 200 --n-valid 100
    python examples/replica_exchange.py ethanol.safetensors examples/data/ethanol.pdb -o replicas

Replicas at several temperatures swap places; the coldest visits all conformers soon, since its molecules were hot
before. OUTPUT/log.csv says which replica was at which temperature, OUTPUT/energy.csv has the reduced energies for
reweighting, and ReplicaExchangeReporter(..., resume=True) goes on from OUTPUT/checkpoint_*.xml.
"""

import argparse
import random

import numpy as np
import openmm
from openmm import app, unit

from openmm_kml import KMLForce

parser = argparse.ArgumentParser(description="Temperature replica exchange with a kernel potential.")
parser.add_argument("model", help="weight file")
parser.add_argument("start", help="PDB file with the atoms in the model's order")
parser.add_argument("-o", "--output", default="replicas", help="directory to make (default: replicas)")
parser.add_argument("--iterations", type=int, default=200, help="of 100 steps of 0.5 fs for each replica")
args = parser.parse_args()

pdb = app.PDBFile(args.start)
system = openmm.System()
for atom in pdb.topology.atoms():
    system.addParticle(atom.element.mass)
system.addForce(KMLForce(args.model, topology=pdb.topology, n_threads=1))

integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 5 / unit.picosecond, 0.5 * unit.femtosecond)
integrator.setRandomNumberSeed(1)
random.seed(1)  # the sampler draws its exchanges from Python's generator
simulation = app.Simulation(pdb.topology, system, integrator, openmm.Platform.getPlatformByName("Reference"))
simulation.context.setPositions(pdb.positions)
simulation.minimizeEnergy()
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)

states = [{"temperature": t * unit.kelvin} for t in np.geomspace(300, 500, 4)]
sampler = app.ReplicaExchangeSampler(states, simulation, 100)
sampler.reporters.append(
    app.ReplicaExchangeReporter(args.output, 1, sampler, trajectoryPerState=True, energy=True, checkpoints=True)
)
sampler.simulate(args.iterations)

assignments = np.genfromtxt(f"{args.output}/log.csv", delimiter=",", skip_header=1, ndmin=2)[:, 2:]
moves = np.count_nonzero(np.diff(assignments, axis=0), axis=0)
for replica, count in enumerate(moves):
    print(f"replica {replica}: {count} changes of temperature in {len(assignments)} iterations")
