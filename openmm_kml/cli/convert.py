"""``kml convert``: models of other programs as weight files."""

from pathlib import Path

from openmm_kml.cli.common import add_command, add_json_option, check_outputs, energy_unit, length_unit, write_json

_EXAMPLES = """\
kml convert model.npz model.safetensors
kml convert gap.xml gap.safetensors
kml convert gap.xml gap.safetensors --elements Si --skip Glue"""


def add_parser(subparsers):
    parser = add_command(
        subparsers,
        "convert",
        run,
        "turn a model of another program into a weight file",
        _EXAMPLES,
        "Turn a model of another program into a weight file. Known: sGDML model files (.npz) of all releases, and GAP "
        "potentials of QUIP (.xml, with their files of sparse points beside them). Only plain arrays and plain XML are "
        "read, never pickled objects or entities.",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="model of the other program")
    parser.add_argument("output", type=Path, metavar="MODEL", help="weight file (replaced)")
    sgdml = parser.add_argument_group("sGDML models")
    sgdml.add_argument(
        "--energy-unit",
        metavar="UNIT",
        type=energy_unit,
        help="unit of the model (default: as the file states, else kcal/mol)",
    )
    sgdml.add_argument(
        "--length-unit", metavar="UNIT", type=length_unit, help="likewise (default: as the file states, else Å)"
    )
    gap = parser.add_argument_group("GAP potentials")
    gap.add_argument("--elements", metavar="Si,O", help="elements of the model besides those that its descriptors name")
    gap.add_argument(
        "--skip",
        metavar="NAME",
        action="append",
        default=[],
        help="leave out a part that cannot be converted, by the name in the error; may be given again",
    )
    add_json_option(parser)


def run(args):
    check_outputs({"weight file": args.output, "report": args.json}, (args.source,))
    if is_xml(args.source):
        from openmm_kml.cli.convert_gap import convert

        _check_unused(args, ("energy_unit", "length_unit"), "GAP potentials are in eV and Å")
    else:
        convert = _convert_sgdml
        _check_unused(args, ("elements", "skip"), f"{args.source} is not the XML of a GAP potential")
    weights, report, summary = convert(args)

    from openmm_kml.weights import save

    save(weights, args.output)
    head = {"source": str(args.source), "model": str(args.output)}
    write_json(args.json, head | report | {"converted_from": weights.provenance["converted_from"]})
    print(summary)
    print(f"\nwrote {args.output}. Next:\n  kml info {args.output}")


def is_xml(path):
    """Return whether a file begins as XML does."""
    with path.open("rb") as stream:
        return stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _check_unused(args, names, reason):
    for name in names:
        if getattr(args, name):
            raise ValueError(f"--{name.replace('_', '-')} has no meaning here: {reason}")


def _convert_sgdml(args):
    """Return weights, report and a line for the reader."""
    from openmm_kml.convert import convert_sgdml
    from openmm_kml.structures import formula

    weights = convert_sgdml(args.source, args.energy_unit, args.length_unit)
    term, source = weights.terms[0], weights.provenance["converted_from"]
    report = {
        "formula": formula(weights.species),
        "n_training_points": len(term.training_descriptors),
        "n_permutations": len(term.permutations),
    }
    summary = (
        f"{args.source}: sGDML model of {report['formula']}, {report['n_training_points']} training points, "
        f"{report['n_permutations']} permutations, in {source['energy_unit']} and {source['length_unit']}"
    )
    return weights, report, summary
