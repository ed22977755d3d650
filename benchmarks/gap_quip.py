"""One GAP potential in QUIP and here, in one run: differences, CPU time of one evaluation, threads.

    python benchmarks/gap_quip.py --train Si_train.extxyz --folder fits [--atoms 512] [--repeats 7]
    python benchmarks/gap_quip.py --xml gap.xml --structures Si_test.extxyz

Needs quippy-ase and ASE. With `--train`, gap_fit first makes potentials of silicon from 50 frames (pairs, and SOAP with
n_max = 8, 500 sparse points and a cutoff of 5 Å) for ζ = 4 and 2 with l_max = 8 and for ζ = 4 with l_max = 4, unless
the folder holds them already. The structure is a crystal at some 300 K; between two evaluations its atoms move as in
a step of molecular dynamics, so that neither program can keep a result. Energy, forces and stress are asked for. Both
run on one thread; times are CPU times of the process, medians over the repetitions, each program in turn. With
`--structures`, only the largest differences over the structures of a file are shown.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from crystals import CRYSTALS
from gap_fit_peer import fit_gap
from local_evaluation import MOTION, displaced
from quippy.potential import Potential

from openmm_kml.convert import convert_gap
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import read_structures
from openmm_kml.weights import to_bytes

STEP = MOTION["Si"][1]  # Å
FIT = {
    **{"gap_cutoff": 5.0, "n_max": 8, "n_sparse": 500, "delta": 0.5},
    **{"gap_noises": "own", "noise_energy": 0.002, "noise_force": 0.1, "noise_virial": 0.05},
}
MODELS = {"zeta4_l8": (4, 8), "zeta2_l8": (2, 8), "zeta4_l4": (4, 4)}


def fit(data, folder, zeta, l_max, n_frames):
    """Return the XML of a potential that gap_fit makes, or that it has made before."""
    xml = folder / "gap.xml"
    if not xml.exists():
        folder.mkdir(parents=True, exist_ok=True)
        frames = list(read_structures(data))
        chosen = [frames[k] for k in np.linspace(0, len(frames) - 1, n_frames).astype(int)]
        fit_gap(chosen, argparse.Namespace(**FIT, folder=folder, zeta=zeta, l_max=l_max))
    return xml


def quip(xml):
    """Return a function of positions, numbers and cell: energy, forces and stress by QUIP."""
    before = Path.cwd()
    os.chdir(xml.parent)  # sparse files are found only there
    potential = Potential("IP GAP", param_filename=xml.name)
    os.chdir(before)

    def evaluate(positions, numbers, cell):
        potential.calculate(Atoms(numbers, positions, cell=cell, pbc=True), properties=["energy", "forces", "stress"])
        found = potential.results
        return found["energy"], found["forces"], found["stress"]

    return evaluate


def ours(xml, n_threads):
    """Return the same function by the engine here."""
    potential = KernelPotential(to_bytes(convert_gap(xml, [14])))

    def evaluate(positions, numbers, cell):
        energy, forces, virial = potential.evaluate(positions, numbers, cell, True, n_threads)[:3]
        return energy, forces, (-virial / np.linalg.det(cell)).ravel()[[0, 4, 8, 5, 2, 1]]

    return evaluate


def timed(function, *arguments):
    """Return the result, wall seconds and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return result, time.perf_counter() - wall, time.process_time() - cpu


def compare(name, xml, arguments):
    """Print one line of the table."""
    rng = np.random.default_rng(0)
    positions, cell = displaced(CRYSTALS["Si"], round((arguments.atoms / 8) ** (1 / 3)), rng)
    numbers, scale = np.full(len(positions), 14), 1e6 / len(positions)
    peer, engine, threads = quip(xml), ours(xml, 1), ours(xml, 2)
    engine(positions, numbers, cell)
    times = {"quip": [], "ours": [], "wall": [], "wall of two threads": []}
    differences = []
    for _ in range(arguments.repeats):
        positions = positions + rng.normal(0, STEP, positions.shape)
        (e0, f0, s0), _, cpu = timed(peer, positions, numbers, cell)
        times["quip"].append(cpu)
        for _ in range(arguments.inner):
            moved = positions + rng.normal(0, STEP, positions.shape)
            times["ours"].append(timed(engine, moved, numbers, cell)[2])
        e1, f1, s1 = engine(positions, numbers, cell)
        differences.append([abs(e1 - e0) / len(numbers), np.abs(f1 - f0).max(), np.abs(s1 - s0).max()])
    # Last: a second thread, once started, spins for a while after each evaluation, and that counts as CPU time.
    for _ in range(arguments.repeats * arguments.inner):
        moved = positions + rng.normal(0, STEP, positions.shape)
        times["wall"].append(timed(engine, moved, numbers, cell)[1])
        times["wall of two threads"].append(timed(threads, moved, numbers, cell)[1])
    median = {key: scale * statistics.median(values) for key, values in times.items()}
    energy, force, stress = np.max(differences, axis=0)
    print(
        f"{name:12s} {len(numbers):6d} {median['quip']:9.1f} {median['ours']:8.2f} "
        f"{median['quip'] / median['ours']:7.1f} {median['wall'] / median['wall of two threads']:7.2f}   "
        f"{energy:9.1e} {force:9.1e} {stress:9.1e}",
        flush=True,
    )


def differences(name, xml, path):
    """Print the largest differences over the structures of a file."""
    peer, engine, found = quip(xml), ours(xml, 1), []
    for frame in read(path, ":"):
        first, second = (f(frame.positions, frame.numbers, frame.cell.array) for f in (peer, engine))
        one, *arrays = (np.abs(np.subtract(a, b)).max() for a, b in zip(first, second, strict=True))
        found.append([one / len(frame), *arrays])
    energy, force, stress = np.max(found, axis=0)
    print(f"{name:12s} {len(found)} structures: {energy:.1e} eV/atom, {force:.1e} eV/Å, {stress:.1e} eV/Å³", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--xml", type=Path, nargs="+", default=[], help="GAP potentials of silicon")
    parser.add_argument("--train", type=Path, help="structures of silicon with energies, forces and stresses")
    parser.add_argument("--frames", type=int, default=50, help="of them, evenly spread")
    parser.add_argument("--folder", type=Path, default=Path("gap_quip"), help="for what gap_fit makes")
    parser.add_argument("--structures", type=Path, help="show only differences over these")
    parser.add_argument("--atoms", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7, help="evaluations by QUIP")
    parser.add_argument("--inner", type=int, default=5, help="evaluations here for each of them")
    arguments = parser.parse_args()
    files = {path.parent.name: path.resolve() for path in arguments.xml}
    if arguments.train:
        for name, (zeta, l_max) in MODELS.items():
            place = (arguments.folder / name).resolve()
            files[name] = fit(arguments.train, place, zeta, l_max, arguments.frames)
    if arguments.structures:
        for name, path in files.items():
            differences(name, path, arguments.structures)
        return
    print("µs an atom, ratio, gain of a second thread; largest differences in eV/atom, eV/Å and eV/Å³")
    print("model         atoms      QUIP     ours   ratio  2 thr.     energy     force    stress")
    for name, path in files.items():
        compare(name, path, arguments)


if __name__ == "__main__":
    main()
