"""``kml active-learn``: learning on the fly."""

import argparse
import json
import sys
from pathlib import Path

from openmm_kml.cli.common import add_command, natural, positive_float, positive_int, print_table
from openmm_kml.cli.learning_curve import add_options_of_the_kind, options_of_the_kind

_COMPARED = 40
# Options with which a continuation may differ from the beginning.
_FREE = ("budget", "target", "compare_random", "quiet", "debug")
_WITH_RESUME = {"--resume", *(f"--{name.replace('_', '-')}" for name in _FREE)}


def add_parser(subparsers):
    parser = add_command(
        subparsers,
        "active-learn",
        run,
        "learn on the fly: explore by dynamics, label what is uncertain, train, repeat",
        "kml active-learn --reference tblite --start ethanol.xyz -o campaign/ --temperatures 300,500 --budget 100\n"
        "kml active-learn --reference reference.py:make --start silicon.xyz -o campaign/ --kind nbody --target 50\n"
        "kml active-learn --resume campaign/ --budget 200",
        "Explore with molecular dynamics in OpenMM or LAMMPS, stop where the model is unsure, label these frames with "
        "a reference, train anew, and repeat until a budget of reference calls is used or a target is reached. A "
        "campaign that was killed loses nothing that was labeled and goes on with --resume.",
    )
    parser.add_argument(
        "--reference",
        metavar="NAME",
        help="tblite, pyscf, or MODULE:FUNCTION or FILE.py:FUNCTION that makes an ASE calculator",
    )
    parser.add_argument("--reference-options", type=_mapping, metavar="JSON", help='such as \'{"method": "GFN1-xTB"}\'')
    parser.add_argument("--start", dest="data", type=Path, metavar="FILE", help="frames to begin with; one is enough")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="directory of the campaign")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with a campaign, with the options it has")
    parser.add_argument(
        "--kind",
        choices=("gdml", "nbody", "soap"),
        default="gdml",
        help="of the model (default: gdml); the other options are its own, as for kml train",
    )
    parser.add_argument(
        "--baseline",
        metavar="FILE",
        help="weight file, or serialized OpenMM System of a molecule, that the models are the difference to",
    )
    group = parser.add_argument_group("when it ends")
    group.add_argument("--budget", type=positive_int, metavar="N", help="reference calls in all (default: 100)")
    group.add_argument("--target", type=positive_float, metavar="MEV", help="force error, meV/Å, on frames kept apart")
    group.add_argument(
        "--compare-random",
        type=positive_int,
        nargs="?",
        const=_COMPARED,
        default=0,
        metavar="N",
        help=f"compare with random sampling at the end, on N test frames ({_COMPARED}); its calls are counted apart",
    )
    group = parser.add_argument_group("the exploration")
    group.add_argument("--temperatures", type=_floats, metavar="K,K,…", help="default: 300")
    group.add_argument("--walkers", type=positive_int, metavar="N", help="runs at each temperature, each round (4)")
    group.add_argument("--steps", type=positive_int, metavar="N", help="of each run, at most (1000)")
    group.add_argument("--interval", type=positive_int, metavar="N", help="steps between two looks (20)")
    group.add_argument("--timestep", type=positive_float, metavar="FS", help="femtoseconds (0.5)")
    group.add_argument("--friction", type=positive_float, metavar="G", help="1/ps (5)")
    group.add_argument("--pressure", type=float, metavar="BAR", help="constant pressure of periodic structures")
    group.add_argument("--engine", choices=("openmm", "lammps"), help="what runs it (default: openmm)")
    group.add_argument("--platform", metavar="NAME", help="of OpenMM (default: Reference)")
    group = parser.add_argument_group("the trainings")
    group.add_argument(
        "--growth",
        type=positive_float,
        metavar="X",
        help="choose hyperparameters anew when training frames have become X times more (1.2)",
    )
    group.add_argument(
        "--no-updates",
        dest="updates",
        action="store_false",
        help="train from nothing in each round, instead of updating the factorization of the last",
    )
    group = parser.add_argument_group("what is labeled")
    group.add_argument(
        "--uncertainty",
        choices=("auto", "model", "committee", "none"),
        help="of the model's posterior, or of three models trained on parts (default: the first where there is one); "
        "none: random frames, for comparison",
    )
    group.add_argument("--quantile", type=positive_float, metavar="Q", help="of labeled frames kept apart (0.9)")
    group.add_argument("--factor", type=positive_float, metavar="X", help="times it: the first threshold (0.5)")
    group.add_argument("--margin", type=positive_float, metavar="X", help="times it: where runs are stopped (2)")
    group.add_argument("--every", type=positive_int, metavar="N", help="keep every Nth labeled frame apart (5)")
    group.add_argument("--initial", type=positive_int, metavar="N", help="start frames, shifted copies included (10)")
    group.add_argument("--rattle", type=positive_float, metavar="A", help="deviation of these shifts, Å (0.02)")
    group.add_argument("--max-force", type=positive_float, metavar="F", help="eV/Å: labels above are left out (50)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars and no log on the screen")
    add_options_of_the_kind(parser, {"nbody": _add_seed})


def _add_seed(parser):
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="of the exploration (default: 0)")


def run(args):
    directory, stored = _stored(args)
    try:
        _learn(args, directory, stored)
    except KeyboardInterrupt:
        print(f"\nkml: interrupted; kml active-learn --resume {directory} goes on", file=sys.stderr)
        raise SystemExit(130) from None


def _learn(args, directory, stored):
    start = _start_frames(args) if args.resume is None else None
    from openmm_kml.active_learning import Recipe, Settings, learn, load_reference
    from openmm_kml.interfaces.calculators import absolute_name

    settings = Settings(**_settings(args, Settings))
    reference = absolute_name(args.reference) if start is not None else stored["reference"]
    calculator = load_reference(reference, args.reference_options)
    baseline = stored.get("baseline file")
    recipe = Recipe(args.kind, options_of_the_kind(args), baseline)
    identity = {
        "reference": reference,
        "reference options": args.reference_options or {},
        "arguments": stored["arguments"],
        **({} if baseline is None else {"baseline file": baseline}),
    }
    say = (lambda _: None) if args.quiet else (lambda text: print(text, flush=True))
    summary = learn(
        directory,
        recipe,
        settings,
        calculator,
        start,
        identity=identity,
        compare=args.compare_random,
        say=say,
        progress=not args.quiet,
    )
    if not args.quiet:
        _print_summary(summary, directory)


def _stored(args):
    """Return the directory, and what a campaign remembers of its command line; fill `args` from it to resume."""
    if args.resume is None:
        for name, value in (("--reference", args.reference), ("--start", args.data), ("-o", args.output)):
            if value is None:
                raise ValueError(
                    f"{name} is missing; a campaign begins with --reference, --start and -o, or --resume DIR"
                )
        baseline = {} if args.baseline is None else {"baseline file": str(Path(args.baseline).resolve())}
        return args.output, {"arguments": args.argv, **baseline}
    refused = [word for word in args.argv if word.startswith("-") and word.split("=")[0] not in _WITH_RESUME]
    if refused:
        raise ValueError(f"--resume goes on with the options of the campaign; leave {refused[0]} out")
    from openmm_kml.active_learning.journal import read_state
    from openmm_kml.cli.entry import build_parser
    from openmm_kml.errors import DataError

    identity = read_state(args.resume)["identity"]
    if "arguments" not in identity:
        raise DataError(f"{args.resume} was not begun by kml active-learn; go on with openmm_kml.active_learning.learn")
    given = {name: getattr(args, name) for name in _FREE}
    known = build_parser().parse_args(identity["arguments"])
    resumed = args.resume
    for name, value in vars(known).items():
        if name != "quiet" and not given.get(name):
            setattr(args, name, value)
    args.resume = resumed
    return resumed, {name: identity[name] for name in ("arguments", "reference", "baseline file") if name in identity}


def _settings(args, kind):
    """Return what was given of `Settings`."""
    from dataclasses import fields

    given = {entry.name: getattr(args, entry.name, None) for entry in fields(kind)}
    if given["target"] is not None:
        given["target"] *= 1e-3  # meV/Å
    return {name: value for name, value in given.items() if value is not None}


def _start_frames(args):
    from openmm_kml.cli.nbody_options import read_structure_data

    return list(read_structure_data(args).frames)


def _print_summary(summary, directory):
    if summary.comparison is not None:
        rows = [("labeled frames", "force MAE", "force RMSE", "energy MAE"), ("", "meV/Å", "meV/Å", "meV/atom")]
        for name in ("active", "random"):
            for point in summary.comparison[name]:
                numbers = (point["forces_mae"], point["forces_rmse"], point["energy_mae_per_atom"])
                rows.append((f"{name} {point['labeled']}", *(f"{1e3 * value:.2f}" for value in numbers)))
        print_table(rows)
    print(f"wrote {summary.model}; the labeled frames are in {directory / 'labeled.xyz'}. Next:")
    print(f"  kml info {summary.model}")
    if summary.comparison is None:
        print(f"  kml active-learn --resume {directory} --compare-random 20  # random frames beside it: further calls")
    sys.stdout.flush()


def _floats(text):
    return tuple(positive_float(word) for word in text.split(","))


def _mapping(text):
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is not a JSON object of options, such as {{"accuracy": 0.1}}')
    return value
