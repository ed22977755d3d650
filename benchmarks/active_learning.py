"""Labeled frames to reach a force error: learning on the fly against random sampling, for several seeds.

    python benchmarks/active_learning.py ethanol --seeds 5     # needs tblite: pip install tblite
    python benchmarks/active_learning.py copper --seeds 5      # ASE's effective medium theory

Ethanol: GFN2-xTB, a gdml model with given hyperparameters and symmetries, 300 and 500 K, from one geometry. Copper: 31
atoms and a hole, ASE's effective medium theory, two- and three-body functions, 300 and 900 K, from one crystal.

Random sampling is of three kinds: of a trajectory of the reference itself (thousands of calls that are not counted), of
dynamics with the last model of the campaign (which nobody has beforehand), and blind: a campaign that labels random
frames of the dynamics of its own models. Test frames are of another trajectory of the reference at each temperature.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from openmm_kml.active_learning import Recipe, Settings, learn, load_reference
from openmm_kml.active_learning.reference import label
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import Structure, read_structures
from openmm_kml.structures.extended_xyz import write_frames
from openmm_kml.training import GDMLOptions
from openmm_kml.training.nbody import NBodyOptions
from openmm_kml.weights import to_bytes

NAMES = ("active", "reference", "final", "blind")
MEASURES = ("mae", "rmse", "largest")
POOL, TEST = 200, 100  # frames of a trajectory at each temperature
_APART = 50  # fs between two of them
_SIZES = 8  # models of each kind of random sampling


def ethanol():
    """Return start frame, recipe, settings and the name of the reference."""
    atoms = molecule("CH3CH2OH")
    fixed = {"power": 0.5, "kernel": "matern92", "length_scale": 2.5, "regularization": 1e-6, "energies": True}
    # Turns of the methyl group, and the mirror plane: found late or early, they would make the curves jump.
    group = [[0, 1, 2, 3, 4, 5, 7, 8, 6], [0, 1, 2, 3, 5, 4, 6, 8, 7]]
    recipe = Recipe("gdml", GDMLOptions(**fixed, symmetries=group, n_threads=1, progress=False))
    settings = {"temperatures": (300, 500), "walkers": 2, "steps": 1000, "interval": 20, "budget": 50, "initial": 6}
    return Structure(atoms.numbers, atoms.positions), recipe, settings, "tblite"


def copper():
    """Return start frame, recipe, settings and the name of the reference."""
    crystal = bulk("Cu", "fcc", 3.61, cubic=True) * (2, 2, 2)
    del crystal[0]
    recipe = Recipe("nbody", NBodyOptions(cutoff2=5.0, cutoff3=3.6, spacing3=0.4, progress=False))
    settings = {"temperatures": (300, 900), "walkers": 1, "steps": 500, "interval": 25, "timestep": 3.0}
    settings |= {"budget": 16, "initial": 4, "rattle": 0.05}
    return (
        Structure(crystal.numbers, crystal.positions, crystal.cell.array, True),
        recipe,
        settings,
        "ase.calculators.emt:EMT",
    )


# --- trajectories of the reference


def trajectory(path, start, calculator, settings, count, seed):
    """Return labeled frames of the reference's own dynamics, `count` at each temperature; kept in a file.

    The first picosecond is left out.
    """
    if not path.exists():
        frames = []
        for place, kelvin in enumerate(settings.temperatures):
            atoms = Atoms(start.numbers, start.positions, cell=start.cell, pbc=start.pbc, calculator=calculator)
            rng = np.random.default_rng((seed, place))
            thermalize_momenta(atoms, temperature_K=kelvin, rng=rng)
            options = {"friction": 5e-3 / units.fs, "rng": rng, "fixcm": False}
            dynamics = Langevin(atoms, settings.timestep * units.fs, temperature_K=kelvin, **options)
            dynamics.run(round(1000 / settings.timestep))
            for _ in range(count):
                dynamics.run(round(_APART / settings.timestep))
                frame = replace(start, positions=atoms.get_positions())
                frames.append(label(calculator, frame, settings.max_force))
            print(f"{path.name}: {kelvin:g} K done", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_frames(path, frames)
    return read_structures(path).frames


# --- errors of models


def point(potential, labeled, test):
    """Return the errors of force components on test frames, eV/Å."""
    errors = []
    for frame in test:
        found = potential.evaluate(frame.positions, frame.numbers, frame.cell, frame.pbc).forces
        errors.append(np.abs(found - frame.forces).ravel())
    errors = np.concatenate(errors)
    return {
        "labeled": labeled,
        "mae": float(errors.mean()),
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "largest": float(errors.max()),
    }


def errors_of_rounds(directory, test):
    """Return the errors of the models of all rounds of a campaign."""
    rounds = json.loads((directory / "state.json").read_text())["rounds"]
    counts = [known["n_train"] + known["n_validation"] for known in rounds]
    counts.append(len(read_structures(directory / "labeled.xyz")))
    paths = sorted(directory.glob("round-*/model.safetensors"))
    return [point(KernelPotential.load(path), count, test) for path, count in zip(paths, counts, strict=True)]


def errors_of_final(directory, test):
    """Return the errors of models of random frames of dynamics with the last model."""
    paths = sorted(directory.glob("random/*/model-*.safetensors"))
    return [point(KernelPotential.load(path), int(path.stem.split("-")[1]), test) for path in paths]


def errors_of_reference(pool, recipe, settings, seed, test):
    """Return the errors of models of random frames of the reference's own dynamics."""
    order = np.random.default_rng((seed, 3)).permutation(len(pool))
    points = []
    for size in np.unique(np.linspace(settings.initial, settings.budget, _SIZES).round().astype(int)):
        frames = [pool[k] for k in order[:size]]
        held = [k for k in range(size) if k % settings.every == settings.every - 1] or [size - 1]
        train = [frame for k, frame in enumerate(frames) if k not in held]
        weights = recipe.fit(train, [frames[k] for k in held], members=False).weights
        points.append(point(KernelPotential(to_bytes(weights)), int(size), test))
    return points


def run_seed(case, arguments, seed, pool, test):
    """Return the curves of all kinds of sampling."""
    start, recipe, changes, reference = case
    settings = Settings(**changes, seed=seed, uncertainty=arguments.uncertainty)
    quiet = {"say": lambda _: None, "progress": False}
    curves = {"reference": errors_of_reference(pool, recipe, settings, seed, test)}
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "campaign"
        compare = 1 if "final" in arguments.against else 0
        learn(directory, recipe, settings, load_reference(reference), [start], compare=compare, **quiet)
        curves["active"] = errors_of_rounds(directory, test)
        if compare:
            curves["final"] = errors_of_final(directory, test)
        if "blind" in arguments.against:
            blind = replace(settings, uncertainty="none")
            learn(Path(folder) / "blind", recipe, blind, load_reference(reference), [start], **quiet)
            curves["blind"] = errors_of_rounds(Path(folder) / "blind", test)
    return curves


# --- the report


def reached(points, error, measure):
    """Return the number of labeled frames at which a curve falls to an error and stays below, by interpolation."""
    x = [one["labeled"] for one in points]
    y = np.log([one[measure] for one in points])
    above = np.flatnonzero(y > np.log(error))
    if len(above) == 0:
        return x[0]
    k = above[-1]
    if k == len(x) - 1:
        return np.inf
    return x[k] + (x[k + 1] - x[k]) * (y[k] - np.log(error)) / (y[k] - y[k + 1])


def report(curves, errors):
    """Print mean and standard deviation over the seeds."""
    names = [name for name in NAMES if name in curves[0]]
    print("\nlast force errors, meV/Å: MAE, RMSE and largest (mean ± deviation over seeds)")
    for name in names:
        cells = []
        for measure in MEASURES:
            last = [1e3 * curve[name][-1][measure] for curve in curves]
            cells.append(f"{np.mean(last):7.2f} ± {np.std(last):5.2f}")
        print(f"{name:>9s} " + "   ".join(cells))
    for measure in MEASURES:
        print(f"\nlabeled frames to reach a value of {measure}: {', '.join(names)} (seeds that reached it)")
        for error in errors:
            cells = []
            for name in names:
                counts = np.array([reached(curve[name], 1e-3 * error, measure) for curve in curves])
                found = counts[np.isfinite(counts)]
                cells.append(
                    f"{found.mean():5.1f} ± {found.std():4.1f} ({len(found)})" if len(found) else "not reached"
                )
            print(f"{error:6g} meV/Å   " + "   ".join(f"{cell:>18s}" for cell in cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=("ethanol", "copper"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--uncertainty", choices=("auto", "model", "committee"), default="auto")
    parser.add_argument("--set", type=json.loads, default={}, metavar="JSON", help="other settings of the campaign")
    parser.add_argument("--against", nargs="*", default=["final", "blind"], choices=("final", "blind"))
    parser.add_argument("--errors", type=float, nargs="+", default=[200, 100, 70, 50, 20, 10, 5], help="meV/Å")
    parser.add_argument("--trajectories", type=Path, help="folder that keeps the trajectories of the reference")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    case = {"ethanol": ethanol, "copper": copper}[arguments.system]()
    start, recipe, changes, reference = case
    case = start, recipe, changes | arguments.set, reference
    settings = Settings(**case[2])
    curves = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.trajectories or Path(temporary)
        draw = (start, load_reference(reference), settings)
        pool = trajectory(folder / f"{arguments.system}-pool.xyz", *draw, POOL, 100)
        test = trajectory(folder / f"{arguments.system}-test.xyz", *draw, TEST, 200)
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        curves.append(run_seed(case, arguments, seed, pool, test))
        for name in curves[-1]:
            points = ", ".join(f"{p['labeled']}: {1e3 * p['mae']:.1f}" for p in curves[-1][name])
            print(f"seed {seed}, {name}: {points}", flush=True)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(curves))
    report(curves, arguments.errors)


if __name__ == "__main__":
    main()
