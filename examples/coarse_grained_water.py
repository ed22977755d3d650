"""Coarse-grained water by force matching: pairs alone beside pairs and triples.

    python examples/coarse_grained_water.py

OpenMM simulates liquid water with a force field that it ships. Each molecule becomes one bead at its center of mass, on
which the sum of the forces on its atoms acts. Two models are trained on these forces alone: f2, and f2 with f3. Both
then move the beads, and the pair distribution and the angles between neighbors are compared with those of the atoms.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from openmm import LangevinMiddleIntegrator, MonteCarloBarostat, Platform, app, unit

from openmm_kml.interfaces.ase import KMLCalculator
from openmm_kml.neighbors import neighbor_list
from openmm_kml.structures import Structure, StructureSet
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.weights import save

TEMPERATURE = 300.0  # K
MASS = 18.015  # of a bead, u
BEAD = 8  # atomic number that stands for a bead
NEIGHBOR = 3.5  # Å: first shell, for the angles


def atomistic(n_frames, steps, equilibration, edge):
    """Return the beads of water as structures with forces."""
    force_field = app.ForceField("amber14/tip3p.xml")
    modeller = app.Modeller(app.Topology(), [] * unit.nanometer)
    modeller.addSolvent(force_field, model="tip3p", boxSize=3 * [edge / 10] * unit.nanometer)
    system = force_field.createSystem(
        modeller.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.85 * unit.nanometer, constraints=app.HBonds
    )
    barostat = MonteCarloBarostat(1 * unit.bar, TEMPERATURE * unit.kelvin)
    barostat.setRandomNumberSeed(1)
    system.addForce(barostat)
    integrator = LangevinMiddleIntegrator(TEMPERATURE * unit.kelvin, 1 / unit.picosecond, 2 * unit.femtosecond)
    integrator.setRandomNumberSeed(1)
    platform, properties = Platform.getPlatformByName("CPU"), {"DeterministicForces": "true"}
    simulation = app.Simulation(modeller.topology, system, integrator, platform, properties)
    simulation.context.setPositions(modeller.positions)
    simulation.minimizeEnergy(maxIterations=50)
    simulation.context.setVelocitiesToTemperature(TEMPERATURE * unit.kelvin, 1)
    simulation.step(equilibration)
    barostat.setFrequency(0)
    simulation.context.reinitialize(preserveState=True)
    masses = np.array([system.getParticleMass(k).value_in_unit(unit.dalton) for k in range(3)])
    frames = []
    for _ in range(n_frames):
        simulation.step(steps)
        state = simulation.context.getState(positions=True, forces=True)
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom).reshape(-1, 3, 3)
        forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.angstrom)
        cell = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)
        frames.append(
            Structure(
                np.full(len(positions), BEAD),
                np.einsum("a,mad->md", masses / masses.sum(), positions),
                cell,
                forces=forces.reshape(-1, 3, 3).sum(axis=1) * units.kJ / units.mol,
            )
        )
    return frames


def coarse(model, start, n_frames, steps):
    """Return frames of beads that move under a model."""
    rng = np.random.default_rng(0)
    atoms = Atoms(start.numbers, start.positions, cell=start.cell, pbc=True, masses=np.full(len(start), MASS))
    atoms.calc = KMLCalculator(model)
    deviation = np.sqrt(MASS * units.kB * TEMPERATURE)
    atoms.set_momenta(deviation * rng.standard_normal((len(atoms), 3)))
    dynamics = Langevin(atoms, 4 * units.fs, temperature_K=TEMPERATURE, friction=0.005 / units.fs, fixcm=False, rng=rng)
    dynamics.run(3 * steps)
    frames = []
    for _ in range(n_frames):
        dynamics.run(steps)
        frames.append(Structure(atoms.numbers, atoms.positions, start.cell))
    return frames


def distributions(frames, reach=8.0, n_bins=40, n_angles=9):
    """Return g(r) on a grid of distances, and the probability of angles between neighbors, each bin in percent."""
    edges = np.linspace(0, reach, n_bins + 1)
    counts, angles = np.zeros(n_bins), np.zeros(n_angles)
    for frame in frames:
        i, _, _, vector, r = neighbor_list(frame.positions, frame.cell, frame.pbc, reach)
        counts += np.histogram(r, edges)[0]
        near = r < NEIGHBOR
        center, direction = i[near], vector[near] / r[near, None]
        cosines = (direction @ direction.T)[
            (center[:, None] == center) & (np.arange(len(center))[:, None] < np.arange(len(center)))
        ]
        angles += np.histogram(np.degrees(np.arccos(np.clip(cosines, -1, 1))), n_angles, (0, 180))[0]
    ideal = sum(len(f) ** 2 / f.volume for f in frames) * 4 / 3 * np.pi * np.diff(edges**3)
    return counts / ideal, 100 * angles / angles.sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(), help="where the models go")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--steps", type=int, default=250, help="of 2 fs between two frames")
    parser.add_argument("--equilibration", type=int, default=10_000, help="steps at constant pressure")
    parser.add_argument("--edge", type=float, default=18.8, help="of the box at the start, Å")
    parser.add_argument("--coarse-frames", type=int, default=60)
    arguments = parser.parse_args()

    frames = atomistic(arguments.frames, arguments.steps, arguments.equilibration, arguments.edge)
    print(f"{len(frames)} frames of {len(frames[0])} molecules, edge {frames[0].cell[0, 0]:.2f} Å")
    results = {"atoms": distributions(frames)}
    common = {"cutoff2": 8.0, "energies": False, "virials": False, "repulsion": False, "noise_force": 0.1}
    for name, cutoff3 in (("f2", 0), ("f2 and f3", 4.5)):
        fit = fit_nbody(StructureSet(frames, "beads"), None, NBodyOptions(cutoff3=cutoff3, **common))
        path = arguments.folder / f"water_{'pairs' if cutoff3 == 0 else 'triples'}.safetensors"
        save(fit.weights, path)
        unexplained = 0.1 * fit.report["noise_scale"]
        total = np.sqrt(np.mean([frame.forces**2 for frame in frames]))
        print(
            f"{name:>10s}: {1e3 * unexplained:.0f} of {1e3 * total:.0f} meV/Å unexplained, "
            f"{fit.report['seconds']['total']:.0f} s"
        )
        results[name] = distributions(coarse(path, frames[-1], arguments.coarse_frames, 50))

    print("\ndistance, Å   g(r): " + ", ".join(results))
    for k in range(12, 40, 2):
        print(f"{0.2 * k + 0.1:12.1f} " + " ".join(f"{g[k]:9.2f}" for g, _ in results.values()))
    print("\nangle, degrees   percent: " + ", ".join(results))
    for k in range(9):
        print(f"{20 * k + 10:12d} " + " ".join(f"{angles[k]:9.1f}" for _, angles in results.values()))


if __name__ == "__main__":
    main()
