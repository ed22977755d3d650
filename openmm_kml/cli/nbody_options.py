"""Options of the two- and three-body trainer on the command line, and reading its data."""

import argparse

from openmm_kml.cli.common import add_data_options, positive_float, positive_int

_KERNELS = ("squared_exponential", "matern52", "matern72", "matern92")


def add_nbody_options(parser):
    """Add the options that end up in `openmm_kml.training.nbody.NBodyOptions`."""
    group = parser.add_argument_group("the model")
    group.add_argument("--cutoff2", type=positive_float, metavar="R", help="radius of two bodies, Å (default: 6)")
    group.add_argument(
        "--cutoff3", type=_length, metavar="R", help="radius of three bodies, Å; 0 for none (default: 3.5)"
    )
    group.add_argument(
        "--compact", action="store_true", help="count triangles with all sides below cutoff3, not the two at the center"
    )
    group.add_argument("--spacing2", type=positive_float, metavar="H", help="of the splines of two bodies, Å (0.25)")
    group.add_argument("--spacing3", type=positive_float, metavar="H", help="of those of three bodies, Å (0.3)")
    group.add_argument("--kernel", choices=_KERNELS, help="prior covariance (default: squared_exponential)")
    for name in ("length-scale2", "length-scale3"):
        group.add_argument(f"--{name}", type=positive_float, metavar="L", help="of the prior, Å (default: chosen)")
    group.add_argument("--no-repulsion", action="store_true", help="no screened nuclear repulsion: for beads")
    add_atom_energy_option(group)
    add_fit_options(parser, selections=("likelihood", "gradient", "validation"))


def add_atom_energy_option(group):
    group.add_argument(
        "--atom-energy",
        action="append",
        type=_atom_energy,
        default=[],
        metavar="EL=EV",
        help="energy of the isolated atom, e.g. Si=-0.81 (default: from lonely atoms in DATA, else fitted)",
    )


def add_fit_options(parser, noise_energy="0.002", selections=("likelihood", "validation")):
    """Add the options of `openmm_kml.training.fit_options.FitOptions`.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    noise_energy : str
        What the help says of the default.
    selections : sequence of str
        What may choose the hyperparameters; the first is the default.
    """
    group = parser.add_argument_group("what is trained on, and how closely")
    group.add_argument("--forces-only", action="store_true", help="neither energies nor virials")
    group.add_argument("--no-virials", action="store_true", help="energies and forces")
    group.add_argument(
        "--noise-energy", type=positive_float, metavar="EV", help=f"eV an atom (default: {noise_energy})"
    )
    group.add_argument("--noise-force", type=positive_float, metavar="F", help="eV/Å (default: 0.1)")
    group.add_argument("--noise-virial", type=positive_float, metavar="EV", help="eV an atom (default: 0.05)")
    group.add_argument(
        "--group-noise",
        action="append",
        type=_group_noise,
        default=[],
        metavar="GROUP=X[,X,X]",
        help="factors on the noises (energy, force, virial) of a group of frames, such as Liquid=3",
    )
    group.add_argument(
        "--selection",
        choices=selections,
        help="what chooses the hyperparameters: the likelihood of the data, searched or climbed along its gradient, or "
        f"frames left out (default: {selections[0]})",
    )
    group.add_argument(
        "--members",
        type=positive_int,
        metavar="S",
        help="samples of the posterior that the weight file holds for the uncertainty (default: 16)",
    )
    group.add_argument("--no-uncertainty", action="store_true", help="a smaller weight file, without them")
    group.add_argument("--threads", metavar="N", type=positive_int, default=1, help="of linear algebra (default: 1)")


def nbody_options(args):
    """Return the `openmm_kml.training.nbody.NBodyOptions` of parsed arguments; what is not given keeps its default."""
    from openmm_kml.training.nbody import NBodyOptions

    given = {
        name: getattr(args, name)
        for name in (*("cutoff2", "cutoff3", "spacing2", "spacing3", "kernel", "length_scale2", "length_scale3"),)
    }
    return NBodyOptions(
        compact=args.compact,
        **fit_options(args),
        **{name: value for name, value in given.items() if value is not None},
    )


def fit_options(args):
    """Return the arguments of `FitOptions` that were given, a dict."""
    names = ("noise_energy", "noise_force", "noise_virial", "selection", "members")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.no_uncertainty:
        if args.members is not None:
            raise ValueError("--members are those of the uncertainty; leave out --no-uncertainty or --members")
        given["members"] = 0
    return given | {
        "repulsion": not args.no_repulsion,
        "energies": not args.forces_only,
        "virials": not (args.forces_only or args.no_virials),
        "atom_energies": dict(args.atom_energy) or None,
        "group_noise": dict(args.group_noise),
        "n_threads": args.threads,
        "progress": not args.quiet,
    }


def add_structure_options(parser):
    """Add the options that say how a file of structures is to be read."""
    group = add_data_options(parser)
    group.add_argument(
        "--virial-key", metavar="NAME", help="name of the virial (default: virial, else from the stress)"
    )
    group.add_argument("--group-key", metavar="NAME", help="name of the kind of frame (default: config_type)")


def read_structure_data(args):
    """Return the `StructureSet` of ``args.data``."""
    from openmm_kml.structures import read_structures

    return read_structures(
        args.data,
        args.energy_unit,
        args.length_unit,
        energy_key=args.energy_key,
        forces_key=args.forces_key,
        virial_key=getattr(args, "virial_key", None),
        group_key=getattr(args, "group_key", None),
        progress=not getattr(args, "quiet", False),
    )


def _length(text):
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a length of zero or more")
    return value


def _atom_energy(text):
    name, _, value = text.partition("=")
    try:
        return read_element(name), float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an element and its energy, such as Si=-0.81") from None


def read_element(name):
    """Return the atomic number of an element's symbol; ValueError for anything else."""
    from openmm_kml.elements import SYMBOLS

    return SYMBOLS.index(name, 1)


def _group_noise(text):
    name, _, values = text.rpartition("=")
    try:
        factors = tuple(positive_float(value) for value in values.split(","))
    except ValueError:
        factors = ()
    if not name or len(factors) not in (1, 3):
        raise argparse.ArgumentTypeError(f"{text!r} is not a group and one or three factors, such as Liquid=3")
    return name, factors[0] if len(factors) == 1 else factors
