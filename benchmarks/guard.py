"""The guard of the uncertainty: what it stops before the model is wrong, what it stops for nothing, and who survives.

    python benchmarks/guard.py [--runs 6] [--survival 300] [--output FILE]

Two systems whose truth is cheap: ethanol under a classical force field (OPLS), learned by a `gdml` model, and silicon
by Stillinger and Weber, learned by two- and three-body functions. Runs under the *model* are driven out of its data by
a ramp of the temperature, by compression, and by pulling a bond; every 20 steps the uncertainty and the true error (the
largest error of the force on an atom) are noted, and from the two series, for several thresholds, which came first.
Undriven runs at temperatures of the data count the false alarms. Last, runs of ethanol under a model of DFT, with and
without the repulsion and the guard.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openmm
from openmm import unit

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from delta_case import classical
from local_models import diamond
from stillinger_weber import spline_model
from trained import DATA, OPTIONS, SYMMETRIES

from openmm_kml.bonds import bonds_from_positions, covalent_sums
from openmm_kml.doubt import AUTO_FACTOR, doubt_of, usual_doubt
from openmm_kml.errors import EvaluationError
from openmm_kml.files import write_atomically
from openmm_kml.interfaces.baseline import evaluate_baseline
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import MoleculeSet, Structure, StructureSet, read_molecules, split
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.weights import to_bytes

LOOK = 20  # steps
BOUNDS = (1.0, 3.0)  # eV/Å: the largest force error of an atom up to which a model is taken to be right
FACTORS = (1.5, 2.0, 3.0, 4.0)  # thresholds, in units of the largest value on frames held out
DRIVES = ("heating", "compression", "bond stretch")
HOTTER, SMALLER, LONGER = 10.0, 0.75, 1.6  # temperature by a factor, the cell's edges by a factor, a bond by so many Å
MASSES = {1: 1.008, 6: 12.011, 8: 15.999, 14: 28.085}
FUSED = 0.4  # of the sum of covalent radii
APART = 12.0  # Å, of two atoms
ENDS = ("whole", "other bonds", "apart", "fused", "not finite")
COLLAPSES = (  # bond, its factor, temperature
    ("C–C at 0.75", (0, 1, 0.75), 300.0),
    ("C–H at 0.6", (0, 6, 0.6), 300.0),
    ("O–H at 0.6", (2, 3, 0.6), 300.0),
    ("1000 K", (0, 1, 1.0), 1000.0),
    ("1500 K", (0, 1, 1.0), 1500.0),
)


@dataclass
class Case:
    """A system, its truth and its model."""

    name: str
    numbers: np.ndarray
    start: np.ndarray  # Å
    cell: np.ndarray | None
    truth: object  # positions, cell -> forces, eV/Å
    model: KernelPotential
    usual: float  # largest uncertainty of the frames held out, eV
    bond: tuple
    time_step: float  # fs
    temperature: float  # of the data, K


def dynamics(force, numbers, start, cell, temperature, time_step, seed, extra=()):
    """Return a Context of Langevin dynamics on the Reference platform, with velocities."""
    system = openmm.System()
    for z in numbers:
        system.addParticle(MASSES[int(z)])
    if cell is not None:
        system.setDefaultPeriodicBoxVectors(*(cell * 0.1))
    for one in (force, *extra):
        system.addForce(one)
    integrator = openmm.LangevinMiddleIntegrator(temperature, 5.0, time_step * 1e-3)
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(start * 0.1)
    context.setVelocitiesToTemperature(temperature, seed)
    return context


def positions_of(context):
    return context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)


def sample(context, n, every):
    """Return n frames of a run, shape (n, n_atoms, 3), Å."""
    frames = []
    for _ in range(n):
        context.getIntegrator().step(every)
        frames.append(positions_of(context))
    return np.array(frames)


def ethanol_case(options):
    """Return ethanol under OPLS, and the model of `options.frames` frames at 500 K."""
    data = read_molecules(DATA)
    field, numbers = classical(), np.array(data.numbers)
    start = data.positions[np.argmin(data.energies)]
    integrator = openmm.LangevinMiddleIntegrator(500, 5.0, 0.0005)
    integrator.setRandomNumberSeed(7)
    context = openmm.Context(field, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(start * 0.1)
    context.setVelocitiesToTemperature(500, 7)
    frames = sample(context, options.frames + 80, 400)
    energies, forces = evaluate_baseline(field, frames)
    everything = MoleculeSet(numbers, frames, energies, forces, "OPLS")
    train, validation, test = split(everything, options.frames, 40, 40, seed=0)
    fit = fit_gdml(train, validation, GDMLOptions(**OPTIONS, symmetries=SYMMETRIES, n_threads=1, progress=False))
    model = KernelPotential.from_bytes(to_bytes(fit.weights))
    usual = usual_doubt(model, ((r, None, None) for r in test.positions))["uncertainty"]
    print(f"ethanol: {fit.report['validation_errors']}\n  usual uncertainty {usual}", flush=True)

    def truth(positions, _):
        return evaluate_baseline(field, positions[None])[1][0]

    return Case("ethanol", numbers, start, None, truth, model, usual["largest"], (1, 2), 0.5, 500.0)


def silicon_case(options):
    """Return 64 atoms of silicon by Stillinger and Weber, and a model of some frames at 300 and 600 K."""
    reference = KernelPotential.from_bytes(to_bytes(spline_model()))
    start, cell = diamond(5.43, 2)
    numbers, frames = np.full(len(start), 14), []
    for temperature, edge in ((300.0, 1.0), (600.0, 1.0), (600.0, 0.99), (600.0, 1.01)):
        force = KMLForce(reference, numbers=numbers.tolist(), periodic=True)
        box = edge * cell
        context = dynamics(force, numbers, edge * start, box, temperature, 2.0, 3)
        for positions in sample(context, 12, 100):
            e, f, v = reference.evaluate(positions, numbers, box)
            frames.append(Structure(numbers, positions, box, True, e, f, v))
    order = np.random.default_rng(0).permutation(len(frames))
    data = StructureSet([frames[k] for k in order], "Stillinger-Weber")
    fit = fit_nbody(data[:28], data[28:38], NBodyOptions(cutoff3=3.75, progress=False))
    model = KernelPotential.from_bytes(to_bytes(fit.weights))
    usual = usual_doubt(model, ((f.positions, f.numbers, f.cell) for f in data[38:]))["uncertainty"]
    print(f"silicon: {fit.report['validation_errors']}\n  usual uncertainty {usual}", flush=True)

    def truth(positions, box):
        return reference.evaluate(positions, numbers, box).forces

    distances = np.linalg.norm(start - start[0], axis=1)
    neighbor = int(np.argmin(np.where(distances > 0, distances, np.inf)))
    return Case("silicon", numbers, start, cell, truth, model, usual["largest"], (0, neighbor), 1.0, 600.0)


def extra_forces(case, drive):
    """Return what drives a run, as Forces with the global parameter `push`."""
    if drive == "bond stretch":
        force = openmm.CustomBondForce("150000*(r-push)^2")
        force.addGlobalParameter("push", 0.1 * bond_length(case))
        force.addBond(*case.bond)
        force.setUsesPeriodicBoundaryConditions(case.cell is not None)
        return (force,)
    if drive == "compression" and case.cell is None:
        force = openmm.CustomCentroidBondForce(2, "push/2*distance(g1,g2)^2")
        everyone = force.addGroup(list(range(len(case.numbers))))
        for k in range(len(case.numbers)):
            force.addBond([force.addGroup([k]), everyone])
        force.addGlobalParameter("push", 0.0)
        return (force,)
    return ()


def bond_length(case):
    i, j = case.bond
    return float(np.linalg.norm(case.start[i] - case.start[j]))


def push(case, context, drive, part):
    """Drive a run: `part` grows from 0 to 1."""
    if drive == "heating":
        context.getIntegrator().setTemperature(case.temperature * (1 + (HOTTER - 1) * part))
    elif drive == "bond stretch":
        context.setParameter("push", 0.1 * (bond_length(case) + LONGER * part))
    elif case.cell is None:
        context.setParameter("push", 2e5 * part)
    else:
        old = context.getState(positions=True, velocities=True)
        box = case.cell * (1 + (SMALLER - 1) * part)
        ratio = box[0, 0] * 0.1 / old.getPeriodicBoxVectors(asNumpy=True)._value[0, 0]
        context.setPeriodicBoxVectors(*(box * 0.1))
        context.setPositions(old.getPositions(asNumpy=True) * ratio)


def follow(case, drive, seed, steps, temperature=None):
    """Return uncertainties (eV) and true errors (eV/Å) at the looks of a run; it ends where all is lost."""
    periodic = {} if case.cell is None else {"numbers": case.numbers.tolist(), "periodic": True}
    context = dynamics(
        KMLForce(case.model, **periodic),
        case.numbers,
        case.start,
        case.cell,
        temperature or case.temperature,
        case.time_step,
        seed,
        extra_forces(case, drive),
    )
    doubts, errors = [], []
    for look in range(1, steps // LOOK + 1):
        if drive is not None:
            push(case, context, drive, look * LOOK / steps)
        try:
            context.getIntegrator().step(LOOK)
            state = context.getState(positions=True)
            positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
            box = None if case.cell is None else state.getPeriodicBoxVectors(asNumpy=True)._value * 10
            doubt = doubt_of(case.model, positions, None if box is None else case.numbers, box).value
            model = case.model.evaluate(positions, None if box is None else case.numbers, box).forces
        except (openmm.OpenMMException, EvaluationError):
            break
        doubts.append(doubt)
        errors.append(float(np.linalg.norm(model - case.truth(positions, box), axis=1).max()))
        if errors[-1] > 10 * max(BOUNDS):
            break
    return np.array(doubts), np.array(errors)


def first(mask):
    """Return the first place that is true, infinity without one."""
    return int(np.argmax(mask)) if mask.any() else np.inf


def judge(case, series, factor, bound):
    """Return how many runs were stopped in time, late or never, how many stayed right, and what was seen of the late.

    `lag_fs` is the median time from the error above the bound to the alarm, `error` the median error at the alarm.
    """
    counts = {"in time": 0, "late": 0, "never": 0, "stayed right": 0}
    lags, at_alarm = [], []
    for doubts, errors in series:
        alarm, wrong = first(doubts > factor * case.usual), first(errors > bound)
        if not np.isinf(alarm):
            at_alarm.append(errors[alarm])
        if np.isinf(wrong):
            counts["stayed right"] += 1
        elif np.isinf(alarm):
            counts["never"] += 1
        elif alarm <= wrong:
            counts["in time"] += 1
        else:
            counts["late"] += 1
            lags.append((alarm - wrong) * LOOK * case.time_step)
    counts["lag_fs"] = float(np.median(lags)) if lags else None
    counts["error"] = round(float(np.median(at_alarm)), 2) if at_alarm else None
    return counts


def guard_table(case, options):
    """Return and print what the guard does for each drive and threshold."""
    steps = round(1000 * options.length / case.time_step)
    result = {"case": case.name, "usual_eV": case.usual, "drives": {}}
    for drive in DRIVES:
        series = [follow(case, drive, seed, steps) for seed in range(1, options.runs + 1)]
        judged = {f"{factor} {bound}": judge(case, series, factor, bound) for factor in FACTORS for bound in BOUNDS}
        result["drives"][drive] = judged
        print(
            f"{case.name}, {drive}:", *(f"  {name}: {counts}" for name, counts in judged.items()), sep="\n", flush=True
        )
    calm = [
        follow(case, None, 100 + seed, steps, temperature)
        for seed in range(options.calm)
        for temperature in (300.0, case.temperature)
    ]
    right = [(doubts, errors) for doubts, errors in calm if not (errors > BOUNDS[0]).any()]
    result["calm"] = {
        "runs": len(calm),
        "stayed right": len(right),
        "false alarms": {
            str(factor): sum(bool((d > factor * case.usual).any()) for d, _ in right) for factor in FACTORS
        },
        "largest doubts": [round(float(doubts.max() / case.usual), 2) for doubts, _ in calm],
        "largest errors": [round(float(errors.max()), 2) for _, errors in calm],
    }
    print(f"{case.name}, undriven: {result['calm']}", flush=True)
    return result


class Ethanol:
    """Models of ethanol by DFT at 500 K with and without repulsion, and how runs under them end."""

    def __init__(self, n_frames):
        train, validation, test = split(read_molecules(DATA), n_frames, 30, 40, seed=0)
        fit = fit_gdml(train, validation, GDMLOptions(**OPTIONS, symmetries=SYMMETRIES, n_threads=1, progress=False))
        self.whole = KernelPotential.from_bytes(to_bytes(fit.weights))
        usual = usual_doubt(self.whole, ((r, None, None) for r in test.positions))["uncertainty"]["largest"]
        self.threshold = AUTO_FACTOR * usual
        none = dict.fromkeys(("explained_descriptor_coefficients", "explained_energy_coefficients", "prior_variance"))
        kernel, repulsion = replace(fit.weights.terms[0], **none), fit.weights.terms[1]
        terms = {"without": (kernel,), "with": (kernel, repulsion)}
        self.models = {
            name: KernelPotential.from_bytes(to_bytes(replace(fit.weights, uncertainty=None, terms=some)))
            for name, some in terms.items()
        }
        self.numbers, self.start = np.array(train.numbers), train.positions[np.argmin(train.energies)]
        self.pairs = np.triu_indices(len(self.start), 1)
        self.sums = covalent_sums(self.numbers)[self.pairs]
        self.bonds = bonds_from_positions(self.numbers, self.start)
        print(f"ethanol by DFT, {n_frames} frames: {fit.report['validation_errors']}", flush=True)

    def ends(self, start, temperature, time_step, steps, seed, every, watch):
        """Return how a run with and one without repulsion end, and, if watched, where the guard would stop them."""
        found = {}
        for name, model in self.models.items():
            context = dynamics(KMLForce(model), self.numbers, start, None, temperature, time_step, seed)
            found[name] = self._end(context, steps, every, watch)
        return found

    def _end(self, context, steps, every, watch):
        alarm = None
        for step in range(every, steps + 1, every):
            try:
                context.getIntegrator().step(every)
            except openmm.OpenMMException:
                return {"end": "not finite", "step": step, "alarm": alarm}
            r = positions_of(context)
            distances = np.linalg.norm(r[self.pairs[0]] - r[self.pairs[1]], axis=1)
            if watch and alarm is None and doubt_of(self.whole, r).value > self.threshold:
                alarm = step
            if (distances < FUSED * self.sums).any():
                return {"end": "fused", "step": step, "alarm": alarm}
            apart = distances.max() > APART
            if apart and watch:
                break
        if apart:
            return {"end": "apart", "step": step, "alarm": alarm}
        kept = bonds_from_positions(self.numbers, r) == self.bonds
        return {"end": "whole" if kept else "other bonds", "step": steps, "alarm": alarm}


def collapse(options):
    """Return and print how runs end that start with a compressed bond, or are far hotter than the data."""
    ethanol, result = Ethanol(options.few), {}
    for name, (i, j, factor), temperature in COLLAPSES:
        start = ethanol.start.copy()
        start[j] = start[i] + factor * (start[j] - start[i])
        ends = [
            ethanol.ends(start, temperature, 0.25, 10000, seed, 20, watch=False) for seed in range(1, options.runs + 1)
        ]
        result[name] = {
            prior: {what: sum(end[prior]["end"] == what for end in ends) for what in ENDS} for prior in ethanol.models
        }
        print(f"{name}: {result[name]}", flush=True)
    return {"frames": options.few, "runs": options.runs, "ends": result}


def survival(options):
    """Return and print how long runs last, with and without the repulsion and the guard."""
    ethanol = Ethanol(options.many)
    steps, runs = round(1000 * options.survival / 0.5), []
    for seed in range(1, options.survivors + 1):
        runs.append(ethanol.ends(ethanol.start, options.hot, 0.5, steps, seed, 100, watch=True))
        print(f"  seed {seed}: {runs[-1]}", flush=True)
    return {"frames": options.many, "temperature": options.hot, "ps": options.survival, "runs": runs}


OTHERS = {"collapse": collapse, "survival": survival}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", default=["ethanol", "silicon", *OTHERS])
    parser.add_argument("--frames", type=int, default=150, help="training frames of ethanol")
    parser.add_argument("--runs", type=int, default=6, help="of each drive")
    parser.add_argument("--calm", type=int, default=5, help="undriven runs at each of two temperatures")
    parser.add_argument("--length", type=float, default=4.0, help="ps of one run")
    parser.add_argument("--survival", type=float, default=300.0, help="ps")
    parser.add_argument("--survivors", type=int, default=4, help="runs with and without the prior")
    parser.add_argument("--few", type=int, default=60, help="training frames of the collapse")
    parser.add_argument("--many", type=int, default=200, help="training frames of the survival")
    parser.add_argument("--hot", type=float, default=800.0, help="K, of the survival; the data are at 500 K")
    parser.add_argument("--output", type=Path, help="a JSON file for the numbers")
    options = parser.parse_args()
    makers = {"ethanol": ethanol_case, "silicon": silicon_case}
    results, began = {}, time.perf_counter()
    for name in options.cases:
        results[name] = OTHERS[name](options) if name in OTHERS else guard_table(makers[name](options), options)
        print(f"({time.perf_counter() - began:.0f} s)", flush=True)
        if options.output:
            write_atomically(options.output, json.dumps(results, indent=1).encode())


if __name__ == "__main__":
    main()
