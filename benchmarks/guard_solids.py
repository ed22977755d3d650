"""Silicon and copper with a cheap truth, and their models with and without repulsion, for the benchmarks of guards."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT
from guard_common import dynamics, positions_of, sample

from openmm_kml.doubt import AUTO_FACTOR, usual_doubt
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import Structure, StructureSet
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.weights import to_bytes

from local_models import diamond  # isort: skip  (guard_common puts its folder on the path)
from stillinger_weber import spline_model  # isort: skip

TEMPERATURES = ((300.0, 1.0), (600.0, 1.0), (600.0, 0.99), (600.0, 1.01))  # of the data: K, edges of the cell
COPPER_EDGE = 3.61  # Å


@dataclass
class Solid:
    """A crystal, its truth, and models of some frames at 300 and 600 K."""

    name: str
    numbers: np.ndarray
    start: np.ndarray  # Å
    cell: np.ndarray
    truth: object  # positions, cell -> energy, forces and virial; eV, eV/Å
    models: dict  # name -> KernelPotential
    usual: dict  # name -> largest uncertainty of the frames held out, eV
    held_out: list  # frames that no model was trained on
    crystal_energy: float = 0.0  # by the truth, of an undriven run at 300 K, eV an atom

    @property
    def bond(self):
        """Two nearest neighbors."""
        distances = np.linalg.norm(self.start - self.start[0], axis=1)
        return 0, int(np.argmin(np.where(distances > 0, distances, np.inf)))

    def watched(self, prior):
        """Return the potential whose uncertainty tells whether a run is back, and the threshold that is ``auto``."""
        name = prior if prior in self.usual else "repulsion"
        return self.models[name], AUTO_FACTOR * self.usual[name]


def emt(positions, cell, numbers):
    """Return energy, forces and virial by ASE's effective medium theory; eV, eV/Å."""
    atoms = Atoms(numbers, positions, cell=cell, pbc=True, calculator=EMT())
    return atoms.get_potential_energy(), atoms.get_forces(), -atoms.get_stress(voigt=False) * atoms.get_volume()


def silicon():
    """Return 64 atoms of silicon by Stillinger and Weber."""
    reference = KernelPotential.from_bytes(to_bytes(spline_model()))
    start, cell = diamond(5.43, 2)
    numbers = np.full(len(start), 14)

    def truth(positions, box):
        return reference.evaluate(positions, numbers, box)[:3]

    solid = trained(Solid("silicon", numbers, start, cell, truth, {}, {}, []), reference, cutoff3=3.75)
    solid.models["truth"] = reference
    return solid


def copper():
    """Return 32 atoms of copper by effective medium theory."""
    lattice = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    start, cell = COPPER_EDGE * (lattice + fcc).reshape(-1, 3), 2 * COPPER_EDGE * np.eye(3)
    numbers = np.full(len(start), 29)

    def truth(positions, box):
        return emt(positions, box, numbers)

    return trained(Solid("copper", numbers, start, cell, truth, {}, {}, []), None, cutoff3=3.6)


def trained(solid, sampler, **options):
    """Return a solid with its models: frames of dynamics under `sampler`, or of random displacements without one."""
    rng, frames = np.random.default_rng(0), []
    for temperature, edge in TEMPERATURES:
        box = edge * solid.cell
        if sampler is None:
            spread = 0.075 * np.sqrt(temperature / 300)  # Å, about that of copper's atoms
            moved = edge * solid.start + rng.normal(0, spread, (12, *solid.start.shape))
        else:
            force = KMLForce(sampler, numbers=solid.numbers.tolist(), periodic=True)
            context = dynamics([force], solid.numbers, edge * solid.start, box, temperature, 2.0, 3)
            moved = sample(context, 12, 100)
        frames += [Structure(solid.numbers, r, box, True, *solid.truth(r, box)) for r in moved]
    order = np.random.default_rng(0).permutation(len(frames))
    data = StructureSet([frames[k] for k in order], solid.name)
    solid.held_out = list(data[38:])
    for prior, repulsion in (("none", False), ("repulsion", True)):
        fit = fit_nbody(data[:28], data[28:38], NBodyOptions(repulsion=repulsion, progress=False, **options))
        model = KernelPotential.from_bytes(to_bytes(fit.weights))
        usual = usual_doubt(model, ((f.positions, f.numbers, f.cell) for f in solid.held_out))["uncertainty"]
        solid.models[prior], solid.usual[prior] = model, usual["largest"]
        print(f"{solid.name}, {prior}: {fit.report['validation_errors']}\n  usual uncertainty {usual}", flush=True)
    solid.crystal_energy = resting_energy(solid)
    return solid


def resting_energy(solid):
    """Return the true energy of an undriven run at 300 K, eV an atom."""
    force = KMLForce(solid.models["repulsion"], numbers=solid.numbers.tolist(), periodic=True)
    context = dynamics([force], solid.numbers, solid.start, solid.cell, 300.0, 1.0, 1)
    energies = []
    for step in range(2000):
        context.getIntegrator().step(1)
        if step >= 1000 and step % 20 == 0:
            energies.append(solid.truth(positions_of(context), solid.cell)[0])
    return float(np.mean(energies)) / len(solid.numbers)


def squeeze(context, box):
    """Set the box, and scale the positions with it."""
    old = context.getState(positions=True)
    ratio = 0.1 * box[0, 0] / old.getPeriodicBoxVectors(asNumpy=True)._value[0, 0]
    context.setPeriodicBoxVectors(*(0.1 * box))
    context.setPositions(old.getPositions(asNumpy=True) * ratio)
