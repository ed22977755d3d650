"""Microseconds per time step that OpenMM adds to the bare evaluation of a model, by three routes.

    python benchmarks/openmm_overhead.py [--peer-python PYTHON] [--json FILE] [--rounds 200]

`KMLForce`, an ``openmm.PythonForce`` that calls `KernelPotential`, and (with ``--peer-python``, an interpreter that has
openmmml, openmm and sgdml) the route of openmm-ml: its ASE wrapper around sgdml's calculator, on the same model.

A Verlet step of a System with the force, less that of a System without it, less the bare evaluation measured in the
same run: through the engine's C function table, less the cost of such a call. All are run in turns, and the
numbers are differences of medians over many short rounds; on a busy machine they scatter, also below zero. One thread.
"""

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import openmm
from openmm import unit

from openmm_kml import _engine
from openmm_kml.descriptors.inverse_distances import descriptor
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.units import KJ_PER_MOL
from openmm_kml.weights import GDMLTerm, Weights, to_bytes

TIME_STEP = 1e-7  # ps: the geometry stays what it was
EV = 1 / KJ_PER_MOL  # in kJ/mol
PROPERTIES = {
    "Reference": {},
    "CPU": {"Threads": "1"},
    "OpenCL": {"Precision": "mixed"},  # in single precision so short a step does not move an atom
}
ROUND_SECONDS = 0.002  # of each route in each round: short enough to be seldom interrupted

# As many atoms, training points and symmetries as ethanol and aspirin have in publications.
MODELS = {
    "9 atoms, 1000 points, 6 symmetries": ([6, 6, 8] + [1] * 6, 1000, (6, 7, 8)),
    "21 atoms, 1000 points, 6 symmetries": ([6] * 9 + [8] * 4 + [1] * 8, 1000, (18, 19, 20)),
}


def random_model(species, n_points, methyl):
    """Return random `Weights` with the six permutations of a methyl group, and a geometry near their points, Å."""
    rng = np.random.default_rng(0)
    n = len(species)
    side = int(np.ceil(n ** (1 / 3)))
    base = 1.4 * np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)[:n]
    x = descriptor(base + rng.normal(0, 0.1, (n_points, n, 3)))
    a, b, c = methyl
    group = np.tile(np.arange(n), (6, 1))
    group[:, methyl] = [(a, b, c), (a, c, b), (b, a, c), (b, c, a), (c, a, b), (c, b, a)]
    term = GDMLTerm(
        power=1.0,
        kernel="matern52",
        length_scale=10.0,
        energy_offset=-1.0,
        descriptor_weights=np.ones(x.shape[1]),
        training_descriptors=x,
        descriptor_coefficients=rng.normal(0, 0.1, x.shape),
        permutations=group,
    )
    return Weights(np.array(species), (term,)), base + rng.normal(0, 0.1, (n, 3))


def bare_evaluation(potential, positions):
    """Return two functions of a number of repetitions: evaluations through the C table, and calls that do nothing."""
    pointer, sizes, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    array = ctypes.POINTER(ctypes.c_double)
    evaluate_type = ctypes.CFUNCTYPE(
        *(ctypes.c_int, pointer, pointer, ctypes.c_int, array, pointer, array, pointer, ctypes.c_int),
        *(array, array, array, array, text, sizes),
    )

    class Table(ctypes.Structure):  # core/include/kml/engine_api.h
        _fields_ = (
            ("version", ctypes.c_int),
            ("open", ctypes.CFUNCTYPE(pointer, text, sizes, text, sizes)),
            ("close", pointer),
            ("n_atoms", pointer),
            ("species", pointer),
            ("n_elements", pointer),
            ("elements", pointer),
            ("cutoff", pointer),
            ("new_workspace", ctypes.CFUNCTYPE(pointer, pointer)),
            ("free_workspace", pointer),
            ("evaluate", evaluate_type),
        )

    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = pointer, [ctypes.py_object, text]
    table = Table.from_address(get(_engine.engine_api(), b"openmm_kml.engine_api"))
    if table.version != 2:
        raise RuntimeError(f"the table of the engine has version {table.version}; this program knows version 2")
    data = potential.to_bytes()
    error = ctypes.create_string_buffer(1000)
    model = table.open(data, len(data), error, 1000)
    r = np.ascontiguousarray(positions)
    forces, energy = np.empty_like(r), ctypes.c_double()
    arguments = (
        *(pointer(model), pointer(table.new_workspace(model)), len(r), r.ctypes.data_as(array)),
        *(None, None, None, 1, ctypes.pointer(energy), forces.ctypes.data_as(array), None, None, error, 1000),
    )
    if table.evaluate(*arguments) != 0:
        raise RuntimeError(error.value.decode())
    # A function of the C library that ignores its arguments: what is left is the cost of calling through ctypes.
    nothing = evaluate_type(ctypes.cast(ctypes.CDLL(None).getppid, pointer).value)

    def repeat(function):
        def run(n):
            for _ in range(n):
                function(*arguments)

        run.keep = (r, forces)
        return run

    return repeat(table.evaluate), repeat(nothing)


def stepper(force, positions, platform):
    """Return a function that makes n Verlet steps of a System under `force` (None for none)."""
    system = openmm.System()
    for _ in positions:
        system.addParticle(12.0)
    if force is not None:
        system.addForce(force)
    context = openmm.Context(
        system, openmm.VerletIntegrator(TIME_STEP), openmm.Platform.getPlatformByName(platform), PROPERTIES[platform]
    )
    context.setPositions(positions / 10)
    return lambda n: context.getIntegrator().step(n)


def python_force(potential):
    """Return a PythonForce as a user would write it today."""

    def compute(state):
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        energy, forces, _ = potential.evaluate(positions, n_threads=1)
        return energy * EV, forces * (10 * EV)

    return openmm.PythonForce(compute)


def microseconds(routes, rounds):
    """Return for every route the microseconds per repetition of each round, run in turns: name -> (rounds,)."""
    repetitions = {}
    for name, run in routes.items():
        run(3)
        start = time.perf_counter()
        run(20)
        repetitions[name] = max(3, int(ROUND_SECONDS * 20 / (time.perf_counter() - start)))
    times = {name: np.empty(rounds) for name in routes}
    for k in range(rounds):
        for name, run in routes.items():
            start = time.perf_counter()
            run(repetitions[name])
            times[name][k] = 1e6 * (time.perf_counter() - start) / repetitions[name]
    return times


def measure(weights, positions, rounds):
    """Return the bare evaluation and the overhead by platform and route, microseconds (medians)."""
    potential = KernelPotential.from_bytes(to_bytes(weights))
    evaluate, nothing = bare_evaluation(potential, positions)
    result = {}
    for platform in ("Reference", "CPU"):
        times = microseconds(
            {
                "evaluate": evaluate,
                "nothing": nothing,
                "empty": stepper(None, positions, platform),
                "KMLForce": stepper(KMLForce(potential, n_threads=1), positions, platform),
                "PythonForce": stepper(python_force(potential), positions, platform),
            },
            rounds,
        )
        median = {name: float(np.median(values)) for name, values in times.items()}
        bare = median["evaluate"] - median["nothing"]
        result[platform] = {"bare_evaluation": bare, "step_without_force": median["empty"]}
        for route in ("KMLForce", "PythonForce"):
            result[platform][route] = {
                "step": median[route],
                "step_quartiles": [float(q) for q in np.percentile(times[route], [25, 75])],
                "overhead": median[route] - median["empty"] - bare,
            }
    return potential.evaluate(positions).energy, result


def measure_peer(weights, positions, energy, peer_python):
    """Return step and overhead of openmm-ml with sgdml's ASE calculator, by platform, microseconds."""
    term = weights.terms[0]
    with tempfile.TemporaryDirectory() as folder:
        case, answer = Path(folder, "case.npz"), Path(folder, "answer.json")
        np.savez(
            case,
            z=weights.species,
            positions=positions,
            R_desc=term.training_descriptors.T,
            R_d_desc_alpha=term.descriptor_coefficients,
            perms=term.permutations,
            sig=term.length_scale,
            c=term.energy_offset,
        )
        script = Path(__file__).with_name("openmm_overhead_peer.py")
        subprocess.run([peer_python, str(script), str(case), str(answer)], check=True, stdout=subprocess.DEVNULL)
        peer = json.loads(answer.read_text())
    if abs(peer.pop("energy") - energy) > 1e-6 * abs(energy):
        raise RuntimeError("the two programs do not evaluate the same model")
    return peer


def table(results):
    """Return the results as a Markdown table."""
    lines = [
        "| model | platform | bare evaluation | KMLForce adds | PythonForce adds | openmm-ml + sgdml, whole step |",
        "|---|---|---|---|---|---|",
    ]
    for name, platforms in results.items():
        for platform, row in platforms.items():
            peer = f"{row['openmm-ml']['step']:.0f} µs" if "openmm-ml" in row else "not run"
            lines.append(
                f"| {name} | {platform} | {row['bare_evaluation']:.1f} µs | {row['KMLForce']['overhead']:.1f} µs "
                f"| {row['PythonForce']['overhead']:.1f} µs | {peer} |"
            )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="interpreter that has openmmml, openmm and sgdml")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {}
    for name, (species, n_points, methyl) in MODELS.items():
        weights, positions = random_model(species, n_points, methyl)
        energy, results[name] = measure(weights, positions, options.rounds)
        if options.peer_python:
            for platform, row in measure_peer(weights, positions, energy, options.peer_python).items():
                results[name][platform]["openmm-ml"] = row
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
