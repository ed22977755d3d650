"""Does a baseline pay for a many-body model? SOAP alone, and SOAP on top of two and three bodies, on silicon.

    python benchmarks/delta_silicon.py --train Si_train.extxyz --test Si_test.extxyz --output delta.json
    python benchmarks/delta_silicon.py --train Si_train.extxyz --test Si_test.extxyz --output cold.json --cold

The baseline is trained by `kml train nbody`'s defaults on the same frames, and subtracted from them; SOAP has its
defaults in both cases, and half of the environments as sparse points where these are fewer than 500. Besides the errors
on unseen frames: two atoms alone, and the perfect crystal compressed, down to distances of which there are no data.
With --cold the frames to train on are those at 300 and 843 K alone; all that is hotter, strained or a surface is tested
on. Each result is written as soon as it is there; what is there already is not done again.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io import read

from openmm_kml.files import write_atomically
from openmm_kml.interfaces.baselines import SumPotential, record, resolve_baseline, subtract_from
from openmm_kml.metrics import structure_errors
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import read_structures, split_structures
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.training.soap import SoapOptions, fit_soap
from openmm_kml.weights import to_bytes

SILICON = 14
DISTANCES = np.linspace(0.6, 5.0, 89)  # Å
LATTICES = np.linspace(3.2, 5.6, 49)  # Å; 5.47 at rest
COLD = ("at 300 K", "for normal structure at 843 K")


def models(train):
    """Return name -> potential of everything that is compared, and the seconds of each training."""
    seconds = {}

    def timed(name, fit, frames, options):
        start = time.process_time()
        weights = fit(frames, None, options).weights
        seconds[name] = time.process_time() - start
        return weights

    pairs = timed("nbody", fit_nbody, train, NBodyOptions(progress=False))
    n_sparse = min(500, sum(map(len, train)) // 2)
    alone = timed("soap", fit_soap, train, SoapOptions(n_sparse=n_sparse, progress=False))
    baseline = resolve_baseline(KernelPotential.from_bytes(to_bytes(pairs)))
    rest = subtract_from(train, baseline)
    found = {"nbody": baseline.potential, "soap": KernelPotential.from_bytes(to_bytes(alone))}
    for name, with_pairs in (("soap on nbody", True), ("soap without pairs on nbody", False)):
        options = SoapOptions(n_sparse=n_sparse, repulsion=False, pairs=with_pairs, progress=False)
        weights = replace(timed(name, fit_soap, rest, options), baseline=record(baseline))
        found[name] = SumPotential(to_bytes(weights), baseline)
    return found, seconds


def errors(potential, frames):
    """Return the errors on unseen frames."""
    predictions = [tuple(potential.evaluate(f.positions, f.numbers, f.cell, f.pbc)) for f in frames]
    return structure_errors(predictions, frames)


def first_fall(x, energies):
    """Return the largest x below which the energy falls towards smaller x, None if it rises all the way."""
    falls = np.flatnonzero(np.diff(energies) > 0)
    return float(x[falls[-1] + 1]) if len(falls) else None


def off_the_data(potential):
    """Return how two atoms and a compressed crystal behave where there are no data."""
    alone = 2 * potential.evaluate(np.zeros((1, 3)), [SILICON]).energy
    dimer = [potential.evaluate([[0, 0, 0], [d, 0, 0]], [SILICON] * 2).energy - alone for d in DISTANCES]
    crystal = []
    for a in LATTICES:
        cell = bulk("Si", "diamond", a=a, cubic=True)
        crystal.append(potential.evaluate(cell.positions, cell.numbers, np.array(cell.cell)).energy / len(cell))
    crystal, near, short = np.array(crystal), DISTANCES < 2.2, LATTICES < 5.3
    return {
        "dimer": np.round(dimer, 4).tolist(),
        "crystal": np.round(crystal, 4).tolist(),
        "dimer falls below": first_fall(DISTANCES[near], np.array(dimer)[near]),
        "crystal falls below": first_fall(LATTICES[short], crystal[short]),
    }


def described(entry, tests):
    """Return one result in a line."""
    parts = [
        f"{part} {1e3 * entry[part]['forces_mae']:.0f} meV/Å, {1e3 * entry[part]['energy_mae_per_atom']:.1f} meV/atom"
        for part in tests
    ]
    falls = f"energies fall below {entry['dimer falls below']} and {entry['crystal falls below']} Å"
    return "; ".join([*parts, falls, f"{entry['seconds']:.0f} s"])


def main():
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 25, 50, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cold", action="store_true")
    args = parser.parse_args()
    train, test = read_structures(args.train), read_structures(args.test)
    tests = {"test": test}
    if args.cold:
        words = [atoms.info["description"] for atoms in read(args.train, ":")]
        cold = np.array([text.endswith(COLD) for text in words])
        rest, train = train[~cold], train[cold]
        tests = {name: rest[[frame.group == name for frame in rest]] for name in rest.groups}
    results = json.loads(args.output.read_text()) if args.output.exists() else {}
    for size in args.sizes:
        for seed in args.seeds:
            key = f"{size} frames, seed {seed}"
            if key in results or size > len(train):
                continue
            found, seconds = models(split_structures(train, size, 0, 0, seed)[0])
            results[key] = {
                name: {"seconds": seconds[name], **off_the_data(potential)}
                | {part: errors(potential, frames) for part, frames in tests.items()}
                for name, potential in found.items()
            }
            write_atomically(args.output, (json.dumps(results, indent=1) + "\n").encode())
            for name, entry in results[key].items():
                print(f"{key}, {name}: {described(entry, tests)}", flush=True)


if __name__ == "__main__":
    main()
