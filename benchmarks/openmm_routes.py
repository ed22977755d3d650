"""What a step of molecular dynamics costs in OpenMM, by four routes to the same model.

    python benchmarks/openmm_routes.py [--peer-python PYTHON] [--json FILE] [--rounds 15]

1. `KMLForce`;
2. ``openmm.PythonForce`` around `KernelPotential`, the same engine through Python;
3. openmm-ml's ASE wrapper around sgdml's calculator, as shipped: what users of sGDML models have today;
4. the same with the calculator repaired by hand (``_set_num_workers(0); _set_chunk_size(None)``).

Routes 3 and 4 need ``--peer-python``, an interpreter with openmm, openmmml, sgdml and ase. All routes take turns, so
that a busy machine slows all of them; the numbers are medians over the rounds, and beside them the best round. One
thread for routes 1, 2 and 4; sgdml as shipped chooses its own number of processes. Verlet steps of a System that holds
nothing but the molecule.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import openmm
from openmm_overhead import microseconds, python_force, random_model, stepper

from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import to_bytes

PEER = Path(__file__).with_name("openmm_routes_peer.py")
PLATFORMS = ("Reference", "CPU", "OpenCL")
FEMTOSECONDS = 0.5  # of the time step that ns/day is counted with
MODELS = {
    "ethanol, 9 atoms": ([6, 6, 8] + [1] * 6, (6, 7, 8)),
    "21 atoms": ([6] * 9 + [8] * 4 + [1] * 8, (18, 19, 20)),
}


def nanoseconds_per_day(step):
    """Return the length of trajectory in ns that a day gives at `step` microseconds a step."""
    return 86400e6 / step * FEMTOSECONDS * 1e-6


@contextmanager
def peer(python, weights, positions):
    """Start the peer on a model; yield a function (route, platform) -> stepper, and its energy in eV."""
    term = weights.terms[0]
    with tempfile.TemporaryDirectory() as folder:
        np.savez(
            Path(folder, "case.npz"),
            z=weights.species,
            positions=positions,
            R_desc=term.training_descriptors.T,
            R_d_desc_alpha=term.descriptor_coefficients,
            perms=term.permutations,
            sig=term.length_scale,
            c=term.energy_offset,
        )
        # sgdml leaves a file in the working directory.
        process = subprocess.Popen(
            [python, str(PEER), "case.npz"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

        def ask(*words):
            print(*words, file=process.stdin, flush=True)
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the peer's process ended; its message stands above")
            return json.loads(line)

        def steps_of(route, platform):
            return lambda n: ask(route, platform, n)

        try:
            yield steps_of, ask("energy")
        finally:
            process.stdin.close()
            process.wait()


def measure(weights, positions, platform, rounds, peer_steps=None):
    """Return the median and the best microseconds per step over the rounds, by route.

    A peer's question and answer cost 0.1 ms or less in each round of several steps.
    """
    potential = KernelPotential.from_bytes(to_bytes(weights))
    routes = {
        "KMLForce": stepper(KMLForce(potential, n_threads=1), positions, platform),
        "PythonForce": stepper(python_force(potential), positions, platform),
    }
    if peer_steps is not None:
        for route in ("shipped", "repaired"):
            routes[f"openmm-ml + sgdml, {route}"] = peer_steps(route, platform)
    return {
        name: {"median": float(np.median(times)), "best": float(times.min())}
        for name, times in microseconds(routes, rounds).items()
    }


def platforms():
    names = [openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())]
    return [name for name in PLATFORMS if name in names]


def table(results):
    """Return the results as a Markdown table."""
    lines = [
        "| model | platform | route | µs/step | best | ns/day | KMLForce is faster by | by the best |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model, by_platform in results.items():
        for platform, routes in by_platform.items():
            ours = routes["KMLForce"]
            for route, step in routes.items():
                factors = ["" if route == "KMLForce" else f"{step[kind] / ours[kind]:.1f}×" for kind in step]
                lines.append(
                    f"| {model} | {platform} | {route} | {step['median']:.1f} | {step['best']:.1f} "
                    f"| {nanoseconds_per_day(step['median']):.0f} | {factors[0]} | {factors[1]} |"
                )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="interpreter that has openmm, openmmml, sgdml and ase")
    parser.add_argument("--points", type=int, default=200, help="training points (default: 200)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {}
    for name, (species, methyl) in MODELS.items():
        weights, positions = random_model(species, options.points, methyl)
        title = f"{name}, {options.points} points"
        if options.peer_python is None:
            results[title] = {p: measure(weights, positions, p, options.rounds) for p in platforms()}
            continue
        with peer(options.peer_python, weights, positions) as (steps, energy):
            expected = KernelPotential.from_bytes(to_bytes(weights)).evaluate(positions).energy
            if abs(energy - expected) > 1e-6 * abs(expected):
                raise RuntimeError("the two programs do not evaluate the same model")
            results[title] = {p: measure(weights, positions, p, options.rounds, steps) for p in platforms()}
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
