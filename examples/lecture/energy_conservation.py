"""Forces that are the gradient of an energy conserve it; forces learned component by component do not.

    python examples/lecture/energy_conservation.py [--folder lecture]

Two models of ethanol see inverse distances, the same kernel and the same symmetries. One is trained in the gradient
domain: its forces are the gradient of its energy by construction. The other learns the energy, and each component of
the forces, by kernel ridge regressions that know nothing of each other; it gets more training frames, so that its
force errors are as small. Left: what both do to the total energy in dynamics that ought to keep it. Right: why. The
work of its forces around closed loops of geometries does not vanish.
"""

import numpy as np
from ase import units
from ase.data import atomic_masses
from ethanol import ComponentModel, ethanol
from style import BLUE, ORANGE, new_figure, options_parser, positive_float, positive_int, put_legend, save
from tqdm import tqdm

from openmm_kml.potential import KernelPotential
from openmm_kml.structures import split
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.weights import to_bytes

FRAMES_GRADIENT, FRAMES_COMPONENTS, N_TEST = 80, 200, 100
TIME_STEP, SAMPLE_EVERY, TEMPERATURE = 0.5, 20, 300  # fs, steps, K
BROKEN = 1.0  # eV; a run whose total energy has changed by so much ends
LOOP = np.linspace(0, 2 * np.pi, 200, endpoint=False)
AMPLITUDE = 0.03  # Å, of the displacements of a loop in each coordinate
NAMES = ("components", "gradient")


def models():
    """Return name -> function of positions that gives energies and forces, name -> force error, and the test set."""
    train, validation, test = split(ethanol(), FRAMES_COMPONENTS, 50, N_TEST, seed=0)
    options = GDMLOptions(preset="sgdml", n_threads=1, progress=False)
    fitted = fit_gdml(train[:FRAMES_GRADIENT], validation, options)
    potential = KernelPotential.from_bytes(to_bytes(fitted.weights))
    components = ComponentModel(train, potential.weights.terms[0].permutations)
    found = {"components": components.evaluate, "gradient": lambda r: potential.evaluate_batch(r, n_threads=1)[:2]}
    errors = {name: float(np.abs(model(test.positions)[1] - test.forces).mean()) for name, model in found.items()}
    return found, errors, test


def dynamics(model, molecules, length, seed, bar):
    """Return changes of the total energy in eV during dynamics of `length` ps, from a test frame at 300 K.

    Velocity Verlet; one value each `SAMPLE_EVERY` steps.
    """
    rng = np.random.default_rng(seed)
    masses = atomic_masses[molecules.numbers][:, None]
    positions = molecules.positions[seed][None].copy()
    velocities = np.sqrt(units.kB * TEMPERATURE / masses) * rng.standard_normal(positions.shape[1:])
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    step = TIME_STEP * units.fs
    energy, forces = model(positions)
    totals = []
    for k in range(round(1000 * length / TIME_STEP) + 1):
        if k % SAMPLE_EVERY == 0:
            totals.append(float(energy[0] + 0.5 * (masses * velocities**2).sum()))
            bar.update(SAMPLE_EVERY if k else 0)
            if abs(totals[-1] - totals[0]) > BROKEN:
                break
        velocities += 0.5 * step * forces[0] / masses
        positions += step * velocities
        energy, forces = model(positions)
        velocities += 0.5 * step * forces[0] / masses
    return np.array(totals) - totals[0]


def loop_work(model, molecules, n_loops):
    """Return the work of the forces in eV around ellipses in random planes about test frames, shape (n_loops,)."""
    rng = np.random.default_rng(0)
    work = np.empty(n_loops)
    for k in range(n_loops):
        u, v = AMPLITUDE * rng.standard_normal((2, *molecules.positions.shape[1:]))
        path = molecules.positions[k % len(molecules)] + np.multiply.outer(np.cos(LOOP), u)
        path += np.multiply.outer(np.sin(LOOP), v)
        velocity = np.multiply.outer(-np.sin(LOOP), u) + np.multiply.outer(np.cos(LOOP), v)
        # The trapezoidal rule on a closed loop converges faster than any power of the number of points.
        work[k] = (model(path)[1] * velocity).sum() * 2 * np.pi / len(LOOP)
    return work


def compute(length, runs, n_loops):
    """Return force errors, changes of the total energy of all runs, and works around loops, each by name."""
    found, errors, test = models()
    result = {"errors": errors, "energies": {}, "work": {}}
    for name in NAMES:
        with tqdm(total=round(runs * 1000 * length / TIME_STEP), desc=name, unit=" steps") as bar:
            result["energies"][name] = [dynamics(found[name], test, length, k, bar) for k in range(runs)]
        result["work"][name] = np.abs(loop_work(found[name], test, n_loops))
    return result


def picture(result):
    figure, (left, right) = new_figure(1, 2, size=(5.4, 4.2))
    labels = {"components": "learned by components", "gradient": "learned as a gradient"}
    colors = dict(zip(NAMES, (ORANGE, BLUE), strict=True))
    for name in NAMES:
        for k, change in enumerate(result["energies"][name]):
            left.plot(_times(change), change, color=colors[name], linewidth=1.2, label=None if k else labels[name])
            if len(change) < max(map(len, result["energies"]["gradient"])):
                left.plot(_times(change)[-1], change[-1], "x", color=colors[name], markersize=8, markeredgewidth=2)
    left.set(title="Dynamics that ought to keep the energy", xlabel="time (ps)", ylabel="change of total energy (eV)")
    left.set(ylim=(-0.5, 1.6))
    left.text(
        0.98, 0.76, f"×: ended at {BROKEN:g} eV", transform=left.transAxes, ha="right", color=ORANGE, fontsize=10.5
    )
    put_legend(left, loc="upper right")
    bins = 10.0 ** np.arange(-14, 1.01, 0.25)
    for name in NAMES:
        right.hist(result["work"][name], bins, color=colors[name], alpha=0.85, label=labels[name])
    right.set(title="Work around closed loops of geometries", xscale="log", xlabel="absolute work (eV)", ylabel="loops")
    put_legend(right, loc="upper center")
    return figure


def _times(change):
    """Return the times of samples in ps."""
    return np.arange(len(change)) * SAMPLE_EVERY * TIME_STEP / 1000


def main(arguments=None):
    parser = options_parser(__doc__)
    parser.add_argument("--length", type=positive_float, default=4.0, help="of the dynamics, ps (default: 4)")
    parser.add_argument("--runs", type=positive_int, default=4, help="of each model (default: 4)")
    parser.add_argument("--loops", type=positive_int, default=200, help="closed loops (default: 200)")
    options = parser.parse_args(arguments)
    result = compute(options.length, options.runs, options.loops)
    frames = dict(zip(NAMES, (FRAMES_COMPONENTS, FRAMES_GRADIENT), strict=True))
    for name in NAMES:
        changes, work = result["energies"][name], result["work"][name]
        print(f"{name}: {frames[name]} frames, force error {1e3 * result['errors'][name]:.0f} meV/Å (mean absolute)")
        largest = ", ".join(f"{1e3 * np.abs(change).max():.3g}" for change in changes)
        ends = ", ".join(f"{_times(change)[-1]:.2g}" for change in changes)
        print(f"    largest change of the total energy in {len(changes)} runs: {largest} meV, within {ends} ps")
        print(f"    work around {len(work)} closed loops, meV (median, largest): ", end="")
        print(f"{1e3 * np.median(work):.2g}, {1e3 * work.max():.2g}")
    save(picture(result), options.folder / "energy_conservation.png")
    return result


if __name__ == "__main__":
    main()
