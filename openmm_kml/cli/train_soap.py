"""``kml train soap``: train a many-body potential, a sparse Gaussian process on SOAP."""

from openmm_kml.cli.common import add_command
from openmm_kml.cli.nbody_options import add_structure_options
from openmm_kml.cli.soap_options import add_soap_options, soap_options
from openmm_kml.cli.train_local import add_last_arguments, add_local_arguments, print_common, train_local


def add_soap_parser(kinds):
    parser = add_command(
        kinds,
        "soap",
        run,
        "train a many-body potential of periodic or free structures: a sparse Gaussian process on SOAP",
        "kml train soap silicon.xyz -o silicon.safetensors --cutoff 5 --n-max 8 --l-max 8 --sparse 500\n"
        "kml train soap silica.xyz -o silica.safetensors --sparse Si=600 --sparse O=900 --dask",
        "Train a Gaussian approximation potential: SOAP descriptors of atomic environments, sparse points among those "
        "of the data, two-body functions and nuclear repulsion beside; on energies, forces and virials.",
    )
    add_local_arguments(parser)
    add_soap_options(parser)
    add_structure_options(parser)
    add_last_arguments(parser)


def run(args):
    from openmm_kml.training.evaluation import model_errors
    from openmm_kml.training.soap import fit_soap

    train_local(args, fit_soap, soap_options(args), model_errors, print_choice, "kml info {}")


def print_choice(report):
    """Print what the trainer chose and found."""
    chosen, options = report["hyperparameters"], report["options"]
    points = ", ".join(
        f"{name} {count} of {report['environments'][name]}" for name, count in report["sparse_points"].items()
    )
    print(
        f"  descriptor      cutoff {options['cutoff']:g} Å, n_max {options['n_max']}, l_max {options['l_max']}: "
        f"{report['dimension']} entries"
    )
    if report["radial_loss"]:
        print(f"  compression     {options['radial_functions']} radial functions, {report['radial_loss']:.1e} lost")
    print(f"  sparse points   {points} environments")
    print(f"  many bodies     power {options['zeta']:g}, amplitude {chosen['amplitude']:.2g} eV")
    if options["pairs"]:
        print(
            f"  two bodies      length scale {chosen['length_scale2']:.2g} Å, amplitude {chosen['amplitude2']:.2g} eV"
        )
    print(f"  memory          {report['memory'] / 1e9:.1f} GB")
    print_common(report)
