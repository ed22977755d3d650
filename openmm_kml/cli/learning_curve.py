"""``kml learning-curve``: errors against the number of training points."""

from pathlib import Path

from openmm_kml.cli.common import (
    add_command,
    add_json_option,
    check_outputs,
    check_picture,
    int_list,
    natural,
    positive_float,
    positive_int,
    print_table,
    read_data,
    write_json,
)
from openmm_kml.cli.model_options import add_model_options, model_options
from openmm_kml.cli.nbody_options import add_structure_options, read_structure_data


def add_parser(subparsers):
    parser = add_command(
        subparsers,
        "learning-curve",
        run,
        "show how the errors fall with the number of training points",
        "kml learning-curve ethanol.xyz --sizes 50,100,200 --seeds 0,1,2 --plot curve.png --json curve.json\n"
        "kml learning-curve silicon.xyz --kind nbody --sizes 25,50,100 --cutoff3 3.5\n"
        "kml learning-curve silicon.xyz --kind soap --sizes 25,50,100 --cutoff 5 --sparse 300",
        "Train with several numbers of training points, each with several random splits, and show the errors on frames "
        "that no training has seen.",
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="reference data, as for kml train")
    parser.add_argument("--sizes", type=int_list, required=True, metavar="N,N,…", help="numbers of training points")
    parser.add_argument("--seeds", type=int_list, default=[0], metavar="S,S,…", help="random splits (default: 0)")
    parser.add_argument("--n-valid", type=natural, default=100, metavar="N", help="validation frames (default: 100)")
    parser.add_argument("--n-test", type=natural, metavar="N", help="test frames (default: all the rest)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curve (.png, .svg, .pdf)")
    parser.add_argument(
        "--kind", choices=tuple(_CURVES), default="gdml", help="of the model, as for kml train (default: gdml)"
    )
    group = parser.add_argument_group("models of two and three bodies (--kind nbody)")
    for name in ("--cutoff2", "--cutoff3", "--spacing2", "--spacing3"):
        group.add_argument(name, type=positive_float, metavar="R", help="as for kml train nbody, Å")
    group.add_argument("--compact", action="store_true", help="as for kml train nbody")
    group = parser.add_argument_group("many-body models (--kind soap)")
    group.add_argument("--cutoff", type=positive_float, metavar="R", help="as for kml train soap, Å")
    for name in ("--n-max", "--l-max", "--sparse"):
        group.add_argument(name, type=positive_int, metavar="N", help="as for kml train soap")
    group.add_argument("--zeta", type=positive_float, metavar="Z", help="as for kml train soap")
    add_model_options(parser)
    add_structure_options(parser)
    add_json_option(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def run(args):
    check_outputs({"report": args.json, "picture": args.plot}, (args.data,))
    check_picture(args.plot)
    if min(args.sizes) < 1:
        raise ValueError(f"--sizes must be numbers of training points above zero; {min(args.sizes)} came")
    if args.n_test == 0:
        raise ValueError("--n-test is 0, but the curve shows errors on test frames; ask for at least one")
    points = [_flat(result) for result in _CURVES[args.kind](args)]
    if args.plot is not None:
        from openmm_kml.plots import curve, save_figure

        save_figure(curve(points), args.plot)
    write_json(args.json, points)
    print_points(points)


def _gdml(args):
    from openmm_kml.training import learning_curve

    molecules = read_data(args)
    return learning_curve(
        molecules, args.sizes, model_options(args), n_validation=args.n_valid, n_test=args.n_test, seeds=args.seeds
    )


def _nbody(args):
    from openmm_kml.training.nbody import NBodyOptions, nbody_learning_curve

    given = _given(args, ("cutoff2", "cutoff3", "spacing2", "spacing3", "kernel"))
    options = NBodyOptions(compact=args.compact, **given)
    return nbody_learning_curve(read_structure_data(args), args.sizes, options, 0, args.n_test, args.seeds)


def _soap(args):
    from openmm_kml.training.soap import SoapOptions, soap_learning_curve

    given = _given(args, ("cutoff", "n_max", "l_max", "zeta"))
    if args.sparse is not None:
        given["n_sparse"] = args.sparse
    return soap_learning_curve(read_structure_data(args), args.sizes, SoapOptions(**given), 0, args.n_test, args.seeds)


def _given(args, names):
    """Return the options that were given; the likelihood chooses the rest, and no frame is lost to validation."""
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return given | {"n_threads": args.threads or 1, "progress": not args.quiet}


_CURVES = {"gdml": _gdml, "nbody": _nbody, "soap": _soap}


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
