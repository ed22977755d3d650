"""The ladder of time scales: how far a day of computing reaches, and what longer and cheaper steps buy.

    python examples/lecture/timescales.py [--folder lecture]

A model of ethanol is trained, and run on this machine for some seconds of CPU time on one thread. Left: what a day
reaches, from the time step upwards: with the model in NumPy, compiled, with the longest time step that the O–H bond
bears, and with multiple time steps; beside them numbers of docs/performance.md. Right: the gain of multiple time steps
over plain ones depends on what an evaluation costs. The model is made 4, 16 and 64 times as costly by repeating its
training points with a fraction of their coefficients; it stays the same potential.
"""

import time
from dataclasses import replace

import numpy as np
import openmm
from ase.data import atomic_masses
from ethanol import ethanol
from openmm import unit
from style import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    new_figure,
    options_parser,
    plain_ticks,
    positive_float,
    positive_int,
    put_legend,
    save,
)
from tqdm import tqdm

from openmm_kml import KMLForce
from openmm_kml.interfaces.bonded_model import bonded_model
from openmm_kml.interfaces.integrators import multiple_time_step_integrator, split_forces
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import split
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.weights import to_bytes

TEMPERATURE, FRICTION = 300 * unit.kelvin, 5 / unit.picosecond
HYPERPARAMETERS = {"power": 0.5, "kernel": "matern92", "length_scale": 2.5, "regularization": 1e-6, "energies": True}
PLAIN = 1.5  # fs; the longest plain step that docs/integrators.md found stable
# Multiple time steps: outer step in fs, inner steps.
SCHEMES = {"MTS, bonds inside: 2 fs": (2.0, 2), "MTS, small kernel inside: 4 fs": (4.0, 4)}
DAY = 86400e6  # µs

# Time step in fs and µs of a step: docs/performance.md, one thread.
DOCUMENTED = {
    "silicon, 4,096 atoms, in LAMMPS": (1.0, 0.56 * 4096),
    "openmm-ml with sgdml": (0.5, 3852),
    "openmm-ml with sgdml, repaired": (0.5, 693),
}
# fs: docs/integrators.md for O–H; dielectric relaxation at 25 °C, Kaatze, J. Chem. Eng. Data 34, 371 (1989); the limit
# of N/100 µs for N = 100 residues, Kubelka, Hofrichter and Eaton, Curr. Opin. Struct. Biol. 14, 76 (2004).
RUNGS = {"O–H vibration": 9.0, "water reorients": 8e3, "fastest proteins fold": 1e9}


class Bench:
    """Ethanol under a model, on the Reference platform with one thread."""

    def __init__(self, n_train, seconds):
        self.seconds = seconds
        train, validation, _ = split(ethanol(), n_train, 50, 0)
        options = GDMLOptions(progress=False, n_threads=1, **HYPERPARAMETERS)
        self.fitted = fit_gdml(train, validation, options)
        small = fit_gdml(train[:50], validation, options)
        self.potential = KernelPotential.from_bytes(to_bytes(self.fitted.weights))
        self.start = train.positions[np.argmin(train.energies)]
        self.inner = {
            "MTS, bonds inside: 2 fs": bonded_model(self.potential, self.start),
            "MTS, small kernel inside: 4 fs": [_force(KernelPotential.from_bytes(to_bytes(small.weights)))],
        }

    def numpy_evaluation(self):
        """Return the µs of an evaluation of one geometry by NumPy."""
        return self._best(lambda n: [self.fitted.model.predict(self.start[None]) for _ in range(n)], 10)

    def evaluation(self, copies):
        """Return the µs of an evaluation of one geometry by the compiled engine."""
        potential = self._costlier(copies)
        return self._best(lambda n: [potential.evaluate(self.start, n_threads=1) for _ in range(n)], 50)

    def plain_step(self, time_step, copies=1):
        """Return the µs of a step of Langevin dynamics, and the mean kinetic temperature in K."""
        integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, FRICTION, time_step * unit.femtosecond)
        return self._run(integrator, copies)

    def multiple_step(self, scheme, copies=1):
        """Return the same for an outer step of a scheme of multiple time steps."""
        outer, inner_steps = SCHEMES[scheme]
        integrator = multiple_time_step_integrator(outer * unit.femtosecond, inner_steps, TEMPERATURE, FRICTION)
        return self._run(integrator, copies, self.inner[scheme])

    def _run(self, integrator, copies, inner=None):
        integrator.setRandomNumberSeed(1)
        system = openmm.System()
        for number in self.potential.species:
            system.addParticle(atomic_masses[number])
        force = _force(self._costlier(copies))
        system.addForce(force)
        if inner:
            split_forces(system, [force], inner)
        context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
        context.setPositions(self.start / 10)
        context.setVelocitiesToTemperature(TEMPERATURE, 1)
        integrator.step(200)
        kinetic = []

        def steps(n):
            integrator.step(n)
            kinetic.append(context.getState(energy=True).getKineticEnergy() / unit.MOLAR_GAS_CONSTANT_R)

        cost = self._best(steps, 100)
        mean = sum(one.value_in_unit(unit.kelvin) for one in kinetic) / len(kinetic)
        return cost, mean / (1.5 * system.getNumParticles())

    def _best(self, repeat, n):
        """Return the µs of one of n repetitions, in the fastest of at least three rounds.

        Of CPU time: other programs on the machine do not count.
        """
        rounds, end = [], time.process_time() + self.seconds
        while len(rounds) < 3 or time.process_time() < end:
            started = time.process_time()
            repeat(n)
            rounds.append(1e6 * (time.process_time() - started) / n)
        return min(rounds)

    def _costlier(self, copies):
        """Return the same potential with each training point repeated, so that it costs as many times as much."""
        if copies == 1:
            return self.potential
        term = self.fitted.weights.terms[0]
        repeated = {"training_descriptors": np.tile(term.training_descriptors, (copies, 1))}
        for name in ("descriptor_coefficients", "energy_coefficients"):
            values = getattr(term, name)
            repeated[name] = np.tile(values, (copies,) + (1,) * (values.ndim - 1)) / copies
        return KernelPotential.from_bytes(to_bytes(replace(self.fitted.weights, terms=(replace(term, **repeated),))))


def _force(potential):
    return KMLForce(potential, n_threads=1)


def compute(n_train, copies, seconds):
    """Return name -> (time step in fs, µs a step), the gains of the schemes by cost, and temperatures in K."""
    with tqdm(total=4 + 3 * len(copies), desc="measurements") as bar:

        def measured(value):
            bar.update()
            return value

        bench = Bench(n_train, seconds)
        ladder = {"the model in NumPy": (0.5, measured(bench.numpy_evaluation()))}
        ladder["KMLForce"] = 0.5, measured(bench.plain_step(0.5))[0]
        temperatures, gains, costs = {}, {scheme: [] for scheme in SCHEMES}, []
        for k, count in enumerate(copies):
            plain, temperature = measured(bench.plain_step(PLAIN, count))
            costs.append(bench.evaluation(count))
            if k == 0:
                ladder["longest plain step: 1.5 fs"] = PLAIN, plain
                temperatures["longest plain step: 1.5 fs"] = temperature
            for scheme, (outer, _) in SCHEMES.items():
                cost, temperature = measured(bench.multiple_step(scheme, count))
                gains[scheme].append(outer / cost / (PLAIN / plain))
                if k == 0:
                    ladder[scheme], temperatures[scheme] = (outer, cost), temperature
    return {"ladder": ladder, "costs": costs, "gains": gains, "temperatures": temperatures}


def picture(result):
    figure, (left, right) = new_figure(1, 2, size=(6.8, 4.6), width_ratios=(1.7, 1))
    _draw_ladder(left, result["ladder"])
    costs = result["costs"]
    for (scheme, (outer, _)), color in zip(SCHEMES.items(), (GREEN, ORANGE), strict=True):
        right.plot(costs, result["gains"][scheme], "o-", color=color, linewidth=2, label=scheme)
        right.axhline(outer / PLAIN, color=color, linestyle=":", linewidth=1.2)
    right.axhline(1, color="black", linewidth=0.8)
    right.set(title="Multiple time steps pay for costly models", xscale="log", xlabel="an evaluation of the model (µs)")
    right.set(ylim=(0, 3.6), ylabel=f"speed (plain steps of {PLAIN} fs: 1)")
    plain_ticks(right.xaxis, [10, 30, 100, 300, 1000])
    put_legend(right, loc="upper left", title="dotted: evaluations saved", alignment="left")
    return figure


def _draw_ladder(ax, ladder):
    rows = [(name, *row, GRAY) for name, row in DOCUMENTED.items()] + [
        (name, *row, BLUE) for name, row in ladder.items()
    ]
    for name, duration in RUNGS.items():
        ax.axvline(duration, color="#d8d8d8", linewidth=1, zorder=0)
        ax.text(duration, len(rows) - 0.45, name, rotation=30, fontsize=9.5, color="#606060")
    for k, (_, time_step, cost, color) in enumerate(rows):
        reached = time_step * DAY / cost
        ax.barh(k, reached - time_step, left=time_step, height=0.55, color=color)
        ax.text(1.4 * reached, k, f"1 µs in {_days(1e9 / reached)}", va="center", fontsize=10)
    ax.set_yticks(range(len(rows)), [name for name, *_ in rows])
    ax.set(xscale="log", xlim=(0.3, 3e12), ylim=(-0.6, len(rows) - 0.5), title=" ")
    ax.set(
        xlabel="simulated time: from the time step to what a day of computing reaches\n"
        "blue: measured here, gray: docs/performance.md"
    )
    ticks = {1: "1 fs", 1e3: "1 ps", 1e6: "1 ns", 1e9: "1 µs", 1e12: "1 ms"}
    ax.set_xticks(list(ticks), list(ticks.values()))
    ax.set_xticks([], minor=True)


def _days(days):
    """Return a time in words."""
    if days < 1:
        return f"{24 * days:.1f} h"
    return f"{days:.0f} days" if days >= 10 else f"{days:.1f} days"


def main(arguments=None):
    parser = options_parser(__doc__)
    parser.add_argument("--n-train", type=positive_int, default=200, help="training frames of the model (default: 200)")
    parser.add_argument(
        "--copies", type=positive_int, nargs="+", default=(1, 4, 16, 64), help="of the points (default: 1 4 16 64)"
    )
    parser.add_argument("--seconds", type=positive_float, default=1.0, help="for each measurement (default: 1)")
    options = parser.parse_args(arguments)
    result = compute(options.n_train, options.copies, options.seconds)
    print(f"{'':46} step, fs   µs/step   µs/day   days/µs")
    for name, (time_step, cost) in (DOCUMENTED | result["ladder"]).items():
        reached = time_step * DAY / cost / 1e9
        print(f"{name:46} {time_step:8g} {cost:9.1f} {reached:8.3f} {1 / reached:9.2f}")
    print("temperatures: " + ", ".join(f"{name} {one:.0f} K" for name, one in result["temperatures"].items()))
    print(f"speed beside plain steps of {PLAIN} fs, by the cost of an evaluation in µs:")
    print(f"{'':32}" + "".join(f"{cost:9.0f}" for cost in result["costs"]))
    for scheme, gains in result["gains"].items():
        print(f"{scheme:32}" + "".join(f"{gain:9.2f}" for gain in gains))
    save(picture(result), options.folder / "timescales.png")
    return result


if __name__ == "__main__":
    main()
