"""Held-out errors of our models beside those of sgdml, on the same frames.

    python benchmarks/accuracy.py --data ethanol.xyz --sizes 100 200 500 1000 --seeds 0 1 2 \
        --output accuracy.json --peer-python /path/to/peers/bin/python

For each size and seed the frames are split into disjoint training, validation and test sets. Each result is written to
the JSON file as soon as it is there, and what is there already is not done again. The table goes to standard output.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from openmm_kml.files import write_atomically
from openmm_kml.structures import read_molecules, split
from openmm_kml.training import GDMLOptions, fit_gdml

METHODS = {
    "default": {},
    "ard": {"ard": True},
    "preset sgdml": {"preset": "sgdml"},
}


def frames(molecules, size, seed, n_validation, n_test):
    """Return training, validation and test sets; the test set shrinks where the data do not suffice."""
    n_test = min(n_test, len(molecules) - size - n_validation)
    if n_test < 50:
        return None
    return split(molecules, size, n_validation, n_test, seed=seed)


def run_ours(parts, options, seed, threads):
    """Return errors, hyperparameters and time of one of our models."""
    train, validation, test = parts
    fit = fit_gdml(train, validation, GDMLOptions(**options, seed=seed, n_threads=threads, progress=False))
    return {
        "test_errors": fit.model.errors(test),
        "validation_errors": fit.report["validation_errors"],
        "hyperparameters": fit.report["hyperparameters"],
        "n_permutations": fit.report["symmetries"]["n_permutations"],
        "seconds": fit.report["seconds"],
    }


def write_peer_input(parts, path):
    """Write the frames for `peer_sgdml.py`."""
    arrays = {"z": parts[0].numbers}
    for name, part in zip(("train", "valid", "test"), parts, strict=True):
        arrays |= {f"{name}_R": part.positions, f"{name}_E": part.energies, f"{name}_F": part.forces}
    np.savez(path, **arrays)


def run_peer(python, parts, processes, length_scales=()):
    """Return what `peer_sgdml.py` reports for these frames."""
    script = Path(__file__).with_name("peer_sgdml.py")
    with tempfile.TemporaryDirectory() as folder:
        data, output = Path(folder, "data.npz"), Path(folder, "result.json")
        write_peer_input(parts, data)
        command = [python, script, data, output, "--processes", str(processes)]
        if length_scales:
            command += ["--length-scales", *map(str, length_scales)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.loads(output.read_text())


def peer_entry(result):
    """Return the model that its validation errors choose, in the form of `run_ours`."""
    best = min(result["models"], key=lambda model: model["validation_errors"]["forces_rmse"])
    return {
        "test_errors": best["test_errors"],
        "validation_errors": best["validation_errors"],
        "hyperparameters": {"length_scale": best["length_scale"]},
        "n_permutations": result["n_permutations"],
        "seconds": result["task_seconds"] + sum(model["seconds"] for model in result["models"]),
    }


def table(results):
    """Return the Markdown table: means over the seeds of force and energy errors."""
    groups = {}
    for entry in results.values():
        groups.setdefault((entry["data"], entry["n_train"], entry["method"]), []).append(entry)
    lines = [
        "| data | points | method | seeds | force MAE, meV/Å | force RMSE | energy MAE, meV | energy RMSE | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (data, n_train, method), entries in sorted(groups.items()):
        numbers = [
            1000 * np.mean([entry["test_errors"][key] for entry in entries])
            for key in ("forces_mae", "forces_rmse", "energy_mae", "energy_rmse")
        ]
        seconds = np.median([entry["seconds"] for entry in entries])
        values = " | ".join(f"{number:.1f}" for number in numbers)
        lines.append(f"| {data} | {n_train} | {method} | {len(entries)} | {values} | {seconds:.1f} |")
    return "\n".join(lines)


def main():
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, type=Path)
    parser.add_argument("--energy-unit", help="of all data sets, where the files do not say it")
    parser.add_argument("--sizes", nargs="+", type=int, default=[100, 200, 500, 1000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=[*METHODS, "sgdml"], default=list(METHODS))
    parser.add_argument("--peer-python", help="a Python with sgdml; adds its results")
    parser.add_argument("--n-validation", type=int, default=150)
    parser.add_argument("--n-test", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("accuracy.json"))
    arguments = parser.parse_args()
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    methods = list(dict.fromkeys([*arguments.methods, *(["sgdml"] if arguments.peer_python else [])]))
    for path in arguments.data:
        unit = {"energy_unit": arguments.energy_unit} if arguments.energy_unit else {}
        molecules = read_molecules(path, **unit)
        name = f"{path.parent.name}/{path.name}"
        for size in sorted(arguments.sizes):
            for seed in arguments.seeds:
                parts = frames(molecules, size, seed, arguments.n_validation, arguments.n_test)
                if parts is None:
                    print(f"{name}: too few frames for {size} training points", file=sys.stderr)
                    break
                for method in methods:
                    key = f"{name} {size} {seed} {method} {arguments.n_validation} {arguments.n_test}"
                    if key in results:
                        continue
                    if method == "sgdml":
                        entry = peer_entry(run_peer(arguments.peer_python, parts, arguments.threads))
                    else:
                        entry = run_ours(parts, METHODS[method], seed, arguments.threads)
                    results[key] = {"data": name, "n_train": size, "seed": seed, "method": method} | entry
                    write_atomically(arguments.output, json.dumps(results, indent=1, sort_keys=True).encode())
                    error = 1000 * entry["test_errors"]["forces_mae"]
                    print(f"{key}: {error:.1f} meV/Å, {entry['seconds']:.1f} s", file=sys.stderr, flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
