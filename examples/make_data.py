"""Make the bundled ethanol set: GFN2-xTB dynamics for the geometries, DFT for energies and forces.

    pip install ase tblite pyscf
    python examples/make_data.py --frames 500 --work ethanol_work -o examples/data/ethanol_pbe.npz

1. Langevin dynamics of one ethanol molecule at 500 K with GFN2-xTB (Bannwarth, Ehlert and Grimme,
   J. Chem. Theory Comput. 15, 1652 (2019)), one frame each 50 fs after 2 ps of equilibration;
   every frame is stored, so the walk is made only once.
2. Energy and forces of each frame with PBE/def2-SVP (Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77,
   3865 (1996); Weigend and Ahlrichs, Phys. Chem. Chem. Phys. 7, 3297 (2005)) and density fitting, in PySCF.

The work is resumable: each labelled frame is one line of ``WORK/labels.jsonl``, flushed to disk before the
next one starts; a frame cut off by a kill is dropped and computed anew. The result is an ``.npz`` file in
sGDML's layout (``z, R, E, F``) in eV and Å.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

THEORY = "PBE/def2-SVP, density fitting, grid level 3 with grid response, SCF to 1e-10 Hartree, PySCF"


def sample_geometries(path, n_frames, temperature=500.0, seed=0):
    """Return positions of shape (n_frames, 9, 3) in Å, from the file if it is there, else from dynamics."""
    if path.exists():
        return np.load(path)
    from ase import units
    from ase.build import molecule
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary, ZeroRotation
    from tblite.ase import TBLite

    atoms = molecule("CH3CH2OH")
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    rng = np.random.default_rng(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    Stationary(atoms)
    ZeroRotation(atoms)
    md = Langevin(atoms, 0.5 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng)
    md.run(4000)
    frames = []
    while len(frames) < n_frames:
        md.run(100)
        frames.append(atoms.get_positions() - atoms.get_center_of_mass())
        print(f"\rdynamics: {len(frames)}/{n_frames}", end="", flush=True)
    print()
    partial = path.with_suffix(".partial.npy")
    np.save(partial, np.array(frames))
    partial.replace(path)
    return np.load(path)


def label(numbers, positions):
    """Return the DFT energy (eV) and forces (eV/Å) of one geometry (Å)."""
    from ase.data import chemical_symbols
    from ase.units import Bohr, Hartree
    from pyscf import dft, gto

    atom = [(chemical_symbols[z], r) for z, r in zip(numbers, positions, strict=True)]
    mol = gto.M(atom=atom, basis="def2-svp", unit="Angstrom", verbose=0)
    mf = dft.RKS(mol).density_fit()
    mf.xc = "pbe"
    mf.grids.level = 3
    mf.conv_tol = 1e-10
    energy = mf.kernel()
    if not mf.converged:
        raise RuntimeError("the SCF did not converge")
    gradient = mf.nuc_grad_method()
    gradient.grid_response = True  # forces are then the derivative of the energy on the finite grid
    return energy * Hartree, -gradient.kernel() * Hartree / Bohr


def read_labels(path):
    """Return the labels found so far; a last line cut off by a kill is removed from the file."""
    done = {}
    if path.exists():
        lines = path.read_text().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) < len(lines):
            path.write_text("".join(whole))
        for line in whole:
            item = json.loads(line)
            done[item["frame"]] = item
    return done


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--work", type=Path, default=Path("ethanol_work"))
    parser.add_argument("-o", "--output", type=Path, default=Path("examples/data/ethanol_pbe.npz"))
    args = parser.parse_args()

    from ase.build import molecule

    numbers = molecule("CH3CH2OH").numbers
    args.work.mkdir(parents=True, exist_ok=True)
    positions = sample_geometries(args.work / "geometries.npy", args.frames)
    labels = args.work / "labels.jsonl"
    done = read_labels(labels)
    with labels.open("a") as stream:
        for frame in range(args.frames):
            if frame in done:
                continue
            energy, forces = label(numbers, positions[frame])
            done[frame] = {"frame": frame, "energy": energy, "forces": forces.tolist()}
            stream.write(json.dumps(done[frame]) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
            print(f"\rDFT: {len(done)}/{args.frames}", end="", file=sys.stderr, flush=True)

    frames = range(args.frames)
    partial = args.output.with_suffix(".partial.npz")
    np.savez_compressed(
        partial,
        z=numbers,
        R=positions[: args.frames],
        E=np.array([done[k]["energy"] for k in frames]),
        F=np.array([done[k]["forces"] for k in frames]),
        r_unit=np.array("Ang"),
        e_unit=np.array("eV"),
        theory=np.array(THEORY),
        name=np.array("ethanol"),
    )
    partial.replace(args.output)
    print(f"\nwrote {args.output}")


if __name__ == "__main__":
    main()
