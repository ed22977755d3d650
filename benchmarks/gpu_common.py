"""What gpu.py and gpu_local.py share: routes, energies and forces, the time of a step, tables."""

import statistics
import time

from openmm import unit

KJ_PER_MOL = 96.48533212331  # in one eV
USUAL_ROUTE, HOST_ROUTE, DEVICE_ROUTE = 0, 1, 2  # of kml_openmm_set_route()


def energy_and_forces(context):
    """Return energy in eV and forces in eV/Å."""
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) / KJ_PER_MOL
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return energy, forces * 0.1 / KJ_PER_MOL


def seconds_per_step(context, n_steps):
    """Return the time of a step, the queue emptied before and after."""
    context.getState(positions=True)
    start = time.perf_counter()
    context.getIntegrator().step(n_steps)
    context.getState(positions=True)
    return (time.perf_counter() - start) / n_steps


def measure(contexts, rounds, target_seconds):
    """Return the median time of a step of each context in µs; they take turns."""
    counts = []
    for context in contexts:
        context.getIntegrator().step(10)
        counts.append(max(10, int(target_seconds / seconds_per_step(context, 10))))
    times = [[seconds_per_step(c, n) for c, n in zip(contexts, counts, strict=True)] for _ in range(rounds)]
    return [statistics.median(column) * 1e6 for column in zip(*times, strict=True)]


def table(title, rows, columns):
    """Print rows as a Markdown table; columns maps a heading to (key, format)."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + " ---: |" * len(columns))
    for row in rows:
        print("| " + " | ".join(format(row[key], spec) for key, spec in columns.values()) + " |")
