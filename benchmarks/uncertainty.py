"""Predicted intervals against errors: in the distribution of the training data, outside, and at the far end.

    python benchmarks/uncertainty.py ethanol ethanol.xyz --splits 5
    python benchmarks/uncertainty.py silicon Si_train.extxyz --splits 5 [--kind soap --n-train 80]
    python benchmarks/uncertainty.py water water64.npz --splits 3 --choose-once --n-train 60 --cutoff2 5 --cutoff3 2.5
    python benchmarks/uncertainty.py far

`ethanol` is any file of one molecule, `silicon` the training file of the mlearn data set (Zuo et al., J. Phys. Chem. A
124, 731 (2020)) with its groups of frames, `water` an archive of one composition with R, E, F, z and cell. Of each,
random frames are trained on and all others tested (in distribution); then the training leaves out what the test is
about: the hottest frames (largest rms force), frames with a long bond, or frames with defects. Each split draws the
training frames anew; shares of errors in intervals are pooled, with their spread over splits (standard deviation) and,
in parentheses, the spread that so many independent errors in a split would have. `far` trains two bodies on argon-like
clusters of Lennard-Jones atoms and pushes two atoms together, where the true energy is known.
"""

import argparse
import json

import numpy as np

from openmm_kml.cli.uncertainty_report import collect, measures
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import MoleculeSet, Structure, StructureSet, read_molecules, read_structures
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.training.soap import SoapOptions, fit_soap
from openmm_kml.weights import to_bytes

SIGMA, EPSILON = 3.4, 0.0104  # Å, eV


HEADER = (
    "| data, model | frames | quantity | in 68 % | in 95 % | RMSE | deviation | ν | NLL | rank correlation |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


class Pool:
    """Collects the measures of several splits of one case, and prints them together.

    Parameters
    ----------
    name : str
    """

    def __init__(self, name):
        self.name, self.splits, self.n_frames = name, [], 0

    def add(self, weights, frames):
        """Hold a model against frames."""
        potential = KernelPotential.from_bytes(to_bytes(weights))
        predictions = [potential.evaluate(r, z, cell, pbc)[:2] for r, z, cell, pbc, _, _ in frames]
        found = collect(potential, frames, predictions, progress=False)
        self.splits.append(measures(found, weights.uncertainty))
        self.n_frames += len(frames)

    def report(self):
        """Print a line for each quantity, and all numbers of all splits."""
        for quantity, unit in (("energy_per_atom", "meV/atom"), ("forces", "meV/Å")):
            parts = [split[quantity] for split in self.splits]
            shares = " | ".join(_share(parts, level) for level in (68, 95))
            rmse, sharpness = (1e3 * np.sqrt(_mean(parts, name, 2)) for name in ("rmse", "sharpness"))
            tails = sorted((part["tail"] for part in parts), reverse=True)
            degrees = "–".join(dict.fromkeys(f"{1 / x:.0f}" if x > 1e-3 else "∞" for x in (tails[0], tails[-1])))
            ranks = [part["rank_correlation"] for part in parts if part["rank_correlation"] is not None]
            print(
                f"| {self.name} | {self.n_frames} | {quantity.removesuffix('_per_atom')} | {shares} | {rmse:.3g} | "
                f"{sharpness:.3g} {unit} | {degrees} | {_mean(parts, 'nll'):.2f} | {np.mean(ranks):.2f} |",
                flush=True,
            )
        print(json.dumps({"set": self.name, "splits": self.splits}), flush=True)


def _mean(parts, name, power=1):
    """Return the mean of a measure over all errors of all splits."""
    return np.average([part[name] ** power for part in parts], weights=[part["n"] for part in parts])


def _share(parts, level):
    """Return the share of errors in intervals in percent: pooled, its spread over splits, and what chance alone has."""
    shares = [100 * part[f"coverage_{level}"] for part in parts]
    pooled = 100 * _mean(parts, f"coverage_{level}")
    if len(parts) < 2:
        return f"{pooled:.0f}"
    chance = np.sqrt(level * (100 - level) / np.mean([part["n"] for part in parts]))
    return f"{pooled:.1f} ± {np.std(shares, ddof=1):.1f} ({chance:.1f})"


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
    orders = {"hottest": np.argsort(heat), "longest X-H bond": np.argsort(longest_bond(molecules))}
    for case in ("in distribution", *orders):
        if args.only and case != args.only:
            continue
        pool = Pool(f"ethanol, `gdml`, {case}")
        for rng in generators(args):
            order = orders.get(case, rng.permutation(len(molecules)))
            head, tail = order[: 2 * n], order[2 * n :][: args.n_test]
            if case in orders:
                head, tail = rng.permutation(order[: -args.n_hard])[: 2 * n], order[-args.n_hard :]
            options = GDMLOptions(progress=False, uncertainty_rank=args.rank)
            fit = fit_gdml(molecules[head[:n]], molecules[head[n:]], options)
            print(json.dumps(fit.report["uncertainty"] | {"seconds": fit.report["seconds"]}), flush=True)
            pool.add(fit.weights, as_frames(molecules[tail]))
        pool.report()


def generators(args):
    """Return a generator of random numbers for each split."""
    return [np.random.default_rng((args.seed, split)) for split in range(args.splits)]


def longest_bond(molecules):
    """Return the longest of the distances of each hydrogen to its nearest heavy atom, by frame, Å."""
    light = molecules.numbers == 1
    distance = np.linalg.norm(molecules.positions[:, light, None] - molecules.positions[:, None, ~light], axis=-1)
    return distance.min(axis=2).max(axis=1)


def local_fit(args, train, chosen):
    """Return the fit of a local model with hyperparameters that were chosen before; those that are not are chosen."""
    common = {"members": args.members, "progress": False, **chosen}
    if args.kind == "soap":
        fit = fit_soap(train, options=SoapOptions(n_sparse=args.sparse, n_max=6, l_max=6, **common))
    else:
        fit = fit_nbody(train, options=NBodyOptions(cutoff2=args.cutoff2, cutoff3=args.cutoff3, **common))
    print(json.dumps(fit.report["uncertainty"] | {"seconds": fit.report["seconds"]}), flush=True)
    return fit


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
    n, everything = args.n_train or 100, np.arange(len(structures))
    heat = np.array([np.sqrt(np.mean(frame.forces**2)) for frame in structures])
    perfect = np.array([frame.group not in defects for frame in structures])
    outside = {"hottest": np.argsort(heat)[-args.n_hard :], "defects": np.flatnonzero(~perfect)}
    for case in ("in distribution", *outside):
        if (args.only and case != args.only) or not len(outside.get(case, everything)):
            continue
        pool, chosen = Pool(f"{name}, `{args.kind}`, {case}"), {}
        for rng in generators(args):
            drawn = rng.permutation(np.setdiff1d(everything, outside.get(case, [])))
            tail = outside.get(case, drawn[n:][: args.n_test])
            fit = local_fit(args, structures[drawn[:n]], chosen)
            chosen = fit.report["hyperparameters"] if args.choose_once else {}
            pool.add(fit.weights, as_frames(structures[tail]))
        pool.report()


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
    parser.add_argument("--n-test", type=int, help="frames tested in the distribution; all that are left by default")
    parser.add_argument("--n-hard", type=int, default=60, help="frames that are the hottest, or have the longest bonds")
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--choose-once", action="store_true", help="keep the hyperparameters of the first split")
    parser.add_argument("--sparse", type=int, default=200)
    parser.add_argument("--cutoff2", type=float, default=6.0)
    parser.add_argument("--cutoff3", type=float, default=3.5)
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--rank", type=lambda text: text if text == "all" else int(text))
    parser.add_argument("--only")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.case != "far":
        print(HEADER)
    {"ethanol": ethanol, "silicon": silicon, "water": water, "far": far}[args.case](args)


if __name__ == "__main__":
    main()
