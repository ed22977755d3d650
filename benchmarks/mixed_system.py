"""What a trained solute costs in classical water: ethanol in 2,000 TIP3P molecules on OpenMM's CPU platform.

    python benchmarks/mixed_system.py ethanol.safetensors [--waters 2000] [--threads N] [--rounds 20] [--json FILE]

Three things take turns: Langevin steps of the mixed System (openmm-ml's mechanical embedding), the same steps of the
classical System, and evaluations of the model's force group alone in the Context of the mixed System, less those of an
empty group. The last is the model's part of a step; the difference of the first two also holds the bonded terms that
the model replaced, and the noise of two long numbers. Medians over the rounds.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from openmmml import MLPotential

DATA = Path(__file__).parents[1] / "examples" / "data"
MODEL_GROUP, EMPTY_GROUP = 1, 2
STEPS = 10  # in each round
EVALUATIONS = 100


def systems(model, n_waters):
    """Return the positions and the two Systems: mixed, with the model in a force group of its own, and classical."""
    pdb = app.PDBFile(str(DATA / "ethanol.pdb"))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    forcefield = app.ForceField(str(DATA / "ethanol_opls.xml"), "tip3p.xml")
    modeller.addSolvent(forcefield, numAdded=n_waters)
    classical = forcefield.createSystem(
        modeller.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.9 * unit.nanometer, rigidWater=True
    )
    solute = [atom.index for atom in modeller.topology.atoms() if atom.residue.name == "ETH"]
    mixed = MLPotential("kml", model=str(model)).createMixedSystem(
        modeller.topology, classical, solute, forceGroup=MODEL_GROUP, positions=modeller.positions
    )
    return modeller.positions, {"mixed": mixed, "classical": classical}


def context_for(system, positions, threads):
    """Return a Context at 300 K, relaxed."""
    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond)
    integrator.setRandomNumberSeed(1)
    properties = {} if threads is None else {"Threads": str(threads)}
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"), properties)
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=50)
    context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
    integrator.step(20)
    return context


def timed(function, repetitions):
    """Return the microseconds of one repetition."""
    start = time.perf_counter()
    function(repetitions)
    return 1e6 * (time.perf_counter() - start) / repetitions


def measure(contexts, rounds):
    """Return microseconds: medians over the rounds, by name."""

    def forces_of(group):
        def run(n):
            for _ in range(n):
                contexts["mixed"].getState(energy=True, forces=True, groups={group})

        return run

    runs = {f"step, {name}": (context.getIntegrator().step, STEPS) for name, context in contexts.items()}
    runs["model's group"] = (forces_of(MODEL_GROUP), EVALUATIONS)
    runs["empty group"] = (forces_of(EMPTY_GROUP), EVALUATIONS)
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (function, repetitions) in runs.items():
            times[name].append(timed(function, repetitions))
    return {name: float(np.median(values)) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="weight file of ethanol")
    parser.add_argument("--waters", type=int, default=2000)
    parser.add_argument("--threads", type=int, help="of the CPU platform (default: all cores)")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    positions, both = systems(options.model, options.waters)
    contexts = {name: context_for(system, positions, options.threads) for name, system in both.items()}
    results = measure(contexts, options.rounds)
    part = results["model's group"] - results["empty group"]
    results |= {"model": part, "fraction": part / results["step, mixed"]}
    mixed, classical = results["step, mixed"], results["step, classical"]
    print(f"ethanol in {options.waters} TIP3P molecules, {both['mixed'].getNumParticles()} atoms, CPU platform")
    print(f"  step of the mixed System      {mixed:9.0f} µs   {43200 / mixed:.1f} ns/day at 0.5 fs")
    print(f"  step of the classical System  {classical:9.0f} µs   {43200 / classical:.1f} ns/day at 0.5 fs")
    print(f"  model's part of a step        {part:9.0f} µs   {100 * results['fraction']:.2f} % of the mixed step")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
