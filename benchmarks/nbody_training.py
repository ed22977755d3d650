"""Seconds and peak memory of training two- and three-body functions, against the number of frames.

    python benchmarks/nbody_training.py --data Si_train.extxyz --sizes 50 100 214 --folder models

Each training is a process of its own, so that its peak memory is its own; repeats take turns, medians count. The models
stay in FOLDER (nbody50.safetensors and so on): `lammps_cost.py --model` shows that all of them cost the same.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from openmm_kml.files import write_atomically
from openmm_kml.structures import read_structures, split_structures
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.weights import save


def peak_memory():
    """Return the largest memory that this process has had, bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def train_once(arguments):
    """Train one model in this process and print what it cost."""
    train = split_structures(read_structures(arguments.data), arguments.sizes[0], 0, 0, arguments.seed)[0]
    before, wall, cpu = peak_memory(), time.perf_counter(), time.process_time()
    fit = fit_nbody(train, None, NBodyOptions(cutoff2=arguments.cutoff2, cutoff3=arguments.cutoff3, progress=False))
    result = {
        "cpu_seconds": time.process_time() - cpu,
        "seconds": time.perf_counter() - wall,
        "peak_memory": peak_memory(),
        "memory_before": before,
        "n_atoms": train.n_atoms,
        "n_rows": fit.report["n_rows"],
        "parts": fit.report["seconds"],
    }
    save(fit.weights, arguments.folder / f"nbody{len(train)}.safetensors")
    print(json.dumps(result))


def main():
    """Measure all sizes in turns, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--folder", required=True, type=Path, help="keeps the models and training.json")
    parser.add_argument("--sizes", nargs="+", type=int, required=True)
    parser.add_argument("--cutoff2", type=float, default=6.0, help="Å")
    parser.add_argument("--cutoff3", type=float, default=3.5, help="Å")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of frames")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.one:
        train_once(arguments)
        return
    results = {size: [] for size in arguments.sizes}
    for _ in range(arguments.repeats):
        for size, entries in results.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--one", "--sizes", str(size)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            entries.append(json.loads(said.splitlines()[-1]))
    write_atomically(arguments.folder / "training.json", json.dumps(results, indent=1).encode())
    print("| frames | atoms | rows | CPU s | fastest to slowest | ms an atom | peak memory, MB | before, MB |")
    print("|---|---|---|---|---|---|---|---|")
    for size, entries in results.items():
        seconds = sorted(entry["cpu_seconds"] for entry in entries)
        middle, first = statistics.median(seconds), entries[0]
        memory, before = (
            statistics.median(entry[key] for entry in entries) / 1e6 for key in ("peak_memory", "memory_before")
        )
        print(
            f"| {size} | {first['n_atoms']} | {first['n_rows']} | {middle:.2f} | {seconds[0]:.2f}–{seconds[-1]:.2f} "
            f"| {1e3 * middle / first['n_atoms']:.3f} | {memory:.0f} | {before:.0f} |"
        )


if __name__ == "__main__":
    main()
