"""The LAMMPS plugin, compiled against the LAMMPS found here, and kept.

LAMMPS promises no binary interface between versions, and what includes its headers falls under its license (GPL-2). So
the plugin is compiled where it is used, from the sources that come with this package.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from openmm_kml import __version__
from openmm_kml.interfaces._lammps_installation import LAMMPSInstallation, LAMMPSPluginError, find_lammps

__all__ = ["LAMMPSInstallation", "LAMMPSPluginError", "build_plugin", "find_lammps", "input_lines"]

LIBRARY_NAME = "kmlplugin.so"  # the end of the name is what LAMMPS_PLUGIN_PATH looks for

_CORE = (
    *(f"weight_{part}.cpp" for part in ("file", "reading", "gdml", "local", "soap", "uncertainty")),
    "gdml.cpp",
    *(f"{part}_{isa}.cpp" for part in ("gdml", "environment", "soap") for isa in ("baseline", "avx2", "avx512")),
    *("local_model.cpp", "member_tables.cpp", "molecule_prior.cpp"),
    *("soap.cpp", "soap_radial.cpp", "soap_rotation.cpp", "soap_sparse.cpp", "soap_batch.cpp"),
)
_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=fast", "-Wno-psabi")
# The block kernels are vectors by hand; GCC would gather their broadcasts into shuffles, a third slower.
_KERNEL_FLAGS = ("-fno-tree-slp-vectorize",)


def build_plugin(lammps=None, output=None, compiler=None, options=(), rebuild=False):
    """Compile the plugin unless it is there already, and return its path.

    Parameters
    ----------
    lammps : LAMMPSInstallation, optional
        What `find_lammps` returned; it is called by default.
    output : path, optional
        Where to put the library. By default a folder of the user, one for each version of LAMMPS, of this package and
        of the compiler: ``$XDG_CACHE_HOME/openmm_kml/lammps``.
    compiler : str, optional
        C++ compiler; the environment's ``CXX``, or ``c++``.
    options : sequence of str
        More options of the compiler.
    rebuild : bool
        Whether to compile also where the library exists.

    Raises
    ------
    LAMMPSPluginError
        If sources or a compiler are missing, or the compilation fails; the message ends with what the compiler said.
    """
    lammps = lammps or find_lammps()
    compiler = shlex.split(compiler or os.environ.get("CXX") or "c++")
    if shutil.which(compiler[0]) is None:
        raise LAMMPSPluginError(f"there is no C++ compiler {compiler[0]!r}: install one, or name it with CXX")
    sources = _Sources.find(lammps)
    flags = [*_flags(lammps, sources), *options]
    path = Path(output) if output else _cache_folder() / _key(lammps, sources, compiler, flags) / LIBRARY_NAME
    if path.exists() and not rebuild and not output:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as folder:
        made = _compile(compiler, flags, sources, Path(folder))
        made.replace(path)
    return path.resolve()


def input_lines(path):
    """Return the two lines that an input deck of LAMMPS needs."""
    return (
        f"plugin load {deck_word(path)}",
        "pair_style kml  # then: pair_coeff * * MODEL.safetensors, and an element for each atom type",
    )


def deck_word(path):
    """Return a path as LAMMPS's decks want it: in quotes where it would fall apart."""
    name = str(path)
    return f'"{name}"' if re.search(r"[\s#&$\"']", name) else name


@dataclass(frozen=True)
class _Sources:
    """The files to compile, and the folders of their headers."""

    plugin: tuple
    core: tuple
    include: tuple

    @classmethod
    def find(cls, lammps):
        package = Path(__file__).parent.parent
        root = package / "lammps_plugin"  # installed, else a checkout
        plugin, core = root / "plugin", root / "core"
        if not plugin.is_dir():
            plugin, core = package.parent / "plugins" / "lammps", package.parent / "core"
        if not (plugin / "plugin.cpp").exists():
            raise LAMMPSPluginError(f"the sources of the plugin are missing in {root}: install openmm_kml again")
        include = (core / "include", plugin, _json_folder(root, lammps), lammps.headers, lammps.mpi_include)
        return cls(tuple(sorted(plugin.glob("*.cpp"))), tuple(core / "src" / name for name in _CORE), include)

    def content(self):
        """Yield the files that the library depends on."""
        yield from (*self.plugin, *self.core)
        for folder in self.include[:2]:
            yield from sorted(folder.rglob("*.h"))
        yield from sorted((self.core[0].parent).glob("*.h"))
        yield from sorted(self.include[3].glob("*.h"))


def _json_folder(root, lammps):
    if (root / "include" / "nlohmann" / "json.hpp").exists():
        return root / "include"
    spec = find_spec("nlohmann_json")
    if spec is not None:
        return Path(next(iter(spec.submodule_search_locations))) / "include"
    raise LAMMPSPluginError("the header nlohmann/json.hpp is missing: pip install nlohmann_json")


def _flags(lammps, sources):
    words = {
        "KML_VERSION": f'"{__version__}"',
        "KML_LAMMPS_VERSION": str(lammps.version),
        "KML_LAMMPS_GIT": json.dumps(lammps.git),
        "LAMMPS_BIGBIG" if lammps.bigbig else "LAMMPS_SMALLBIG": "1",
    }
    defined = [f"-D{name}={value}" for name, value in words.items()]
    # Its calls find the OpenMP library that LAMMPS loaded; linked into the plugin, there would be two.
    threads = ["-fopenmp"] if lammps.openmp else []
    folders = []
    for place, folder in enumerate(sources.include):
        folders += ["-I" if place < 3 else "-isystem", str(folder)]
    return [*_FLAGS, *threads, *defined, *folders]


def _compile(compiler, flags, sources, folder):
    """Compile all files and return the path of the library."""
    jobs = []
    for source in (*sources.plugin, *sources.core):
        extra = _KERNEL_FLAGS if source.stem.startswith(("gdml_", "environment_", "soap_")) else ()
        made = folder / f"{source.parent.name}_{source.stem}.o"
        jobs.append(([*compiler, *flags, *extra, "-c", str(source), "-o", str(made)], made))
    with ThreadPoolExecutor(max(1, min(4, len(os.sched_getaffinity(0))))) as pool:
        list(pool.map(_run, (command for command, _ in jobs)))
    library = folder / LIBRARY_NAME
    _run([*compiler, "-shared", *(str(made) for _, made in jobs), "-o", str(library)])
    return library


def _run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LAMMPSPluginError(
            f"the plugin does not compile; the command was\n{shlex.join(command)}\n{done.stderr.strip()[-3000:]}"
        )


def _cache_folder():
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return folder / "openmm_kml" / "lammps"


def _key(lammps, sources, compiler, flags):
    """Return a folder's name: readable, and different whenever the library would be."""
    digest = hashlib.sha256()
    said = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False).stdout
    digest.update(json.dumps([flags, compiler, said]).encode())
    for path in sources.content():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    git = re.sub(r"[^A-Za-z0-9_.-]+", "", lammps.git)
    return f"{lammps.version}-{git or 'unknown'}-{digest.hexdigest()[:12]}"
