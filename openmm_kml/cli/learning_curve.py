"""``kml learning-curve``: errors against the number of training points."""

import argparse
import contextlib
from pathlib import Path

from openmm_kml.cli.common import (
    add_command,
    add_data_options,
    add_json_option,
    check_outputs,
    check_picture,
    int_list,
    natural,
    print_table,
    read_data,
    write_json,
)
from openmm_kml.cli.model_options import add_model_options, model_options
from openmm_kml.cli.nbody_options import add_nbody_options, add_structure_options, nbody_options, read_structure_data
from openmm_kml.cli.soap_options import add_soap_options, soap_options

# What adds the options of each kind of model: those of ``kml train``, but for its files and its split.
_KINDS = {
    "gdml": (add_model_options, add_data_options),
    "nbody": (add_nbody_options, add_structure_options),
    "soap": (add_soap_options, add_structure_options),
}
_N_VALID = 100


def add_parser(subparsers):
    parser = add_command(
        subparsers,
        "learning-curve",
        run,
        "show how the errors fall with the number of training points",
        "kml learning-curve ethanol.xyz --sizes 50,100,200 --seeds 0,1,2 --plot curve.png --json curve.json\n"
        "kml learning-curve silicon.xyz --kind nbody --sizes 25,50,100 --cutoff3 3.5\n"
        "kml learning-curve --kind soap --help",
        "Train with several numbers of training points, each with several random splits, and show the errors on frames "
        "that no training has seen.",
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="reference data, as for kml train")
    parser.add_argument("--sizes", type=int_list, required=True, metavar="N,N,…", help="numbers of training points")
    parser.add_argument("--seeds", type=int_list, default=[0], metavar="S,S,…", help="random splits (default: 0)")
    parser.add_argument(
        "--n-valid",
        type=natural,
        metavar="N",
        help="validation frames (default: 100; for nbody and soap none, unless they choose the hyperparameters)",
    )
    parser.add_argument("--n-test", type=natural, metavar="N", help="test frames (default: all the rest)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curve (.png, .svg, .pdf)")
    parser.add_argument(
        "--kind",
        choices=tuple(_KINDS),
        default="gdml",
        help="of the model (default: gdml); the other options are its own, as for kml train",
    )
    add_json_option(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    add_options_of_the_kind(parser)


def add_options_of_the_kind(parser, more=None):
    """Let a parser take the options of the kind that its arguments name, once it sees them, and refuse all others.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        With ``--kind``.
    more : dict, optional
        Kind -> function that adds further options.
    """
    plain = parser.parse_known_args

    def parse_known_args(args=None, namespace=None):
        kind = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        kind.add_argument("--kind", choices=tuple(_KINDS), default="gdml")
        with contextlib.suppress(argparse.ArgumentError):  # the whole parser says what is wrong
            name = kind.parse_known_args(args)[0].kind
            for add in (*_KINDS[name], *filter(None, [(more or {}).get(name)])):
                add(parser)
        return plain(args, namespace)

    parser.parse_known_args = parse_known_args


def options_of_the_kind(args):
    """Return the options of the trainer of ``args.kind``."""
    return {"gdml": model_options, "nbody": nbody_options, "soap": soap_options}[args.kind](args)


def run(args):
    check_outputs({"report": args.json, "picture": args.plot}, (args.data,))
    check_picture(args.plot)
    if min(args.sizes) < 1:
        raise ValueError(f"--sizes must be numbers of training points above zero; {min(args.sizes)} came")
    if args.n_test == 0:
        raise ValueError("--n-test is 0, but the curve shows errors on test frames; ask for at least one")
    points = [_flat(result) for result in {"gdml": _gdml, "nbody": _nbody, "soap": _soap}[args.kind](args)]
    if args.plot is not None:
        from openmm_kml.plots import curve, save_figure

        save_figure(curve(points), args.plot)
    write_json(args.json, points)
    print_points(points)


def _gdml(args):
    from openmm_kml.training import learning_curve

    molecules = read_data(args)
    return learning_curve(
        molecules,
        args.sizes,
        model_options(args),
        n_validation=_N_VALID if args.n_valid is None else args.n_valid,
        n_test=args.n_test,
        seeds=args.seeds,
    )


def _nbody(args):
    from openmm_kml.training.nbody import nbody_learning_curve

    return _local(args, nbody_learning_curve, nbody_options(args))


def _soap(args):
    from openmm_kml.training.soap import soap_learning_curve

    return _local(args, soap_learning_curve, soap_options(args))


def _local(args, learning_curve, options):
    # Where the training data choose the hyperparameters, no frame is lost to validation.
    n_valid = _N_VALID if options.selection == "validation" else 0
    n_valid = n_valid if args.n_valid is None else args.n_valid
    return learning_curve(read_structure_data(args), args.sizes, options, n_valid, args.n_test, args.seeds)


def _flat(result):
    """Return a point with its test errors beside the number of training points."""
    return {"n_train": result["n_train"], "seed": result["seed"], **result["test_errors"]} | {
        key: value for key, value in result.items() if key not in ("n_train", "seed", "test_errors")
    }


def print_points(points):
    """Print the points of a learning curve, one row for each training."""
    rows = [("training points", "seed", "energy MAE", "force MAE", "force RMSE"), ("", "", "meV", "meV/Å", "meV/Å")]
    for point in points:
        values = [point.get(key) for key in ("energy_mae", "forces_mae", "forces_rmse")]
        cells = ["-" if value is None else f"{1e3 * value:.2f}" for value in values]
        rows.append((str(point["n_train"]), str(point["seed"]), *cells))
    print_table(rows)
