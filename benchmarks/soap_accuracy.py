"""Many-body models beside `gap_fit`: errors on unseen frames, CPU seconds of training, microseconds of evaluation.

    python benchmarks/soap_accuracy.py --train Si_train.extxyz --test Si_test.extxyz --size 50 --output soap.json \
        --gap si50/errors.json --model n_sparse=500 --model n_sparse=1000,zeta=2

Each --model names options of `openmm_kml.training.soap.SoapOptions` that differ from the defaults, and is trained on
the same frames. --gap takes the errors.json of benchmarks/gap_fit_peer.py, trained on the same
frames with the same seed, and shows them in the same table. Evaluation is timed on the first test frame, repeated to
some 500 atoms, with one thread: the best of five blocks of half a second, CPU time. Each result is written as soon as
it is there, and what is there already is not done again.
"""

import argparse
import ast
import json
import sys
import time
from pathlib import Path

import numpy as np
from gap_fit_peer import table

from openmm_kml.files import write_atomically
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import read_structures, split_structures
from openmm_kml.training.evaluation import model_errors
from openmm_kml.training.soap import SoapOptions, fit_soap
from openmm_kml.weights import to_bytes

LARGE = 500  # atoms


def parse_model(text):
    """Return the options of ``name=value,name=value``; words that are no numbers are text."""
    options = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[name] = value
    return options


def large(frame):
    """Return positions, atomic numbers and cell of a periodic frame, repeated to some 500 atoms."""
    counts = np.ones(3, int)
    while counts.prod() * len(frame) < LARGE:
        counts[np.argmin(counts * np.linalg.norm(frame.cell, axis=1))] += 1
    shifts = np.array(list(np.ndindex(*counts))) @ frame.cell
    positions = (frame.positions + shifts[:, None]).reshape(-1, 3)
    return positions, np.tile(frame.numbers, len(shifts)), frame.cell * counts[:, None]


def microseconds(weights, frame):
    """Return CPU microseconds an atom for energy, forces and virial of a moving structure of some 500 atoms."""
    potential = KernelPotential.from_bytes(to_bytes(weights))
    positions, numbers, cell = large(frame)
    rng, times = np.random.default_rng(0), []
    for _ in range(5):
        count, start = 0, time.process_time()
        while time.process_time() - start < 0.5:
            moved = positions + 0.01 * rng.standard_normal(positions.shape)
            potential.evaluate(moved, numbers, cell, n_threads=1)
            count += 1
        times.append((time.process_time() - start) / count)
    return 1e6 * min(times) / len(positions)


def measured(train, test, options):
    """Train one model and return what it can do and what it costs."""
    start = time.process_time()
    fit = fit_soap(train, None, SoapOptions(progress=False, **options))
    seconds = time.process_time() - start
    return {
        "n_train": len(train),
        "errors": model_errors(fit.weights, test),
        "training_seconds": seconds,
        "microseconds_per_atom": microseconds(fit.weights, test.frames[0]),
        "hyperparameters": fit.report["hyperparameters"],
        "noise_scale": fit.report["noise_scale"],
        "dimension": fit.report["dimension"],
    }


def main():
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--size", type=int, help="training frames; all of them otherwise")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of frames")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=VALUE,…", help="options of a model")
    parser.add_argument("--gap", type=Path, action="append", default=[], help="errors.json of gap_fit_peer.py")
    parser.add_argument("--output", type=Path, default=Path("soap_accuracy.json"))
    arguments = parser.parse_args()
    pool, test = read_structures(arguments.train), read_structures(arguments.test)
    train = split_structures(pool, arguments.size or len(pool), 0, 0, arguments.seed)[0]
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    for text in arguments.model or [""]:
        name = text or "default"
        if name not in results:
            results[name] = measured(train, test, parse_model(text))
            write_atomically(arguments.output, json.dumps(results, indent=1).encode())
            print(name, results[name], file=sys.stderr, flush=True)
    peers = {}
    for path in arguments.gap:
        entries = json.loads(path.read_text())
        peers |= {f"{name} ({path.parent.name})": entry for name, entry in entries.items() if name == "gap_fit"}
    print(f"{len(train)} frames, {train.n_atoms} atoms; tested on {len(test)} frames\n{table(peers | results)}")


if __name__ == "__main__":
    main()
