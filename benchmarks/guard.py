"""The guard of the uncertainty: what it stops before the model is wrong, and what it stops for nothing.

    python benchmarks/guard.py [--cases ethanol silicon] [--runs 6] [--output FILE]

Two systems whose truth is cheap: ethanol under a classical force field (OPLS), learned by a `gdml` model, and silicon
by Stillinger and Weber, learned by two- and three-body functions. Runs under the *model* are driven out of its data by
a ramp of the temperature, by compression, and by pulling a bond; at every look the uncertainty and the true error (the
largest error of the force on an atom) are noted, and from the two series, for several thresholds, which came first.
Undriven runs at temperatures of the data count the false alarms. The uncertainty is measured in three ways on the same
looks: by energies, as the guard does (of a molecule that of the energy by the number of atoms, with what walls and
repulsion give; of a solid the largest of an atom), by the
gradient of the energy's (the largest of an atom), and by forces (the largest of an atom).

Whether runs come back, and how long they last: `guard_return.py`, `guard_survival.py`.
"""

from dataclasses import dataclass

import numpy as np
import openmm
from guard_common import dynamics, gdml_fit, positions_of, sample, study_parser, write_results
from guard_solids import silicon, squeeze

from openmm_kml.doubt import doubt_of
from openmm_kml.errors import EvaluationError
from openmm_kml.interfaces.baseline import evaluate_baseline
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import MoleculeSet, read_molecules, split
from openmm_kml.weights import to_bytes

from delta_case import classical  # isort: skip  (guard_common puts its folder on the path)
from trained import DATA  # isort: skip

LOOK = 40  # steps
BOUNDS = (1.0, 3.0)  # eV/Å: the largest force error of an atom up to which a model is taken to be right
FACTORS = (1.25, 1.5, 2.0, 2.5, 3.0, 4.0)  # thresholds, in units of the largest value on frames held out
DRIVES = ("heating", "compression", "bond stretch")
HOTTER, SMALLER, LONGER = 10.0, 0.75, 1.6  # temperature by a factor, the cell's edges by a factor, a bond by so many Å
MEASURES = ("energy", "gradient", "force")


@dataclass
class Case:
    """A system, its truth and its model."""

    name: str
    numbers: np.ndarray
    start: np.ndarray  # Å
    cell: np.ndarray | None
    truth: object  # positions, cell -> forces, eV/Å
    model: KernelPotential
    usual: dict  # largest uncertainty of the frames held out, by measure
    bond: tuple
    time_step: float  # fs
    temperature: float  # of the data, K


def measure(model, positions, numbers=None, cell=None):
    """Return the uncertainty of a frame by measure; eV and eV/Å."""
    found = model.evaluate_uncertainty(positions, numbers, cell, gradient=True, forces=True)
    energy = doubt_of(model, positions, numbers, cell).value
    largest = (np.linalg.norm(vectors, axis=1).max() for vectors in (found.gradient, found.force_std))
    return dict(zip(MEASURES, (energy, *largest), strict=True))


def usual(model, frames):
    """Return the largest uncertainty of frames, by measure."""
    values = [measure(model, *frame) for frame in frames]
    return {name: float(max(value[name] for value in values)) for name in MEASURES}


def ethanol_case(options):
    """Return ethanol under OPLS, and the model of `options.frames` frames at 500 K."""
    data = read_molecules(DATA)
    field, numbers = classical(), np.array(data.numbers)
    start = data.positions[np.argmin(data.energies)]
    parts = [openmm.XmlSerializer.clone(field.getForce(k)) for k in range(field.getNumForces())]
    context = dynamics(parts, numbers, start, None, 500.0, 0.5, 7)
    frames = sample(context, options.frames + 80, 400)
    energies, forces = evaluate_baseline(field, frames)
    everything = MoleculeSet(numbers, frames, energies, forces, "OPLS")
    train, validation, test = split(everything, options.frames, 40, 40, seed=0)
    fit = gdml_fit(train, validation)
    model = KernelPotential.from_bytes(to_bytes(fit.weights))
    found = usual(model, [(r,) for r in test.positions[:20]])
    print(f"ethanol: {fit.report['validation_errors']}\n  usual uncertainty {found}", flush=True)

    def truth(positions, _):
        return evaluate_baseline(field, positions[None])[1][0]

    return Case("ethanol", numbers, start, None, truth, model, found, (1, 2), 0.5, 500.0)


def silicon_case(options):
    """Return 64 atoms of silicon by Stillinger and Weber, and a model of some frames at 300 and 600 K."""
    solid = silicon()
    model = solid.models["repulsion"]
    found = usual(model, [(f.positions, f.numbers, f.cell) for f in solid.held_out])

    def truth(positions, box):
        return solid.truth(positions, box)[1]

    return Case("silicon", solid.numbers, solid.start, solid.cell, truth, model, found, solid.bond, 1.0, 600.0)


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
        squeeze(context, case.cell * (1 + (SMALLER - 1) * part))


def follow(case, drive, seed, steps, temperature=None):
    """Return uncertainties by measure and true errors (eV/Å) at the looks of a run; it ends where all is lost."""
    solid = case.cell is not None
    periodic = {"numbers": case.numbers.tolist(), "periodic": True} if solid else {}
    forces = (KMLForce(case.model, **periodic), *extra_forces(case, drive))
    temperature = temperature or case.temperature
    context = dynamics(forces, case.numbers, case.start, case.cell, temperature, case.time_step, seed)
    doubts, errors = {name: [] for name in MEASURES}, []
    for look in range(1, steps // LOOK + 1):
        if drive is not None:
            push(case, context, drive, look * LOOK / steps)
        try:
            context.getIntegrator().step(LOOK)
            positions = positions_of(context)
            box = context.getState().getPeriodicBoxVectors(asNumpy=True)._value * 10 if solid else None
            structure = (positions, case.numbers, box) if solid else (positions,)
            doubt, model = measure(case.model, *structure), case.model.evaluate(*structure).forces
        except (openmm.OpenMMException, EvaluationError):
            break
        errors.append(float(np.linalg.norm(model - case.truth(positions, box), axis=1).max()))
        for name in MEASURES:
            doubts[name].append(doubt[name] / case.usual[name])
        certain = min(doubts[name][-1] for name in MEASURES)
        if errors[-1] > 10 * max(BOUNDS) or (errors[-1] > max(BOUNDS) and certain > max(FACTORS)):
            break
    return {name: np.array(values) for name, values in doubts.items()}, np.array(errors)


def first(mask):
    """Return the first place that is true, infinity without one."""
    return int(np.argmax(mask)) if mask.any() else np.inf


def judge(case, series, name, factor, bound):
    """Return how many runs were stopped in time, late or never, how many stayed right, and what was seen of the late.

    `lag_fs` is the median time from the error above the bound to the alarm, `error` the median error at the alarm.
    """
    counts = {"in time": 0, "late": 0, "never": 0, "stayed right": 0}
    lags, at_alarm = [], []
    for doubts, errors in series:
        alarm, wrong = first(doubts[name] > factor), first(errors > bound)
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
    """Return and print what the guard does, by measure, for each drive and threshold."""
    steps = round(1000 * options.length / case.time_step)
    result = {"case": case.name, "usual": case.usual, "drives": {}}
    for drive in DRIVES:
        series = [follow(case, drive, seed, steps) for seed in range(1, options.runs + 1)]
        judged = {
            f"{name} {factor} {bound}": judge(case, series, name, factor, bound)
            for name in MEASURES
            for factor in FACTORS
            for bound in BOUNDS
        }
        result["drives"][drive] = judged
        rows = (f"  {name}: {counts}" for name, counts in judged.items())
        print(f"{case.name}, {drive}:", *rows, sep="\n", flush=True)
    calm = [
        follow(case, None, 100 + seed, steps, temperature)
        for seed in range(options.calm)
        for temperature in (300.0, case.temperature)
    ]
    right = [doubts for doubts, errors in calm if not (errors > BOUNDS[0]).any()]
    result["calm"] = {
        "runs": len(calm),
        "stayed right": len(right),
        "false alarms": {
            f"{name} {factor}": sum(bool((doubts[name] > factor).any()) for doubts in right)
            for name in MEASURES
            for factor in FACTORS
        },
        "largest doubts": {name: [round(float(d[name].max()), 2) for d, _ in calm] for name in MEASURES},
        "largest errors": [round(float(errors.max()), 2) for _, errors in calm],
    }
    print(f"{case.name}, undriven: {result['calm']}", flush=True)
    return result


def main():
    parser = study_parser(__doc__, 150, "drive")
    makers = {"ethanol": ethanol_case, "silicon": silicon_case}
    parser.add_argument("--cases", nargs="*", choices=list(makers), default=list(makers))
    parser.add_argument("--calm", type=int, default=5, help="undriven runs at each of two temperatures")
    parser.add_argument("--length", type=float, default=4.0, help="ps of one run")
    options = parser.parse_args()
    cases = {name: lambda options, name=name: guard_table(makers[name](options), options) for name in options.cases}
    write_results(cases, options)


if __name__ == "__main__":
    main()
