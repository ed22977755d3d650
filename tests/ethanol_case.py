"""Ethanol for tests: geometry, Topologies in any order of atoms, and a model whose training points are real ethanol.

The model's coefficients are random and small: its energies mean nothing, but it tells labelings apart as a trained one
does.
"""

from functools import cache
from pathlib import Path

import numpy as np
from models import closed
from openmm import app, unit

from openmm_kml.descriptors.inverse_distances import descriptor
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import GDMLTerm, Weights, to_bytes

DATA = Path(__file__).parents[1] / "examples" / "data"
PDB = DATA / "ethanol.pdb"
FORCE_FIELD = DATA / "ethanol_opls.xml"
NUMBERS = (6, 6, 8, 1, 1, 1, 1, 1, 1)  # CH3, CH2, OH; then H of OH, two of CH2, three of CH3
BONDS = ((0, 1), (1, 2), (2, 3), (1, 4), (1, 5), (0, 6), (0, 7), (0, 8))
# What training data show: the methyl group turns, and a mirror exchanges the H of CH2 together with two of CH3.
SYMMETRIES = closed(((0, 1, 2, 3, 4, 5, 7, 8, 6), (0, 1, 2, 3, 5, 4, 6, 8, 7)))


@cache
def geometry():
    """Return the relaxed geometry, shape (9, 3), Å."""
    return app.PDBFile(str(PDB)).getPositions(asNumpy=True).value_in_unit(unit.angstrom)


def ethanol_weights(seed=0, power=1.0, weighted=False):
    """Return a model of ethanol with 20 training points near the relaxed geometry."""
    rng = np.random.default_rng(seed)
    v = np.where(np.arange(36) < 3, 1.5, 1.0) if weighted else np.ones(36)  # the pairs of C, C and O
    x = descriptor(geometry() + rng.normal(0, 0.04, (20, 9, 3)), power, v)
    term = GDMLTerm(
        power=power,
        kernel="matern52",
        length_scale=5.0,
        energy_offset=-4210.0,
        descriptor_weights=v,
        training_descriptors=x,
        descriptor_coefficients=rng.normal(0, 10.0, x.shape),
        permutations=SYMMETRIES,
    )
    return Weights(species=np.array(NUMBERS), terms=(term,))


@cache
def ethanol_potential(seed=0):
    """Return `ethanol_weights` as a KernelPotential."""
    return KernelPotential.from_bytes(to_bytes(ethanol_weights(seed)))


def topology_of(*molecules):
    """Return a Topology of molecules, each a tuple (numbers, bonds)."""
    topology = app.Topology()
    chain = topology.addChain()
    for numbers, bonds in molecules:
        residue = topology.addResidue("MOL", chain)
        atoms = [
            topology.addAtom(f"X{k}", app.Element.getByAtomicNumber(z) if z else None, residue)
            for k, z in enumerate(numbers)
        ]
        for i, j in bonds:
            topology.addBond(atoms[i], atoms[j])
    return topology


def reordered(order):
    """Return numbers and bonds of ethanol with atom order[k] in place k."""
    place = {atom: k for k, atom in enumerate(order)}
    return tuple(NUMBERS[k] for k in order), tuple((place[i], place[j]) for i, j in BONDS)


@cache
def ethanol_in_water(n_ethanol=1, n_waters=80, constraints=app.HBonds):
    """Return topology, positions (nm) and the classical System of ethanol in rigid water."""
    pdb = app.PDBFile(str(PDB))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    for k in range(1, n_ethanol):
        shift = np.array([0.0, 0.0, 0.45 * k])
        modeller.add(pdb.topology, (geometry() / 10 + shift) * unit.nanometer)
    field = app.ForceField(str(FORCE_FIELD), "tip3p.xml")
    modeller.addSolvent(field, numAdded=n_waters)
    system = field.createSystem(
        modeller.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.55 * unit.nanometer, constraints=constraints
    )
    return modeller.topology, np.array(modeller.positions.value_in_unit(unit.nanometer)), system


def ethanol_alone():
    """Return the classical System of one ethanol molecule in vacuum; hydrogens are constrained, without bond energy."""
    return app.ForceField(str(FORCE_FIELD)).createSystem(app.PDBFile(str(PDB)).topology, constraints=app.HBonds)
