"""Predicted standard deviations against errors: in the distribution of the training data, outside, and at the far end.

    python benchmarks/uncertainty.py ethanol examples/data/ethanol_pbe.npz
    python benchmarks/uncertainty.py silicon Si_train.extxyz [--kind soap]
    python benchmarks/uncertainty.py water water64.npz [--kind soap]
    python benchmarks/uncertainty.py far

`ethanol` is any file of one molecule, `silicon` the training file of the mlearn data set (Zuo et al., J. Phys. Chem. A
124, 731 (2020)) with its groups of frames, `water` an archive of one composition with R, E, F, z and cell. Of each,
random frames are trained on and others tested (in distribution); then the training leaves out what the test is about:
the hottest frames (largest rms force), frames with a long bond, or frames with defects. `far` trains two bodies on
argon-like clusters of Lennard-Jones atoms and pushes two atoms together, where the true energy is known.
"""

import argparse
import json
import time

import numpy as np

from openmm_kml.cli.uncertainty_report import collect, measures
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import MoleculeSet, Structure, StructureSet, read_molecules, read_structures
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.training.soap import SoapOptions, fit_soap
from openmm_kml.weights import to_bytes

SIGMA, EPSILON = 3.4, 0.0104  # Å, eV


def report(name, weights, frames, seconds):
    """Print one line: coverage, error, deviation, likelihood and rank correlation of energies and forces."""
    potential = KernelPotential.from_bytes(to_bytes(weights))
    predictions = [potential.evaluate(r, z, cell, pbc)[:2] for r, z, cell, pbc, _, _ in frames]
    found = measures(collect(potential, frames, predictions, progress=False))
    for quantity, part in found.items():
        unit = "meV/atom" if quantity == "energy_per_atom" else "meV/Å"
        rank = "-" if part["rank_correlation"] is None else f"{part['rank_correlation']:.2f}"
        print(
            f"| {name} | {quantity.removesuffix('_per_atom')} | {len(frames)} | {100 * part['coverage_68']:.0f} | "
            f"{100 * part['coverage_95']:.0f} | {1e3 * part['rmse']:.3g} | {1e3 * part['sharpness']:.3g} {unit} | "
            f"{part['nll']:.2f} | {rank} |",
            flush=True,
        )
    print(json.dumps({"set": name, "seconds": round(seconds, 1), **found}), flush=True)


def as_frames(data):
    """Return the frames of a set as `collect` takes them."""
    if isinstance(data, MoleculeSet):
        return [(r, None, None, None, e, f) for r, e, f in zip(data.positions, data.energies, data.forces, strict=True)]
    return [(f.positions, f.numbers, f.cell, f.pbc, f.energy, f.forces) for f in data]


def ethanol(args):
    """A molecule: random frames, the hottest, and those with the longest bond between heavy atom and hydrogen."""
    molecules = read_molecules(args.data)
    n = args.n_train or 100
    heat = np.sqrt(np.mean(molecules.forces**2, axis=(1, 2)))
    for name, order in (
        ("in distribution", np.random.default_rng(args.seed).permutation(len(molecules))),
        ("hottest", np.argsort(heat)),
        ("longest X-H bond", np.argsort(longest_bond(molecules))),
    ):
        started = time.perf_counter()
        train, test = split_tail(order, n, args.n_test, args.seed)
        rest = molecules[train]
        fit = fit_gdml(rest[:n], rest[n : 2 * n], GDMLOptions(progress=False, uncertainty_rank=args.rank))
        print(json.dumps(fit.report["uncertainty"]))
        report(f"ethanol, {name}", fit.weights, as_frames(molecules[test]), time.perf_counter() - started)


def longest_bond(molecules):
    """Return the longest of the distances of each hydrogen to its nearest heavy atom, by frame, Å."""
    light = molecules.numbers == 1
    distance = np.linalg.norm(molecules.positions[:, light, None] - molecules.positions[:, None, ~light], axis=-1)
    return distance.min(axis=2).max(axis=1)


def split_tail(order, n_train, n_test, seed):
    """Return places to train and validate on, drawn from the head of an order, and the tail to test on."""
    head, tail = order[:-n_test], order[-n_test:]
    drawn = np.random.default_rng(seed).permutation(head)[: 2 * n_train]
    return drawn, tail


def local_fit(args, train):
    """Return the weights of a local model."""
    if args.kind == "soap":
        options = SoapOptions(n_sparse=args.sparse, n_max=6, l_max=6, members=args.members, progress=False)
        fit = fit_soap(train, options=options)
    else:
        options = NBodyOptions(cutoff2=args.cutoff2, cutoff3=args.cutoff3, members=args.members, progress=False)
        fit = fit_nbody(train, options=options)
    print(json.dumps(fit.report["uncertainty"] | {"seconds": fit.report["seconds"]}))
    return fit.weights


def silicon(args):
    """A crystal with defects: random frames, the hottest, and vacancies and surfaces when only the bulk is known."""
    structures = read_structures(args.data)
    compare(args, "silicon", structures, {"Vacancy", "Surface"})


def water(args):
    """A liquid: random frames, and the hottest."""
    with np.load(args.data) as data:
        frames = [
            Structure(data["z"], r, np.reshape(c, (3, 3)), (True,) * 3, float(e), f)
            for r, c, e, f in zip(data["R"], cells(data), data["E"], data["F"], strict=True)
        ]
    compare(args, "water", StructureSet(frames, "water"), set())


def cells(data):
    """Return one cell for each frame of an archive."""
    cell = np.asarray(data["cell"], dtype=float)
    return cell if cell.ndim == 3 else np.broadcast_to(cell.reshape(3, 3), (len(data["R"]), 3, 3))


def compare(args, name, structures, defects):
    """Report a local model in the distribution of its data and outside."""
    n, rng = args.n_train or 100, np.random.default_rng(args.seed)
    heat = np.array([np.sqrt(np.mean(frame.forces**2)) for frame in structures])
    perfect = np.array([frame.group not in defects for frame in structures])
    cases = {
        "in distribution": (rng.permutation(len(structures)), None),
        "hottest": (np.argsort(heat), None),
        "defects": (np.argsort(~perfect, kind="stable"), int(perfect.sum())),
    }
    for case, (order, n_head) in cases.items():
        if (args.only and case != args.only) or n_head == len(structures):
            continue
        started = time.perf_counter()
        head = order[: len(order) - args.n_test] if n_head is None else order[:n_head]
        tail = order[len(head) :][: args.n_test]
        weights = local_fit(args, structures[rng.permutation(head)[:n]])
        title = f"{name} {args.kind}, {case}"
        report(title, weights, as_frames(structures[tail]), time.perf_counter() - started)


def lennard_jones(positions):
    """Return energy and forces of a cluster."""
    vectors = positions[:, None] - positions
    r = np.linalg.norm(vectors, axis=-1)
    np.fill_diagonal(r, np.inf)
    s6 = (SIGMA / r) ** 6
    forces = np.sum((24 * EPSILON * (2 * s6**2 - s6) / r**2)[:, :, None] * vectors, axis=1)
    return 2 * EPSILON * np.sum(s6**2 - s6), forces


def far(args):
    """Two atoms pushed together beyond what clusters at rest have shown, with and without the prior repulsion."""
    rng = np.random.default_rng(args.seed)
    frames = []
    while len(frames) < 40:
        positions = rng.uniform(0, 8.5, (rng.integers(2, 9), 3))
        r = np.linalg.norm(positions[:, None] - positions, axis=-1)[np.triu_indices(len(positions), 1)]
        if r.min() > 0.97 * SIGMA:
            frames.append(Structure((18,) * len(positions), positions, None, (False,) * 3, *lennard_jones(positions)))
    for repulsion in (False, True):
        options = NBodyOptions(
            cutoff2=10.5, cutoff3=0.0, spacing2=0.4, repulsion=repulsion, members=args.members, progress=False
        )
        fit = fit_nbody(StructureSet(frames, "argon"), options=options)
        potential = KernelPotential.from_bytes(to_bytes(fit.weights))
        print(f"\nrepulsion {'on' if repulsion else 'off'}; shortest distance seen {fit.report['shortest_distances']}")
        print("| r, Å | true energy, eV | error, eV | deviation, eV | error by deviation |\n|---|---|---|---|---|")
        for r in (4.5, 3.8, 3.4, 3.2, 3.1, 3.0, 2.8, 2.6, 2.4, 2.0):
            pair = np.array([[0, 0, 0], [r, 0, 0.0]])
            truth, (energy, *_) = lennard_jones(pair)[0], potential.evaluate(pair, [18, 18])
            std = potential.evaluate_uncertainty(pair, [18, 18]).energy_std
            print(f"| {r} | {truth:.4g} | {energy - truth:.2g} | {std:.2g} | {abs(energy - truth) / std:.1f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=("ethanol", "silicon", "water", "far"))
    parser.add_argument("data", nargs="?")
    parser.add_argument("--kind", choices=("nbody", "soap"), default="nbody")
    parser.add_argument("--n-train", type=int)
    parser.add_argument("--n-test", type=int, default=60)
    parser.add_argument("--sparse", type=int, default=200)
    parser.add_argument("--cutoff2", type=float, default=6.0)
    parser.add_argument("--cutoff3", type=float, default=3.5)
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--rank", type=lambda text: text if text == "all" else int(text))
    parser.add_argument("--only")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    {"ethanol": ethanol, "silicon": silicon, "water": water, "far": far}[args.case](args)


if __name__ == "__main__":
    main()
