"""Options of the SOAP trainer on the command line."""

import argparse

from openmm_kml.cli.common import byte_size, natural, positive_float, positive_int
from openmm_kml.cli.nbody_options import add_atom_energy_option, add_fit_options, fit_options, read_element

_NUMBERS = {
    "cutoff": (positive_float, "R", "radius of environments, Å (default: 5)"),
    "cutoff-width": (positive_float, "W", "of the cosine before it, Å (default: 0.5)"),
    "n-max": (positive_int, "N", "radial functions (default: 8)"),
    "l-max": (natural, "L", "largest l (default: 8)"),
    "atom-sigma": (positive_float, "S", "width of an atom's density, Å (default: 0.5)"),
    "zeta": (positive_float, "Z", "power of the kernel (default: 4)"),
    "pool": (positive_int, "N", "environments of each element that sparse points are chosen from (default: 20000)"),
    "radial-functions": (positive_int, "N", "keep the best N combinations of the n-max radial functions"),
    "channels": (positive_int, "N", "mix the densities of the elements into N channels"),
    "cutoff2": (positive_float, "R", "radius of two-body functions, Å (default: that of environments)"),
    "amplitude": (positive_float, "EV", "prior deviation of an atom's many-body energy, eV (default: chosen)"),
    "amplitude2": (positive_float, "EV", "prior deviation of two-body functions, eV (default: chosen)"),
    "length-scale2": (positive_float, "L", "of two-body functions, Å (default: chosen)"),
    "jitter": (positive_float, "J", "on the covariance of sparse points, relative (default: 1e-12)"),
}


def add_soap_options(parser):
    """Add the options that end up in `openmm_kml.training.soap.SoapOptions`."""
    group = parser.add_argument_group("the model")
    group.add_argument(
        "--sparse",
        action="append",
        type=_sparse,
        default=[],
        metavar="N",
        help="sparse points in all, or of an element, such as Si=300; may be given for each (default: 500)",
    )
    group.add_argument("--sparse-method", choices=("cur", "farthest"), help="how they are chosen (default: cur)")
    for name, (convert, metavar, text) in _NUMBERS.items():
        group.add_argument(f"--{name}", type=convert, metavar=metavar, help=text)
    group.add_argument("--no-pairs", action="store_true", help="no two-body functions")
    group.add_argument("--no-repulsion", action="store_true", help="no screened nuclear repulsion: for beads")
    add_atom_energy_option(group)
    add_fit_options(parser, "0.0005", ("cross_validation", "likelihood", "validation"))
    parser.add_argument(
        "--seed", type=natural, default=0, metavar="N", help="of the split and the sparse points (default: 0)"
    )
    group = parser.add_argument_group("where it runs")
    group.add_argument("--memory-limit", type=byte_size, metavar="SIZE", help="such as 8GB; default: what is free")
    group.add_argument("--dask", action="store_true", help="compute the rows on Dask workers on this machine")
    group.add_argument("--dask-address", metavar="URL", help="on those of this scheduler, such as tcp://node:8786")
    group.add_argument("--workers", type=positive_int, metavar="N", help="of --dask (default: one for each processor)")


def soap_options(args):
    """Return the `openmm_kml.training.soap.SoapOptions` of parsed arguments; what is not given keeps its default."""
    from openmm_kml.training.soap import SoapOptions

    names = [name.replace("-", "_") for name in _NUMBERS] + ["sparse_method"]
    given = {name: getattr(args, name) for name in names}
    return SoapOptions(
        pairs=not args.no_pairs,
        **_counts(args.sparse),
        memory_limit=args.memory_limit,
        dask=args.dask_address or ("local" if args.dask else None),
        workers=args.workers,
        seed=args.seed,
        **fit_options(args),
        **{name: value for name, value in given.items() if value is not None},
    )


def _counts(sparse):
    """Return n_sparse as a dict of one entry, empty where nothing was given."""
    totals = [count for element, count in sparse if element is None]
    by_element = {element: count for element, count in sparse if element is not None}
    if totals and by_element:
        raise ValueError("--sparse takes a total or numbers for the elements, not both")
    if by_element:
        return {"n_sparse": by_element}
    return {"n_sparse": totals[-1]} if totals else {}


def _sparse(text):
    name, equals, count = text.rpartition("=")
    try:
        return (read_element(name) if equals else None), positive_int(count)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of sparse points, nor an element and its number, such as Si=300"
        ) from None
