"""``kml info``: what is in a weight file."""

from pathlib import Path

from openmm_kml.cli.common import (
    ERROR_KEYS,
    add_command,
    add_json_option,
    check_outputs,
    check_picture,
    print_errors,
    print_symmetries,
    section,
    write_json,
)
from openmm_kml.cli.info_nbody import describe_repulsion, info_of_local, print_repulsion


def add_parser(subparsers):
    parser = add_command(
        subparsers,
        "info",
        run,
        "show what is in a weight file",
        "kml info ethanol.safetensors",
        "Show what is in a weight file: molecule, model, symmetries by the names of the atoms, origin and errors.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="weight file")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw f2 and slices of f3 (.png, .svg, .pdf)")
    add_json_option(parser)


def run(args):
    check_outputs({"report": args.json, "picture": args.plot}, (args.model,))
    check_picture(args.plot)

    from openmm_kml.elements import formula, symbol
    from openmm_kml.weights import load

    weights = load(args.model)
    if weights.elements is not None:
        info_of_local(args, weights)
        return
    if args.plot is not None:
        raise ValueError("--plot draws two- and three-body functions; this model of one molecule has none")
    report = {
        "file": str(args.model),
        "bytes": args.model.stat().st_size,
        "formula": formula(weights.species),
        "atoms": [f"{symbol(z)}{k + 1}" for k, z in enumerate(weights.species)],
        "species": [int(z) for z in weights.species],
        "atom_energies": {str(z): energy for z, energy in weights.atom_energies.items()},
        "terms": [_describe(term, weights.species) for term in weights.terms],
        "provenance": weights.provenance,
        **baseline_of(weights),
        **uncertainty_of(weights),
    }
    write_json(args.json, report)
    _print(report)


def _describe(term, species):
    """Return a term of the model as plain numbers and names."""
    import numpy as np

    from openmm_kml.term_descriptions import describe_term
    from openmm_kml.training.permutations import describe_group

    if term.kind == "repulsion":
        return describe_repulsion(term, np.unique(species))
    if term.kind == "walls":
        return describe_term(term) | {"n_upper": int((term.bounds[:, 1] > 0).sum())}
    weighted = not np.all(term.descriptor_weights == 1.0)
    return {
        "kind": term.kind,
        "power": term.power,
        "kernel": term.kernel,
        "length_scale": term.length_scale,
        "energy_offset": term.energy_offset,
        "n_training_points": len(term.training_descriptors),
        "n_descriptors": term.training_descriptors.shape[1],
        "symmetries": describe_group(term.permutations, species),
        "trained_on_energies": term.energy_coefficients is not None,
        "relevance_weights": [float(term.descriptor_weights.min()), float(term.descriptor_weights.max())]
        if weighted
        else None,
    }


def _print(report):
    print(f"{report['file']}  ({report['bytes'] / 1e3:.0f} kB)")
    print(f"  molecule        {report['formula']}: {' '.join(report['atoms'])}")
    for term in report["terms"]:
        if term["kind"] == "repulsion":
            print_repulsion(term)
            continue
        if term["kind"] == "walls":
            _print_walls(term)
            continue
        print(f"  term            {term['kind']}, {term['n_training_points']} training points")
        print(f"  descriptor      {term['n_descriptors']} entries r^-p with p = {term['power']:g}")
        print(f"  kernel          {term['kernel']}, length scale {term['length_scale']:g} Å^-{term['power']:g}")
        if term["relevance_weights"]:
            low, high = term["relevance_weights"]
            print(f"  pair weights    from {low:.3g} to {high:.3g}")
        print(f"  trained on      {'energies and forces' if term['trained_on_energies'] else 'forces'}")
        print(f"  energy offset   {term['energy_offset']:.6f} eV")
        print_symmetries(term["symmetries"])
    print_uncertainty(report)
    print_baseline(report)
    print_provenance(report["provenance"])


def _print_walls(term):
    print(f"  walls           on {len(term['bounds'])} distances, {term['n_upper']} of them from above, too")


def uncertainty_of(weights):
    """Return what a report says of the uncertainty of a model, if it has one."""
    if weights.uncertainty is None:
        return {}
    from openmm_kml.uncertainty import document_entry

    rows = [len(t.explained_descriptor_coefficients) for t in weights.terms if t.kind == "gdml"]
    return {"uncertainty": document_entry(weights.uncertainty) | ({"rows": rows} if rows else {})}


def print_uncertainty(report):
    if "uncertainty" not in report:
        print("  uncertainty     none")
        return
    said = report["uncertainty"]
    source = f"{said['members']} members" if said["members"] else f"{sum(said['rows'])} rows"
    print(f"  uncertainty     {source}; energies {_calibration(said, 'energy')}")
    print(f"                  forces {_calibration(said, 'force', '/Å')}")
    print_rows(section(report["provenance"], "explained"))


def print_rows(said):
    """Print how far the deviations by some rows are from those by all, as the trainer of a molecule found it."""
    ratio = section(said, "std_over_all_rows")
    numbers = [ratio.get(name) for name in ("median", "least", "most")]
    if said.get("exact") is True:
        print("                  exact: all rows of all training points")
    elif all(isinstance(number, float) for number in numbers):
        median, least, most = numbers
        points, indent = _printable(said.get("n_points")), 18 * " "
        print(f"{indent}deviations of energies, not calibrated, {median:.3g} times ({least:.3g} to {most:.3g})")
        print(f"{indent}what all rows of {points} training points give")


def _calibration(said, name, per=""):
    """Return the calibration of a quantity in words."""
    from openmm_kml.predictive import describe_tail

    scale, floor = said[f"{name}_scale"], 1e3 * said[f"{name}_floor"]
    return f"{scale:.3g} times, floor {floor:.2g} meV{per}, {describe_tail(said[f'{name}_tail'])}"


def baseline_of(weights):
    """Return what a report says of the baseline of a model, if it has one."""
    if weights.baseline is None:
        return {}
    return {"baseline": {"name": weights.baseline.name, "digest": weights.baseline.digest}}


def print_baseline(report):
    if "baseline" in report:
        print(f"  baseline        only the difference to {_printable(report['baseline']['name'])}")
        print(f"                  {report['baseline']['digest']}")


def print_provenance(provenance):
    data, source = section(provenance, "data"), section(provenance, "converted_from")
    if "program" in provenance:
        print(f"  made by         {_printable(provenance['program'])}")
    if data:
        print(f"  data            {_printable(data.get('name'))}, {_printable(data.get('frames'))} frames")
        print(f"                  {_printable(data.get('digest'))}")
    if source:
        words = [source.get(key) for key in ("format", "dataset_name", "dataset", "dataset_theory")]
        print(f"  converted from  {', '.join(_printable(word) for word in words if word)}")
    if "command" in provenance:
        print(f"  command         {_printable(provenance['command'])}")
    measured = section(provenance, "errors")
    if measured and all(isinstance(part, dict) and set(part) >= ERROR_KEYS for part in measured.values()):
        print()
        print_errors([(_printable(name), part) for name, part in measured.items()])


def _printable(value):
    """Return text from a file without the control characters that could command a terminal."""
    return "".join(character if character.isprintable() else "?" for character in str(value))
