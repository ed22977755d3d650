"""Switch a molecule from a force field to a trained potential: the free-energy difference by thermodynamic integration.

    kml quickstart
    python examples/alchemical_switch.py quickstart/ethanol.safetensors

With E(λ) = (1 - λ) E_MM + λ E_ML the free-energy difference is the integral of <E_ML - E_MM> over λ from 0 to 1
(Kirkwood, J. Chem. Phys. 3, 300 (1935)), here by Gauss-Legendre quadrature. Such a difference corrects a binding or
solvation free energy that was computed with the force field. Both scales are global parameters of the Context, and
OpenMM reports the derivatives of the energy by them.

For the same in solvent, `MLPotential('kml', ...).createMixedSystem(..., interpolate=True)` builds such a System.
"""

import argparse
import copy
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from openmm_kml import KMLForce

DATA = Path(__file__).parent / "data"
TEMPERATURE = 300 * unit.kelvin
EVERY = 10  # steps between samples
KJ_PER_MOL = unit.kilojoule_per_mole


def switchable_system(model, pdb):
    """Return a System with E = mm_scale × E_MM + ml_scale × E_ML."""
    classical = app.ForceField(str(DATA / "ethanol_opls.xml")).createSystem(pdb.topology, constraints=None)
    system = openmm.System()
    for k in range(classical.getNumParticles()):
        system.addParticle(classical.getParticleMass(k))

    names = []
    force_field = openmm.CustomCVForce("")
    for force in classical.getForces():
        if not isinstance(force, openmm.CMMotionRemover):
            names.append(force.getName())
            force_field.addCollectiveVariable(force.getName(), copy.deepcopy(force))
    force_field.setEnergyFunction(f"mm_scale*({'+'.join(names)})")
    force_field.addGlobalParameter("mm_scale", 1.0)
    force_field.addEnergyParameterDerivative("mm_scale")
    system.addForce(force_field)

    trained = KMLForce(model, scale_parameter="ml_scale", topology=pdb.topology)
    trained.addEnergyParameterDerivative("ml_scale")
    system.addForce(trained)
    return system


def derivative(context):
    """Return dE/dλ = E_ML - E_MM in kJ/mol."""
    by_name = context.getState(parameterDerivatives=True).getEnergyParameterDerivatives()
    return by_name["ml_scale"] - by_name["mm_scale"]


def mean_and_error(samples):
    """Return the mean and its standard error from ten block means; neighboring samples are correlated."""
    blocks = [block.mean() for block in np.array_split(samples, min(10, len(samples)))]
    return np.mean(samples), np.std(blocks, ddof=1) / np.sqrt(len(blocks))


def stop_if_broken(context, topology):
    """Stop if a bond is longer than 2 Å: a model knows nothing beyond its training data, and holds nothing there."""
    positions = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    for first, second in topology.bonds():
        if not np.linalg.norm(positions[first.index] - positions[second.index]) < 2.0:
            raise SystemExit(
                f"the bond {first.name}-{second.name} broke: train the model on more frames, or hotter ones"
            )


def main(model, steps, windows):
    pdb = app.PDBFile(str(DATA / "ethanol.pdb"))
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 5 / unit.picosecond, 0.5 * unit.femtosecond)
    integrator.setRandomNumberSeed(1)
    # Reference and CPU report the derivative by a KMLForce's scale.
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(switchable_system(model, pdb), integrator, platform)
    context.setPositions(pdb.positions)
    context.setVelocitiesToTemperature(TEMPERATURE, 1)

    # The model's energy counts from separate electrons and nuclei, the force field's from relaxed bonds. The
    # difference at the start, which no dynamics changes, is taken out of all that is printed.
    origin = derivative(context)
    print(f"E_ML - E_MM of the starting geometry: {origin:.1f} kJ/mol; counted from there:")
    print("     λ    <dE/dλ>     ±  (kJ/mol)")

    nodes, weights = np.polynomial.legendre.leggauss(windows)
    total = variance = 0.0
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        context.setParameter("ml_scale", node)
        context.setParameter("mm_scale", 1 - node)
        integrator.step(steps // 5)  # equilibration
        samples = np.empty(max(steps // EVERY, 2))
        for k in range(len(samples)):
            integrator.step(EVERY)
            samples[k] = derivative(context) - origin
            stop_if_broken(context, pdb.topology)
        mean, error = mean_and_error(samples)
        total += weight * mean
        variance += (weight * error) ** 2
        print(f"{node:6.3f}  {mean:9.3f}  {error:6.3f}")
    print(f"free-energy difference: {total:.2f} ± {np.sqrt(variance):.2f} kJ/mol")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="weight file of ethanol")
    parser.add_argument("--steps", type=int, default=20000, help="of 0.5 fs at each λ (default: 20000)")
    parser.add_argument("--windows", type=int, default=5, help="values of λ (default: 5)")
    main(**vars(parser.parse_args()))
