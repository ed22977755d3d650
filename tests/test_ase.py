"""The calculator for ASE."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from models import MODELS, model_positions

from openmm_kml.interfaces.ase import KMLCalculator
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import save, to_bytes

WEIGHTS = MODELS["ethanol-matern92-energies-weighted"]


@pytest.fixture
def atoms():
    return Atoms(numbers=WEIGHTS.species, positions=model_positions(WEIGHTS)[0])


def test_energy_and_forces_are_those_of_the_potential(atoms, tmp_path):
    save(WEIGHTS, tmp_path / "model.safetensors")
    potential = KernelPotential.load(tmp_path / "model.safetensors")
    expected = potential.evaluate(atoms.positions)
    for source in (potential, tmp_path / "model.safetensors", str(tmp_path / "model.safetensors")):
        atoms.calc = KMLCalculator(source, n_threads=1)
        assert atoms.get_potential_energy() == expected.energy
        assert atoms.get_potential_energy(force_consistent=True) == expected.energy
        assert np.array_equal(atoms.get_forces(), expected.forces)


def test_results_follow_the_positions(atoms):
    atoms.calc = KMLCalculator(KernelPotential.from_bytes(to_bytes(WEIGHTS)))
    before = atoms.get_potential_energy()
    atoms.positions[0] += 0.05
    assert atoms.get_potential_energy() != before


def test_stress_is_the_derivative_by_strain_and_only_for_periodic_cells(atoms):
    atoms.calc = KMLCalculator(KernelPotential.from_bytes(to_bytes(WEIGHTS)))
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    atoms.set_cell([[12.0, 0, 0], [1.0, 11.0, 0], [0.5, -1.0, 13.0]])
    atoms.pbc = True
    stress = atoms.get_stress(voigt=False)
    step = 1e-4
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell @ strain, scale_atoms=True)
            strained.calc = atoms.calc
            energies.append(strained.get_potential_energy())
        slope = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
        assert stress[a, b] == pytest.approx(slope, abs=1e-6 * np.abs(stress).max())


def test_other_elements_are_refused(atoms):
    atoms.calc = KMLCalculator(KernelPotential.from_bytes(to_bytes(WEIGHTS)))
    atoms.numbers[[2, 3]] = atoms.numbers[[3, 2]]
    with pytest.raises(ValueError, match="atom 2 is H, but the model expects O"):
        atoms.get_forces()
