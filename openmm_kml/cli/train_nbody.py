"""``kml train nbody``: train two- and three-body functions of any structure."""

import dataclasses
from pathlib import Path

from openmm_kml.cli.common import (
    add_command,
    add_json_option,
    check_outputs,
    command_record,
    natural,
    positive_int,
    print_errors,
    warn,
    write_json,
)
from openmm_kml.cli.nbody_options import (
    add_nbody_options,
    add_structure_options,
    nbody_options,
    read_structure_data,
)

_TENTH = 10


def add_nbody_parser(kinds):
    parser = add_command(
        kinds,
        "nbody",
        run,
        "train two- and three-body functions of periodic or free structures",
        "kml train nbody silicon.xyz -o silicon.safetensors --cutoff2 6 --cutoff3 3.5\n"
        "kml train nbody beads.xyz -o beads.safetensors --forces-only --no-repulsion --cutoff2 10 --cutoff3 8",
        "Train two- and three-body functions, for crystals, melts, liquids and beads, on energies, forces and virials, "
        "and test them on frames that the training has not seen. They run as splines.",
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="extended XYZ, or any format ASE reads, or .npz")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL", help="weight file (replaced)")
    parser.add_argument("--n-train", type=positive_int, metavar="N", help="frames to train on (default: the rest)")
    parser.add_argument(
        "--n-valid",
        type=natural,
        metavar="N",
        help="validation frames (default: a tenth with --selection validation, else none)",
    )
    parser.add_argument("--n-test", type=natural, metavar="N", help="frames to test on (default: a tenth)")
    add_nbody_options(parser)
    add_structure_options(parser)
    add_json_option(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars, print the errors only")


def run(args):
    check_outputs({"weight file": args.output, "report": args.json}, (args.data,))
    structures = read_structure_data(args)
    options = nbody_options(args)
    train, validation, test = _split(args, structures)
    say = (lambda _: None) if args.quiet else (lambda text: print(text, flush=True))
    say(
        f"{args.data}: {structures.describe()}; {len(train)} frames for training, {len(validation)} for validation, "
        f"{len(test)} for the test"
    )

    from openmm_kml.training.nbody import fit_nbody
    from openmm_kml.training.nbody.trainer import reference_errors
    from openmm_kml.weights import save

    fit = fit_nbody(train, validation, options)
    for note in fit.report["notes"]:
        warn(note)
    if not args.quiet:
        print_choice(fit.report)
    measured = {}
    if len(validation):
        measured["validation"] = fit.report["validation_errors"]
    if len(test):
        measured["test"] = reference_errors(fit.weights, test)
    split = {"n_train": len(train), "n_validation": len(validation), "n_test": len(test), "seed": args.seed}
    provenance = {
        **fit.weights.provenance,
        "command": command_record(args),
        "data": {"name": structures.name, "digest": structures.digest, "frames": len(structures)},
        "split": split,
        "errors": measured,
    }
    save(dataclasses.replace(fit.weights, provenance=provenance), args.output)
    write_json(args.json, {"model": str(args.output), "errors": measured, "split": split, **fit.report})
    if measured:
        print_errors(list(measured.items()))
    say(f"\nwrote {args.output}. Next:")
    say(f"  kml info {args.output} --plot functions.png")
    say(f"  kml test {args.output} {args.data} --held-out --plot parity.png")


def _split(args, structures):
    """Return the training, validation and test sets that the options ask for."""
    from openmm_kml.structures import distinct_structures, split_structures

    distinct = len(distinct_structures(structures))
    if distinct < len(structures):
        warn(f"{len(structures) - distinct} of {len(structures)} frames repeat an earlier one and are left out")
    tenth = distinct // _TENTH
    n_valid = (tenth if args.selection == "validation" else 0) if args.n_valid is None else args.n_valid
    n_test = tenth if args.n_test is None else args.n_test
    n_train = max(distinct - n_valid - n_test, 1) if args.n_train is None else args.n_train
    return split_structures(structures, n_train, n_valid, n_test, args.seed)


def print_choice(report):
    """Print what the trainer chose and found."""
    chosen = report["hyperparameters"]
    grids = report["grids"]
    energies = ", ".join(f"{name} {value:.4f}" for name, value in report["atom_energies"].items())
    nearest = ", ".join(f"{name} {value:.2f}" for name, value in report["shortest_distances"].items())
    two, three = grids["two"], grids.get("three")
    print(f"  two bodies      {two['start']:.2f} to {two['end']:.2f} Å in {two['intervals']} intervals", end="")
    print(f", length scale {chosen['length_scale2']:.2g} Å, amplitude {chosen['amplitude2']:.2g} eV")
    if three is not None:
        print(
            f"  three bodies    {three['start']:.2f} to {three['end']:.2f} Å in {three['intervals']} intervals", end=""
        )
        print(f", length scale {chosen['length_scale3']:.2g} Å, amplitude {chosen['amplitude3']:.2g} eV")
        print(f"  triples         {report['triples_per_atom']:.1f} an atom")
    print(f"  one body        {energies} eV")
    print(f"  shortest seen   {nearest} Å")
    print(f"  noise           {report['noise_scale']:.2f} times what was assumed")
    print(
        f"  trained in      {report['seconds']['total']:.1f} s: {report['n_rows']} rows, {report['n_columns']} columns"
    )
