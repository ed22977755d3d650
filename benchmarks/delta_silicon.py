"""Does a baseline pay for a many-body model? SOAP alone, and SOAP on top of two and three bodies, on silicon.

    python benchmarks/delta_silicon.py --train Si_train.extxyz --test Si_test.extxyz --output delta.json
    python benchmarks/delta_silicon.py --train Si_train.extxyz --test Si_test.extxyz --output cold.json --cold

One baseline is trained by `kml train nbody`'s defaults on the same frames; the other is Stillinger's and Weber's
potential, which has seen none of them. SOAP has its defaults in all cases, and half of the environments as sparse
points where these are fewer than 500. Besides the errors on unseen frames: two atoms alone, and the perfect crystal
compressed, down to distances of which there are no data. With --cold the frames to train on are those at 300 and
843 K alone; all that is hotter, strained or a surface is tested on. Each result is written as soon as it is there; what
is there already is not done again.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from itertools import product
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

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from stillinger_weber import spline_model

SILICON = 14
SHORTEST = 1.83  # Å, of the training data
DISTANCES = np.linspace(0.6, 5.0, 89)  # Å
LATTICES = np.linspace(3.2, 5.6, 49)  # Å; 5.47 at rest
COLD = ("at 300 K", "for normal structure at 843 K")


def potential_of(weights):
    """Return a potential ready to evaluate."""
    return KernelPotential.from_bytes(to_bytes(weights))


def nbody(train):
    """Return two and three bodies trained on some frames."""
    return potential_of(fit_nbody(train, None, NBodyOptions(progress=False)).weights)


def soap(train, baseline=None):
    """Return a many-body model trained on some frames, on top of a potential if one is given."""
    options = SoapOptions(n_sparse=min(500, sum(map(len, train)) // 2), progress=False)
    if baseline is None:
        return potential_of(fit_soap(train, None, options).weights)
    baseline = resolve_baseline(baseline)
    options = replace(options, repulsion=not baseline.has_repulsion, difference=True)
    weights = fit_soap(subtract_from(train, baseline), None, options).weights
    return SumPotential(to_bytes(replace(weights, baseline=record(baseline))), baseline)


MODELS = {
    "nbody": nbody,
    "soap": soap,
    "soap on nbody": lambda train: soap(train, nbody(train)),
    "soap on Stillinger-Weber": lambda train: soap(train, potential_of(spline_model())),
}


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
    crystal, near, short = np.array(crystal), DISTANCES < SHORTEST, LATTICES < 5.0
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
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
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
    for size, seed, name in product(args.sizes, args.seeds, args.models):
        done = results.setdefault(f"{size} frames, seed {seed}", {})
        if name in done or size > len(train):
            continue
        start = time.process_time()
        potential = MODELS[name](split_structures(train, size, 0, 0, seed)[0])
        done[name] = {"seconds": time.process_time() - start, **off_the_data(potential)}
        done[name] |= {part: errors(potential, frames) for part, frames in tests.items()}
        write_atomically(args.output, (json.dumps(results, indent=1) + "\n").encode())
        print(f"{size} frames, seed {seed}, {name}: {described(done[name], tests)}", flush=True)


if __name__ == "__main__":
    main()
