"""Copper from crystal to cluster: learn a many-body potential from frames, and find what pairs and triples miss.

    python examples/copper_soap.py --output copper.safetensors

The reference is computed here, so anyone can rerun it: effective medium theory, as ASE has it (Jacobsen, Stoltze and
Nørskov, Surf. Sci. 366, 394 (1996)). The energy of an atom depends on the density around it, and bonds are stronger
where there are few of them: no sum over pairs and triples. A sparse Gaussian process on SOAP is trained on strained
crystals, surfaces and clusters, and beside it a model of two- and three-body functions; both are compared on frames
they have not seen, and on the energies of a vacancy and of surfaces.
"""

import argparse
from pathlib import Path

import numpy as np
from ase.build import bulk, fcc100, fcc110, fcc111
from ase.calculators.emt import EMT

from openmm_kml.interfaces.ase import KMLCalculator
from openmm_kml.structures import Structure, StructureSet, split_structures
from openmm_kml.training.evaluation import model_errors
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.training.soap import SoapOptions, fit_soap
from openmm_kml.weights import save

CONSTANT = 3.61  # Å
SURFACES = {"(100)": (fcc100, (2, 2, 6)), "(110)": (fcc110, (2, 2, 8)), "(111)": (fcc111, (2, 2, 6))}


def crystal(repeat=2):
    return bulk("Cu", "fcc", CONSTANT, cubic=True).repeat(repeat)


def surface(name):
    """Return a slab with two surfaces."""
    build, size = SURFACES[name]
    return build("Cu", size, a=CONSTANT, vacuum=6.0, periodic=True)


def cluster(n_atoms, rng):
    """Return the atoms of a crystal nearest to a random point, free in space."""
    atoms = crystal(4)
    atoms.pbc = False
    center = atoms.positions.mean(axis=0) + rng.uniform(-1, 1, 3)
    return atoms[np.argsort(np.linalg.norm(atoms.positions - center, axis=1))[:n_atoms]]


def labeled(atoms, group, rng):
    """Return a `Structure` of strained and displaced atoms with the energy, forces and virial of the reference."""
    deformation = 0.03 * rng.standard_normal((3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (deformation + deformation.T) / 2), scale_atoms=True)
    atoms.rattle(rng.uniform(0.02, 0.2), rng=rng)
    atoms.calc = EMT()
    periodic = bool(atoms.pbc.all())
    return Structure(
        atoms.numbers,
        atoms.positions,
        atoms.cell.array if periodic else None,
        periodic,
        atoms.get_potential_energy(),
        atoms.get_forces(),
        -atoms.get_stress(voigt=False) * atoms.get_volume() if periodic else None,
        group,
    )


def reference_data(count):
    """Return frames of crystals, with and without a vacancy, surfaces and clusters."""
    rng = np.random.default_rng(0)
    frames = []
    for k in range(count):
        atoms = crystal()
        if k % 3 == 0:
            del atoms[int(rng.integers(len(atoms)))]
        frames.append(labeled(atoms, "crystal", rng))
        frames.append(labeled(surface(list(SURFACES)[k % 3]), "surface", rng))
        frames.append(labeled(cluster(int(rng.integers(8, 40)), rng), "cluster", rng))
    return StructureSet(frames, "copper")


def energy(atoms, calculator):
    atoms.calc = calculator
    return atoms.get_potential_energy()


def formation_energies(calculator):
    """Return energies of formation without relaxation: of a vacancy in eV, of surfaces in meV/Å²."""
    perfect = crystal(3)
    each = energy(perfect, calculator) / len(perfect)
    vacancy = perfect.copy()
    del vacancy[0]
    found = {"vacancy, eV": energy(vacancy, calculator) - each * len(vacancy)}
    for name in SURFACES:
        slab = surface(name)
        area = np.linalg.norm(np.cross(*slab.cell.array[:2]))
        found[f"surface {name}, meV/Å²"] = 1e3 * (energy(slab, calculator) - each * len(slab)) / (2 * area)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("copper.safetensors"))
    parser.add_argument("--frames", type=int, default=40, help="of each kind")
    parser.add_argument("--sparse", type=int, default=300, help="sparse points")
    arguments = parser.parse_args()

    structures = reference_data(arguments.frames)
    print(f"reference: {structures.describe()}")
    train, _, test = split_structures(structures, len(structures) // 2, 0)
    # The reference has no noise: the numbers say how far errors may matter.
    noises = {"noise_energy": 5e-4, "noise_force": 0.02, "noise_virial": 0.01}
    fits = {
        "two and three bodies": fit_nbody(train, None, NBodyOptions(cutoff3=4.2, spacing3=0.4, **noises)),
        "SOAP": fit_soap(train, None, SoapOptions(n_max=6, l_max=4, n_sparse=arguments.sparse, **noises)),
    }
    calculators = {"reference": EMT()}
    print(f"{'errors on unseen frames':>26s}  meV/atom   meV/Å  trained in, s")
    for name, fit in fits.items():
        path = arguments.output if name == "SOAP" else arguments.output.with_stem(arguments.output.stem + "_nbody")
        save(fit.weights, path)
        calculators[name] = KMLCalculator(path)
        errors = model_errors(fit.weights, test)
        values = 1e3 * errors["energy_mae_per_atom"], 1e3 * errors["forces_mae"], fit.report["seconds"]["total"]
        print(f"{name:>26s} {values[0]:9.2f} {values[1]:7.1f} {values[2]:14.1f}")
    chosen = fits["SOAP"].report["hyperparameters"]
    print(f"forces are {1e3 * np.mean([np.abs(f.forces).mean() for f in test]):.0f} meV/Å in the mean; ", end="")
    print(f"amplitude of the many-body energy {chosen['amplitude']:.2g} eV, {arguments.sparse} sparse points")

    print(f"\n{'':26s}" + "".join(f"{name:>22s}" for name in calculators))
    found = [formation_energies(calculator) for calculator in calculators.values()]
    for name in found[0]:
        print(f"{name:>26s}" + "".join(f"{values[name]:22.2f}" for values in found))
    print(f"\nwrote {arguments.output}. Next: kml info {arguments.output}")


if __name__ == "__main__":
    main()
