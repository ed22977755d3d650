"""Energy and forces of one geometry: the engine, sgdml's predictors, and dgemm, in turns in one run.

    python benchmarks/evaluation.py [--peer-python PYTHON] [--data FOLDER] [--rounds 15] [--json FILE]

`--data` names a folder with sGDML model files (``*.npz``, as published) and ``NAME_expected.npz`` with geometries ``R``
beside each; models of other sizes are made up. `--peer-python` is an interpreter that has sgdml and torch; without it,
no peers run. Every route evaluates the same models, in float64 (torch: as the package does it), one thread unless the
column says two.

Each round times every route for some 20 ms and keeps its fastest call. The engine's numbers are medians of these over
rounds; what they are compared with, dgemm and the peers, counts with its fastest round, so that a busy machine, which
interrupts long calls more often than short ones, speaks against the engine. The gains by two threads are quotients of
fastest rounds: threads wait for each other, and where another program has one of the cores the median says no more
than that (milliseconds). The rate counts 8 N P D operations (docs/theory.md); dgemm is NumPy's matrix product of
512 × 512 matrices on one thread.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from openmm_kml._engine import Engine
from openmm_kml.convert.sgdml import convert_sgdml
from openmm_kml.descriptors.inverse_distances import descriptor
from openmm_kml.weights import GDMLTerm, Weights, to_bytes

PEER = Path(__file__).with_name("evaluation_peer.py")
DGEMM_SIZE = 512  # as fast as 1024 (79 GFLOP/s here), and short enough to be seldom interrupted
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
BATCH = 16  # geometries


def closed(generators):
    """Return the group that the permutations generate, identity first."""
    group = [tuple(range(len(generators[0])))]
    for element in group:
        for generator in generators:
            product = tuple(element[k] for k in generator)
            if product not in group:
                group.append(product)
    return np.array(group)


def swapped(n, *pairs):
    """Return the permutation of n atoms that exchanges some pairs."""
    permutation = list(range(n))
    for a, b in pairs:
        permutation[a], permutation[b] = b, a
    return permutation


# Two methyl groups of three hydrogens that also exchange (72), two exchanges of their own (4), none (1).
SYNTHETIC = {
    "acetylacetone-like": (
        200,
        closed([swapped(15, (0, 1)), swapped(15, (1, 2)), swapped(15, (0, 3), (1, 4), (2, 5), (6, 7))]),
    ),
    "3BPA-like": (150, closed([swapped(27, (0, 1)), swapped(27, (2, 3))])),
    "without symmetry": (1000, closed([range(12)])),
}


def synthetic(n_train, permutations, seed=0):
    """Return made-up weights and geometries: only their sizes matter."""
    rng = np.random.default_rng(seed)
    n = permutations.shape[1]
    base = 1.4 * np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)[:n]
    frames = base + rng.normal(0, 0.08, (n_train, n, 3))
    x = descriptor(frames, 1.0, np.ones(n * (n - 1) // 2))
    term = GDMLTerm(1.0, "matern52", 20.0, 0.0, np.ones(x.shape[1]), x, rng.normal(0, 10, x.shape), permutations)
    return Weights(np.full(n, 6), (term,)), base + rng.normal(0, 0.08, (BATCH, n, 3))


def cases(folder):
    """Return name -> (weights, geometries)."""
    result = {}
    for path in sorted(Path(folder).glob("*.npz")) if folder else ():
        geometries = path.with_name(path.stem + "_expected.npz")
        if geometries.exists():
            with np.load(geometries) as arrays:
                result[path.stem] = (convert_sgdml(path), np.ascontiguousarray(arrays["R"][:BATCH], dtype=float))
    return result | {name: synthetic(*sizes) for name, sizes in SYNTHETIC.items()}


class Peer:
    """The other interpreter: one request, one answer."""

    def __init__(self, python):
        self.process = subprocess.Popen(
            [python, str(PEER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | ONE_THREAD,
        )

    def ask(self, **request):
        """Return the answer to a request."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the peer stopped: run {PEER} by hand to see why")
        return json.loads(answer)

    def load(self, weights, geometries, folder):
        """Hand a model over; return the peer's energies and forces and the names of its routes."""
        term = weights.terms[0]  # beside it the repulsion may stand, which is zero near the data
        path = Path(folder, "model.npz")
        np.savez(
            path,
            z=weights.species,
            perms=term.permutations,
            R_desc=term.training_descriptors.T,
            R_d_desc_alpha=term.descriptor_coefficients,
            sig=round(term.length_scale),
            c=term.energy_offset,
            positions=geometries,
        )
        answer = self.ask(load=str(path))
        return np.array(answer["energies"]), np.array(answer["forces"]).reshape(geometries.shape), answer["routes"]


def fastest(call, seconds=0.02):
    """Return the fastest of the calls that fit into the time; at least two."""
    start, best, n = time.perf_counter(), np.inf, 0
    while n < 2 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
        n += 1
    return best


def measure(weights, geometries, peer, rounds, folder):
    """Return the numbers of one model."""
    term = weights.terms[0]  # beside it the repulsion may stand, which is zero near the data
    engine = Engine(to_bytes(weights))
    one, matrix = geometries[0], np.random.default_rng(0).normal(size=(DGEMM_SIZE, DGEMM_SIZE))
    routes = {
        "dgemm": lambda: fastest(lambda: matrix @ matrix, 0.04),
        "engine": lambda: fastest(lambda: engine.evaluate(one, None, 1)),
        "engine, 2 threads": lambda: fastest(lambda: engine.evaluate(one, None, 2)),
        "engine, batch": lambda: fastest(lambda: engine.evaluate_batch(geometries, 1)) / len(geometries),
        "engine, batch, 2 threads": lambda: fastest(lambda: engine.evaluate_batch(geometries, 2)) / len(geometries),
    }
    result = {
        "n_train": len(term.training_descriptors),
        "n_permutations": len(term.permutations),
        "n_entries": len(term.descriptor_weights),
        "operations": engine.operations,
        "instruction_set": engine.instruction_set,
    }
    if peer:
        energies, forces, names = peer.load(weights, geometries, folder)
        own_energies, own_forces, _ = engine.evaluate_batch(geometries)
        result["forces_difference"] = float(np.abs(own_forces - forces).max() / np.sqrt((forces**2).mean()))
        result["energy_difference"] = float(np.abs(own_energies - energies).max())
        for name in names:
            routes[f"sgdml {name}"] = lambda name=name: peer.ask(time=name, seconds=0.02, batch=1)["seconds"]
        for name in ("torch", names[-1]):
            routes[f"sgdml {name}, batch"] = lambda name=name: (
                peer.ask(time=name, seconds=0.02, batch=len(geometries))["seconds"] / len(geometries)
            )
    times = {name: [] for name in routes}
    for _ in range(rounds):
        for name, route in routes.items():
            times[name].append(route())
    result["seconds"] = {name: float(np.median(t)) for name, t in times.items()}
    result["spread"] = {name: [float(min(t)), float(max(t))] for name, t in times.items()}
    return result


def derived(result):
    """Return rates, shares of dgemm and speed-ups of one model's numbers."""
    seconds, operations = result["seconds"], result["operations"]
    least = {name: low for name, (low, _) in result["spread"].items()}
    dgemm = 2 * DGEMM_SIZE**3 / least["dgemm"]
    values = {"dgemm_gflops": dgemm / 1e9}
    for name in ("engine", "engine, batch"):
        values[f"{name}: share of dgemm"] = operations / seconds[name] / dgemm
    values["two threads: times faster"] = least["engine"] / least["engine, 2 threads"]
    values["batch, two threads: times faster"] = least["engine, batch"] / least["engine, batch, 2 threads"]
    peers = {name: t for name, t in least.items() if name.startswith("sgdml")}
    if peers:
        best, best_batch = (min((n for n in peers if n.endswith("batch") == b), key=peers.get) for b in (False, True))
        values |= {"best peer": best, "best peer seconds": peers[best]}
        values["times faster than the best peer"] = peers[best] / seconds["engine"]
        values["batch: times faster than the best peer"] = peers[best_batch] / seconds["engine, batch"]
    return values


def table(results):
    """Return the numbers as a Markdown table."""
    head = ("model", "N, P, D", "engine µs", "of dgemm", "best sgdml µs", "× faster", "2 threads ×")
    head += ("batch µs each", "of dgemm", "2 threads ×", "sgdml batch ×")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, result in results.items():
        s, v = result["seconds"], result["derived"]
        peer = v.get("best peer")
        row = (
            name,
            f"{result['n_train']}, {result['n_permutations']}, {result['n_entries']}",
            f"{1e6 * s['engine']:.1f}",
            f"{100 * v['engine: share of dgemm']:.0f} %",
            f"{1e6 * v['best peer seconds']:.0f}" if peer else "",
            f"{v['times faster than the best peer']:.0f}" if peer else "",
            f"{v['two threads: times faster']:.2f}",
            f"{1e6 * s['engine, batch']:.1f}",
            f"{100 * v['engine, batch: share of dgemm']:.0f} %",
            f"{v['batch, two threads: times faster']:.2f}",
            f"{v['batch: times faster than the best peer']:.0f}" if peer else "",
        )
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def main():
    """Run all models and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="interpreter with sgdml and torch")
    parser.add_argument("--data", help="folder of sGDML model files")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", help="write all numbers to this file")
    arguments = parser.parse_args()
    peer = Peer(arguments.peer_python) if arguments.peer_python else None
    results = {}
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1, user_api="blas"):
        for name, (weights, geometries) in cases(arguments.data).items():
            results[name] = measure(weights, geometries, peer, arguments.rounds, folder)
            results[name]["derived"] = derived(results[name])
    print(table(results))
    rates = [result["derived"]["dgemm_gflops"] for result in results.values()]
    print(f"\ndgemm: {min(rates):.0f} to {max(rates):.0f} GFLOP/s in these runs")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
