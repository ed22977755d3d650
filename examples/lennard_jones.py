"""A Lennard-Jones fluid recovered from noisy forces alone.

    python examples/lennard_jones.py --output argon.safetensors

108 atoms of argon at the density and temperature of its liquid move under the Lennard-Jones potential, shifted so that
its force vanishes at the cutoff. Gaussian noise is added to the forces of some frames, and two-body splines are trained
on these forces: no energies, no assumption about the form of the potential, no length scale given. The example compares
the forces between two atoms and the pair distributions of the fluid under both potentials.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.langevin import Langevin

from openmm_kml.interfaces.ase import KMLCalculator
from openmm_kml.neighbors import neighbor_list
from openmm_kml.structures import Structure, StructureSet
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.weights import save

EPSILON, SIGMA, CUTOFF = 0.0103, 3.4, 8.5  # eV, Å, Å
TEMPERATURE = 120  # K
CELL = SIGMA * (108 / 0.8) ** (1 / 3)  # Å: 0.8 atoms in σ³


def pair_force(r):
    """Return -dE/dr of two atoms in eV/Å: 24 ε (2 (σ/r)¹² - (σ/r)⁶) / r, minus its value at the cutoff."""

    def plain(r):
        return 24 * EPSILON * (2 * (SIGMA / r) ** 12 - (SIGMA / r) ** 6) / r

    return np.where(r < CUTOFF, plain(r) - plain(CUTOFF), 0.0)


class LennardJones(Calculator):
    """Forces of the shifted potential; its energy is not needed here."""

    implemented_properties = ("forces",)

    def calculate(self, atoms=None, properties=("forces",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        i, _, _, vector, r = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF)
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, -(pair_force(r) / r)[:, None] * vector)
        self.results = {"forces": forces}


def fluid(rng):
    """Return 108 atoms on a disturbed face-centered lattice."""
    corners = np.array(list(np.ndindex(3, 3, 3)))
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = (corners[:, None] + basis).reshape(-1, 3) * CELL / 3
    return Atoms("Ar108", positions + 0.1 * rng.standard_normal(positions.shape), cell=3 * [CELL], pbc=True)


def simulate(calculator, n_frames, steps, seed):
    """Return frames of the fluid, after as many steps again to forget the lattice."""
    rng = np.random.default_rng(seed)
    atoms = fluid(rng)
    atoms.calc = calculator
    deviations = np.sqrt(atoms.get_masses() * units.kB * TEMPERATURE)
    atoms.set_momenta(deviations[:, None] * rng.standard_normal((len(atoms), 3)))
    dynamics = Langevin(atoms, 5 * units.fs, temperature_K=TEMPERATURE, friction=0.01 / units.fs, fixcm=False, rng=rng)
    dynamics.run(200)
    frames = []
    for _ in range(n_frames):
        dynamics.run(steps)
        frames.append(atoms.copy())
    return frames


def pair_distribution(frames, n_bins=64, reach=8.0):
    """Return distances and g(r)."""
    edges = np.linspace(0, reach, n_bins + 1)
    counts = sum(
        np.histogram(neighbor_list(atoms.positions, atoms.cell.array, True, reach)[4], edges)[0] for atoms in frames
    )
    ideal = len(frames) * 108**2 / CELL**3 * 4 / 3 * np.pi * np.diff(edges**3)
    return (edges[1:] + edges[:-1]) / 2, counts / ideal


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("argon.safetensors"))
    parser.add_argument("--frames", type=int, default=20, help="to train on")
    parser.add_argument("--noise", type=float, default=0.02, help="on each component of each force, eV/Å")
    parser.add_argument("--fluid-frames", type=int, default=60, help="for the pair distributions")
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    structures, sizes = [], []
    for atoms in simulate(LennardJones(), arguments.frames, 20, 1):
        atoms.calc = LennardJones()
        forces = atoms.get_forces()
        sizes.append(np.sqrt((forces**2).mean()))
        noisy = forces + arguments.noise * rng.standard_normal(forces.shape)
        structures.append(Structure(atoms.numbers, atoms.positions, atoms.cell.array, forces=noisy))
    print(f"{len(structures)} frames: forces of {1e3 * np.mean(sizes):.0f} meV/Å, noise of {1e3 * arguments.noise:.0f}")

    options = NBodyOptions(cutoff2=CUTOFF, cutoff3=0, energies=False, virials=False, noise_force=arguments.noise)
    fit = fit_nbody(StructureSet(structures, "argon"), None, options)
    save(fit.weights, arguments.output)
    print(f"length scale {fit.report['hyperparameters']['length_scale2']:.2f} Å, ", end="")
    print(f"noise found {1e3 * arguments.noise * fit.report['noise_scale']:.1f} meV/Å")

    print("\ndistance, Å   force between two atoms, meV/Å: true, learned")
    learned = KMLCalculator(arguments.output)
    shortest = fit.report["shortest_distances"]["Ar-Ar"]
    for r in np.linspace(shortest + 0.1, 7.5, 8):
        pair = Atoms("Ar2", [[0, 0, 0], [0, 0, r]])
        pair.calc = learned
        print(f"{r:12.2f} {1e3 * pair_force(r):20.2f} {1e3 * pair.get_forces()[1, 2]:10.2f}")

    if arguments.fluid_frames:
        curves = [pair_distribution(simulate(c, arguments.fluid_frames, 20, 2)) for c in (LennardJones(), learned)]
        print("\ndistance, Å   g(r): true, learned")
        for k in range(24, 64, 4):
            print(f"{curves[0][0][k]:12.2f} {curves[0][1][k]:10.2f} {curves[1][1][k]:10.2f}")
        print(f"mean difference {np.abs(curves[0][1] - curves[1][1]).mean():.3f}")
    print(f"\nwrote {arguments.output}. Next: kml info {arguments.output} --plot functions.png")


if __name__ == "__main__":
    main()
