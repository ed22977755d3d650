"""Molecular dynamics with a trained potential in OpenMM.

    python simulate.py                          5 ps of Langevin dynamics at 500 K
    python simulate.py --ensemble nve           the same at constant energy
    python simulate.py --picoseconds 100 --temperature 300 --output long

Needs two files beside it: the weight file that `kml train` wrote, and a PDB file with the atoms in the order in which
the model was trained. Written are OUTPUT.csv (energies and temperature) and OUTPUT.dcd (the trajectory; open it
together with the PDB file in VMD, PyMOL, MDAnalysis or MDTraj). Change what you like: everything is plain OpenMM, and
only the lines with KMLForce are about this potential.
"""

import argparse
import sys
from pathlib import Path

import openmm
from openmm import app, unit

from openmm_kml import KMLForce

HERE = Path(__file__).resolve().parent
MODEL = HERE / "ethanol.safetensors"  # the weight file
START = HERE / "ethanol.pdb"  # atoms and starting positions
TIMESTEP = 0.5 * unit.femtosecond  # the fastest vibration, O-H, takes 9 fs
FRICTION = 10.0 / unit.picosecond  # of the Langevin thermostat: strong, so that all vibrations are soon at temperature
EQUILIBRATION = 1.0  # ps at the wanted temperature before anything is recorded
INTERVAL = 10  # steps between two records


def build_system(model, topology):
    """Return an OpenMM System whose only force is the trained potential."""
    system = openmm.System()
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
    # The topology lets the force check that the elements and their order are those of the model. One thread is
    # the fastest for a molecule of this size.
    system.addForce(KMLForce(str(model), topology=topology, n_threads=1))
    return system


def build_simulation(model, start, temperature, seed=1, platform="Reference"):
    """Return a Simulation at the temperature, relaxed and equilibrated by Langevin dynamics.

    Reference is OpenMM's plain single-core platform. For one small molecule it is the fastest: nothing but this
    potential takes time. In a large system (solvent, proteins) use CPU, OpenCL or CUDA.
    """
    pdb = app.PDBFile(str(start))
    integrator = openmm.LangevinMiddleIntegrator(temperature, FRICTION, TIMESTEP)
    integrator.setRandomNumberSeed(seed)
    simulation = app.Simulation(
        pdb.topology, build_system(model, pdb.topology), integrator, openmm.Platform.getPlatformByName(platform)
    )
    simulation.context.setPositions(pdb.positions)
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(temperature, seed)
    simulation.step(round(EQUILIBRATION * unit.picosecond / TIMESTEP))
    simulation.context.setTime(0.0)
    simulation.context.setStepCount(0)
    return simulation


def at_constant_energy(simulation):
    """Return a Simulation that goes on from here without a thermostat."""
    integrator = openmm.VerletIntegrator(TIMESTEP)
    state = simulation.context.getState(positions=True, velocities=True)
    new = app.Simulation(simulation.topology, simulation.system, integrator, simulation.context.getPlatform())
    new.context.setPositions(state.getPositions())
    new.context.setVelocities(state.getVelocities())
    return new


def record(simulation, n_steps, output, table=None):
    """Run the simulation and write OUTPUT.csv and OUTPUT.dcd; ``table`` is where progress is printed, if anywhere."""
    output = Path(output)
    simulation.reporters.append(app.DCDReporter(str(output.with_suffix(".dcd")), INTERVAL))
    columns = {"step": True, "potentialEnergy": True, "kineticEnergy": True, "totalEnergy": True, "temperature": True}
    simulation.reporters.append(app.StateDataReporter(str(output.with_suffix(".csv")), INTERVAL, time=True, **columns))
    if table is not None:
        every = max(n_steps // 10, 1)
        simulation.reporters.append(
            app.StateDataReporter(
                table, every, step=True, time=True, totalEnergy=True, temperature=True, speed=True, separator="\t"
            )
        )
    simulation.step(n_steps)
    # Reporters hold their files open; without them the last lines are on the disk.
    simulation.reporters.clear()


def main():
    parser = argparse.ArgumentParser(description="Molecular dynamics with a trained potential in OpenMM.")
    parser.add_argument("--ensemble", choices=("langevin", "nve"), default="langevin")
    parser.add_argument("--temperature", type=float, default=500.0, help="K (default: 500)")
    parser.add_argument("--picoseconds", type=float, default=5.0, help="length of the run (default: 5)")
    parser.add_argument("--platform", default="Reference", help="Reference, CPU, OpenCL or CUDA (default: Reference)")
    parser.add_argument("--seed", type=int, default=1, help="of the velocities and the thermostat (default: 1)")
    parser.add_argument("--output", default=str(HERE / "run"), help="name of the files to write (default: run)")
    args = parser.parse_args()

    simulation = build_simulation(MODEL, START, args.temperature * unit.kelvin, args.seed, args.platform)
    if args.ensemble == "nve":
        simulation = at_constant_energy(simulation)
    n_steps = round(args.picoseconds * unit.picosecond / TIMESTEP)
    record(simulation, n_steps, args.output, table=sys.stdout)
    print(f"wrote {args.output}.csv and {args.output}.dcd")


if __name__ == "__main__":
    main()
