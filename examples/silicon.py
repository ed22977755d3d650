"""Silicon from crystal to melt: learn Stillinger and Weber's potential from frames, and run what was learned.

    python examples/silicon.py --output silicon.safetensors

The reference is computed here, so anyone can rerun it: 64 atoms are heated from 300 to 3500 K by molecular dynamics
under Stillinger and Weber's potential (Phys. Rev. B 31, 5262, 1985), a sum of two- and three-body functions with
centered triples. A model of two- and three-body splines knows nothing of its form, only that there are such
functions. The example trains one on a few dozen frames, measures errors on frames it has not seen, compares the
energies of the crystal over its lattice constant, and the pair distributions of the melt under both potentials.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.stress import full_3x3_to_voigt_6_stress

from openmm_kml.interfaces.ase import KMLCalculator
from openmm_kml.neighbors import neighbor_list
from openmm_kml.structures import Structure, StructureSet, split_structures
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.training.nbody.trainer import reference_errors
from openmm_kml.weights import save, to_bytes

EPSILON, SIGMA, A, B, LAMBDA, GAMMA, CUTOFF = 2.1683, 2.0951, 7.049556277, 0.6022245584, 21.0, 1.20, 1.80 * 2.0951
MELT = 2000  # K: where the pair distributions are compared, far above the melting point


class StillingerWeber(Calculator):
    """Silicon: φ2 = εA (B (σ/r)⁴ - 1) h(r) and φ3 = ελ (cos θ + 1/3)² h(r)^γ h(r')^γ with h(r) = e^(σ/(r - aσ))."""

    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        i, j, _, vector, r = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF - 1e-6)
        last = np.searchsorted(i, i, side="right")
        count = last - np.arange(len(i)) - 1
        p = np.repeat(np.arange(len(i)), count)  # pairs p, q of neighbors of one center
        q = np.arange(len(p)) - np.repeat(np.cumsum(count) - count, count) + p + 1
        far = vector[q] - vector[p]
        r1, r2, r3 = r[p], r[q], np.linalg.norm(far, axis=1)

        tail = np.exp(SIGMA / (r - CUTOFF))
        pair = EPSILON * A * (B * (SIGMA / r) ** 4 - 1) * tail
        pair_slope = -4 * EPSILON * A * B * (SIGMA / r) ** 4 / r * tail - pair * SIGMA / (r - CUTOFF) ** 2

        cosine = (r1**2 + r2**2 - r3**2) / (2 * r1 * r2)
        decay = EPSILON * LAMBDA * np.exp(GAMMA * SIGMA * (1 / (r1 - CUTOFF) + 1 / (r2 - CUTOFF)))
        triple = decay * (cosine + 1 / 3) ** 2
        by_cosine = 2 * decay * (cosine + 1 / 3)
        by_r1 = by_cosine * (1 / r2 - cosine / r1) - triple * GAMMA * SIGMA / (r1 - CUTOFF) ** 2
        by_r2 = by_cosine * (1 / r1 - cosine / r2) - triple * GAMMA * SIGMA / (r2 - CUTOFF) ** 2
        by_r3 = -by_cosine * r3 / (r1 * r2)

        forces, virial = np.zeros((len(atoms), 3)), np.zeros((3, 3))
        # The list has every pair from both sides: half of it each time.
        edges = [(i, j, vector, r, pair_slope / 2), (i[p], j[p], vector[p], r1, by_r1)]
        edges += [(i[p], j[q], vector[q], r2, by_r2), (j[p], j[q], far, r3, by_r3)]
        for first, second, vectors, distances, slope in edges:
            gradient = (slope / distances)[:, None] * vectors
            np.add.at(forces, first, gradient)
            np.add.at(forces, second, -gradient)
            virial -= vectors.T @ gradient
        self.results = {
            "energy": pair.sum() / 2 + triple.sum(),
            "forces": forces,
            "stress": full_3x3_to_voigt_6_stress(-virial / atoms.get_volume()),
        }


def simulate(atoms, calculator, temperature, n_frames, steps, seed):
    """Run Langevin dynamics and return copies of the atoms every so many steps."""
    rng = np.random.default_rng(seed)
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    dynamics = Langevin(
        atoms, 1.5 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng
    )
    frames = []
    for _ in range(n_frames):
        dynamics.run(steps)
        frames.append(atoms.copy())
    return frames


def structure(atoms, group):
    """Return a labeled `Structure`."""
    atoms.calc = StillingerWeber()
    virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
    return Structure(
        atoms.numbers,
        atoms.positions,
        atoms.cell.array,
        atoms.pbc,
        atoms.get_potential_energy(),
        atoms.get_forces(),
        virial,
        group,
    )


def reference_data(n_frames, steps):
    """Return frames of the strained crystal and of silicon from 300 to 3500 K."""
    rng = np.random.default_rng(0)
    crystal = bulk("Si", "diamond", 5.431, cubic=True).repeat(2)
    structures = []
    for _ in range(n_frames):
        strained = crystal.copy()
        deformation = np.eye(3) + 0.04 * rng.standard_normal((3, 3))
        strained.set_cell(crystal.cell.array @ (deformation + deformation.T) / 2, scale_atoms=True)
        strained.rattle(0.1, rng=rng)
        structures.append(structure(strained, "strained"))
    atoms = crystal.copy()
    for seed, temperature in enumerate((300, 1000, 2000, 3500)):
        for frame in simulate(atoms, StillingerWeber(), temperature, n_frames, steps, seed):
            structures.append(structure(frame, f"{temperature} K"))
    return StructureSet(structures, "silicon"), atoms


def pair_distribution(frames, n_bins=60, reach=6.0):
    """Return distances and g(r) of frames of the same cell."""
    counts = np.zeros(n_bins)
    for atoms in frames:
        distance = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, reach)[4]
        counts += np.histogram(distance, n_bins, (0, reach))[0]
    edges = np.linspace(0, reach, n_bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    density = len(frames[0]) / frames[0].get_volume()
    return (edges[1:] + edges[:-1]) / 2, counts / len(frames) / len(frames[0]) / shells / density


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("silicon.safetensors"))
    parser.add_argument("--frames", type=int, default=15, help="of each temperature")
    parser.add_argument("--steps", type=int, default=60, help="of dynamics between two frames")
    parser.add_argument("--spacing3", type=float, default=0.3, help="of the splines of three bodies, Å")
    parser.add_argument("--melt-frames", type=int, default=40, help="for the pair distributions")
    arguments = parser.parse_args()

    structures, melt = reference_data(arguments.frames, arguments.steps)
    print(f"reference: {structures.describe()}")
    train, _, test = split_structures(structures, len(structures) // 2, 0)
    # The published functions end at 3.77 Å; a little more lets the model find that out.
    options = NBodyOptions(
        cutoff2=4.2, cutoff3=4.0, spacing3=arguments.spacing3, noise_energy=1e-3, noise_force=0.01, noise_virial=0.01
    )
    fit = fit_nbody(train, None, options)
    save(fit.weights, arguments.output)
    chosen = fit.report["hyperparameters"]
    print(f"length scales {chosen['length_scale2']:.2f} and {chosen['length_scale3']:.2f} Å, ", end="")
    print(f"{fit.report['triples_per_atom']:.0f} triples an atom, {fit.report['seconds']['total']:.1f} s")
    for name in (None, *test.groups):
        part = test if name is None else StructureSet([f for f in test if f.group == name])
        errors = reference_errors(fit.weights, part)
        print(
            f"{name or 'all unseen':>10s}: {1e3 * errors['energy_mae_per_atom']:6.2f} meV/atom, "
            f"{1e3 * errors['forces_mae']:6.1f} meV/Å of "
            f"{1e3 * np.mean([np.abs(f.forces).mean() for f in part]):.0f} in the mean"
        )

    print("\nlattice constant, Å   energy, eV/atom: published, learned")
    learned = KMLCalculator(arguments.output)
    for constant in np.linspace(5.2, 5.7, 6):
        crystal = bulk("Si", "diamond", constant)
        energies = []
        for calculator in (StillingerWeber(), learned):
            crystal.calc = calculator
            energies.append(crystal.get_potential_energy() / len(crystal))
        print(f"{constant:20.2f} {energies[0]:16.4f} {energies[1]:9.4f}")

    if arguments.melt_frames:
        print(f"\nmelt at {MELT} K: distance, Å; g(r) published, learned")
        curves = []
        for calculator in (StillingerWeber(), learned):
            frames = simulate(melt.copy(), calculator, MELT, arguments.melt_frames, 30, 7)
            curves.append(pair_distribution(frames[len(frames) // 4 :]))
        for k in range(20, 60, 4):
            print(f"{curves[0][0][k]:20.2f} {curves[0][1][k]:10.2f} {curves[1][1][k]:9.2f}")
        difference = np.abs(curves[0][1] - curves[1][1]).mean()
        print(f"mean difference {difference:.3f}")
    print(f"\nwrote {arguments.output} ({len(to_bytes(fit.weights)) / 1e3:.0f} kB). Next: kml info {arguments.output}")


if __name__ == "__main__":
    main()
