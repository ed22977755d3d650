"""``kml train``: the kinds of models, and ``kml train gdml``: train a potential of one molecule."""

import dataclasses
import shlex
from pathlib import Path

from openmm_kml.cli.baseline import add_baseline_option, baseline_files, with_record, without_baseline
from openmm_kml.cli.common import (
    add_command,
    add_data_options,
    add_json_option,
    check_outputs,
    command_record,
    evaluate,
    natural,
    positive_int,
    print_errors,
    print_symmetries,
    read_data,
    warn,
    write_json,
)
from openmm_kml.cli.info import print_rows
from openmm_kml.cli.model_options import add_checkpoint_option, add_model_options, model_options
from openmm_kml.cli.train_nbody import add_nbody_parser
from openmm_kml.cli.train_soap import add_soap_parser


def add_parser(subparsers):
    train = subparsers.add_parser("train", help="train a potential on reference data", description=train_description())
    kinds = train.add_subparsers(title="kinds of models", dest="kind", metavar="KIND", required=True)
    parser = add_command(
        kinds,
        "gdml",
        run,
        "train a symmetric gradient-domain model of one molecule",
        "kml train gdml ethanol.xyz -o ethanol.safetensors --n-train 200 --n-valid 200 --seed 0\n"
        "kml train gdml aspirin.npz -o aspirin.safetensors --n-train 1000 --energy-unit kcal/mol --preset sgdml",
        "Train a symmetric gradient-domain model of one molecule on energies and forces, and test it on frames that "
        "the training has not seen.",
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="extended XYZ, sGDML's .npz, or any format ASE reads")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL", help="weight file (replaced)")
    parser.add_argument("--n-train", type=positive_int, required=True, metavar="N", help="frames to train on")
    parser.add_argument(
        "--n-valid", type=positive_int, metavar="N", help="frames to choose the model on (default: N_TRAIN)"
    )
    parser.add_argument("--n-test", type=natural, metavar="N", help="frames to test on (default: all the rest)")
    add_baseline_option(parser)
    add_model_options(parser)
    add_checkpoint_option(parser)
    add_data_options(parser)
    add_json_option(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars, print the errors only")
    add_nbody_parser(kinds)
    add_soap_parser(kinds)


def train_description():
    return (
        "Train a potential on reference data. See: kml train gdml --help, kml train nbody --help, kml train soap --help"
    )


def run(args):
    outputs = {"weight file": args.output, "report": args.json, "checkpoint": args.checkpoint}
    check_outputs(outputs, (args.data, *baseline_files(args.baseline)))
    from openmm_kml.potential import KernelPotential  # an engine that is missing is noticed before the training

    molecules = read_data(args)
    train, validation, test = _split(args, molecules)
    say = (lambda _: None) if args.quiet else (lambda text: print(text, flush=True))
    say(
        f"{args.data}: {len(molecules)} frames of {molecules.formula}; "
        f"{len(train)} for training, {len(validation)} for validation, {len(test)} for the test"
    )

    baseline, (train, validation, test) = without_baseline(args.baseline, train, validation, test)

    from openmm_kml.training import fit_gdml

    fit = fit_gdml(train, validation, model_options(args))
    if not args.quiet:
        print_choice(fit.report)

    from openmm_kml.doubt import usual_doubt
    from openmm_kml.metrics import errors
    from openmm_kml.weights import save, to_bytes

    potential = KernelPotential.from_bytes(to_bytes(fit.weights))
    measured = {
        name: errors(*evaluate(potential, part, args.threads, not args.quiet), part)
        for name, part in (("validation", validation), ("test", test))
        if len(part)
    }
    provenance = {
        **fit.weights.provenance,
        "command": command_record(args, baseline_files(args.baseline)),
        "data": {"name": molecules.name, "digest": molecules.digest, "frames": len(molecules)},
        "split": _counts(train, validation, test) | {"seed": args.seed},
        "errors": measured,
        **usual_doubt(potential, ((r, None, None) for part in (test, validation) for r in part.positions)),
    }
    weights = dataclasses.replace(fit.weights, provenance=provenance)
    save(with_record(weights, baseline), args.output)
    if args.checkpoint is not None and fit.report["solver"]["name"] == "iterative":
        args.checkpoint.unlink(missing_ok=True)  # not before: a kill must cost nothing
    write_json(args.json, {"model": str(args.output), "errors": measured, "split": provenance["split"], **fit.report})
    print_errors(list(measured.items()))
    say(f"\nwrote {args.output}. Next:")
    say(f"  kml info {args.output}")
    say(f"  kml test {args.output} {args.data} --held-out --plot parity.png{_data_options(args)}")


def _split(args, molecules):
    """Return the training, validation and test sets that the options ask for."""
    from openmm_kml.errors import DataError
    from openmm_kml.structures import duplicate_of, split

    if molecules.forces is None:
        raise DataError(f"{args.data} has no forces; the training needs them for every frame")
    if molecules.energies is None:
        warn(f"{args.data} has no energies; the model is trained on forces and its energies have no common zero")
    repeated = int((duplicate_of(molecules) != range(len(molecules))).sum())
    if repeated:
        warn(f"{repeated} of {len(molecules)} frames repeat an earlier geometry and are left out")
    n_valid = args.n_train if args.n_valid is None else args.n_valid
    return split(molecules, args.n_train, n_valid, args.n_test, args.seed)


def _counts(train, validation, test):
    return {"n_train": len(train), "n_validation": len(validation), "n_test": len(test)}


def print_choice(report):
    """Print what the trainer chose and found."""
    chosen = report["hyperparameters"]
    print(
        f"  chosen          power {chosen['power']:g}, kernel {chosen['kernel']}, "
        f"length scale {chosen['length_scale']:.4g} Å^-{chosen['power']:g}, "
        f"regularization {chosen['regularization']:.3g}, "
        + ("energies and forces" if chosen["energies"] else "forces alone")
        + (", weights of pairs" if chosen.get("ard") else "")
    )
    print_symmetries(report["symmetries"])
    if report["uncertainty"]:
        print(f"  uncertainty     {report['uncertainty']['rows']} rows")
        print_rows(report["uncertainty"])
    print(f"  trained in      {report['seconds']:.1f} s with the {report['solver']['name']} solver")
    for note in report["notes"]:
        print(f"note: {note}")


def _data_options(args):
    """Return the options that read the data alike, for the next command, and the baseline."""
    names = ("energy_unit", "length_unit", "energy_key", "forces_key", "baseline")
    given = [(f"--{name.replace('_', '-')}", getattr(args, name)) for name in names if getattr(args, name)]
    return "".join(f" {option} {shlex.quote(str(value))}" for option, value in given)
