"""The shortest useful OpenMM script with a trained potential: one ethanol molecule at 300 K.

    kml quickstart
    python examples/openmm_minimal.py quickstart/ethanol.safetensors

Everything is plain OpenMM but the line with KMLForce.
"""

import argparse
import sys
from pathlib import Path

import openmm
from openmm import app, unit

from openmm_kml import KMLForce

PDB = Path(__file__).parent / "data" / "ethanol.pdb"  # atoms in the order of the training data


def main(model, steps, platform):
    pdb = app.PDBFile(str(PDB))
    system = openmm.System()
    for atom in pdb.topology.atoms():
        system.addParticle(atom.element.mass)
    system.addForce(KMLForce(model, topology=pdb.topology))

    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond)
    simulation = app.Simulation(pdb.topology, system, integrator, openmm.Platform.getPlatformByName(platform))
    simulation.context.setPositions(pdb.positions)
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
    simulation.reporters.append(
        app.StateDataReporter(
            sys.stdout, max(steps // 5, 1), time=True, potentialEnergy=True, temperature=True, speed=True
        )
    )
    simulation.step(steps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="weight file of ethanol")
    parser.add_argument("--steps", type=int, default=10000, help="of 0.5 fs (default: 10000)")
    parser.add_argument("--platform", default="Reference", help="Reference is the fastest for one small molecule")
    main(**vars(parser.parse_args()))
