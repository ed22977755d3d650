"""Relax a molecule and run molecular dynamics in ASE with a trained potential.

python examples/ase_md.py ethanol.safetensors
"""

import sys

import numpy as np
from ase import units
from ase.build import molecule
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from openmm_kml import KMLCalculator


def main(model, n_steps=500):
    # The atoms must come in the order of the training data: here C C O H H H H H H.
    atoms = molecule("CH3CH2OH")
    atoms.calc = KMLCalculator(model, n_threads=1)

    BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
    print(f"relaxed: {atoms.get_potential_energy():.4f} eV, C-C {atoms.get_distance(0, 1):.3f} Å")

    rng = np.random.default_rng(0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=rng)
    Stationary(atoms)
    md = VelocityVerlet(atoms, 0.5 * units.fs)
    for _ in range(10):
        md.run(n_steps // 10)
        total = atoms.get_total_energy()
        print(f"{md.get_time() / units.fs:8.1f} fs   total {total:.5f} eV   {atoms.get_temperature():6.1f} K")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
