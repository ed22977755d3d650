"""A solute under a trained potential, in classical water: ethanol in TIP3P at 300 K and 1 bar.

    pip install openmmml
    kml quickstart
    python examples/ligand_in_water.py quickstart/ethanol.safetensors

What is inside the solute is the model's; what is between solute and water, and inside the water, is the force
field's (mechanical embedding). So the solute needs charges and Lennard-Jones parameters all the same.
"""

import argparse
import sys
from pathlib import Path

import openmm
from openmm import app, unit
from openmmml import MLPotential

DATA = Path(__file__).parent / "data"


def main(model, waters, steps, platform, output):
    # 1. The box, by OpenMM's Modeller.
    pdb = app.PDBFile(str(DATA / "ethanol.pdb"))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    forcefield = app.ForceField(str(DATA / "ethanol_opls.xml"), "tip3p.xml")
    modeller.addSolvent(forcefield, numAdded=waters)
    topology, positions = modeller.topology, modeller.positions
    width = topology.getUnitCellDimensions()[0]

    # 2. The classical System. Water stays rigid; the solute must be free of constraints.
    classical = forcefield.createSystem(
        topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=min(0.9 * unit.nanometer, 0.45 * width),
        constraints=None,
        rigidWater=True,
    )

    # 3. The model takes over the solute. Its atoms are found by their bonds, in whatever order they stand, and the
    #    positions tell left from right.
    solute = [atom.index for atom in topology.atoms() if atom.residue.name == "ETH"]
    system = MLPotential("kml", model=model).createMixedSystem(topology, classical, solute, positions=positions)
    system.addForce(openmm.MonteCarloBarostat(1 * unit.bar, 300 * unit.kelvin))

    # 4. Dynamics. The O-H bond of the model is flexible, so the step is 0.5 fs.
    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond)
    simulation = app.Simulation(topology, system, integrator, openmm.Platform.getPlatformByName(platform))
    simulation.context.setPositions(positions)
    simulation.minimizeEnergy(maxIterations=200)
    simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
    columns = {"time": True, "potentialEnergy": True, "temperature": True, "density": True, "speed": True}
    simulation.reporters.append(app.StateDataReporter(sys.stdout, max(steps // 5, 1), **columns))
    simulation.step(steps)

    final = simulation.context.getState(positions=True, enforcePeriodicBox=True)
    topology.setPeriodicBoxVectors(final.getPeriodicBoxVectors())
    with Path(output).open("w") as stream:
        app.PDBFile.writeFile(topology, final.getPositions(), stream)
    print(f"wrote {output}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="weight file of ethanol")
    parser.add_argument("--waters", type=int, default=500, help="water molecules (default: 500)")
    parser.add_argument("--steps", type=int, default=2000, help="of 0.5 fs (default: 2000)")
    parser.add_argument("--platform", default="CPU")
    parser.add_argument("--output", default="ethanol_in_water.pdb", help="last frame (default: %(default)s)")
    main(**vars(parser.parse_args()))
