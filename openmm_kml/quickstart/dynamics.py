"""The two runs of the quickstart, by the functions of the script that it leaves behind."""

import io
import time
from dataclasses import dataclass

import numpy as np
import openmm
from openmm import app, unit

from openmm_kml import units
from openmm_kml.md.start import molecule_topology
from openmm_kml.quickstart import simulate


@dataclass(frozen=True)
class Run:
    """What one simulation gave.

    Attributes
    ----------
    time : ndarray of shape (T,), ps
    potential, kinetic : ndarrays of shape (T,), eV
    temperature : ndarray of shape (T,), K
    positions : ndarray of shape (T, n, 3), Å
    nanoseconds_per_day : float
        With the writing of the trajectory.
    """

    time: np.ndarray
    potential: np.ndarray
    kinetic: np.ndarray
    temperature: np.ndarray
    positions: np.ndarray
    nanoseconds_per_day: float


def write_start(path, numbers, positions, pairs, name):
    """Write atoms, bonds and positions as a PDB file.

    Parameters
    ----------
    path : path-like
    numbers : ndarray of int, shape (n,)
    positions : ndarray of shape (n, 3), Å
    pairs : list of (int, int)
        Bonds.
    name : str
        Name of the residue; three letters of it are used.
    """
    topology = molecule_topology(numbers, pairs, residue=name[:3].upper())
    text = io.StringIO()
    app.PDBFile.writeFile(topology, positions * unit.angstrom, text)
    path.write_text(text.getvalue(), encoding="utf-8")


def langevin_and_nve(model, start, directory, temperature, picoseconds, seed):
    """Run Langevin dynamics and, from its end, dynamics at constant energy.

    Parameters
    ----------
    model, start : path
        Weight file and PDB file.
    directory : path
        Where ``langevin.dcd``, ``langevin.csv``, ``nve.dcd`` and ``nve.csv`` are written.
    temperature : float, K
    picoseconds : float
        Length of each run.
    seed : int

    Returns
    -------
    langevin, nve : Run
    """
    n_steps = max(simulate.INTERVAL * 20, round(picoseconds * unit.picosecond / simulate.TIMESTEP))
    # OpenMM's seeds have 32 bits, and zero means "choose one".
    simulation = simulate.build_simulation(model, start, temperature * unit.kelvin, 1 + seed % (2**31 - 1))
    langevin = _recorded(simulation, n_steps, directory / "langevin")
    nve = _recorded(simulate.at_constant_energy(simulation), n_steps, directory / "nve")
    return langevin, nve


def _recorded(simulation, n_steps, output):
    frames = _Frames(simulate.INTERVAL)
    simulation.reporters.append(frames)
    started = time.perf_counter()
    simulate.record(simulation, n_steps, output)
    seconds = time.perf_counter() - started
    table = np.genfromtxt(output.with_suffix(".csv"), delimiter=",", names=True)
    names = {name.split("_")[0].lower(): name for name in table.dtype.names}
    simulated = n_steps * simulate.TIMESTEP.value_in_unit(unit.nanosecond)
    run = Run(
        time=table[names["time"]],
        potential=table[names["potential"]] * units.KJ_PER_MOL,
        kinetic=table[names["kinetic"]] * units.KJ_PER_MOL,
        temperature=table[names["temperature"]],
        positions=np.array(frames.positions),
        nanoseconds_per_day=simulated * 86400 / seconds,
    )
    if not all(np.isfinite(values).all() for values in (run.potential, run.kinetic, run.positions)):
        raise openmm.OpenMMException("the simulation blew up: energies are not finite; train on more frames")
    return run


class _Frames:
    """An OpenMM reporter that keeps the positions, Å."""

    def __init__(self, interval):
        self.interval = interval
        self.positions = []

    def describeNextReport(self, simulation):
        steps = self.interval - simulation.currentStep % self.interval
        return {"steps": steps, "periodic": None, "include": ["positions"]}

    def report(self, _simulation, state):
        self.positions.append(state.getPositions(asNumpy=True).value_in_unit(unit.angstrom))
