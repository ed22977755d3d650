"""``kml test``: errors of a potential on reference data."""

from pathlib import Path

from openmm_kml.cli.baseline import add_baseline_option, baseline_files, load_potential
from openmm_kml.cli.common import (
    add_command,
    add_json_option,
    add_threads_option,
    check_outputs,
    check_picture,
    evaluate,
    evaluate_structures,
    print_errors,
    read_data,
    section,
    warn,
    write_json,
)
from openmm_kml.cli.nbody_options import add_structure_options, read_structure_data


def add_parser(subparsers):
    parser = add_command(
        subparsers,
        "test",
        run,
        "measure the errors of a potential on reference data",
        "kml test ethanol.safetensors ethanol.xyz --held-out --json errors.json --plot parity.png",
        "Measure the errors of a potential on reference data: energies per structure and per atom, and forces per "
        "component.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="weight file")
    parser.add_argument("data", type=Path, metavar="DATA", help="reference data, as for kml train")
    parser.add_argument(
        "--held-out",
        action="store_true",
        help="DATA is the file the model was trained on: use only the frames kept for the test",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw predicted against reference (.png, .svg, .pdf)")
    parser.add_argument(
        "--uncertainty",
        action="store_true",
        help="hold predicted deviations and intervals against the errors; --plot then draws their reliability",
    )
    add_baseline_option(parser)
    add_threads_option(parser)
    add_structure_options(parser)
    add_json_option(parser)


def run(args):
    check_outputs({"report": args.json, "picture": args.plot}, (args.model, args.data, *baseline_files(args.baseline)))
    check_picture(args.plot)

    from openmm_kml.errors import DataError
    from openmm_kml.metrics import errors

    potential = load_potential(args.model, args.baseline)
    if potential.weights.elements is not None:
        _test_local(args, potential)
        return
    molecules = _frames(args, potential.weights.provenance, read_data(args))
    if molecules.energies is None and molecules.forces is None:
        raise DataError(f"{args.data} has neither energies nor forces to compare with")
    if molecules.energies is not None and _has_no_zero(potential.weights):
        warn(
            f"{args.model} was trained without energies: they have no common zero with those of {args.data}, and their "
            "errors mean nothing"
        )
    energies, forces = evaluate(potential, molecules, args.threads)
    measured = errors(energies, forces, molecules)
    uncertainty = _uncertainty(args, potential, _as_frames(molecules), list(zip(energies, forces, strict=True)))
    measured |= uncertainty
    if args.plot is not None and not uncertainty:
        from openmm_kml.plots import parity, save_figure

        save_figure(parity(energies, forces, molecules), args.plot)
    write_json(args.json, measured)
    print(f"{args.model} on {args.data}, {len(molecules)} frames of {molecules.formula}")
    print_errors([("errors", measured)])
    _print_uncertainty(uncertainty)


def _as_frames(molecules):
    """Return the frames of a set of molecules as (positions, numbers, cell, pbc, energy, forces)."""
    for k, positions in enumerate(molecules.positions):
        energy = None if molecules.energies is None else molecules.energies[k]
        forces = None if molecules.forces is None else molecules.forces[k]
        yield positions, None, None, None, energy, forces


def _uncertainty(args, potential, frames, predictions, groups=()):
    """Return what a report says of the uncertainty, empty where it is not asked for; draw it where a picture is."""
    if not args.uncertainty:
        return {}
    from openmm_kml.cli.uncertainty_report import by_group, collect, joined, measures

    collected, calibrated = collect(potential, frames, predictions), potential.weights.uncertainty
    measured = measures(collected, calibrated)
    if args.plot is not None:
        from openmm_kml.plots import save_figure
        from openmm_kml.plots_uncertainty import reliability_diagram

        drawn = [name for name, part in measured.items() if part["n"]]
        save_figure(reliability_diagram({name: joined(collected, name, calibrated) for name in drawn}), args.plot)
    groups = by_group(collected, groups, calibrated)
    return {"uncertainty": measured | ({"groups": groups} if groups else {})}


def _print_uncertainty(report):
    from openmm_kml.cli.uncertainty_report import print_uncertainty

    if report:
        print_uncertainty(report["uncertainty"], report["uncertainty"].get("groups", {}))


def _test_local(args, potential):
    """Test a model of local terms on structures of any composition."""
    from openmm_kml.errors import DataError
    from openmm_kml.metrics import structure_errors
    from openmm_kml.structures import split_structures

    structures = _frames(args, potential.weights.provenance, read_structure_data(args), split_structures)
    if all(frame.energy is None and frame.forces is None for frame in structures):
        raise DataError(f"{args.data} has neither energies nor forces to compare with")
    predictions = evaluate_structures(potential, structures, args.threads)
    measured = {"errors": structure_errors(predictions, structures)}
    if len(structures.groups) > 1:
        for name in structures.groups:
            places = [k for k, frame in enumerate(structures) if frame.group == name]
            measured[name or "(no group)"] = structure_errors([predictions[k] for k in places], structures[places])
    frames = [(f.positions, f.numbers, f.cell, f.pbc, f.energy, f.forces) for f in structures]
    uncertainty = _uncertainty(
        args, potential, frames, [p[:2] for p in predictions], [frame.group for frame in structures]
    )
    if args.plot is not None and not uncertainty:
        from openmm_kml.plots import parity_of_structures, save_figure

        save_figure(parity_of_structures(predictions, structures), args.plot)
    groups = {name: errors for name, errors in measured.items() if name != "errors"}
    write_json(args.json, measured["errors"] | ({"groups": groups} if groups else {}) | uncertainty)
    print(f"{args.model} on {args.data}, {structures.describe()}")
    print_errors(list(measured.items()))
    _print_uncertainty(uncertainty)


def _has_no_zero(weights):
    """Return whether a model was trained on forces of a set without energies."""
    return not weights.atom_energies and all(
        term.energy_coefficients is None and term.energy_offset == 0.0 for term in weights.terms if term.kind == "gdml"
    )


def _frames(args, provenance, molecules, split=None):
    """Return the frames to test on: all, or those of the training file that the training has not seen."""
    from openmm_kml.errors import DataError

    if split is None:
        from openmm_kml.structures import split

    counts = {name: section(provenance, "split").get(name) for name in ("n_train", "n_validation", "n_test", "seed")}
    known = all(isinstance(count, int) for count in counts.values())
    trained_here = known and section(provenance, "data").get("digest") == molecules.digest
    if not args.held_out:
        if trained_here:
            used = counts["n_train"] + counts["n_validation"]
            warn(
                f"{args.data} is the file that the model was trained on, and {used} of its frames were used for that; "
                "--held-out leaves them out"
            )
        return molecules
    if not trained_here:
        raise DataError(
            f"--held-out: {args.data} is not the file that {args.model} was trained on, or was read with other units; "
            "leave --held-out away"
        )
    held_out = split(molecules, **counts)[2]
    if len(held_out) == 0:
        raise DataError(f"--held-out: no frame of {args.data} was kept for the test; test on another file")
    return held_out
