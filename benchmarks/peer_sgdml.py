"""Train the sgdml package on given frames; run by the benchmarks with a Python that has it.

    python peer_sgdml.py INPUT.npz OUTPUT.json --length-scales 10 20 --processes 2

INPUT holds z and R, E, F of train, valid and test (``train_R`` …), in eV and Å. For each length scale one model is
trained on all training frames, as its command line does, with its own symmetries and its analytic solver.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np


def dataset(arrays, part):
    """Return the frames of one part as a data set of sgdml."""
    return {
        "type": "d",
        "name": np.array(part),
        "theory": np.array("unknown"),
        "z": arrays["z"],
        "R": arrays[f"{part}_R"],
        "E": arrays[f"{part}_E"],
        "F": arrays[f"{part}_F"],
    }


def errors(predictor, data):
    """Return mean absolute and root mean square errors of energies (eV) and force components (eV/Å)."""
    energies, forces = predictor.predict(data["R"].reshape(len(data["R"]), -1))
    energy, force = energies - data["E"], forces.reshape(data["F"].shape) - data["F"]
    return {
        "energy_mae": float(np.mean(np.abs(energy))),
        "energy_rmse": float(np.sqrt(np.mean(energy**2))),
        "forces_mae": float(np.mean(np.abs(force))),
        "forces_rmse": float(np.sqrt(np.mean(force**2))),
    }


def main():
    """Train, and write what came out."""
    from sgdml.predict import GDMLPredict
    from sgdml.train import GDMLTrain

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--length-scales", type=int, nargs="+", default=list(range(10, 100, 10)))
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    arrays = dict(np.load(arguments.input))
    train, valid, test = (dataset(arrays, part) for part in ("train", "valid", "test"))
    trainer = GDMLTrain(max_processes=arguments.processes)
    start = time.perf_counter()
    task = trainer.create_task(train, len(train["R"]), valid, len(valid["R"]), arguments.length_scales[0], lam=1e-10)
    results = {"task_seconds": time.perf_counter() - start, "n_permutations": len(task["perms"]), "models": []}
    rising, best = 0, None
    for length_scale in arguments.length_scales:
        task["sig"] = length_scale
        start = time.perf_counter()
        model = trainer.train(task)
        seconds = time.perf_counter() - start
        predictor = GDMLPredict(model, max_processes=1)
        entry = {
            "length_scale": length_scale,
            "seconds": seconds,
            "validation_errors": errors(predictor, valid),
            "test_errors": errors(predictor, test),
        }
        results["models"].append(entry)
        error = entry["validation_errors"]["forces_rmse"]
        rising = rising + 1 if best is not None and error > best else 0
        best = error if best is None else min(best, error)
        if rising == 2:  # past the minimum
            break
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    results["peak_memory"] = 1024 * max(own, children)
    Path(arguments.output).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
