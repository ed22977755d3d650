"""Multiple time steps against plain stepping: stability, speed, and the error of distributions.

    python benchmarks/multiple_time_step.py                                   ethanol, trained on the bundled data
    python benchmarks/multiple_time_step.py --model M.safetensors --start M.xyz --picoseconds 200

For each scheme a Langevin run of the same length at 300 K; bond lengths and torsions are compared with a plain run at
0.25 fs by the Wasserstein distance: the mean distance that a distribution must be moved to become the other. The line
"0.25 fs, other seed" is the noise of that comparison. "bonded" has the harmonic model of `bonded_model` inside,
"kernel" a model of 50 points trained on the accurate one. All forces run on one thread.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from scipy.stats import wasserstein_distance

from openmm_kml import KMLForce
from openmm_kml.interfaces.bonded_model import bonded_model
from openmm_kml.interfaces.integrators import multiple_time_step_integrator, split_forces
from openmm_kml.md.start import read_start
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import MoleculeSet, read_molecules, split
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.weights import to_bytes

DATA = Path(__file__).parents[1] / "examples" / "data" / "ethanol_pbe.npz"
TEMPERATURE, FRICTION = 300 * unit.kelvin, 5 / unit.picosecond
FEMTOSECOND = unit.femtosecond
REFERENCE_STEP = 0.25  # fs
PLAIN = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
OUTER, INNER = (1.0, 2.0, 3.0, 4.0), (1, 2, 4)
HYPERPARAMETERS = {"power": 0.5, "kernel": "matern92", "length_scale": 1.2, "regularization": 1e-6, "energies": True}
SAMPLE = 12.0  # fs between two samples: a multiple of every time step
HOT, BROKEN = 3000.0, 3.0  # K and Å: a run with a temperature or a bond beyond is unstable


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="weight file; trained on the bundled data when left out")
    parser.add_argument("--start", type=Path, help="atoms in the model's order, near its minimum")
    parser.add_argument("--data", type=Path, default=DATA, help="data to train on")
    parser.add_argument("--n-train", type=int, default=400)
    parser.add_argument("--picoseconds", type=float, default=100.0, help="length of each run (default: 100)")
    parser.add_argument("--platform", default="Reference")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    args = parser.parse_args()
    potential, positions, numbers = models(args)
    bench = Bench(potential, positions, numbers, args)
    cheap = distilled(bench)
    inner = {"bonded": bonded_model(potential, positions), "kernel": [KMLForce(cheap, n_threads=1)]}
    costs = ", ".join(
        f"{bench.evaluation(model):.1f} µs the {name} model"
        for name, model in (("accurate", potential), ("cheap kernel", cheap))
    )
    print(f"{len(numbers)} atoms; one evaluation of {costs}; {args.picoseconds:g} ps a run")
    rows = bench.rows(inner)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


def models(args):
    """Return the model, positions in Å and atomic numbers."""
    if args.model is not None:
        start = read_start(args.start)
        return KernelPotential.load(args.model), start.positions, start.numbers
    molecules = read_molecules(args.data)
    train, validation, _ = split(molecules, args.n_train, 50, 0)
    fit = fit_gdml(train, validation, GDMLOptions(progress=False, **HYPERPARAMETERS))
    return KernelPotential.from_bytes(to_bytes(fit.weights)), train.positions[np.argmin(train.energies)], train.numbers


def distilled(bench, n_train=50, n_validation=10):
    """Return a cheaper model of the same molecule, trained on the accurate one: geometries of a run at 400 K."""
    context = bench.context(openmm.LangevinMiddleIntegrator(400, 20, 0.5 * FEMTOSECOND))
    context.setVelocitiesToTemperature(400, 1)
    frames = []
    for _ in range(n_train + n_validation):
        context.getIntegrator().step(100)
        frames.append(context.getState(positions=True).getPositions(asNumpy=True)._value * 10)
    labels = bench.potential.evaluate_batch(np.array(frames))
    data = MoleculeSet(bench.numbers, np.array(frames), labels.energy, labels.forces)
    symmetries = bench.potential.weights.terms[0].permutations
    options = GDMLOptions(progress=False, symmetries=symmetries, **HYPERPARAMETERS | {"length_scale": 2.5})
    fit = fit_gdml(data[:n_train], data[n_train:], options)
    return KernelPotential.from_bytes(to_bytes(fit.weights))


class Bench:
    """Runs of one molecule, and what they give."""

    def __init__(self, potential, positions, numbers, args):
        self.potential, self.positions, self.numbers = potential, positions, numbers
        self.masses = np.array([app.Element.getByAtomicNumber(int(z)).mass._value for z in numbers])
        self.length = args.picoseconds * 1000  # fs
        self.platform = openmm.Platform.getPlatformByName(args.platform)
        self.bonds, self.torsions = coordinates(numbers, positions)

    def evaluation(self, potential, n=200):
        """Return the median time of one evaluation, µs."""
        times = []
        for _ in range(n):
            started = time.perf_counter()
            potential.evaluate(self.positions, n_threads=1)
            times.append(time.perf_counter() - started)
        return 1e6 * statistics.median(times)

    def rows(self, inner):
        """Print and return one row for each scheme."""
        reference = self.run(openmm.LangevinMiddleIntegrator(TEMPERATURE, FRICTION, REFERENCE_STEP * FEMTOSECOND), 1)
        header = ("scheme", "outer fs", "inner", "µs/step", "ns/day", "evals/ps", *reference["samples"], "kinetic K")
        print(("{:<22}{:>9}{:>6}{:>9}{:>8}{:>9}" + "{:>14}" * len(reference["samples"]) + "{:>10}").format(*header))
        rows = [self.row("plain 0.25 fs", REFERENCE_STEP, 1, None, reference, seed=1)]
        rows.append(self.row("0.25 fs, other seed", REFERENCE_STEP, 1, None, reference, seed=2))
        rows += [self.row("plain", step, 1, None, reference) for step in PLAIN]
        for name, cheap in inner.items():
            rows += [self.row(name, outer, n, cheap, reference) for outer in OUTER for n in INNER]
        return rows

    def row(self, name, outer, n_inner, cheap, reference, seed=3):
        if cheap is None:
            integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, FRICTION, outer * FEMTOSECOND)
        else:
            integrator = multiple_time_step_integrator(outer * FEMTOSECOND, n_inner, TEMPERATURE, FRICTION)
        result = self.run(integrator, seed, cheap)
        row = {"scheme": name, "outer_fs": outer, "inner": n_inner, "us_per_step": result["us"]}
        row |= {"ns_per_day": outer * 1e-6 * 86400 / (result["us"] * 1e-6), "evaluations_per_ps": 1000 / outer}
        row["kinetic_temperature"] = result["temperature"]
        row["stable"] = result["stable"]
        row["errors"] = {
            kind: wasserstein_distance(values, reference["samples"][kind]) if result["stable"] else None
            for kind, values in result["samples"].items()
        }
        errors = ["unstable" if e is None else f"{1000 * e:.2f}" for e in row["errors"].values()]
        text = f"{name:<22}{outer:>9.2f}{n_inner:>6}{row['us_per_step']:>9.1f}{row['ns_per_day']:>8.0f}"
        text += f"{row['evaluations_per_ps']:>9.0f}" + "".join(f"{e:>14}" for e in errors)
        print(text + f"{row['kinetic_temperature']:>10.0f}", flush=True)
        return row

    def run(self, integrator, seed, cheap=None):
        """Return time per step, samples by kind (Å and degrees; the table has thousandths) and the temperature."""
        integrator.setRandomNumberSeed(seed)
        context = self.context(integrator, cheap)
        context.setVelocitiesToTemperature(TEMPERATURE, seed)
        step = integrator.getStepSize().value_in_unit(FEMTOSECOND)
        every = max(round(SAMPLE / step), 1)
        n_samples = round(self.length / (every * step))
        frames, kinetic, seconds, stable = [], [], [], True
        integrator.step(every * (n_samples // 20))
        for _ in range(n_samples):
            started = time.perf_counter()
            try:
                integrator.step(every)
            except openmm.OpenMMException:
                stable = False
                break
            seconds.append(time.perf_counter() - started)
            state = context.getState(positions=True, velocities=True)
            velocities = state.getVelocities(asNumpy=True)._value
            temperature = np.sum(self.masses[:, None] * velocities**2) / (3 * len(self.masses) * 8.31446e-3)
            frames.append(state.getPositions(asNumpy=True)._value * 10)
            kinetic.append(temperature)
            if not temperature < HOT:
                stable = False
                break
        samples = measured(np.array(frames), self.numbers, self.bonds, self.torsions)
        stable = stable and all(values.max() < BROKEN for kind, values in samples.items() if "Å" in kind)
        microseconds = 1e6 * statistics.median(seconds) / every  # of the machine when nobody disturbs it
        return {"us": microseconds, "samples": samples, "stable": stable, "temperature": float(np.mean(kinetic))}

    def context(self, integrator, cheap=None):
        system = openmm.System()
        for mass in self.masses:
            system.addParticle(mass)
        accurate = KMLForce(self.potential, n_threads=1)
        system.addForce(accurate)
        if cheap is not None:
            split_forces(system, [accurate], cheap)
        context = openmm.Context(system, integrator, self.platform)
        context.setPositions(self.positions * 0.1)
        return context


def coordinates(numbers, positions):
    """Return the bonds by kind, and the torsions about bonds between heavy atoms or to a heavy end, by name."""
    from ase.data import chemical_symbols, covalent_radii

    i, j = np.triu_indices(len(numbers), 1)
    near = np.linalg.norm(positions[i] - positions[j], axis=-1) < 1.3 * (
        covalent_radii[numbers[i]] + covalent_radii[numbers[j]]
    )
    bonds, neighbors = {}, {k: [] for k in range(len(numbers))}
    for a, b in zip(i[near].tolist(), j[near].tolist(), strict=True):
        kind = "–".join(sorted((chemical_symbols[numbers[a]], chemical_symbols[numbers[b]])))
        bonds.setdefault(kind, []).append((a, b))
        neighbors[a].append(b)
        neighbors[b].append(a)
    torsions = [
        (a, b, c, d)
        for pairs in bonds.values()
        for b, c in pairs
        for a in neighbors[b]
        for d in neighbors[c]
        if a != c and d not in (a, b) and 1 in (numbers[a], numbers[d]) and min(numbers[b], numbers[c]) > 1
    ]
    # One torsion is enough: the one about the bond to the least common heavy element (C–O in ethanol).
    rare = sorted(torsions, key=lambda t: (numbers == numbers[t[1]]).sum() + (numbers == numbers[t[2]]).sum())
    heavy_first = [t for t in rare if 1 not in (numbers[t[0]], numbers[t[3]])] or [
        t for t in rare if (numbers[t[0]] == 1) != (numbers[t[3]] == 1)
    ]
    return bonds, (heavy_first or rare)[:1]


def measured(frames, numbers, bonds, torsions):
    """Return samples: bond lengths by kind in Å, and |torsion| in degrees."""
    result = {}
    for kind, pairs in bonds.items():
        first, second = np.array(pairs).T
        result[f"{kind} /mÅ"] = np.linalg.norm(frames[:, first] - frames[:, second], axis=-1).ravel()
    for a, b, c, d in torsions:
        u, v, w = frames[:, b] - frames[:, a], frames[:, c] - frames[:, b], frames[:, d] - frames[:, c]
        m, n = np.cross(u, v), np.cross(v, w)
        y = np.einsum("ij,ij->i", np.cross(m, n), v) / np.linalg.norm(v, axis=-1)
        angle = np.degrees(np.arctan2(y, np.einsum("ij,ij->i", m, n)))
        result["torsion /°"] = np.abs(angle) / 1000  # the table shows thousandths
    return result


if __name__ == "__main__":
    main()
