"""What ``kml train nbody`` and ``kml train soap`` share: arguments, splits, the record, the table of errors."""

import dataclasses
import shlex
from pathlib import Path

from openmm_kml.cli.baseline import (
    add_baseline_option,
    baseline_files,
    warn_of_attraction,
    warn_of_lost_virials,
    with_record,
    without_baseline,
)
from openmm_kml.cli.common import (
    add_json_option,
    check_outputs,
    command_record,
    natural,
    positive_int,
    print_errors,
    warn,
    write_json,
)
from openmm_kml.cli.nbody_options import read_structure_data

_TENTH = 10


def add_local_arguments(parser):
    """Add the data, the weight file and the numbers of frames."""
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
    add_baseline_option(parser)


def add_last_arguments(parser):
    """Add where the numbers go, and silence."""
    add_json_option(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars, print the errors only")


def train_local(args, fit, options, measure, print_choice, look):
    """Train a model of any structure, test it, and write it.

    Parameters
    ----------
    args : argparse.Namespace
    fit : callable
        Of training and validation frames and options: an object with `weights` and `report`.
    options : openmm_kml.training.fit_options.FitOptions
    measure : callable
        Of weights and structures: their errors.
    print_choice : callable
        Of the report.
    look : str
        The next command that shows the model, with {} for its file.
    """
    files = baseline_files(args.baseline)
    check_outputs({"weight file": args.output, "report": args.json}, (args.data, *files))
    structures = read_structure_data(args)
    train, validation, test = _split(args, structures)
    say = (lambda _: None) if args.quiet else (lambda text: print(text, flush=True))
    say(
        f"{args.data}: {structures.describe()}; {len(train)} frames for training, {len(validation)} for validation, "
        f"{len(test)} for the test"
    )

    from openmm_kml.doubt import usual_doubt
    from openmm_kml.potential import KernelPotential
    from openmm_kml.weights import save, to_bytes

    baseline, rest = without_baseline(args.baseline, train, validation, test)
    if baseline is not None:
        from openmm_kml.interfaces.baselines import options_beside

        options = options_beside(options, baseline)
        if options.virials:
            warn_of_lost_virials(baseline, train, rest[0])
        train, validation, test = rest
    fitted = fit(train, validation, options=options)
    for note in fitted.report["notes"]:
        warn(note)
    if not args.quiet:
        print_choice(fitted.report)
    measured = {}
    if len(validation):
        measured["validation"] = fitted.report["validation_errors"]
    if len(test):
        measured["test"] = measure(fitted.weights, test)
    potential = KernelPotential.from_bytes(to_bytes(fitted.weights))
    split = {"n_train": len(train), "n_validation": len(validation), "n_test": len(test), "seed": args.seed}
    provenance = {
        **fitted.weights.provenance,
        "command": command_record(args, files),
        "data": {"name": structures.name, "digest": structures.digest, "frames": len(structures)},
        "split": split,
        "errors": measured,
        **usual_doubt(
            potential, ((frame.positions, frame.numbers, frame.cell, frame.pbc) for frame in [*test, *validation])
        ),
    }
    weights = with_record(dataclasses.replace(fitted.weights, provenance=provenance), baseline)
    save(weights, args.output)
    if baseline is not None:
        warn_of_attraction(weights, baseline, fitted.report["shortest_distances"])
    write_json(args.json, {"model": str(args.output), "errors": measured, "split": split, **fitted.report})
    if measured:
        print_errors(list(measured.items()))
    say(f"\nwrote {args.output}. Next:")
    say(f"  {look.format(args.output)}")
    added = "" if baseline is None else f" --baseline {shlex.quote(args.baseline)}"
    say(f"  kml test {args.output} {args.data} --held-out --plot parity.png{added}")


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


def print_common(report):
    """Print what both kinds report: one-body energies, shortest distances, noise, time."""
    energies = ", ".join(f"{name} {value:.4f}" for name, value in report["atom_energies"].items())
    nearest = ", ".join(f"{name} {value:.2f}" for name, value in report["shortest_distances"].items())
    print(f"  one body        {energies} eV")
    print(f"  shortest seen   {nearest} Å")
    print(f"  noise           {report['noise_scale']:.2f} times what was assumed")
    print(
        f"  trained in      {report['seconds']['total']:.1f} s: {report['n_rows']} rows, {report['n_columns']} columns"
    )
