"""``kml tables``: two-body functions as tables for programs that know no kernel potentials."""

from pathlib import Path

from openmm_kml.cli.common import add_command, add_json_option, check_outputs, positive_float, warn, write_json

_START = {"lammps": 0.5, "openmm": 0.3}  # Å


def add_parser(subparsers):
    parser = add_command(
        subparsers,
        "tables",
        run,
        "write two-body functions as tables for LAMMPS or OpenMM",
        "kml tables pairs.safetensors -o pairs.table\nkml tables pairs.safetensors -o pairs.xml --for openmm",
        "Write the two-body functions of a model, with its repulsion, as tables for pair_style table of LAMMPS or as a "
        "serialized CustomNonbondedForce of OpenMM, without particles; and print the lines that use them.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="weight file of two-body functions")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the tables (replaced)")
    parser.add_argument("--for", choices=tuple(_START), default="lammps", dest="program", help="default: lammps")
    parser.add_argument(
        "--start",
        type=positive_float,
        metavar="R",
        help="first distance, Å (default: 0.5 for lammps, which stops where atoms come closer; 0.3 for openmm)",
    )
    parser.add_argument("--spacing", type=positive_float, default=0.002, metavar="H", help="steps, Å (default: 0.002)")
    parser.add_argument(
        "--leave-out-triples", action="store_true", help="take the two-body functions of a model that has others, too"
    )
    add_json_option(parser)


def run(args):
    check_outputs({"tables": args.output, "report": args.json}, (args.model,))

    from openmm_kml.elements import symbol
    from openmm_kml.weights import load

    weights = load(args.model)
    options = {
        "start": _START[args.program] if args.start is None else args.start,
        "spacing": args.spacing,
        "leave_out_triples": args.leave_out_triples,
    }
    usage = (_lammps if args.program == "lammps" else _openmm)(weights, args.output, options)
    if any(term.kind == "spline3" for term in weights.terms):
        warn("the three-body functions of the model are left out: what the tables hold is not the model")
    elements = [symbol(z) for z in weights.elements]
    write_json(args.json, {"model": str(args.model), "tables": str(args.output), "elements": elements, "usage": usage})
    print("\n".join(usage))


def _lammps(weights, path, options):
    """Write the tables and return the lines of the deck."""
    from openmm_kml.interfaces.tables import write_lammps_table

    return write_lammps_table(weights, path, **options)


def _openmm(weights, path, options):
    """Write the Force and return the lines of a script that puts it into a System."""
    from openmm_kml.elements import symbol
    from openmm_kml.files import write_atomically
    from openmm_kml.interfaces.tables import custom_nonbonded_force

    force = custom_nonbonded_force(weights, **options)
    import openmm

    write_atomically(path, openmm.XmlSerializer.serialize(force).encode())
    lines = [
        f"force = openmm.XmlSerializer.deserialize(Path({str(path)!r}).read_text())",
        "for atom in topology.atoms():",
    ]
    if len(weights.elements) == 1:
        return [*lines, "    force.addParticle([])"]
    kinds = ", ".join(f"{symbol(z)!r}: {k}" for k, z in enumerate(weights.elements))
    return [*lines, f"    force.addParticle([{{{kinds}}}[atom.element.symbol]])"]
