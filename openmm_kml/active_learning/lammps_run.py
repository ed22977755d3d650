"""One run of exploration in LAMMPS: a deck in a folder of its own, and the frames that its dump holds."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
from ase.data import atomic_masses

from openmm_kml.elements import symbol
from openmm_kml.errors import DataError
from openmm_kml.interfaces._lammps_installation import lammps_environment, lammps_program
from openmm_kml.interfaces.lammps import LAMMPSPluginError, build_plugin, deck_word, find_lammps, input_lines
from openmm_kml.md.guard import Guard
from openmm_kml.md.system import degrees_of_freedom
from openmm_kml.structures import Structure

_LARGEST_SEED = 900_000_000
_BAROSTAT = 1.0  # ps
_DUMP, _ENERGIES, _LOG = "frames.dump", "energies.txt", "log.lammps"


class LAMMPSRun:
    """A run of LAMMPS, which is over before the first frame is looked at, and its guard.

    Parameters
    ----------
    model : path
        Weight file.
    start : openmm_kml.md.start.Start
    chosen : openmm_kml.md.settings.Settings
        Of this run.
    molecule : bool
        Whether the model is of one molecule, which ``fix kml/global`` runs.
    bound : float, eV
        Standard deviation of an atom's energy above which LAMMPS halts; infinite where it cannot know it.
    folder : path
        Made anew.
    """

    def __init__(self, model, start, chosen, molecule, bound, folder):
        self._start, self._folder = start, Path(folder)
        masses = atomic_masses[start.numbers]
        guard_dof = degrees_of_freedom(len(masses), chosen.ensemble)
        self._guard = Guard(start, masses, guard_dof, chosen, molecule)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        (self._folder / "data").write_text(data_text(start))
        (self._folder / "deck").write_text(deck_text(os.path.relpath(model, folder), start, chosen, molecule, bound))
        self._complaint = self._run()
        self._step, self._frames = 0, self._read()

    def advance(self):
        """Go on to the next look; return the step, what is wrong or None, the structure, and its energy in eV."""
        step, positions, velocities, box, energy = next(self._frames, (self._step, None, None, None, None))
        self._step = step
        if positions is None:
            return step, self._complaint or "LAMMPS stopped", None, None
        complaint = self._guard.complaint(positions, velocities, energy, box)
        if complaint is not None:
            return step, complaint, None, None
        return step, None, Structure(self._start.numbers, positions, box), energy

    def _run(self):
        """Run LAMMPS; return what it complained of, or None."""
        command = [lammps_program(), "-in", "deck", "-log", _LOG, "-screen", "none", "-nocite"]
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=lammps_environment() | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            return None
        log = self._folder / _LOG
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        errors = [line for line in lines if line.startswith("ERROR")]
        reason = errors[0] if errors else done.stderr.decode(errors="replace").strip()[-200:]
        if not (self._folder / _DUMP).exists():  # not the dynamics, but the deck is at fault
            raise DataError(f"LAMMPS does not run {self._folder / 'deck'}: {reason}")
        return f"LAMMPS stopped: {reason}"

    def _read(self):
        """Yield step, positions in Å, velocities in nm/ps, box and energy of each frame but the first."""
        path = self._folder / _ENERGIES
        rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        energies = {int(row[0]): float(row[1]) for row in rows if len(row) == 2 and not row[0].startswith("#")}
        for text in (self._folder / _DUMP).read_text().split("ITEM: TIMESTEP\n")[2:]:
            head, _, rows = text.partition("ITEM: ATOMS")
            step = int(head.split(None, 1)[0])
            table = np.array([line.split() for line in rows.splitlines()[1:]], dtype=float)
            if len(table) != len(self._start.numbers) or step not in energies:
                return  # what LAMMPS left when it stopped
            box = None if self._start.box is None else _box(head)
            yield step, table[:, 1:4], table[:, 4:7] * 0.1, box, energies[step]


def check_lammps():
    """Return the line of a deck that loads the plugin, which is compiled where it is not there yet.

    Raises
    ------
    DataError
        If there is no LAMMPS, or the plugin cannot be compiled for it; the message says what to install.
    """
    try:
        lammps_program()
        return _plugin_line()
    except LAMMPSPluginError as error:
        reason = str(error).partition("; the command was")[0]
        raise DataError(f"exploring needs LAMMPS and its plugin, but {reason} (kml lammps-plugin tells more)") from None


@cache
def _plugin_line():
    return input_lines(build_plugin(find_lammps()))[0]


def data_text(start):
    """Return the data file of a start: its box, masses and atoms; types are its elements in ascending order."""
    elements = np.unique(start.numbers)
    positions, box = start.positions, start.box
    if box is None:  # the deck lets it grow
        box = np.diag(np.ptp(positions, axis=0) + 20.0)
        positions = positions - positions.min(axis=0) + 10.0
    lines = ["", "", f"{len(positions)} atoms", f"{len(elements)} atom types"]
    lines += [f"0 {box[k, k]:.17g} {axis}lo {axis}hi" for k, axis in enumerate("xyz")]
    lines += [f"{box[1, 0]:.17g} {box[2, 0]:.17g} {box[2, 1]:.17g} xy xz yz", "", "Masses", ""]
    lines += [f"{k} {atomic_masses[z]:.17g}" for k, z in enumerate(elements, 1)]
    lines += ["", "Atoms # atomic", ""]
    for k, (number, (x, y, z)) in enumerate(zip(start.numbers, positions, strict=True), 1):
        lines.append(f"{k} {np.searchsorted(elements, number) + 1} {x:.17g} {y:.17g} {z:.17g}")
    return "\n".join(lines) + "\n"


def deck_text(model, start, chosen, molecule, bound):
    """Return the deck of a run.

    Parameters
    ----------
    model : str
        Weight file, as seen from the folder of the run.
    start, chosen, molecule, bound
        As in `LAMMPSRun`.
    """
    words = f"{deck_word(model)} {' '.join(symbol(z) for z in np.unique(start.numbers))}"
    interval, kelvin, seed = chosen.interval, chosen.temperature, chosen.seed % _LARGEST_SEED + 1
    lines = [check_lammps(), "units metal", "atom_modify map yes"]
    lines += [f"boundary {'m m m' if start.box is None else 'p p p'}", "box tilt large", "read_data data"]
    if molecule:
        lines += ["pair_style zero 3.0", "pair_coeff * *", f"fix model all kml/global {words}"]
    else:
        lines += ["pair_style kml", f"pair_coeff * * {words}"]
    move = f"nph iso {chosen.pressure:.17g} {chosen.pressure:.17g} {_BAROSTAT}" if chosen.ensemble == "npt" else "nve"
    lines += [
        f"velocity all create {kelvin:.17g} {seed} mom no rot no dist gaussian loop all",
        f"timestep {1e-3 * chosen.timestep:.17g}",
        f"fix move all {move}",
        f"fix bath all langevin {kelvin:.17g} {kelvin:.17g} {1 / chosen.friction:.17g} {seed}",
        f"dump frames all custom {interval} {_DUMP} id x y z vx vy vz",
        "dump_modify frames sort id format float %.17g flush yes",
        "variable now equal step",
        "variable energy equal pe",
        f'fix energies all print {interval} "${{now}} ${{energy}}" file {_ENERGIES} screen no',
    ]
    if np.isfinite(bound):
        lines += [
            f"fix std all pair {interval} kml uncertainty 1",
            "compute most all reduce max f_std",
            "variable most equal c_most",
            f"fix guard all halt {interval} v_most > {bound:.17g} error soft message no",
        ]
    return "\n".join(
        [*lines, "thermo_style custom step temp pe press", f"thermo {interval}", f"run {chosen.steps}", ""]
    )


def _box(head):
    """Return the box vectors of a frame's header, Å; its bounds are those of a box around them."""
    lines = head.split("ITEM: BOX BOUNDS")[1].splitlines()
    bounds = np.array([line.split() for line in lines[1:4]], dtype=float)
    xy, xz, yz = bounds[:, 2] if bounds.shape[1] == 3 else (0.0, 0.0, 0.0)
    (xlo, xhi), (ylo, yhi), (zlo, zhi) = bounds[:, :2]
    lx = xhi - xlo - (max(0.0, xy, xz, xy + xz) - min(0.0, xy, xz, xy + xz))
    ly = yhi - ylo - (max(0.0, yz) - min(0.0, yz))
    return np.array([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, zhi - zlo]])
