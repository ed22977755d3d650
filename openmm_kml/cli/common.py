"""What the commands share: options, checks of output files, tables."""

import argparse
import contextlib
import json
import re
import shlex
import sys
import tempfile
from pathlib import Path

_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SHOWN = ("energy_mae", "energy_rmse", "energy_mae_per_atom", "forces_mae", "forces_rmse")
ERROR_KEYS = {*_SHOWN, "n_structures"}  # of `openmm_kml.metrics.errors`
OUTPUT_OPTIONS = ("-o", "--output", "--json", "--checkpoint")
_BATCH = 500  # frames between two looks at the progress


def add_command(subparsers, name, run, summary, example, description=None):
    """Return a new parser of a command whose help ends with a real example."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=description or summary[0].upper() + summary[1:] + ".",
        epilog="example:\n" + "\n".join("  " + line for line in example.splitlines()),
        formatter_class=_HelpFormatter,
        allow_abbrev=False,  # a new option must not change what an old command means
    )
    parser.set_defaults(run=run)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def add_data_options(parser):
    """Add the options that say how a file of reference data is to be read; return their group."""
    group = parser.add_argument_group("reading the data")
    group.add_argument("--energy-unit", metavar="UNIT", type=energy_unit, help="unit of the energies, e.g. kcal/mol")
    group.add_argument("--length-unit", metavar="UNIT", type=length_unit, help="unit of the positions, e.g. bohr")
    group.add_argument("--energy-key", metavar="NAME", help="name of the energy, where the file has several")
    group.add_argument("--forces-key", metavar="NAME", help="name of the forces, where the file has several")
    return group


def add_json_option(parser):
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the numbers to this file, for programs")


def add_threads_option(parser, default="all cores"):
    parser.add_argument("--threads", metavar="N", type=positive_int, help=f"number of threads (default: {default})")


def read_data(args):
    """Return the `MoleculeSet` of ``args.data``."""
    from openmm_kml.structures import read_molecules

    return read_molecules(
        args.data,
        args.energy_unit,
        args.length_unit,
        energy_key=args.energy_key,
        forces_key=args.forces_key,
        progress=not getattr(args, "quiet", False),
    )


def evaluate(potential, molecules, n_threads=None, progress=True):
    """Return the energies and forces of a potential on all frames of a set, after checking that the atoms agree."""
    import numpy as np
    from tqdm import tqdm

    from openmm_kml.errors import DataError
    from openmm_kml.structures import formula

    species = potential.species
    if species is not None and list(species) != list(molecules.numbers):
        raise DataError(
            f"the model is for the atoms {formula(species)} in this order, but the data have {molecules.formula}; "
            "give it data of its own molecule"
        )
    starts = range(0, len(molecules), _BATCH)
    energies, forces = np.empty(len(molecules)), np.empty(molecules.positions.shape)
    for start in tqdm(starts, "evaluating", disable=not progress, delay=2.0, leave=False, dynamic_ncols=True):
        part = slice(start, start + _BATCH)
        energies[part], forces[part], _ = potential.evaluate_batch(molecules.positions[part], n_threads=n_threads)
    return energies, forces


def evaluate_structures(potential, structures, n_threads=None, progress=True):
    """Return (energy, forces, virial) of a potential for each structure of a set."""
    from tqdm import tqdm

    frames = tqdm(structures, "evaluating", disable=not progress, delay=2.0, leave=False, dynamic_ncols=True)
    return [
        tuple(potential.evaluate(frame.positions, frame.numbers, frame.cell, frame.pbc, n_threads)[:3])
        for frame in frames
    ]


def section(provenance, name):
    """Return a part of the provenance of a weight file; empty if it is absent or not what this program writes."""
    part = provenance.get(name)
    return part if isinstance(part, dict) else {}


def check_outputs(outputs, inputs=()):
    """Raise an error unless each output of a command can be written, to a file of its own; nothing is left behind.

    Parameters
    ----------
    outputs : dict
        What it is -> path, or None where it is not wanted.
    inputs : iterable of path or None
        Files that the command reads: no output may replace them.

    Raises
    ------
    ValueError
        If an output is also an input or another output, is a directory or a device, or its directory is missing or
        does not let a file be made.
    """
    taken = {path.resolve(): "an input" for path in inputs if path is not None}
    for what, path in outputs.items():
        if path is None:
            continue
        _check_output(path, what)
        place = path.resolve()
        if place in taken:
            raise ValueError(f"{path} is {taken[place]}, too; name another file for the {what}")
        taken[place] = f"the {what}"


def _check_output(path, what):
    if path.is_dir():
        raise ValueError(f"{path} is a directory; name a file for the {what}")
    # A finished file is renamed into its place, which would put a plain file where the device was.
    if path.parent.resolve() == Path("/dev") or (path.exists() and not path.is_file()):
        raise ValueError(f"{path} is a device or a pipe, which cannot be replaced; name a plain file for the {what}")
    if not path.parent.is_dir():
        raise ValueError(f"the {what} {path} cannot be written: there is no directory {path.parent}; create it first")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"the {what} {path} cannot be written: {reason} in {path.parent.resolve()}") from None


def check_picture(path):
    """Raise `ValueError` if a picture cannot be written under this name; do nothing without one."""
    if path is not None:
        from openmm_kml.plots import check_format

        check_format(path)


def command_record(args, inputs=()):
    """Return the command for the record, without directories and outputs: they are not part of the model.

    Parameters
    ----------
    args : argparse.Namespace
        With ``argv`` and ``data``.
    inputs : iterable of path or None
        Further files that the command reads.
    """
    names = {Path(path) for path in (args.data, *inputs) if path is not None}
    words, skip = ["kml"], False
    for word in args.argv:
        if skip or word.split("=")[0] in OUTPUT_OPTIONS:
            skip = not skip and "=" not in word
            continue
        if word.startswith("-o"):  # and the name without a blank
            continue
        words.append(Path(word).name if Path(word) in names else word)
    return shlex.join(words)


def write_json(path, content):
    """Write plain JSON to a temporary name and rename it; without a path, do nothing."""
    if path is None:
        return
    from openmm_kml.files import write_atomically

    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False, default=_plain)
    write_atomically(path, (text + "\n").encode())


def print_errors(rows):
    """Print a table of errors: (name, dict of `openmm_kml.metrics.errors`) in meV and meV/Å."""
    header = ("", "frames", "energy MAE", "energy RMSE", "per atom", "force MAE", "force RMSE")
    unit = ("", "", "meV", "meV", "meV", "meV/Å", "meV/Å")
    lines = [(name, str(errors["n_structures"]), *(_milli(errors[key]) for key in _SHOWN)) for name, errors in rows]
    print_table([header, unit, *lines])


def print_symmetries(symmetries):
    """Print what `openmm_kml.training.permutations.describe_group` tells of a permutation group."""
    count = symmetries["n_permutations"]
    if count == 1:
        print("  symmetries      none: no two atoms exchange")
        return
    print(f"  symmetries      {count} permutations: {'; '.join(symmetries['exchanges'])}")
    print(f"                  generated by {', '.join(symmetries['generators'])}")


def print_table(rows):
    """Print rows of text with aligned columns, the first to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())


def warn(text):
    """Print a warning on standard error."""
    print(f"kml: warning: {text}", file=sys.stderr)


def positive_int(text):
    return _number(text, int, lambda value: value >= 1, "a whole number above zero")


def natural(text):
    return _number(text, int, lambda value: value >= 0, "zero or a whole number above it")


def positive_float(text):
    return _number(text, float, lambda value: 0 < value < float("inf"), "a number above zero")


def int_list(text):
    """Return ``50,100,200`` as numbers."""
    return _number(text, lambda words: [natural(word) for word in words.split(",")], bool, "a list of whole numbers")


def _number(text, convert, accept, what):
    with contextlib.suppress(ValueError, argparse.ArgumentTypeError):
        value = convert(text)
        if accept(value):
            return value
    raise argparse.ArgumentTypeError(f"{text} is not {what}")


def byte_size(text):
    """Return ``4GB``, ``512MiB`` or a plain number as bytes."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?i?)b?\s*", text, re.IGNORECASE)
    with contextlib.suppress(ValueError, KeyError, TypeError):  # no match, no such unit
        size = int(float(match[1]) * _SIZES[match[2].lower()])
        if size > 0:
            return size
    raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 4GB or 512MiB")


def energy_unit(text):
    from openmm_kml import units

    return _unit(text, units.energy_unit)


def length_unit(text):
    from openmm_kml import units

    return _unit(text, units.length_unit)


def _unit(text, canonical):
    try:
        return canonical(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _milli(value):
    return "-" if value is None else f"{1e3 * value:.2f}"


def _plain(value):
    """Return NumPy scalars and arrays as plain numbers and lists, for JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog):
        super().__init__(prog, max_help_position=32, width=110)
