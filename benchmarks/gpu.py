"""KMLForce's compute kernels on a device: correctness, speed against the host route; molecules, many, and crystals.

    python benchmarks/gpu.py [--platform CUDA] [--precision single mixed double] [--json gpu.json] [--quick]

One command, nothing but the installed package: ``pip install openmm_kml openmm-cuda-13`` (or ``openmm-cuda-12``,
``openmm-hip-6``), then run it. ``--platform OpenCL --quick`` is a smoke run on any machine with an OpenCL driver.

Models of molecules have random coefficients; half of their training points nearly cancel the other half, so that, like
models fitted to data, they are evaluated in double precision whatever the Context's. The host route is OpenMM's own for
forces without a compute kernel: positions to the host, the engine there on all cores, forces back. Rates are medians
over rounds in which both routes take turns, of Verlet steps in a System that holds nothing but the molecules; ns/day
counts steps of 0.5 fs. The row "no force" is what OpenMM needs for a step without any force. Crystals of silicon run at
300 K with steps of 1 fs, so that lists of neighbors grow old as in any run. Prints Markdown.
"""

import argparse
import json
import os
import platform as machine
from pathlib import Path

import numpy as np
import openmm
from gpu_common import DEVICE_ROUTE, HOST_ROUTE, USUAL_ROUTE, energy_and_forces, measure, table
from gpu_local import CRYSTAL_COLUMNS, CRYSTAL_ERROR_COLUMNS, crystal_correctness, crystal_rates

from openmm_kml.descriptors.inverse_distances import descriptor
from openmm_kml.interfaces._openmm_library import load_library
from openmm_kml.interfaces.openmm import KMLForce, device_warnings
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import GDMLTerm, Weights, to_bytes

FEMTOSECONDS = 0.5  # of the time step that ns/day is counted with
TIME_STEP = 1e-5  # ps: the molecules hardly move while they are timed
CANCELLATION = 1e5
PRECISIONS = ("single", "mixed", "double")
SUBJECTS = ("molecules", "crystals")
SIZES = {"atoms": (9, 21, 50), "points": (200, 500, 1000, 2000), "molecules": (1, 4, 16, 64), "repeats": (4, 8, 16, 32)}
QUICK = {"atoms": (9, 21), "points": (200,), "molecules": (1, 4), "repeats": (4, 8)}


def random_model(n_atoms, n_points, seed=0):
    """Return a potential with the six permutations of a methyl and a methylene group, and positions in Å."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(n_atoms ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:n_atoms]
    base = 1.4 * grid + rng.uniform(-0.15, 0.15, (n_atoms, 3))
    frames = base + rng.normal(0, 0.08, (n_points // 2, n_atoms, 3))
    x = descriptor(frames, 0.5)
    length_scale = 3 * np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())
    u = rng.normal(0, 0.3 / np.sqrt(n_points), x.shape) * length_scale
    permutations = np.tile(np.arange(n_atoms), (6, 1))
    for k in range(6):
        permutations[k, -3:] = np.roll(permutations[k, -3:], k % 3)
        permutations[k, -5:-3] = np.roll(permutations[k, -5:-3], k // 3)
    term = GDMLTerm(
        power=0.5,
        kernel="matern92",
        length_scale=length_scale,
        energy_offset=-1000.0,
        descriptor_weights=np.ones(x.shape[1]),
        training_descriptors=np.concatenate([x, x * (1 + 1e-9)]),
        descriptor_coefficients=np.concatenate([(CANCELLATION + 1) * u, -CANCELLATION * u]),
        permutations=permutations,
    )
    species = np.full(n_atoms, 6)
    species[-5:] = 1
    potential = KernelPotential.from_bytes(to_bytes(Weights(species, (term,), {}, {})))
    return potential, base + rng.normal(0, 0.05, base.shape)


def make_context(potential, positions, options, n_molecules=1, route=DEVICE_ROUTE):
    """Return a Context on `n_molecules` copies of the molecule, 30 Å apart. No model: particles without force."""
    n = len(positions)
    system = openmm.System()
    for _ in range(n * n_molecules):
        system.addParticle(12.0)
    if potential is not None:
        for m in range(n_molecules):
            system.addForce(KMLForce(potential, range(m * n, (m + 1) * n)))
    properties = {"Precision": options["precision"]} if options["platform"] not in ("Reference", "CPU") else {}
    load_library().set_route(route)
    try:
        target = openmm.Platform.getPlatformByName(options["platform"])
        context = openmm.Context(system, openmm.VerletIntegrator(TIME_STEP), target, properties)
    finally:
        load_library().set_route(USUAL_ROUTE)
    shifts = np.repeat(np.arange(n_molecules), n)[:, None] * np.array([30.0, 0.0, 0.0])
    context.setPositions((np.tile(positions, (n_molecules, 1)) + shifts) * 0.1)
    return context


def nanoseconds_per_day(microseconds):
    """Return the length of trajectory that a day gives."""
    return 86400e6 / microseconds * FEMTOSECONDS * 1e-6


def correctness(options, sizes):
    """Return the difference of every precision to Reference, for every number of atoms."""
    rows = []
    for n_atoms in sizes["atoms"]:
        potential, positions = random_model(n_atoms, 200)
        expected = energy_and_forces(make_context(potential, positions, {"platform": "Reference"}))
        for precision in PRECISIONS:
            context = make_context(potential, positions, {"platform": options.platform, "precision": precision})
            energy, forces = energy_and_forces(context)
            rows.append(
                {
                    "atoms": n_atoms,
                    "precision": precision,
                    "energy_error_meV": abs(energy - expected[0]) * 1e3,
                    "relative_force_error": float(np.abs(forces - expected[1]).max() / np.abs(expected[1]).max()),
                }
            )
    return rows


def rates(options, cases):
    """Return the time of a step by both routes for every case (atoms, points, molecules)."""
    rows = []
    for n_atoms, n_points, n_molecules in cases:
        potential, positions = random_model(n_atoms, n_points)
        for precision in options.precision:
            chosen = {"platform": options.platform, "precision": precision}
            contexts = [
                make_context(potential, positions, chosen, n_molecules),
                make_context(potential, positions, chosen, n_molecules, HOST_ROUTE),
                make_context(None, positions, chosen, n_molecules),
            ]
            native, host, empty = measure(contexts, options.rounds, options.seconds)
            rows.append(
                {
                    "atoms": n_atoms,
                    "points": n_points,
                    "molecules": n_molecules,
                    "precision": precision,
                    "native_us": native,
                    "host_us": host,
                    "no_force_us": empty,
                    "native_ns_per_day": nanoseconds_per_day(native),
                    "host_ns_per_day": nanoseconds_per_day(host),
                    "speedup": host / native,
                }
            )
            del contexts
    return rows


def describe(options):
    """Return what the numbers depend on."""
    context = make_context(None, np.zeros((1, 3)), {"platform": options.platform, "precision": options.precision[0]})
    target = context.getPlatform()
    names = target.getPropertyNames()
    return {
        "platform": options.platform,
        "device": target.getPropertyValue(context, "DeviceName") if "DeviceName" in names else "the processor",
        "openmm": openmm.version.version,
        "processor": machine.processor() or machine.machine(),
        "cores": os.cpu_count(),
        "compute_kernels": target.supportsKernels(["CalcKMLForce"]),
    }


ERROR_COLUMNS = {
    "atoms": ("atoms", "d"),
    "precision": ("precision", "s"),
    "energy, meV": ("energy_error_meV", ".1e"),
    "largest force error / largest force": ("relative_force_error", ".1e"),
}
RATE_COLUMNS = {
    "atoms": ("atoms", "d"),
    "points": ("points", "d"),
    "molecules": ("molecules", "d"),
    "precision": ("precision", "s"),
    "device, µs/step": ("native_us", ".1f"),
    "host, µs/step": ("host_us", ".1f"),
    "no force, µs/step": ("no_force_us", ".1f"),
    "device, ns/day": ("native_ns_per_day", ".0f"),
    "host, ns/day": ("host_ns_per_day", ".0f"),
    "device / host": ("speedup", ".2f"),
}


def write(path, results):
    """Write JSON; a reader never sees half of it."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(results, indent=1) + "\n")
    temporary.replace(path)


def parse_options():
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--platform", default="CUDA", help="CUDA, OpenCL or HIP (default: CUDA)")
    parser.add_argument("--precision", nargs="+", default=["mixed"], choices=PRECISIONS)
    parser.add_argument(
        "--only", nargs="+", default=SUBJECTS, choices=SUBJECTS, help="what to measure (default: everything)"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="time of one measurement (default: 0.3)")
    parser.add_argument("--json", type=Path, help="write the results there too")
    parser.add_argument("--quick", action="store_true", help="few sizes, short measurements: a smoke run")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 3, 0.05
    known = [openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())]
    if options.platform not in known:
        reasons = "; ".join(openmm.Platform.getPluginLoadFailures()) or "no library for it is installed"
        parser.error(f"OpenMM has no platform {options.platform} here, only {', '.join(known)}: {reasons}")
    return options


def run_molecules(options, sizes, results):
    """Measure and print everything about kernel models of molecules."""
    results["correctness"] = correctness(options, sizes)
    table("Difference to Reference, 200 training points", results["correctness"], ERROR_COLUMNS)
    results["one_molecule"] = rates(options, [(a, p, 1) for a in sizes["atoms"] for p in sizes["points"]])
    table("One molecule", results["one_molecule"], RATE_COLUMNS)
    results["many_molecules"] = rates(options, [(9, sizes["points"][0], m) for m in sizes["molecules"]])
    table("Many molecules, one KMLForce each", results["many_molecules"], RATE_COLUMNS)


def run_crystals(options, sizes, results):
    """Measure and print everything about two- and three-body models of a crystal."""
    results["crystal_correctness"] = crystal_correctness(options.platform, PRECISIONS, sizes["repeats"][0])
    table("Difference to Reference, silicon", results["crystal_correctness"], CRYSTAL_ERROR_COLUMNS)
    results["crystals"] = crystal_rates(options, sizes["repeats"])
    table("Crystals of silicon", results["crystals"], CRYSTAL_COLUMNS)


def main():
    """Run everything."""
    options = parse_options()
    sizes = QUICK if options.quick else SIZES
    results = {"environment": describe(options)}
    print("## KMLForce on a device\n")
    for key, value in results["environment"].items():
        print(f"- {key}: {value}")
    if "molecules" in options.only:
        run_molecules(options, sizes, results)
    if "crystals" in options.only:
        run_crystals(options, sizes, results)
    results["warnings"] = list(device_warnings())
    for sentence in results["warnings"]:
        print(f"\nWarning: {sentence}")
    if options.json:
        write(options.json, results)


if __name__ == "__main__":
    main()
