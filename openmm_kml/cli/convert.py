"""``kml convert``: models of other programs as weight files."""

from pathlib import Path

from openmm_kml.cli.common import add_command, add_json_option, check_outputs, energy_unit, length_unit, write_json


def add_parser(subparsers):
    parser = add_command(
        subparsers,
        "convert",
        run,
        "turn a model of another program into a weight file",
        "kml convert model.npz model.safetensors",
        "Turn a model of another program into a weight file. Known: sGDML model files (.npz) of all releases. Only "
        "plain arrays are read, never pickled objects.",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="model of the other program")
    parser.add_argument("output", type=Path, metavar="MODEL", help="weight file (replaced)")
    parser.add_argument(
        "--energy-unit",
        metavar="UNIT",
        type=energy_unit,
        help="unit of the model (default: as the file states, else kcal/mol)",
    )
    parser.add_argument(
        "--length-unit", metavar="UNIT", type=length_unit, help="likewise (default: as the file states, else Å)"
    )
    add_json_option(parser)


def run(args):
    check_outputs({"weight file": args.output, "report": args.json}, (args.source,))

    from openmm_kml.convert import convert_sgdml
    from openmm_kml.structures import formula
    from openmm_kml.weights import save

    weights = convert_sgdml(args.source, args.energy_unit, args.length_unit)
    save(weights, args.output)
    term = weights.terms[0]
    source = weights.provenance["converted_from"]
    report = {
        "source": str(args.source),
        "model": str(args.output),
        "formula": formula(weights.species),
        "n_training_points": len(term.training_descriptors),
        "n_permutations": len(term.permutations),
        "converted_from": source,
    }
    write_json(args.json, report)
    print(
        f"{args.source}: sGDML model of {report['formula']}, {report['n_training_points']} training points, "
        f"{report['n_permutations']} permutations, in {source['energy_unit']} and {source['length_unit']}"
    )
    print(f"\nwrote {args.output}. Next:\n  kml info {args.output}")
