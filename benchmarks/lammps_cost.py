"""What a step costs in LAMMPS: `pair_style kml` beside sw and tersoff, silicon at 300 K, one core, in turns in one run.

    python benchmarks/lammps_cost.py [--model M.safetensors] [--atoms 4096] [--rounds 5] [--json FILE]

Without a model, Stillinger and Weber's potential of silicon (Phys. Rev. B 31, 5262 (1985)) is put on the splines, its
triples ending at several cutoffs (its own is 3.77 Å): a crystal with real forces, from no data. The cost depends on
cutoffs, grids and the structure; not on the data that a model was trained on. Times are CPU times of the loop, as
LAMMPS tells them, neighbor lists included.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from lammps_helpers import lammps, potentials_folder
from stillinger_weber import spline_model

from openmm_kml.interfaces.lammps import build_plugin, input_lines
from openmm_kml.weights import load, save

DECK = """{plugin}
units metal
lattice diamond 5.431
region box block 0 {n[0]} 0 {n[1]} 0 {n[2]}
create_box 1 box
create_atoms 1 box
mass 1 28.0855
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
PEERS = {
    "sw": "pair_style sw\npair_coeff * * Si.sw Si",
    "tersoff": "pair_style tersoff\npair_coeff * * Si.tersoff Si",
}


def cells(atoms):
    """Return the numbers of cells of 8 atoms along x, y and z whose product comes near to a number of atoms."""
    side = (atoms / 8) ** (1 / 3)
    x = max(1, round(side))
    y = max(1, round((atoms / 8 / x) ** 0.5))
    return x, y, max(1, round(atoms / 8 / x / y))


def microseconds(said, atoms):
    """Return the CPU time of the last loop, in µs for an atom and step."""
    loop = re.findall(r"Loop time of ([\d.e+-]+) on \d+ procs for (\d+) steps", said)[-1]
    busy = re.findall(r"^([\d.]+)% CPU use", said, re.MULTILINE)[-1]
    return 1e6 * float(loop[0]) * float(busy) / 100 / int(loop[1]) / atoms


def measure(routes, atoms, steps, rounds, folder):
    """Return name -> list of µs for an atom and step, the routes taking turns."""
    n = cells(atoms)
    plugin = input_lines(build_plugin())[0]
    times = {name: [] for name in routes}
    for _ in range(rounds):
        for name, pair in routes.items():
            deck = DECK.format(plugin=plugin, n=n, pair=pair, warm=max(1, steps // 5), steps=steps)
            said = lammps(folder, deck, environment={"LAMMPS_POTENTIALS": str(potentials_folder())})
            times[name].append(microseconds(said, 8 * int(np.prod(n))))
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", type=Path, action="append", default=[], help="a model of silicon; may be repeated")
    parser.add_argument("--cutoffs", default="3.5,3.77118,4.0", help="ends of the triples of the model on splines, Å")
    parser.add_argument("--atoms", default="4096", help="one number, or several with commas between")
    parser.add_argument("--steps", type=int, default=100, help="of the smallest system; larger ones take fewer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true", help="leave out sw and tersoff")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    report = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        routes = {} if args.no_peers else dict(PEERS)
        for cutoff in (float(text) for text in args.cutoffs.split(",") if text):
            save(spline_model(cutoff3=cutoff), folder / f"sw{cutoff:g}.safetensors")
            routes[f"kml, triples to {cutoff:g} Å"] = f"pair_style kml\npair_coeff * * sw{cutoff:g}.safetensors Si"
        for k, path in enumerate(args.model):
            save(load(path), folder / f"model{k}.safetensors")
            routes[f"kml, {path.name}"] = f"pair_style kml\npair_coeff * * model{k}.safetensors Si"
        sizes = [int(text) for text in args.atoms.split(",")]
        for atoms in sizes:
            steps = max(5, round(args.steps * min(sizes) / atoms))
            times = measure(routes, atoms, steps, args.rounds, folder)
            print(f"{8 * int(np.prod(cells(atoms)))} atoms, {steps} steps, {args.rounds} rounds")
            print(f"{'':28}{'median':>9}{'fastest':>9}{'slowest':>9}  µs for an atom and step")
            for route, each in times.items():
                middle = statistics.median(each)
                print(f"{route:28}{middle:9.3f}{min(each):9.3f}{max(each):9.3f}")
                report.append({"route": route, "atoms": atoms, "steps": steps, "microseconds": each})
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
