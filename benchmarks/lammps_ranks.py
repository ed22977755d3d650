"""How far the results of several MPI ranks and threads in LAMMPS are from those of one: 4,096 atoms of hot silicon.

python benchmarks/lammps_ranks.py silicon.safetensors [--atoms 4096] [--ranks 1 2 4] [--threads 1 2]
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from crystals import CRYSTALS
from lammps_helpers import OUTPUT, Result, lammps, write_data

from openmm_kml.interfaces.lammps import build_plugin, input_lines

DECK = """{plugin}
units metal
read_data data
pair_style kml
pair_coeff * * {model} Si
"""
DISPLACEMENT = 0.12  # Å, the standard deviation along an axis


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model of silicon")
    parser.add_argument("--atoms", type=int, default=4096)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    silicon = CRYSTALS["Si"]
    positions, cell = silicon.structure(silicon.cells(options.atoms))
    positions = positions + np.random.default_rng(1).normal(0, DISPLACEMENT, positions.shape)
    deck = DECK.format(plugin=input_lines(build_plugin())[0], model=options.model.resolve())
    first = None
    with tempfile.TemporaryDirectory() as name:
        # From a file: to atoms that it creates itself, LAMMPS gives ids by their processors.
        types = np.ones(len(positions), dtype=int)
        write_data(Path(name) / "data", positions, types, 1, cell, (True,) * 3, [silicon.mass])
        for ranks in options.ranks:
            for threads in options.threads:
                said = lammps(Path(name), deck + OUTPUT, ranks, threads, timeout=3600)
                result = Result(Path(name), said)
                first = first or result
                print(
                    f"{ranks} rank(s) of {threads} thread(s): energy {result.energy:.6f} eV "
                    f"({result.energy - first.energy:+.1e}), largest force {np.abs(result.forces).max():.1f} eV/Å, "
                    f"differences of forces up to {np.abs(result.forces - first.forces).max():.1e} eV/Å, of the virial "
                    f"{np.abs(result.virial - first.virial).max():.1e} of {np.abs(first.virial).max():.0f} eV"
                )


if __name__ == "__main__":
    main()
