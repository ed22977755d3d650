"""``kml train nbody``: train two- and three-body functions of any structure."""

from openmm_kml.cli.common import add_command, natural
from openmm_kml.cli.nbody_options import add_nbody_options, add_structure_options, nbody_options
from openmm_kml.cli.train_local import add_last_arguments, add_local_arguments, print_common, train_local


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
    add_local_arguments(parser)
    add_nbody_options(parser)
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="of the split (default: 0)")
    add_structure_options(parser)
    add_last_arguments(parser)


def run(args):
    from openmm_kml.training.evaluation import model_errors
    from openmm_kml.training.nbody import fit_nbody

    train_local(args, fit_nbody, nbody_options(args), model_errors, print_choice, "kml info {} --plot functions.png")


def print_choice(report):
    """Print what the trainer chose and found."""
    chosen = report["hyperparameters"]
    grids = report["grids"]
    two, three = grids["two"], grids.get("three")
    print(f"  two bodies      {two['start']:.2f} to {two['end']:.2f} Å in {two['intervals']} intervals", end="")
    print(f", length scale {chosen['length_scale2']:.2g} Å, amplitude {chosen['amplitude2']:.2g} eV")
    if three is not None:
        print(
            f"  three bodies    {three['start']:.2f} to {three['end']:.2f} Å in {three['intervals']} intervals", end=""
        )
        print(f", length scale {chosen['length_scale3']:.2g} Å, amplitude {chosen['amplitude3']:.2g} eV")
        print(f"  triples         {report['triples_per_atom']:.1f} an atom")
    print_common(report)
