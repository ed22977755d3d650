"""Free energy along a dihedral by well-tempered metadynamics: the hydroxyl group of ethanol, with a trained potential.

    kml quickstart
    python examples/metadynamics.py quickstart/ethanol.safetensors

OpenMM's Metadynamics (Barducci, Bussi and Parrinello, Phys. Rev. Lett. 100, 020603 (2008)) adds its bias as one more
force beside the KMLForce, and fills the wells of the angle C-C-O-H until it moves freely.
"""

import argparse
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from openmm_kml import KMLForce

PDB = Path(__file__).parent / "data" / "ethanol.pdb"
ANGLE = ("C1", "C2", "O1", "H1")
TEMPERATURE = 300 * unit.kelvin


def stop_if_broken(context, topology):
    """Stop if a bond is longer than 2 Å: a model knows nothing beyond its training data, and holds nothing there."""
    positions = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    for first, second in topology.bonds():
        if not np.linalg.norm(positions[first.index] - positions[second.index]) < 2.0:
            raise SystemExit(
                f"the bond {first.name}-{second.name} broke: train the model on more frames, or hotter ones"
            )


def main(model, steps):
    pdb = app.PDBFile(str(PDB))
    system = openmm.System()
    for atom in pdb.topology.atoms():
        system.addParticle(atom.element.mass)
    system.addForce(KMLForce(model, topology=pdb.topology))

    index = {atom.name: atom.index for atom in pdb.topology.atoms()}
    dihedral = openmm.CustomTorsionForce("theta")
    dihedral.addTorsion(*(index[name] for name in ANGLE), [])
    variable = app.BiasVariable(dihedral, -np.pi, np.pi, biasWidth=0.25, periodic=True, gridWidth=73)
    metadynamics = app.Metadynamics(
        system, [variable], TEMPERATURE, biasFactor=6.0, height=0.6 * unit.kilojoule_per_mole, frequency=100
    )

    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 5 / unit.picosecond, 0.5 * unit.femtosecond)
    integrator.setRandomNumberSeed(1)
    simulation = app.Simulation(pdb.topology, system, integrator, openmm.Platform.getPlatformByName("Reference"))
    simulation.context.setPositions(pdb.positions)
    simulation.context.setVelocitiesToTemperature(TEMPERATURE, 1)
    metadynamics.step(simulation, steps)
    stop_if_broken(simulation.context, pdb.topology)

    profile = metadynamics.getFreeEnergy().value_in_unit(unit.kilojoule_per_mole)
    profile -= profile.min()
    angles = np.degrees(np.linspace(-np.pi, np.pi, len(profile)))
    print(f"free energy along {'-'.join(ANGLE)}, kJ/mol (0° is cis, 180° anti)")
    for angle, energy in list(zip(angles, profile, strict=True))[::6]:
        print(f"{angle:7.0f}°  {energy:6.2f}  {'█' * round(2 * energy)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="weight file of ethanol")
    parser.add_argument("--steps", type=int, default=1000000, help="of 0.5 fs (default: 1000000)")
    main(**vars(parser.parse_args()))
