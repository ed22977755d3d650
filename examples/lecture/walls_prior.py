"""A molecule that leaves its data falls apart under the kernel alone, and comes back with walls in the prior.

    python examples/lecture/walls_prior.py [--folder lecture]

Ethanol learned from 60 frames of DFT at 500 K. Left: the energy while the methyl group is pulled off, all else at rest,
by the kernel alone, with the repulsion, and with repulsion and walls; between the dotted lines the walls of this bond
are zero. Right: the longest bond along runs that start with the O–H bond at 0.6 of its length.
"""

from dataclasses import replace

import numpy as np
import openmm
from ethanol import ethanol
from openmm import app
from style import GRAY, GREEN, ORANGE, new_figure, options_parser, put_legend, save

from openmm_kml.bonds import bonds_from_positions
from openmm_kml.descriptors.inverse_distances import pair_indices
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import split
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.weights import to_bytes

METHYL, ANCHOR = (0, 6, 7, 8), 1
BOND = (2, 3)  # O and its H
FACTOR, STEP, EVERY, LENGTH = 0.6, 0.25, 20, 2.5  # of the bond's length; fs, steps, ps
REACH = np.linspace(1.0, 4.0, 151)  # Å, of the two carbon atoms
FIXED = {"power": 0.5, "kernel": "matern92", "length_scale": 2.5, "regularization": 1e-6, "energies": True}
PRIORS = {  # color, terms beside the kernel
    "the kernel alone": (GRAY, ()),
    "with repulsion": (ORANGE, ("repulsion",)),
    "with repulsion and walls": (GREEN, ("repulsion", "walls")),
}


def moved(positions, atoms, anchor, factor):
    """Return positions with some atoms moved: the first is then at `factor` times its distance from the anchor."""
    result, atoms = positions.copy(), list(atoms)
    result[atoms] += (factor - 1) * (positions[atoms[0]] - positions[anchor])
    return result


def longest_bond(potential, numbers, start, bonds):
    """Return times, ps, and the longest of the bonds along a run at 300 K, Å."""
    system = openmm.System()
    for number in numbers:
        system.addParticle(app.Element.getByAtomicNumber(int(number)).mass)
    system.addForce(KMLForce(potential))
    integrator = openmm.LangevinMiddleIntegrator(300, 5.0, 1e-3 * STEP)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(0.1 * start)
    context.setVelocitiesToTemperature(300, 1)
    i, j = np.array(bonds).T
    lengths = []
    for _ in range(round(1000 * LENGTH / STEP / EVERY)):
        integrator.step(EVERY)
        r = 10 * context.getState(positions=True).getPositions(asNumpy=True)._value
        lengths.append(np.linalg.norm(r[i] - r[j], axis=1).max())
    return 1e-3 * STEP * EVERY * np.arange(1, len(lengths) + 1), np.array(lengths)


def main(arguments=None):
    options = options_parser(__doc__).parse_args(arguments)
    train, validation, _ = split(ethanol(), 60, 30, 40, seed=0)
    weights = fit_gdml(train, validation, GDMLOptions(**FIXED, uncertainty=False, progress=False)).weights
    rest = train.positions[np.argmin(train.energies)]
    bonds, length = bonds_from_positions(train.numbers, rest), np.linalg.norm(rest[METHYL[0]] - rest[ANCHOR])
    pulled = np.array([moved(rest, METHYL, ANCHOR, r / length) for r in REACH])
    start = moved(rest, BOND[1:], BOND[0], FACTOR)
    figure, (left, right) = new_figure(1, 2, size=(5.2, 4.2))
    result = {}
    for name, (color, kinds) in PRIORS.items():
        terms = tuple(term for term in weights.terms if term.kind in ("gdml", *kinds))
        potential = KernelPotential.from_bytes(to_bytes(replace(weights, terms=terms)))
        energies = potential.evaluate_batch(pulled).energy - potential.evaluate(rest).energy
        times, lengths = longest_bond(potential, train.numbers, start, bonds)
        left.plot(REACH, energies, color=color, label=name)
        right.plot(times, lengths, color=color, label=name)
        result[name] = {"apart": float(energies[-1]), "barrier": float(energies.max()), "longest": float(lengths[-1])}
        print(
            f"{name}: {energies[-1]:.1f} eV with the methyl group at {REACH[-1]:g} Å, {energies.max():.1f} at most; ",
            end="",
        )
        print(f"longest bond after {LENGTH} ps {lengths[-1]:.2f} Å")
    i, j = pair_indices(len(rest))
    for bound in weights.terms[2].bounds[(i == max(ANCHOR, METHYL[0])) & (j == min(ANCHOR, METHYL[0]))][0]:
        left.axvline(bound, color=GRAY, linewidth=0.8, linestyle=":")
    left.set(title="The methyl group pulled off", xlabel="C–C distance (Å)", ylabel="energy (eV)", ylim=(-2, 10))
    right.set(title="Runs that start with O–H compressed", xlabel="time (ps)", ylabel="longest bond (Å)", yscale="log")
    put_legend(right, loc="center right")
    save(figure, options.folder / "walls_prior.png")
    return result


if __name__ == "__main__":
    main()
