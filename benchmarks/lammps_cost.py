"""What a step costs in LAMMPS: `pair_style kml` beside sw and tersoff, silicon at 300 K, one core, in turns in one run.

    python benchmarks/lammps_cost.py [--model M.safetensors] [--atoms 4096] [--rounds 5] [--openmm Reference CPU]
    python benchmarks/lammps_cost.py --crystal Ni --model NI.safetensors
    python benchmarks/lammps_cost.py --model GAP.safetensors --engine --snap --no-peers --cutoffs "" --atoms 512

Stillinger and Weber's potential of silicon (Phys. Rev. B 31, 5262 (1985)) is put on the splines, its triples ending at
several cutoffs (its own is 3.77 Å): a crystal with real forces, from no data. The cost depends on cutoffs, grids and
the structure; not on the data that a model was trained on. Times are CPU times of the loop, as LAMMPS tells them,
neighbor lists included. With --openmm the models run there, too: the same crystal, one thread, the CPU time of the
process. With --engine the bare engine evaluates the same crystal on a thermal path. With --uncertainty N the models
also tell the uncertainty of each atom every N steps. With --snap there is LAMMPS's SNAP potential of the element by Zuo
et al. (J. Phys. Chem. A 124, 731 (2020)), too.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import numpy as np
from crystals import CRYSTALS
from lammps_helpers import lammps, potentials_folder
from stillinger_weber import spline_model

from openmm_kml._engine import Engine
from openmm_kml.interfaces.lammps import build_plugin, input_lines
from openmm_kml.weights import load, save

DECK = """{plugin}
{crystal}
{pair}
velocity all create 600 5 loop geom
neighbor 1.0 bin
neigh_modify every 1 delay 5 check yes
timestep 0.001
fix 1 all nve
thermo 1000
run {warm}
run {steps}
"""


def openmm_microseconds(path, platform, crystal, n, warm, steps):
    """Return the CPU time of a step in OpenMM, one thread, in µs for an atom: the crystal of LAMMPS's deck."""
    import openmm

    integrator = openmm.VerletIntegrator(0.001)
    context = crystal.openmm_context(path, n, integrator, platform, 600, 5)
    integrator.step(warm)
    context.getState(energy=True)
    start = time.process_time()
    integrator.step(steps)
    context.getState(energy=True)
    return 1e6 * (time.process_time() - start) / steps / crystal.size(n)


def engine_microseconds(path, crystal, n, warm, steps):
    """Return the CPU time of an evaluation by the engine, one thread, in µs for an atom: atoms swing as at 300 K."""
    rng, engine = np.random.default_rng(5), Engine(path.read_bytes())
    positions, cell = crystal.structure(n)
    numbers, amplitude = np.full(len(positions), crystal.number), rng.normal(0, 0.11, positions.shape)
    for k in range(warm + steps):
        if k == warm:
            start = time.process_time()
        engine.evaluate_structure(positions + amplitude * np.sin(0.06 * k + 1), numbers, cell, True, n_threads=1)
    return 1e6 * (time.process_time() - start) / steps / len(positions)


def microseconds(said, atoms):
    """Return the CPU time of the last loop, in µs for an atom and step."""
    loop = re.findall(r"Loop time of ([\d.e+-]+) on \d+ procs for (\d+) steps", said)[-1]
    busy = re.findall(r"^([\d.]+)% CPU use", said, re.MULTILINE)[-1]
    return 1e6 * float(loop[0]) * float(busy) / 100 / int(loop[1]) / atoms


def measure(crystal, decks, openmm_routes, engine_routes, n, steps, rounds, folder):
    """Return name -> list of µs for an atom and step, the routes taking turns.

    `decks` has the lines of the pair style by name, `openmm_routes` the platform and the file of the model,
    `engine_routes` the file.
    """
    plugin = input_lines(build_plugin())[0]
    times = {name: [] for name in (*decks, *openmm_routes, *engine_routes)}
    warm, atoms = max(1, steps // 5), crystal.size(n)
    for _ in range(rounds):
        for name, pair in decks.items():
            deck = DECK.format(plugin=plugin, crystal=crystal.lammps_lines(n), pair=pair, warm=warm, steps=steps)
            said = lammps(folder, deck, environment={"LAMMPS_POTENTIALS": str(potentials_folder())})
            times[name].append(microseconds(said, atoms))
        for name, (platform, path) in openmm_routes.items():
            times[name].append(openmm_microseconds(path, platform, crystal, n, warm, steps))
        for name, path in engine_routes.items():
            times[name].append(engine_microseconds(path, crystal, n, warm, steps))
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--model", type=Path, action="append", default=[], help="a model of the element; may be repeated"
    )
    parser.add_argument("--crystal", choices=CRYSTALS, default="Si")
    parser.add_argument("--openmm", nargs="*", default=[], metavar="PLATFORM", help="run the models there, too")
    parser.add_argument("--engine", action="store_true", help="and in the bare engine")
    parser.add_argument("--uncertainty", type=int, metavar="N", help="the models also with uncertainty every N steps")
    parser.add_argument("--snap", action="store_true", help="also LAMMPS's SNAP potential of the element (slow)")
    parser.add_argument("--cutoffs", help="ends of Stillinger's and Weber's triples, Å, with commas between")
    parser.add_argument("--atoms", default="4096", help="one number, or several with commas between")
    parser.add_argument("--steps", type=int, default=100, help="of the smallest system; larger ones take fewer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true", help="leave out sw and tersoff, or eam")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    crystal, report = CRYSTALS[args.crystal], []
    cutoffs = args.cutoffs if args.cutoffs is not None else "3.5,3.77118,4.0" if args.crystal == "Si" else ""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        decks, openmm_routes, engine_routes = {} if args.no_peers else dict(crystal.peers), {}, {}
        if args.snap:
            files = " ".join(f"{crystal.symbol}_Zuo_JPCA2020.{end}" for end in ("snapcoeff", "snapparam"))
            decks["snap"] = f"pair_style snap\npair_coeff * * {files} {crystal.symbol}"
        models = {f"triples to {text} Å": spline_model(cutoff3=float(text)) for text in cutoffs.split(",") if text}
        models |= {path.name: load(path) for path in args.model}
        for k, (what, weights) in enumerate(models.items()):
            path = folder / f"model{k}.safetensors"
            save(weights, path)
            decks[f"kml, {what}"] = f"pair_style kml\npair_coeff * * {path.name} {args.crystal}"
            if args.uncertainty and weights.uncertainty is not None:
                asked = f"\nfix std all pair {args.uncertainty} kml uncertainty 1"
                decks[f"{what}, uncertainty every {args.uncertainty} steps"] = decks[f"kml, {what}"] + asked
            if args.engine:
                engine_routes[f"engine, {what}"] = path
            openmm_routes |= {f"OpenMM {platform}, {what}": (platform, path) for platform in args.openmm}
        sizes = [int(text) for text in args.atoms.split(",")]
        for wanted in sizes:
            n = crystal.cells(wanted)
            atoms, steps = crystal.size(n), max(5, round(args.steps * min(sizes) / wanted))
            times = measure(crystal, decks, openmm_routes, engine_routes, n, steps, args.rounds, folder)
            print(f"{atoms} atoms of {args.crystal}, {steps} steps, {args.rounds} rounds")
            print(f"{'':40}{'median':>9}{'fastest':>9}{'slowest':>9}  µs for an atom and step")
            for route, each in times.items():
                print(f"{route:40}{statistics.median(each):9.3f}{min(each):9.3f}{max(each):9.3f}")
                report.append({"route": route, "atoms": atoms, "steps": steps, "microseconds": each})
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
