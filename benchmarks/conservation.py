"""Is the energy conserved? NVE dynamics with KMLForce, and the same run with half the time step.

    python benchmarks/conservation.py MODEL.safetensors STRUCTURES [--output conservation] [--length 50]

STRUCTURES is any file that `kml test` reads; the dynamics start from its first frame, minimized, heated to the
temperature and equilibrated with a Langevin thermostat. Then both runs start from the same positions and velocities.

Printed and written: the slope of the total energy by least squares in meV/atom/ns with its standard error (the
residuals are correlated, which the error allows for), and the root mean square of the fluctuation.
A force that is not the gradient of the energy shows as a drift that half the time step does not remove; the error of
the integrator shows as a fluctuation that shrinks to a quarter.
"""

import argparse
import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import openmm
from ase.data import atomic_masses
from openmm import unit

from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import read_molecules
from openmm_kml.units import KJ_PER_MOL

mpl.use("Agg")
from matplotlib import pyplot as plt

EQUILIBRATION = 5.0  # ps
SAMPLE_EVERY = 5.0  # fs


def make_context(potential, integrator, platform):
    """Return a Context of the molecule under its KMLForce, and nothing else."""
    system = openmm.System()
    for number in potential.species:
        system.addParticle(atomic_masses[number])
    system.addForce(KMLForce(potential, n_threads=1))
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))


def equilibrated(potential, positions, temperature, seed, platform):
    """Return a State with positions and velocities at the temperature (K), without motion of the center of mass."""
    integrator = openmm.LangevinMiddleIntegrator(temperature, 10 / unit.picosecond, 0.5 * unit.femtosecond)
    integrator.setRandomNumberSeed(seed)
    context = make_context(potential, integrator, platform)
    context.setPositions(positions * 0.1)
    openmm.LocalEnergyMinimizer.minimize(context, 1.0)
    context.setVelocitiesToTemperature(temperature, seed)
    integrator.step(round(EQUILIBRATION / 0.0005))
    velocities = context.getState(velocities=True).getVelocities(asNumpy=True)._value
    masses = atomic_masses[potential.species]
    context.setVelocities(velocities - masses @ velocities / masses.sum())
    return context.getState(positions=True, velocities=True)


def total_energies(potential, state, time_step, length, platform):
    """Return times in ps and total energies in eV of an NVE run of `length` ps; `time_step` in fs."""
    integrator = openmm.VerletIntegrator(time_step * unit.femtosecond)
    context = make_context(potential, integrator, platform)
    context.setState(state)
    n_steps = round(SAMPLE_EVERY / time_step)
    energies = np.empty(round(1000 * length / SAMPLE_EVERY) + 1)
    for k in range(len(energies)):
        if k:
            integrator.step(n_steps)
        sample = context.getState(energy=True)
        energies[k] = (sample.getPotentialEnergy() + sample.getKineticEnergy())._value * KJ_PER_MOL
    return np.arange(len(energies)) * SAMPLE_EVERY / 1000, energies


def slope(times, energies):
    """Return the least-squares slope of energies (eV) over times (ps) and its standard error, eV/ps.

    Neighboring samples are correlated, by bonds within femtoseconds and by torsions within picoseconds. So the
    samples are averaged in pairs, again and again, down to sixteen blocks, and the largest of the errors counts
    (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989)).
    """
    t = times - times.mean()
    value = t @ energies / (t @ t)
    residuals = energies - energies.mean() - value * t
    error = 0.0
    while len(t) >= 16:
        variance = residuals @ residuals / (len(t) - 2)
        error = max(error, float(np.sqrt(variance / (t @ t))))
        even = len(t) // 2 * 2
        t, residuals = t[:even].reshape(-1, 2).mean(axis=1), residuals[:even].reshape(-1, 2).mean(axis=1)
    return float(value), error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("structures", type=Path)
    parser.add_argument("--output", default="conservation", help="writes OUTPUT.json and OUTPUT.png")
    parser.add_argument("--length", type=float, default=50.0, help="ps")
    parser.add_argument("--time-step", type=float, default=0.5, help="fs")
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    parser.add_argument("--energy-unit", help="of the structures, if their file does not say")
    parser.add_argument("--platform", default="Reference")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    potential = KernelPotential.load(options.model)
    positions = read_molecules(options.structures, energy_unit=options.energy_unit).positions[0]
    state = equilibrated(potential, positions, options.temperature, options.seed, options.platform)
    n_atoms = len(potential.species)
    runs = []
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for time_step in (options.time_step, options.time_step / 2):
        times, energies = total_energies(potential, state, time_step, options.length, options.platform)
        value, error = slope(times, energies)
        run = {
            "time_step_fs": time_step,
            "slope_meV_per_atom_per_ns": 1e6 * value / n_atoms,
            "standard_error": 1e6 * error / n_atoms,
            "fluctuation_meV_per_atom": 1e3 * float(np.std(energies)) / n_atoms,
        }
        runs.append(run)
        print(
            f"{time_step:g} fs: slope {run['slope_meV_per_atom_per_ns']:+.4f} ± {run['standard_error']:.4f} "
            f"meV/atom/ns, fluctuation {run['fluctuation_meV_per_atom']:.4f} meV/atom"
        )
        axes.plot(times, 1e3 * (energies - energies[0]) / n_atoms, lw=0.5, label=f"{time_step:g} fs")
    axes.set(xlabel="time (ps)", ylabel="change of total energy (meV/atom)")
    axes.legend(loc="upper right")
    figure.savefig(f"{options.output}.png", dpi=150)
    result = {
        "model": options.model.name,
        "temperature_K": options.temperature,
        "length_ps": options.length,
        "runs": runs,
    }
    Path(f"{options.output}.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
