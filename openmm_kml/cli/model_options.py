"""Options of the GDML trainer on the command line, shared by ``train gdml`` and ``learning-curve``."""

import argparse
from pathlib import Path

from openmm_kml.cli.common import add_threads_option, byte_size, natural, positive_float, positive_int

KERNELS = ("matern52", "matern72", "matern92", "squared_exponential")


def add_model_options(parser):
    """Add the options that end up in `openmm_kml.training.GDMLOptions`."""
    group = parser.add_argument_group("the model (what is not given is chosen on the validation set)")
    group.add_argument(
        "--preset",
        choices=("default", "sgdml"),
        default="default",
        help="sgdml: exactly the published model (power 1, matern52, regularization 1e-10, forces only)",
    )
    group.add_argument("--power", type=positive_float, metavar="P", help="power p of the descriptor r^-p")
    group.add_argument("--kernel", choices=KERNELS, help="radial kernel")
    group.add_argument("--length-scale", type=positive_float, metavar="L", help="length scale of the kernel, Å^-p")
    group.add_argument("--regularization", type=positive_float, metavar="LAMBDA", help="added to the diagonal")
    group.add_argument(
        "--energies",
        action=argparse.BooleanOptionalAction,
        help="train on energies and forces, or on forces only (default: on both if validation agrees)",
    )
    group.add_argument("--no-symmetries", action="store_true", help="do not use the molecule's permutation symmetries")
    group.add_argument("--ard", action="store_true", help="fit a weight for each kind of pair, too (slower)")
    group.add_argument("--no-repulsion", action="store_true", help="no nuclear repulsion below the data's distances")
    group.add_argument("--no-walls", action="store_true", help="no walls around the bonds and angles of the data")
    group.add_argument("--no-uncertainty", action="store_true", help="a smaller weight file, without uncertainty")
    group.add_argument(
        "--uncertainty-rank",
        type=_rank,
        metavar="R",
        help="rows that the uncertainty is made of, or all: exact, large (default: what 10 MB hold)",
    )
    group = parser.add_argument_group("the solver")
    group.add_argument("--solver", choices=("auto", "direct", "iterative"), default="auto", help="default: auto")
    group.add_argument("--tolerance", type=positive_float, metavar="T", help="relative residual of the iterative one")
    group.add_argument("--memory-limit", type=byte_size, metavar="SIZE", help="such as 4GB; default: what is free")
    add_threads_option(group)
    parser.add_argument(
        "--seed", type=natural, default=0, metavar="N", help="of the split and the training (default: 0)"
    )


def _rank(text):
    try:
        return text if text == "all" else positive_int(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor all") from None


def add_checkpoint_option(parser):
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="where the iterative solver saves its state and resumes from"
    )


def model_options(args):
    """Return the `openmm_kml.training.GDMLOptions` of parsed arguments; what was not given keeps its default."""
    from openmm_kml.training import GDMLOptions

    given = {
        "power": args.power,
        "kernel": args.kernel,
        "length_scale": args.length_scale,
        "regularization": args.regularization,
        "energies": args.energies,
        "tolerance": args.tolerance,
        "memory_limit": args.memory_limit,
        "n_threads": args.threads,
        "checkpoint": getattr(args, "checkpoint", None),
        "uncertainty_rank": args.uncertainty_rank,
    }
    if args.no_uncertainty and args.uncertainty_rank is not None:
        raise ValueError("--uncertainty-rank belongs to the uncertainty; leave out --no-uncertainty or the rank")
    return GDMLOptions(
        preset=args.preset,
        symmetries=not args.no_symmetries,
        uncertainty=not args.no_uncertainty,
        ard=args.ard,
        repulsion=not args.no_repulsion,
        walls=not args.no_walls,
        solver=args.solver,
        seed=args.seed,
        progress=not args.quiet,
        **{name: value for name, value in given.items() if value is not None},
    )
