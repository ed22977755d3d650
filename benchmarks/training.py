"""Seconds and peak memory of one training with given hyperparameters, ours and sgdml's.

    python benchmarks/training.py --data ethanol.xyz --sizes 200 500 800 1000 --peer-python /path/to/peers/bin/python

Both train the published model (p = 1, Matérn-5/2, length scale 20) with the symmetries found; ours also trains the
default kernel with energies. Each training runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from accuracy import run_peer

from openmm_kml.files import write_atomically
from openmm_kml.structures import read_molecules, split
from openmm_kml.training import GDMLOptions, fit_gdml

METHODS = {
    "preset sgdml": {"preset": "sgdml", "length_scale": 20.0},
    "default kernel, energies": {
        "power": 0.5,
        "kernel": "matern92",
        "length_scale": 1.3,
        "regularization": 1e-7,
        "energies": True,
    },
}


def parts_of(arguments, size):
    """Return the frames of one size; few are left out of the training, since only time is measured."""
    unit = {"energy_unit": arguments.energy_unit} if arguments.energy_unit else {}
    molecules = read_molecules(arguments.data, **unit)
    size = min(size, len(molecules) - 20)
    return split(molecules, size, 10, 10, seed=0)


def train_once(arguments):
    """Train one model in this process and print its seconds and peak memory."""
    train, validation, _ = parts_of(arguments, arguments.sizes[0])
    before = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    options = GDMLOptions(**METHODS[arguments.one], n_threads=arguments.threads, progress=False)
    fit = fit_gdml(train, validation, options)
    result = {
        "n_train": len(train),
        "seconds": time.perf_counter() - start,
        "peak_memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "memory_before": before,
        "estimate": fit.report["peak_memory_estimate"],
    }
    print(json.dumps(result))


def main():
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--energy-unit")
    parser.add_argument("--sizes", nargs="+", type=int, default=[200, 500, 800, 1000])
    parser.add_argument("--peer-sizes", nargs="+", type=int, default=[200, 500, 800])
    parser.add_argument("--peer-python", help="a Python with sgdml; adds its results")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("training.json"))
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        train_once(arguments)
        return
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    for size in arguments.sizes:
        methods = list(METHODS)
        if arguments.peer_python and size in arguments.peer_sizes:
            methods.append("sgdml")
        for method in methods:
            key = f"{size} {method} {arguments.threads}"
            if key in results:
                continue
            if method == "sgdml":
                peer = run_peer(arguments.peer_python, parts_of(arguments, size), arguments.threads, [20])
                entry = {"seconds": peer["models"][0]["seconds"], "peak_memory": peer["peak_memory"]}
            else:
                command = [sys.executable, __file__, *sys.argv[1:], "--one", method, "--sizes", str(size)]
                entry = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            results[key] = {"size": size, "method": method, "threads": arguments.threads} | entry
            write_atomically(arguments.output, json.dumps(results, indent=1).encode())
    print("| points | method | seconds | peak memory, GB | estimated, GB |\n|---|---|---|---|---|")
    for entry in results.values():
        estimate = f"{entry['estimate'] / 1e9:.2f}" if "estimate" in entry else ""
        print(
            f"| {entry['size']} | {entry['method']} | {entry['seconds']:.1f} | {entry['peak_memory'] / 1e9:.2f} "
            f"| {estimate} |"
        )


if __name__ == "__main__":
    main()
