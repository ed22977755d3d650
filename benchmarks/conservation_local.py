"""Drift of the total energy of a periodic crystal in LAMMPS and in OpenMM, and what the lists of neighbors change.

    python benchmarks/conservation_local.py silicon.safetensors [--temperature 1000] [--length 100] [--output FILE]

1,000 atoms of silicon are brought to the temperature, then move at constant energy. The slope of the total energy is
found by least squares, with an error that counts the correlation of neighboring samples. Then some steps with skins
and without, where each step has a new list: the same numbers to rounding.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from conservation import slope
from crystals import CRYSTALS
from lammps_helpers import lammps, read_dump

from openmm_kml._engine import Engine
from openmm_kml.files import write_atomically
from openmm_kml.interfaces.lammps import build_plugin, input_lines
from openmm_kml.units import BOLTZMANN, KJ_PER_MOL

SILICON = CRYSTALS["Si"]
SAMPLE_EVERY = 20  # steps
EQUILIBRATION = 5.0  # ps
HOUR = 3600  # s: what a run may take on busy cores
START = """{plugin}
{crystal}
pair_style kml
pair_coeff * * {model} Si
velocity all create {hot} {seed} loop geom
timestep {step}
neighbor 1.0 bin
neigh_modify every 1 delay 5 check yes
fix move all nve
fix bath all langevin {temperature} {temperature} 0.1 {seed}
run {warm}
unfix bath
velocity all zero linear
"""
NVE = """thermo_style custom step etotal temp
thermo_modify norm no format float %.17g
thermo {every}
run {steps}
"""
SHORT = """run {steps}
dump out all custom 1 dump id type x y z fx fy fz
dump_modify out sort id format float %.17g
run 0
"""


def start_deck(model, n, options):
    """Return the lines of a deck that bring a crystal to the temperature."""
    return START.format(
        plugin=input_lines(build_plugin())[0],
        crystal=SILICON.lammps_lines(n),
        model=model.resolve(),
        hot=2 * options.temperature,
        temperature=options.temperature,
        seed=options.seed,
        step=options.time_step / 1000,
        warm=round(1000 * EQUILIBRATION / options.time_step),
    )


def thermo(said):
    """Return the rows of numbers of the last run that LAMMPS told, as an array."""
    lines = said.split("Per MPI rank memory")[-1].splitlines()[2:]
    end = next(k for k, line in enumerate(lines) if line.startswith("Loop time"))
    return np.array([[float(word) for word in line.split()] for line in lines[:end]])


def nve_in_lammps(n, options, folder):
    """Return times (ps), total energies (eV) and temperatures (K) of a run at constant energy."""
    steps = round(1000 * options.length / options.time_step)
    deck = start_deck(options.model, n, options) + NVE.format(every=SAMPLE_EVERY, steps=steps)
    rows = thermo(lammps(folder, deck, timeout=HOUR))
    return (rows[:, 0] - rows[0, 0]) * options.time_step / 1000, rows[:, 1], rows[:, 2]


def equilibrated_context(n, options, platform):
    """Return a Context at the temperature without motion of the center of mass, and its Verlet integrator."""
    import openmm

    integrator = openmm.CompoundIntegrator()
    bath = openmm.LangevinMiddleIntegrator(options.temperature, 10, options.time_step / 1000)
    bath.setRandomNumberSeed(options.seed)
    integrator.addIntegrator(bath)
    integrator.addIntegrator(openmm.VerletIntegrator(options.time_step / 1000))
    context = SILICON.openmm_context(options.model, n, integrator, platform, 2 * options.temperature, options.seed)
    integrator.step(round(1000 * EQUILIBRATION / options.time_step))
    velocities = context.getState(velocities=True).getVelocities(asNumpy=True)._value
    context.setVelocities(velocities - velocities.mean(axis=0))
    integrator.setCurrentIntegrator(1)
    return context, integrator


def nve_in_openmm(n, options, platform):
    """Return times (ps), total energies (eV) and temperatures (K) of a run at constant energy."""
    context, integrator = equilibrated_context(n, options, platform)
    samples = []
    for k in range(round(1000 * options.length / options.time_step) // SAMPLE_EVERY + 1):
        if k:
            integrator.step(SAMPLE_EVERY)
        state = context.getState(energy=True)
        potential, kinetic = state.getPotentialEnergy()._value, state.getKineticEnergy()._value
        temperature = 2 * kinetic * KJ_PER_MOL / (3 * SILICON.size(n) * BOLTZMANN)
        samples.append((k * SAMPLE_EVERY * options.time_step / 1000, (potential + kinetic) * KJ_PER_MOL, temperature))
    return np.array(samples).T


def summary(route, times, energies, temperatures, n_atoms, seconds):
    """Return and print the drift of a run."""
    value, error = slope(times, energies)
    residual = energies - np.polyval(np.polyfit(times, energies, 1), times)
    result = {
        "route": route,
        "length_ps": float(times[-1]),
        "temperature_K": float(temperatures.mean()),
        "slope_meV_per_atom_per_ns": 1e6 * value / n_atoms,
        "standard_error": 1e6 * error / n_atoms,
        "fluctuation_meV_per_atom": 1e3 * float(residual.std()) / n_atoms,
    }
    print(
        f"{route}: {times[-1]:.0f} ps at {result['temperature_K']:.0f} K, drift {1e6 * value / n_atoms:+.4f} "
        f"± {1e6 * error / n_atoms:.4f} meV/atom/ns, fluctuation {result['fluctuation_meV_per_atom']:.4f} meV/atom, "
        f"{seconds:.0f} s",
        flush=True,
    )
    return result


def skins_in_lammps(n, options, folder, steps=200):
    """Return the largest differences of positions (Å) and forces (eV/Å) after some steps, with a skin and without."""
    frames = []
    for skin in ("neighbor 1.0 bin\n", "neighbor 0.0 bin\nneigh_modify every 1 delay 0 check no\n"):
        deck = start_deck(options.model, n, options) + skin + SHORT.format(steps=steps)
        lammps(folder, deck, timeout=HOUR)
        frames.append(read_dump(folder / "dump")[-1])
    difference = np.abs(frames[0] - frames[1])
    return float(difference[:, 2:5].max()), float(difference[:, 5:8].max())


def skins_of_the_engine(n, options, samples=200):
    """Return the largest differences of energies (eV) and forces (eV/Å) of an engine with a skin and one without.

    The positions are those of a run in OpenMM; its steps move the atoms far enough for several new lists.
    """
    data = options.model.read_bytes()
    kept, fresh = Engine(data), Engine(data, skin=0.0)
    context, integrator = equilibrated_context(n, options, "Reference")
    numbers, cell = np.full(SILICON.size(n), SILICON.number), SILICON.structure(n)[1]
    worst = np.zeros(2)
    for _ in range(samples):
        integrator.step(5)
        positions = context.getState(positions=True).getPositions(asNumpy=True)._value * 10
        (e1, f1, *_), (e2, f2, *_) = (
            engine.evaluate_structure(positions, numbers, cell, True, 1) for engine in (kept, fresh)
        )
        worst = np.maximum(worst, [abs(e1 - e2), np.abs(f1 - f2).max()])
    return float(worst[0]), float(worst[1])


def parsed(description, temperature):
    """Return the options of a program that runs silicon in LAMMPS and in OpenMM."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model of silicon")
    parser.add_argument("--atoms", type=int, default=1000)
    parser.add_argument("--temperature", type=float, default=temperature, help="K")
    parser.add_argument("--length", type=float, default=100.0, help="ps")
    parser.add_argument("--time-step", type=float, default=1.0, help="fs")
    parser.add_argument("--platforms", nargs="*", default=["Reference"], help="of OpenMM")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="a JSON file for the numbers")
    return parser.parse_args()


def main():
    options = parsed(__doc__, 1000.0)
    n = SILICON.cells(options.atoms)
    routes = {f"OpenMM {platform}": lambda p=platform: nve_in_openmm(n, options, p) for platform in options.platforms}
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        routes = {"LAMMPS": lambda: nve_in_lammps(n, options, folder)} | routes
        for route, run in routes.items():
            start = time.perf_counter()
            results.append(summary(route, *run(), SILICON.size(n), time.perf_counter() - start))
        moved, force = skins_in_lammps(n, options, folder)
    print(f"LAMMPS, 200 steps with a skin of 1 Å and without: positions within {moved:.1e} Å, forces {force:.1e} eV/Å")
    energy, engine_force = skins_of_the_engine(n, options)
    print(
        f"engine, 1,000 steps with a skin and without: energies within {energy:.1e} eV, forces {engine_force:.1e} eV/Å"
    )
    if options.output:
        skins = {"lammps": [moved, force], "engine": [energy, engine_force]}
        write_atomically(options.output, json.dumps({"runs": results, "skins": skins}, indent=1).encode())


if __name__ == "__main__":
    main()
