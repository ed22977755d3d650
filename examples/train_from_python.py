"""Train, save, load and test a potential from Python.

python examples/train_from_python.py examples/data/ethanol_pbe.npz ethanol.safetensors
"""

import sys

from openmm_kml import KernelPotential, metrics
from openmm_kml.structures import read_molecules, split
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.weights import save


def main(data, output, n_train=150, n_validation=50):
    # Extended XYZ, sGDML's .npz, or any format ASE reads; energies in eV and forces in eV/Å from here on.
    molecules = read_molecules(data)
    print(f"{len(molecules)} frames of {molecules.formula}, {molecules.digest[:15]}…")

    # Seeded and stratified over the energy; no frame is in two of the sets.
    train, validation, test = split(molecules, n_train, n_validation, seed=0)

    # What is left open here (descriptor power, kernel, length scale, regularization, whether to train on energies) is
    # chosen on the validation set. GDMLOptions(preset="sgdml") trains the published model.
    fit = fit_gdml(train, validation, GDMLOptions(seed=0))
    print("chosen:", fit.report["hyperparameters"])
    print("symmetries:", fit.report["symmetries"])
    save(fit.weights, output)

    # The compiled engine knows nothing of the trainer; the weight file is all it needs.
    potential = KernelPotential.load(output)
    result = potential.evaluate_batch(test.positions)
    for name, value in metrics.errors(result.energy, result.forces, test).items():
        print(f"{name:>20} {value:.5g}")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
