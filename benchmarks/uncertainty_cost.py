"""Cost of standard deviations beside energy and forces, for any model with uncertainty and a structure.

    python benchmarks/uncertainty_cost.py ethanol.safetensors ethanol.xyz [--frame 0] [--seconds 2]

The three kinds of evaluation take turns on one thread; reported is the least CPU time of each.
"""

import argparse
import time
from pathlib import Path

from ase.io import read

from openmm_kml._engine import Engine


def kinds_of_evaluation(engine, atoms):
    """Return name -> function without arguments."""
    periodic = atoms.pbc.any()
    structure = (atoms.positions, atoms.numbers, atoms.cell[:] if periodic else None, atoms.pbc)

    def plain():
        if engine.elements is None:
            return engine.evaluate(atoms.positions)
        return engine.evaluate_structure(*structure)

    return {
        "energy, forces": plain,
        "and standard deviations": lambda: engine.evaluate_uncertainty(*structure, energy=True),
        "and the gradient": lambda: engine.evaluate_uncertainty(*structure, energy=True, gradient=True),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("structure", help="any file that ASE reads")
    parser.add_argument("--frame", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    engine = Engine(Path(args.model).read_bytes())
    kinds = kinds_of_evaluation(engine, read(args.structure, args.frame))
    least = dict.fromkeys(kinds, float("inf"))
    end = time.perf_counter() + args.seconds
    while time.perf_counter() < end:
        for name, evaluate in kinds.items():
            start = time.process_time()
            evaluate()
            least[name] = min(least[name], time.process_time() - start)
    plain = least["energy, forces"]
    for name, seconds in least.items():
        print(f"{1e6 * seconds:10.1f} µs  {seconds / plain:6.2f}  {name}")


if __name__ == "__main__":
    main()
