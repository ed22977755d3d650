"""A hot run at constant temperature in LAMMPS and in OpenMM: are all atoms there, and how near did any two come?

    python benchmarks/stability.py silicon.safetensors [--temperature 2000] [--length 100] [--output FILE]

1,000 atoms of silicon in the volume of the crystal, Langevin dynamics from the lattice on. The shortest distance is
looked up every ten steps, the mean square displacement at the end tells a melt (it grows) from a crystal.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from conservation_local import HOUR, SILICON, parsed, thermo
from lammps_helpers import lammps

from openmm_kml.files import write_atomically
from openmm_kml.interfaces.lammps import build_plugin, input_lines
from openmm_kml.units import BOLTZMANN, KJ_PER_MOL

LOOK_EVERY = 10  # steps
DECK = """{plugin}
{crystal}
pair_style kml
pair_coeff * * {model} Si
velocity all create {hot} {seed} loop geom
timestep {step}
neighbor 1.0 bin
neigh_modify every 1 delay 5 check yes
thermo_modify lost error
fix move all nve
fix bath all langevin {temperature} {temperature} 0.1 {seed}
compute distances all pair/local dist
compute nearest all reduce min c_distances inputs local
compute moved all msd com yes
thermo_style custom step temp c_nearest atoms c_moved[4]
thermo {every}
run {steps}
"""


def in_lammps(n, options, folder):
    """Return columns: time (ps), temperature (K), shortest distance (Å), atoms, mean square displacement (Å²)."""
    deck = DECK.format(
        plugin=input_lines(build_plugin())[0],
        crystal=SILICON.lammps_lines(n),
        model=options.model.resolve(),
        hot=2 * options.temperature,
        temperature=options.temperature,
        seed=options.seed,
        step=options.time_step / 1000,
        every=LOOK_EVERY,
        steps=round(1000 * options.length / options.time_step),
    )
    rows = thermo(lammps(folder, deck, timeout=HOUR))
    rows[:, 0] *= options.time_step / 1000
    return rows


def shortest_distance(positions, edges):
    """Return the shortest distance (Å) of atoms in a rectangular periodic box."""
    tree = cKDTree(positions % edges, boxsize=edges)
    return float(tree.query(tree.data, k=2)[0][:, 1].min())


def in_openmm(n, options, platform):
    """Return the columns of `in_lammps`."""
    import openmm

    integrator = openmm.LangevinMiddleIntegrator(options.temperature, 10, options.time_step / 1000)
    integrator.setRandomNumberSeed(options.seed)
    context = SILICON.openmm_context(options.model, n, integrator, platform, 2 * options.temperature, options.seed)
    start, cell = SILICON.structure(n)
    edges, rows = np.diag(cell), []
    for k in range(round(1000 * options.length / options.time_step) // LOOK_EVERY):
        integrator.step(LOOK_EVERY)
        state = context.getState(positions=True, velocities=True)
        positions = state.getPositions(asNumpy=True)._value * 10
        present = int(np.isfinite(positions).all(axis=1).sum())
        moved = positions - start
        moved -= moved.mean(axis=0)
        velocities = state.getVelocities(asNumpy=True)._value
        temperature = SILICON.mass * np.mean(velocities**2) * KJ_PER_MOL / BOLTZMANN
        distance = shortest_distance(positions, edges) if present == len(positions) else np.nan
        row = ((k + 1) * LOOK_EVERY * options.time_step / 1000, temperature, distance, present)
        rows.append((*row, np.mean(np.sum(moved**2, axis=1))))
    return np.array(rows)


def summary(route, rows, seconds):
    """Return and print what came of a run."""
    half = rows[len(rows) // 2 :]
    result = {
        "route": route,
        "length_ps": float(rows[-1, 0]),
        "temperature_K": float(half[:, 1].mean()),
        "shortest_distance": float(rows[:, 2].min()),
        "atoms": [int(rows[0, 3]), int(rows[:, 3].min())],
        "mean_square_displacement": [float(half[0, 4]), float(rows[-1, 4])],
    }
    print(
        f"{route}: {rows[-1, 0]:.0f} ps at {result['temperature_K']:.0f} K, {result['atoms'][1]} of "
        f"{result['atoms'][0]} atoms there, no two nearer than {result['shortest_distance']:.3f} Å; mean square "
        f"displacement {half[0, 4]:.1f} Å² after half the time, {rows[-1, 4]:.1f} Å² at the end; {seconds:.0f} s",
        flush=True,
    )
    return result


def main():
    options = parsed(__doc__, 2000.0)
    n = SILICON.cells(options.atoms)
    results = []
    with tempfile.TemporaryDirectory() as name:
        routes = {"LAMMPS": lambda: in_lammps(n, options, Path(name))}
        routes |= {f"OpenMM {platform}": lambda p=platform: in_openmm(n, options, p) for platform in options.platforms}
        for route, run in routes.items():
            start = time.perf_counter()
            results.append(summary(route, run(), time.perf_counter() - start))
    if options.output:
        write_atomically(options.output, json.dumps(results, indent=1).encode())


if __name__ == "__main__":
    main()
