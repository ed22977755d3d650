"""The two- and three-body Gaussian process of mff 1.1.2 on forces of single environments, with its mapped potential.

    PEER_PYTHON benchmarks/mff_peer.py --train Si_train.extxyz --test Si_test.extxyz --environments 100

Run by a Python of the peer's own, 3.8 or so: mff needs theano 1.0.5, whose C code Python 3.11 no longer compiles.
`pip install 'numpy<1.22' 'scipy<1.8' 'setuptools<60' wheel 'ase<3.23'`, then `pip install --no-build-isolation
asap3==3.12.12 mff`; THEANO_FLAGS="blas.ldflags=" where theano finds no BLAS. Frames whose cells are narrower than the
cutoff are left out, since the peer's neighbor list refuses them. Times are CPU times of one process.
"""

import argparse
import json
import time

import numpy as np
from ase.io import read
from mff.calculators import CombinedSingleSpecies
from mff.configurations import carve_from_snapshot
from mff.models import CombinedSingleSpeciesModel


def environments(frames, cutoff, count, rng):
    """Return `count` environments drawn at random from all atoms of the frames, and the forces on their centers."""
    chosen = rng.choice(sum(len(atoms) for atoms in frames), count, replace=False)
    found, forces, first = [], [], 0
    for atoms in frames:
        indices = chosen[(chosen >= first) & (chosen < first + len(atoms))] - first
        first += len(atoms)
        if len(indices):
            part, force, _ = carve_from_snapshot(atoms, cutoff, atoms_ind=list(indices))
            found += part
            forces.append(force)
    return found, np.concatenate(forces)


def wide(frames, cutoff):
    """Return the frames whose cells are wider than the cutoff in each direction: the peer's neighbor list needs it."""
    return [atoms for atoms in frames if (1 / np.linalg.norm(atoms.cell.reciprocal(), axis=1) > cutoff).all()]


def timed(work):
    """Return what a function returns, and its CPU seconds."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--environments", type=int, default=100)
    parser.add_argument("--test-environments", type=int, default=100)
    parser.add_argument("--cutoff", type=float, default=5.0, help="Å")
    parser.add_argument("--length-scale", type=float, default=1.0, help="Å, of both kernels")
    parser.add_argument("--theta", type=float, default=0.5, help="Å, decay of both cutoff functions")
    parser.add_argument("--noise", type=float, default=0.1, help="eV/Å")
    parser.add_argument("--grid", type=int, default=32, help="points of each axis of the mapped three-body energy")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    train, test = (wide(read(path, ":"), options.cutoff) for path in (options.train, options.test))
    element = int(train[0].numbers[0])
    shape = (options.cutoff, options.length_scale, options.length_scale, options.theta, options.theta, options.noise)
    known, forces = environments(train, options.cutoff, options.environments, rng)
    unseen, truth = environments(test, options.cutoff, options.test_environments, rng)
    model = CombinedSingleSpeciesModel(element, *shape, rep_sig=0)
    model.fit(known[:2], forces[:2])  # theano compiles
    model = CombinedSingleSpeciesModel(element, *shape, rep_sig=0)
    _, fit = timed(lambda: model.fit(known, forces))
    predicted, predict = timed(lambda: model.predict(unseen))
    result = {
        "environments": options.environments,
        "cutoff": options.cutoff,
        "test_frames": len(test),
        "forces_mae": float(np.abs(predicted - truth).mean()),
        "forces_rmse": float(np.sqrt(np.mean((predicted - truth) ** 2))),
        "training_seconds": fit,
        "seconds_per_atom": predict / options.test_environments,
    }
    print(json.dumps(result), flush=True)
    nearest = min(np.linalg.norm(near[:, :3], axis=1).min() for near in known)
    _, mapping = timed(lambda: model.build_grid(0.9 * nearest, 4 * options.grid, options.grid))
    calculator = CombinedSingleSpecies(options.cutoff, model.grid_2b, model.grid_3b)
    errors, seconds, n_atoms = [], 0.0, 0
    for atoms in test:
        forces = atoms.get_forces()
        atoms.calc = calculator
        found, cpu = timed(atoms.get_forces)
        errors.append(np.ravel(found - forces))
        seconds, n_atoms = seconds + cpu, n_atoms + len(atoms)
    errors = np.concatenate(errors)
    result |= {
        "mapping_seconds": mapping,
        "mapped_forces_mae": float(np.abs(errors).mean()),
        "mapped_forces_rmse": float(np.sqrt(np.mean(errors**2))),
        "mapped_microseconds_per_atom": 1e6 * seconds / n_atoms,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
