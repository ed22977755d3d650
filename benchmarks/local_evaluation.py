"""Cost of one evaluation of local terms: microseconds an atom for a crystal at room temperature, by system size.

    python benchmarks/local_evaluation.py [--crystal Ni] [--cutoff2 6.0] [--cutoff3 3.5] [--sizes 1 2 4 8] [--threads 1]
                                          [--uncertainty 64]

The coefficients are random (the cost does not depend on them); the atoms move a little between two evaluations, as in a
run of molecular dynamics, so that the list of neighbors is kept and rebuilt as it would be there. Reported is the best
and the median of the repetitions, wall time; CPU time on a busy machine is given beside. With --uncertainty, three
kinds of evaluation take turns: energy and forces; with standard deviations of the energy and of every atom's; and with
the gradient of the energy's.
"""

import argparse
import statistics
import time

import numpy as np
from crystals import CRYSTALS

from openmm_kml._engine import Engine
from openmm_kml.neighbors import neighbor_list
from openmm_kml.weights import RepulsionTerm, Spline2Term, Spline3Term, Uncertainty, Weights, to_bytes

# The rms displacement of an atom along an axis at some 300 K, Å, and how far it goes in 1 fs, sqrt(kT/m).
MOTION = {"Si": (0.08, 0.0030), "Ni": (0.07, 0.0021)}


def displaced(crystal, repeat, rng):
    """Return positions (n, 3) and cell of a crystal of repeat³ unit cells, displaced at random."""
    positions, cell = crystal.structure((repeat,) * 3)
    return positions + rng.normal(0, MOTION[crystal.symbol][0], positions.shape), cell


def triples(positions, cell, cutoff):
    """Return the mean number of pairs of neighbors inside the cutoff, for an atom."""
    counts = np.bincount(neighbor_list(positions, cell, True, cutoff)[0], minlength=len(positions))
    return float(np.mean(counts * (counts - 1) / 2))


def model(crystal, cutoff2, cutoff3, members, rng):
    """Return the bytes of a random model of an element: grids of about 0.25 Å, a repulsion that ends below bonds."""
    k2, k3, far = round((cutoff2 - 1.6) / 0.25), round((cutoff3 - 1.6) / 0.25), round((2 * cutoff3 - 1.6) / 0.25)
    c = rng.normal(0, 0.1, (1 + members, 1, 1, k3, k3, far + 3))
    c = c + c.swapaxes(3, 4)
    pairs = rng.normal(0, 0.3, (1 + members, 1, k2))
    terms = (
        Spline2Term(1.6, cutoff2, pairs[0], pairs[1:] if members else None),
        Spline3Term(1.6, cutoff3, 1.6, False, 1.7, 0.4, c[0], c[1:] if members else None),
        RepulsionTerm(np.array([[1.2, 2.0]])),
    )
    uncertainty = Uncertainty(members, atom_energies=rng.normal(size=(members, 1))) if members else None
    return to_bytes(Weights(elements=[crystal.number], terms=terms, uncertainty=uncertainty))


def measure(evaluations, crystal, positions, seconds, rng):
    """Return wall and CPU seconds of single evaluations of a trajectory, as two lists for each of some functions."""
    velocity = rng.normal(0, MOTION[crystal.symbol][1], positions.shape)
    wall, cpu = [[] for _ in evaluations], [[] for _ in evaluations]
    for evaluate in evaluations:
        evaluate(positions)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(wall[0]) < 10:
        # Atoms of a crystal swing: the way back begins before they have gone far.
        positions = positions + velocity * np.cos(0.08 * len(wall[0]))
        for k, evaluate in enumerate(evaluations):
            start, start_cpu = time.perf_counter(), time.process_time()
            evaluate(positions)
            wall[k].append(time.perf_counter() - start)
            cpu[k].append(time.process_time() - start_cpu)
    return wall, cpu


def kinds_of_evaluation(data, numbers, cell, args):
    """Return name -> function of positions, each with an engine and a list of neighbors of its own."""

    def plain():
        engine = Engine(data, args.isa, args.skin)
        return lambda r: engine.evaluate_structure(r, numbers, cell, True, args.threads)

    def uncertain(gradient):
        engine = Engine(data, args.isa, args.skin)
        return lambda r: engine.evaluate_uncertainty(r, numbers, cell, True, args.threads, True, gradient)

    kinds = {"energy, forces": plain()}
    if args.uncertainty:
        kinds |= {"and std": uncertain(False), "and its gradient": uncertain(True)}
    return kinds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crystal", choices=MOTION, default="Si")
    parser.add_argument("--cutoff2", type=float, default=6.0, help="Å")
    parser.add_argument("--cutoff3", type=float, default=3.5, help="Å")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4, 8], help="unit cells along each axis")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skin", type=float, help="Å; the engine's default otherwise")
    parser.add_argument("--isa", help="avx512, avx2 or baseline; the best otherwise")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each size")
    parser.add_argument("--uncertainty", type=int, default=0, metavar="MEMBERS", help="of a model with uncertainty")
    args = parser.parse_args()
    rng, crystal = np.random.default_rng(0), CRYSTALS[args.crystal]
    data = model(crystal, args.cutoff2, args.cutoff3, args.uncertainty, rng)
    print(
        f"{args.crystal}, cutoffs {args.cutoff2} and {args.cutoff3} Å, {Engine(data, args.isa).instruction_set}", end=""
    )
    print(f", {args.threads} thread(s)" + (f", {args.uncertainty} members" if args.uncertainty else ""))
    print("  atoms triples    best  median    mean  CPU mean CPU median  µs/atom")
    for repeat in args.sizes:
        positions, cell = displaced(crystal, repeat, rng)
        kinds = kinds_of_evaluation(data, np.full(len(positions), crystal.number), cell, args)
        times = measure(list(kinds.values()), crystal, positions, args.seconds, rng)
        scale = 1e6 / len(positions)
        for name, wall, cpu in zip(kinds, *times, strict=True):
            row = [min(wall), statistics.median(wall), statistics.mean(wall), statistics.mean(cpu)]
            row.append(statistics.median(cpu))
            print(f"{len(positions):7d} {triples(positions, cell, args.cutoff3):7.1f} ", end="")
            print(" ".join(f"{scale * value:7.3f}" for value in row), f" {name}" if args.uncertainty else "")


if __name__ == "__main__":
    main()
