"""What f3 would lose as a table of LAMMPS's ``pair_style threebody/table``, which looks up and does not interpolate.

    python benchmarks/lammps_threebody_table.py [--sizes 20,40,80] [--steps 4000]

Stillinger and Weber's potential of silicon (Phys. Rev. B 31, 5262 (1985)) on splines: its f3 as tables of several
sizes, its f2 as the table that the package exports. Forces on a disturbed crystal are compared with those of the
splines, and 1,000 atoms move at constant energy, once under the tables and once under ``pair_style kml``.
"""

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from lammps_helpers import OUTPUT, Result, lammps, plugin_line, write_data
from local_models import diamond
from stillinger_weber import spline_model

from openmm_kml.interfaces.tables import write_lammps_table
from openmm_kml.reference import evaluate_structure
from openmm_kml.reference_local import bspline_weights, smooth_step
from openmm_kml.weights import Weights, save

DYNAMICS = """
velocity all create 2000 7 loop geom
timestep 0.001
fix 1 all nve
thermo 20
thermo_style custom step etotal
thermo_modify norm yes format float %.12f
run {steps}
"""


def triple_slopes(term, sides):
    """Return f3 of one element in eV, and its derivatives by its three sides in eV/Å; `sides` has shape (3, n), Å."""
    near = (term.start, term.spacing, term.n_intervals)
    grids = (near, near, (term.start_far, term.spacing_far, term.n_intervals_far))
    c = np.pad(term.coefficients[0, 0], ((0, 3), (0, 3), (0, 0)))
    values, slopes, places = [], [], []
    for r, grid in zip(sides, grids, strict=True):
        b, w, dw = bspline_weights(np.minimum(r, grid[0] + grid[1] * grid[2]), *grid)
        taper, dtaper = smooth_step(r, term.taper_start, term.taper_width)
        values.append(taper[:, None] * w)
        slopes.append(dtaper[:, None] * w + taper[:, None] * dw)
        places.append(b[:, None] + np.arange(4))
    c = c[places[0][:, :, None, None], places[1][:, None, :, None], places[2][:, None, None, :]]
    factors = [[slopes[k] if k == side else values[k] for k in range(3)] for side in (None, 0, 1, 2)]
    return [np.einsum("tabc,ta,tb,tc->t", c, *three) for three in factors]


def write_triples(term, size, folder):
    """Write f3 as a table of size² (size + 1) rows."""
    r = np.linspace(term.taper_start, term.cutoff, size)
    angles = 180 * (np.arange(2 * size) + 0.5) / (2 * size)
    with (folder / "triples.table").open("w") as file:
        file.write(f"SiSiSi\nN {size} rmin {r[0]:.12g} rmax {r[-1]:.12g}\n\n")
        index = 0
        for k in range(size):
            first, second, angle = (grid.ravel() for grid in np.meshgrid(r[k], r[k:], angles, indexing="ij"))
            third = np.sqrt(first**2 + second**2 - 2 * first * second * np.cos(np.radians(angle)))
            energy, *slopes = triple_slopes(term, (first, second, third))
            by_first, by_second, by_third = (s / x for s, x in zip(slopes, (first, second, third), strict=True))
            columns = (first, second, angle, by_first, by_second, -by_first, by_third, -by_second, -by_third, energy)
            for row in np.stack(columns, axis=1):
                index += 1
                file.write(f"{index} " + " ".join(f"{x:.8g}" for x in row) + "\n")
    (folder / "triples.3b").write_text(f"Si Si Si {term.cutoff:.12g} triples.table SiSiSi linear {size}\n")


def drift_and_noise(said):
    """Return the change of the total energy in meV an atom and picosecond, and its deviation from that line in meV."""
    rows = re.findall(r"^ *(\d+) +(-\d+\.\d+) *$", said, re.MULTILINE)
    steps, energies = np.array(rows, dtype=float).T
    slope, origin = np.polyfit(steps / 1e3, 1e3 * energies, 1)
    return slope, float(np.std(1e3 * energies - origin - slope * steps / 1e3))


def report(name, said, extra=""):
    slope, noise = drift_and_noise(said)
    print(f"{name:>12} {slope:22.4f} {noise:20.4f}{extra}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="20,40,80", help="N of the tables")
    parser.add_argument("--steps", type=int, default=4000, help="of 1 fs at constant energy, from some 1,000 K")
    args = parser.parse_args()
    weights = spline_model()
    pairs, triples = (Weights(elements=(14,), terms=(term,)) for term in weights.terms)
    rng = np.random.default_rng(1)
    positions, cell = diamond(5.431, 5)
    rattled = positions + rng.normal(0, 0.1, positions.shape)
    expected = evaluate_structure(triples, rattled, np.full(len(rattled), 14), cell, True)[1]
    print(f"f3's forces: {np.sqrt((expected**2).mean()):.3f} eV/Å in the root mean square")
    print("           N  drift, meV/(atom ps)  fluctuation, meV     force error, %       MB  seconds to start")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(weights, folder / "model.safetensors")
        pair_lines = write_lammps_table(pairs, folder / "pairs.table")
        write_data(folder / "still", positions, [1] * len(positions), 1, cell, (True,) * 3, [28.0855])
        write_data(folder / "data", rattled, [1] * len(positions), 1, cell, (True,) * 3, [28.0855])
        kml = f"{plugin_line()}\nunits metal\nread_data still\npair_style kml\npair_coeff * * model.safetensors Si\n"
        report("kml", lammps(folder, kml + DYNAMICS.format(steps=args.steps)))
        for size in (int(text) for text in args.sizes.split(",")):
            write_triples(weights.terms[1], size, folder)
            alone = "pair_style threebody/table\npair_coeff * * triples.3b Si\n"
            clock = time.perf_counter()
            said = lammps(folder, "units metal\nread_data data\n" + alone + OUTPUT)
            seconds = time.perf_counter() - clock
            error = Result(folder, said).forces - expected
            relative = 100 * np.sqrt((error**2).mean() / (expected**2).mean())
            megabytes = (folder / "triples.table").stat().st_size / 1e6
            both = f"{pair_lines[0].replace('pair_style', 'pair_style hybrid/overlay')} threebody/table\n"
            both += pair_lines[1].replace("1 1", "1 1 table") + "\npair_coeff * * threebody/table triples.3b Si\n"
            said = lammps(folder, "units metal\nread_data still\n" + both + DYNAMICS.format(steps=args.steps))
            report(str(size), said, f"{relative:20.1f} {megabytes:8.0f} {seconds:17.1f}")


if __name__ == "__main__":
    main()
