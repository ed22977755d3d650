"""How many frames that training has not seen are beyond the bounds of a molecule's walls, by the number of frames seen.

    python benchmarks/wall_margins.py examples/data/ethanol_pbe.npz [--draws 5]

With the margin of docs/theory.md, and with the same least margin for any number of frames.
"""

import argparse

import numpy as np

from openmm_kml.descriptors.inverse_distances import pair_indices
from openmm_kml.structures import read_molecules
from openmm_kml.training import walls
from openmm_kml.training.symmetries import find_symmetries


def beyond(bounds, distances):
    """Return the share of frames with a distance below its lower or above its upper bound (0: none)."""
    lower, upper = bounds[:, 0], np.where(bounds[:, 1] > 0, bounds[:, 1], np.inf)
    return np.mean(((distances < lower) | (distances > upper)).any(axis=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--draws", type=int, default=5)
    args = parser.parse_args()
    molecules = read_molecules(args.data)
    i, j = pair_indices(len(molecules.numbers))
    distances = np.linalg.norm(molecules.positions[:, i] - molecules.positions[:, j], axis=-1)
    permutations = find_symmetries(molecules.positions, molecules.numbers)[0]
    print("| frames | least margin | margin by their number |\n|---|---|---|")
    for n in (6, 10, 20, 40, 60, 100):
        shares = {0.0: [], walls.WIDTH: []}
        for seed in range(args.draws):
            seen, unseen = np.split(np.random.default_rng(seed).permutation(len(molecules)), [n])
            for walls.WIDTH, found in shares.items():
                bounds = walls.molecule_walls(molecules.numbers, molecules.positions[seen], permutations).bounds
                found.append(100 * beyond(bounds, distances[unseen]))
        print(f"| {n} | {' | '.join(f'{np.mean(found):.1f} %' for found in shares.values())} |")


if __name__ == "__main__":
    main()
