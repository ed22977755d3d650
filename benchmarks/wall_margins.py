"""How many frames that training has not seen are beyond the bounds of a molecule's walls, by the number of frames seen.

    python benchmarks/wall_margins.py examples/data/ethanol_pbe.npz [--draws 5]

Seen are random frames, or copies of the calmest one with atoms shifted by 0.02 Å, as learning on the fly begins. Bounds
as they are, and with the margin of many frames for any number of them, without the least room around the mean.
"""

import argparse

import numpy as np

from openmm_kml.descriptors.inverse_distances import pair_indices
from openmm_kml.structures import read_molecules
from openmm_kml.training import walls
from openmm_kml.training.symmetries import find_symmetries

SHIFT = 0.02  # Å


def seen_and_unseen(positions, energies, count, seed):
    """Return frames to set bounds by, and the others; copies of the calmest frame where the count is negative."""
    rng = np.random.default_rng(seed)
    if count < 0:
        calmest = positions[np.argmin(energies)]
        return calmest + SHIFT * rng.standard_normal((-count, *calmest.shape)), positions
    return np.split(positions[rng.permutation(len(positions))], [count])


def beyond(bounds, positions):
    """Return the share of frames with a distance below its lower or above its upper bound (0: none)."""
    i, j = pair_indices(positions.shape[1])
    distances = np.linalg.norm(positions[:, i] - positions[:, j], axis=-1)
    lower, upper = bounds[:, 0], np.where(bounds[:, 1] > 0, bounds[:, 1], np.inf)
    return np.mean(((distances < lower) | (distances > upper)).any(axis=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--draws", type=int, default=5)
    args = parser.parse_args()
    molecules = read_molecules(args.data)
    permutations, _ = find_symmetries(molecules.positions, molecules.numbers)
    print("| frames seen | margin of many | as it is |\n|---|---|---|")
    for count in (-6, 6, 10, 20, 40, 60, 100):
        shares = {(0.0, 0.0): [], (walls.WIDTH, walls.ROOM): []}
        for seed in range(args.draws):
            seen, unseen = seen_and_unseen(molecules.positions, molecules.energies, count, seed)
            for (walls.WIDTH, walls.ROOM), found in shares.items():
                bounds = walls.molecule_walls(molecules.numbers, seen, permutations).bounds
                found.append(100 * beyond(bounds, unseen))
        name = count if count > 0 else f"{-count}, shifted copies"
        print(f"| {name} | {' | '.join(f'{np.mean(found):.1f} %' for found in shares.values())} |")


if __name__ == "__main__":
    main()
