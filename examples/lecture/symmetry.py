"""What it is worth to build the symmetries in: learning curves of ethanol.

    python examples/lecture/symmetry.py [--folder lecture]

The same gradient-domain regression with the same kernel (Matérn-5/2), on four descriptions of the molecule:

- Cartesian coordinates of molecules in any orientation: nothing is built in,
- Cartesian coordinates of molecules turned to lie on one another as well as they can,
- inverse distances: translations and rotations change nothing (GDML),
- the same, and like hydrogens that the molecule exchanges may change places (sGDML).

What a model does not know of symmetry it has to learn from more data. Length scales are chosen on 50 validation frames.
"""

import numpy as np
from ethanol import CartesianModel, aligned, ethanol, turned
from style import BLUE, GRAY, GREEN, ORANGE, new_figure, options_parser, plain_ticks, positive_int, save
from tqdm import tqdm

from openmm_kml.structures import split
from openmm_kml.training import GDMLOptions
from openmm_kml.training.learning_curve import learning_curve

SIZES, N_VALIDATION = (10, 20, 40, 80, 160), 50
LENGTH_SCALES = (1.0, 4.0, 16.0)  # Å, of the Cartesian kernel
NAMES = ("Cartesian, any orientation", "Cartesian, aligned", "inverse distances", "and permutations")
COLORS = (GRAY, ORANGE, BLUE, GREEN)


def compute(sizes, seeds, n_test):
    """Return name -> mean absolute force errors in eV/Å of shape (seeds, sizes), and the error of zero forces."""
    molecules = ethanol()
    errors = {name: [] for name in NAMES}
    with tqdm(total=len(NAMES) * len(seeds), desc="learning curves") as bar:
        for seed in seeds:
            for name, curve in zip(NAMES, _curves(molecules, sizes, n_test, seed), strict=True):
                errors[name].append(curve)
                bar.update()
    return {name: np.array(values) for name, values in errors.items()}, float(np.abs(molecules.forces).mean())


def _curves(molecules, sizes, n_test, seed):
    """Yield the four curves of a seed, all on the same frames."""
    rng = np.random.default_rng(seed)
    parts = split(molecules, max(sizes), N_VALIDATION, n_test, seed)
    yield _cartesian(sizes, *(turned(part, rng) for part in parts))
    yield _cartesian(sizes, *(aligned(part, parts[0].positions[0]) for part in parts))
    for symmetries in (False, True):
        options = GDMLOptions(preset="sgdml", symmetries=symmetries, n_threads=1, progress=False)
        points = learning_curve(molecules, sizes, options, N_VALIDATION, n_test, (seed,))
        yield [point["test_errors"]["forces_mae"] for point in points]


def _cartesian(sizes, train, validation, test):
    curve = []
    for size in sizes:
        models = [CartesianModel(train[:size], length_scale) for length_scale in LENGTH_SCALES]
        curve.append(min(models, key=lambda model: model.error(validation)).error(test))
    return curve


def points_for(sizes, curve, error):
    """Return how many points a curve of falling errors needs for an error, between its sizes; infinity beyond."""
    if error < curve[-1]:
        return np.inf
    return float(np.exp(np.interp(-np.log(error), -np.log(curve), np.log(sizes))))


def picture(sizes, errors, zero):
    figure, ax = new_figure(size=(8.0, 4.8))
    for (name, values), color in zip(errors.items(), COLORS, strict=True):
        mean = 1e3 * values.mean(axis=0)
        ax.plot(sizes, mean, "o-", color=color, linewidth=2)
        ax.plot(sizes, 1e3 * values.T, "o", color=color, markersize=3, alpha=0.5)
        ax.annotate(name, (sizes[-1], mean[-1]), (14, 0), textcoords="offset points", color=color, va="center")
    ax.axhline(1e3 * zero, color="black", linestyle=":", linewidth=1)
    ax.text(sizes[-1], 1.06e3 * zero, "nothing learned: all forces zero", fontsize=10.5, ha="right")
    ax.set(
        title="Ethanol: symmetry that is built in need not be learned",
        xlim=(0.9 * sizes[0], 1.1 * sizes[-1]),
        ylim=(25, 1200),
    )
    ax.set(xscale="log", yscale="log")
    ax.set(xlabel="training frames", ylabel="force error (meV/Å, mean absolute)")
    plain_ticks(ax.xaxis, sizes)
    plain_ticks(ax.yaxis, [30, 50, 100, 200, 300, 500, 1000])
    ax.grid(color="#e4e4e4", linewidth=0.8)
    return figure


def main(arguments=None):
    parser = options_parser(__doc__)
    parser.add_argument(
        "--sizes", type=positive_int, nargs="+", default=SIZES, help=f"training frames (default: {SIZES})"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1), help="one curve for each (default: 0 1)")
    parser.add_argument("--n-test", type=positive_int, default=200, help="test frames (default: 200)")
    options = parser.parse_args(arguments)
    sizes = sorted(options.sizes)
    errors, zero = compute(sizes, options.seeds, options.n_test)
    print(f"force errors in meV/Å (mean absolute), {options.n_test} test frames, means over {len(options.seeds)} seeds")
    print(f"{'training frames':28}" + "".join(f"{size:8}" for size in sizes))
    for name, values in errors.items():
        print(f"{name:28}" + "".join(f"{1e3 * error:8.1f}" for error in values.mean(axis=0)))
    print(f"{'zero forces':28}{1e3 * zero:8.1f}")
    few, many = (errors[name].mean(axis=0) for name in (NAMES[3], NAMES[2]))
    middle = max(len(sizes) // 2 - 1, 0)
    needed = points_for(sizes, many, few[middle])
    without = f"{needed:.0f}" if np.isfinite(needed) else f"more than {sizes[-1]}"
    print(f"the error of {sizes[middle]} frames with permutations takes {without} without")
    save(picture(sizes, errors, zero), options.folder / "symmetry.png")
    return {"errors": errors, "zero": zero}


if __name__ == "__main__":
    main()
