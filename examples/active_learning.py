"""Learn copper on the fly: a crystal with a hole, two temperatures, and ASE's effective medium theory as the reference.

The reference is cheap, so that the example takes a minute; any other ASE calculator fits in its place. Molecular
dynamics with the model stops where the model is unsure, the reference labels the frame, and the model is trained anew.
At the end, as many frames drawn at random from dynamics teach another model, for comparison.

K. W. Jacobsen, P. Stoltze and J. K. Nørskov, Surf. Sci. 366, 394 (1996).
"""

import argparse
from pathlib import Path

from ase.build import bulk
from ase.calculators.emt import EMT

from openmm_kml.active_learning import Recipe, Settings, learn
from openmm_kml.structures import Structure
from openmm_kml.training.nbody import NBodyOptions


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("copper_campaign"))
    parser.add_argument("--budget", type=int, default=24, help="reference calls")
    parser.add_argument("--steps", type=int, default=500, help="of each run of dynamics")
    parser.add_argument("--test-frames", type=int, default=30, help="for the comparison with random sampling")
    parser.add_argument("--resume", action="store_true", help="go on with a campaign that was killed")
    arguments = parser.parse_args()

    crystal = bulk("Cu", "fcc", 3.61, cubic=True) * (2, 2, 2)
    del crystal[0]
    start = [Structure(crystal.numbers, crystal.positions, crystal.cell.array, True)]
    recipe = Recipe("nbody", NBodyOptions(cutoff2=5.0, cutoff3=3.6, spacing3=0.4, progress=False))
    settings = Settings(
        temperatures=(300, 900),
        walkers=2,
        steps=arguments.steps,
        interval=25,
        timestep=3.0,
        budget=arguments.budget,
        initial=5,
        rattle=0.05,
    )
    summary = learn(
        arguments.output,
        recipe,
        settings,
        EMT(),
        None if arguments.resume else start,
        compare=arguments.test_frames,
    )
    error = 1e3 * summary.errors["forces_mae"]
    print(f"\n{summary.rounds} rounds; on frames kept apart, forces are off by {error:.1f} meV/Å")
    for name, words in (("active", "on the fly"), ("random", "at random")):
        points = summary.comparison[name]
        print(
            f"{words:>11s}: "
            + ", ".join(f"{p['labeled']} frames {1e3 * p['forces_mae']:.1f}" for p in points)
            + " meV/Å"
        )
    print(f"wrote {summary.model}; pictures and the log are in {arguments.output}")


if __name__ == "__main__":
    main()
