"""Labeled frames to reach a force error: learning on the fly against random sampling of dynamics, for several seeds.

    python benchmarks/active_learning.py ethanol --seeds 5     # needs tblite: pip install tblite
    python benchmarks/active_learning.py copper --seeds 5      # ASE's effective medium theory

Ethanol: GFN2-xTB, a gdml model with given hyperparameters and symmetries, 300 and 500 K, from one geometry. Copper: 31
atoms and a hole, ASE's effective medium theory, two- and three-body functions, 300 and 900 K, from one crystal. Random
frames and test frames are drawn from dynamics with the last model, which random sampling gets for nothing; a blind
campaign labels random frames of the dynamics of its own models.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.build import bulk, molecule

from openmm_kml.active_learning import Recipe, Settings, learn, load_reference
from openmm_kml.active_learning.rounds import errors_of
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import Structure, read_structures
from openmm_kml.training import GDMLOptions
from openmm_kml.training.nbody import NBodyOptions

NAMES = ("active", "random", "blind")


def ethanol():
    """Return start frame, recipe, settings and the name of the reference."""
    atoms = molecule("CH3CH2OH")
    fixed = {"power": 0.5, "kernel": "matern92", "length_scale": 2.5, "regularization": 1e-6, "energies": True}
    # Turns of the methyl group, and the mirror plane: found late or early, they would make the curves jump.
    group = [[0, 1, 2, 3, 4, 5, 7, 8, 6], [0, 1, 2, 3, 5, 4, 6, 8, 7]]
    recipe = Recipe("gdml", GDMLOptions(**fixed, symmetries=group, n_threads=1, progress=False))
    settings = {"temperatures": (300, 500), "walkers": 2, "steps": 500, "interval": 20, "budget": 50, "initial": 6}
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


def test_frames(directory, count):
    """Return the labeled test frames of a campaign's comparison."""
    paths = sorted((directory / "random").glob("*/labeled/*.xyz"))
    return [read_structures(path).frames[0] for path in paths[:count]]


def errors_of_rounds(directory, test):
    """Return the errors of the models of all rounds of a campaign on test frames."""
    rounds = json.loads((directory / "state.json").read_text())["rounds"]
    counts = [known["n_train"] + known["n_validation"] for known in rounds]
    counts.append(len(read_structures(directory / "labeled.xyz")))
    points = []
    for path, count in zip(sorted(directory.glob("round-*/model.safetensors")), counts, strict=True):
        points.append({"labeled": count} | errors_of(KernelPotential.load(path), test))
    return points


def reached(points, error, measure="forces_mae"):
    """Return the number of labeled frames at which a curve falls to an error and stays below, by interpolation."""
    x = [point["labeled"] for point in points]
    y = np.log([point[measure] for point in points])
    above = np.flatnonzero(y > np.log(error))
    if len(above) == 0:
        return x[0]
    k = above[-1]
    if k == len(x) - 1:
        return np.inf
    return x[k] + (x[k + 1] - x[k]) * (y[k] - np.log(error)) / (y[k] - y[k + 1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=("ethanol", "copper"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--uncertainty", choices=("auto", "model", "committee"), default="auto")
    parser.add_argument("--test-frames", type=int, default=40)
    parser.add_argument("--errors", type=float, nargs="+", default=[200, 100, 70, 50, 20, 10, 5], help="meV/Å")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    start, recipe, changes, reference = {"ethanol": ethanol, "copper": copper}[arguments.system]()
    curves = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        settings = Settings(**changes, seed=seed, uncertainty=arguments.uncertainty)
        with tempfile.TemporaryDirectory() as folder:
            summary = learn(
                Path(folder) / "campaign",
                recipe,
                settings,
                load_reference(reference),
                [start],
                compare=arguments.test_frames,
                say=lambda _: None,
                progress=False,
            )
            blind = replace(settings, uncertainty="none")
            calculator = load_reference(reference)
            learn(Path(folder) / "blind", recipe, blind, calculator, [start], say=lambda _: None, progress=False)
            test = test_frames(Path(folder) / "campaign", summary.comparison["test_frames"])
            curves.append(summary.comparison | {"blind": errors_of_rounds(Path(folder) / "blind", test)})
        for name in NAMES:
            points = ", ".join(f"{p['labeled']}: {1e3 * p['forces_mae']:.1f}" for p in curves[-1][name])
            print(f"seed {seed}, {name}: {points}", flush=True)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(curves))
    report(curves, arguments.errors)


def report(curves, errors):
    """Print mean and standard deviation over the seeds."""
    print("\nlast force errors, meV/Å: MAE and RMSE (mean ± deviation over seeds)")
    for name in NAMES:
        cells = []
        for measure in ("forces_mae", "forces_rmse"):
            last = [1e3 * curve[name][-1][measure] for curve in curves]
            cells.append(f"{np.mean(last):7.2f} ± {np.std(last):5.2f}")
        print(f"{name:>7s} {cells[0]}   {cells[1]}")
    for measure in ("forces_mae", "forces_rmse"):
        print(f"\nlabeled frames to reach a value of {measure}: on the fly, random, blind (seeds that reached it)")
        for error in errors:
            cells = []
            for name in NAMES:
                counts = np.array([reached(curve[name], 1e-3 * error, measure) for curve in curves])
                found = counts[np.isfinite(counts)]
                cells.append(
                    f"{found.mean():5.1f} ± {found.std():4.1f} ({len(found)})" if len(found) else "not reached"
                )
            print(f"{error:6g} meV/Å   " + "   ".join(f"{cell:>18s}" for cell in cells))


if __name__ == "__main__":
    main()
