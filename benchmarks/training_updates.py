"""Time in training over the rounds of a campaign: updates of the last factorization against trainings from nothing.

    python benchmarks/training_updates.py copper --kind nbody
    python benchmarks/training_updates.py copper --kind soap
    python benchmarks/training_updates.py ethanol            # gdml; needs tblite

Each round brings a few frames more. Hyperparameters are chosen once, on the first frames, and stay, in both. There is
no dynamics: the frames are those of a trajectory of the reference.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from openmm_kml.active_learning import Recipe, Settings, load_reference
from openmm_kml.active_learning.training import errors_of
from openmm_kml.potential import KernelPotential
from openmm_kml.training.soap import SoapOptions
from openmm_kml.weights import to_bytes

sys.path.insert(0, str(Path(__file__).parent))
from active_learning import copper, ethanol, trajectory


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=("ethanol", "copper"))
    parser.add_argument("--kind", choices=("nbody", "soap"), default="nbody", help="of a model of copper")
    parser.add_argument("--first", type=int, default=20, help="training frames of the first round")
    parser.add_argument("--each", type=int, default=4, help="new frames of a round")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--no-uncertainty", action="store_true")
    parser.add_argument("--trajectories", type=Path, help="folder that keeps the trajectory of the reference")
    arguments = parser.parse_args()
    start, recipe, changes, reference = {"ethanol": ethanol, "copper": copper}[arguments.system]()
    if arguments.system == "copper" and arguments.kind == "soap":
        recipe = Recipe("soap", SoapOptions(cutoff=5.0, n_sparse=300, progress=False))
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.trajectories or Path(temporary)
        path = folder / f"{arguments.system}-pool.xyz"
        pool = trajectory(path, start, load_reference(reference), Settings(**changes), 200, 100)
    order = np.random.default_rng(0).permutation(len(pool))
    held = [pool[k] for k in order[:20]]
    frames = [pool[k] for k in order[20:]]
    members = not arguments.no_uncertainty
    made = recipe.fit(frames[: arguments.first], held, None, members)
    kept, sparse = made.hyperparameters, made.factored
    if recipe.kind == "soap":  # both with the same sparse points: a new choice is no part of this comparison
        recipe = Recipe("soap", replace(recipe.options, n_sparse=sum(t.n_sparse for t in sparse.sparse_terms)))
    total = {"updated": 0.0, "refitted": 0.0}
    print("frames   updated, s   refitted, s   force MAE, meV/Å")
    for k in range(1, arguments.rounds + 1):
        train = frames[: arguments.first + k * arguments.each]
        seconds, errors = {}, {}
        started = time.process_time()
        made = recipe.fit(train, held, kept, members, made.factored)
        seconds["updated"] = time.process_time() - started
        started = time.process_time()
        other = recipe.fit(train, held, kept, members)
        seconds["refitted"] = time.process_time() - started
        for how, one in (("updated", made), ("refitted", other)):
            total[how] += seconds[how]
            errors[how] = errors_of(KernelPotential(to_bytes(one.weights)), held)["forces_mae"]
        print(
            f"{len(train):6d} {seconds['updated']:12.2f} {seconds['refitted']:13.2f}   "
            f"{1e3 * errors['updated']:.2f} {1e3 * errors['refitted']:.2f}",
            flush=True,
        )
    print(f"in all {total['updated']:12.1f} {total['refitted']:13.1f}")


if __name__ == "__main__":
    main()
