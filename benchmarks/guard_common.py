"""What the benchmarks of guards and priors share: contexts, ends of runs, ethanol by DFT with and without priors."""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm
from openmm import unit

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from trained import DATA, OPTIONS, SYMMETRIES

from openmm_kml.bonds import bonds_from_positions, covalent_sums
from openmm_kml.doubt import AUTO_FACTOR, usual_doubt
from openmm_kml.files import write_atomically
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import read_molecules, split
from openmm_kml.training import GDMLOptions, fit_gdml
from openmm_kml.weights import to_bytes

MASSES = {1: 1.008, 6: 12.011, 8: 15.999, 14: 28.085, 29: 63.546}
FUSED = 0.4  # of the sum of covalent radii
APART = 12.0  # Å, of two atoms


def dynamics(forces, numbers, start, cell, temperature, time_step, seed, platform="Reference"):
    """Return a Context of Langevin dynamics (5/ps) under some Forces, with velocities."""
    system = openmm.System()
    for z in numbers:
        system.addParticle(MASSES[int(z)])
    if cell is not None:
        system.setDefaultPeriodicBoxVectors(*(cell * 0.1))
    for force in forces:
        system.addForce(force)
    integrator = openmm.LangevinMiddleIntegrator(temperature, 5.0, time_step * 1e-3)
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
    context.setPositions(start * 0.1)
    context.setVelocitiesToTemperature(temperature, seed)
    return context


def positions_of(context):
    return context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.angstrom)


def sample(context, n, every):
    """Return n frames of a run, shape (n, n_atoms, 3), Å."""
    frames = []
    for _ in range(n):
        context.getIntegrator().step(every)
        frames.append(positions_of(context))
    return np.array(frames)


def gdml_fit(train, validation, **changes):
    """Return a `GDMLFit` with the hyperparameters that suit ethanol."""
    return fit_gdml(
        train, validation, GDMLOptions(**OPTIONS, symmetries=SYMMETRIES, n_threads=1, progress=False, **changes)
    )


def lean(weights, *kinds):
    """Return the potential of some of a model's terms, without its uncertainty: it runs faster."""
    none = dict.fromkeys(("explained_descriptor_coefficients", "explained_energy_coefficients", "prior_variance"))
    terms = [replace(t, **none) if t.kind == "gdml" else t for t in weights.terms if t.kind in ("gdml", *kinds)]
    return KernelPotential.from_bytes(to_bytes(replace(weights, uncertainty=None, terms=tuple(terms))))


class Ethanol:
    """Ethanol by DFT at 500 K, its model, and what is told from positions."""

    def __init__(self, n_frames):
        self.train, self.validation, self.test = split(read_molecules(DATA), n_frames, 30, 40, seed=0)
        self.fit = gdml_fit(self.train, self.validation)
        self.whole, self.threshold = self.watched(self.fit.weights, self.test)
        self.numbers = np.array(self.train.numbers)
        self.start = self.train.positions[np.argmin(self.train.energies)]
        self.pairs = np.triu_indices(len(self.start), 1)
        self.sums = covalent_sums(self.numbers)[self.pairs]
        self.bonds = bonds_from_positions(self.numbers, self.start)
        print(f"ethanol by DFT, {n_frames} frames: {self.fit.report['validation_errors']}", flush=True)

    @staticmethod
    def watched(weights, test):
        """Return the potential with its uncertainty, and the threshold that is ``auto``."""
        potential = KernelPotential.from_bytes(to_bytes(weights))
        usual = usual_doubt(potential, ((r, None, None) for r in test.positions))["uncertainty"]
        return potential, AUTO_FACTOR * usual["largest"]

    def distances(self, positions):
        """Return the distances of all pairs of atoms, Å."""
        return np.linalg.norm(positions[self.pairs[0]] - positions[self.pairs[1]], axis=1)

    def has_fused(self, positions):
        return bool((self.distances(positions) < FUSED * self.sums).any())

    def is_whole(self, positions):
        return bonds_from_positions(self.numbers, positions) == self.bonds


def study_parser(description, frames, runs):
    """Return the parser of what the studies share.

    Parameters
    ----------
    description : str
    frames : int
        For training, of ethanol.
    runs : str
        What there are six runs of.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=frames, help="training frames of ethanol")
    parser.add_argument("--runs", type=int, default=6, help=f"of each {runs}")
    parser.add_argument("--output", type=Path, help="a JSON file for the numbers")
    return parser


def write_results(cases, options):
    """Run functions of the options by name, and write what they return after each."""
    results, began = {}, time.perf_counter()
    for name, case in cases.items():
        results[name] = case(options)
        print(f"({time.perf_counter() - began:.0f} s)", flush=True)
        if options.output:
            write_atomically(options.output, json.dumps(results, indent=1).encode())
