"""How far two and three bodies go: errors on unseen frames against the number of training frames and the cutoff.

    python benchmarks/nbody_accuracy.py --train Si_train.extxyz --test Si_test.extxyz --sizes 50 100 200 \
        --cutoff3 3.5 5.0 --output nbody.json

Beside each model stands the same spline basis without the Gaussian-process prior: a ridge on the coefficients, its
strength chosen by the marginal likelihood, too. Each result is written as soon as it is there, and what is there
already is not done again.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from openmm_kml.files import write_atomically
from openmm_kml.structures import read_structures, split_structures
from openmm_kml.training.evaluation import model_errors
from openmm_kml.training.nbody import NBodyOptions, fit_nbody, selection
from openmm_kml.training.nbody.solve import BlockPrior


class Ridge(selection.Hyperparameters):
    """Independent coefficients: the amplitudes are their prior deviations; length scales have no meaning."""

    def prior(self, basis, options, rounding=0.0):
        sizes = [block.columns.stop - block.columns.start for block in basis.blocks]
        widths = [self.amplitude2] * len(basis.blocks2) + [self.amplitude3] * len(basis.blocks3)
        blocks = [
            (block.columns, width * np.eye(size))
            for block, size, width in zip(basis.blocks, sizes, widths, strict=True)
        ]
        return BlockPrior(basis.n_elements, selection.FREE_WIDTH, blocks)


def fit(method, train, options):
    """Return a `LocalFit` under the Gaussian-process prior or under the ridge."""
    if method == "prior":
        return fit_nbody(train, None, options)
    original = selection.Hyperparameters
    selection.Hyperparameters = Ridge
    try:
        return fit_nbody(train, None, replace(options, length_scale2=1.0, length_scale3=1.0))
    finally:
        selection.Hyperparameters = original


def table(results):
    """Return the Markdown table."""
    lines = [
        "| data | cutoff3, Å | frames | fit | energy MAE, meV/atom | force MAE, meV/Å | RMSE | triples | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in results.values():
        errors = entry["test_errors"]
        numbers = [errors[key] * 1e3 for key in ("energy_mae_per_atom", "forces_mae", "forces_rmse")]
        lines.append(
            f"| {entry['data']} | {entry['cutoff3']} | {entry['n_train']} | {entry['method']} | {numbers[0]:.2f} | "
            f"{numbers[1]:.1f} | {numbers[2]:.1f} | {entry['triples_per_atom']:.0f} | {entry['seconds']:.1f} |"
        )
    return "\n".join(lines)


def main():
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--sizes", nargs="+", type=int, required=True)
    parser.add_argument("--cutoff2", type=float, default=6.0)
    parser.add_argument("--cutoff3", nargs="+", type=float, default=[3.5])
    parser.add_argument("--methods", nargs="+", choices=("prior", "ridge"), default=["prior", "ridge"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("nbody_accuracy.json"))
    arguments = parser.parse_args()
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    pool, test = read_structures(arguments.train), read_structures(arguments.test)
    for cutoff3 in arguments.cutoff3:
        for size in arguments.sizes:
            train = split_structures(pool, size, 0, 0, arguments.seed)[0]
            for method in arguments.methods:
                key = f"{pool.name} {arguments.cutoff2} {cutoff3} {size} {method} {arguments.seed}"
                if key not in results:
                    options = NBodyOptions(cutoff2=arguments.cutoff2, cutoff3=cutoff3, n_threads=1, progress=False)
                    done = fit(method, train, options)
                    results[key] = {
                        "data": pool.name,
                        "cutoff3": cutoff3,
                        "n_train": size,
                        "method": method,
                        "test_errors": model_errors(done.weights, test),
                        "hyperparameters": done.report["hyperparameters"],
                        "triples_per_atom": done.report["triples_per_atom"],
                        "seconds": done.report["seconds"]["total"],
                    }
                    write_atomically(arguments.output, json.dumps(results, indent=1).encode())
                    print(key, results[key]["test_errors"], file=sys.stderr, flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
