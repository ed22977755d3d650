"""``kml select``: frames worth labeling, chosen from a pool."""

from pathlib import Path

from openmm_kml.cli.common import add_command, add_json_option, check_outputs, positive_int, warn, write_json
from openmm_kml.cli.nbody_options import add_structure_options, read_structure_data


def add_parser(subparsers):
    parser = add_command(
        subparsers,
        "select",
        run,
        "choose frames worth labeling from a pool",
        "kml select pool.xyz -n 100 -o selected.xyz\n"
        "kml select pool.xyz -n 20 -o selected.xyz --method variance --model silicon.safetensors\n"
        "kml select pool.xyz -n 20 -o selected.xyz --start train.xyz",
        "Choose frames from a pool: those farthest from each other, by inverse distances of one molecule or by "
        "averaged SOAP power spectra of any structures, or those that a model is least sure of, given those before.",
    )
    parser.add_argument("data", type=Path, metavar="POOL", help="extended XYZ, or any format ASE reads, or .npz")
    parser.add_argument("-n", "--count", type=positive_int, required=True, metavar="N", help="frames to choose")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="extended XYZ (replaced)")
    parser.add_argument("--method", choices=("farthest", "variance"), default="farthest", help="default: farthest")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="MODEL",
        help="weight file: of variance, the model that is asked; of farthest, its symmetries or descriptors measure",
    )
    parser.add_argument("--start", type=Path, metavar="FILE", help="frames that are there already, such as train.xyz")
    add_structure_options(parser)
    add_json_option(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars and no summary")


def run(args):
    check_outputs({"selection": args.output, "report": args.json}, (args.data, args.model, args.start))
    if args.method == "variance" and args.model is None:
        raise ValueError("--method variance asks a model: name its weight file with --model")
    from openmm_kml.structures.extended_xyz import write_frames

    pool = read_structure_data(args)
    if args.count > len(pool):
        raise ValueError(f"{args.data} has {len(pool)} frames; {args.count} cannot be chosen")
    start = None
    if args.start is not None:
        from openmm_kml.structures import read_structures

        start = read_structures(args.start, args.energy_unit, args.length_unit)
    places, values = _chosen(args, pool, start)
    if len(places) == 0:
        raise ValueError(f"{args.data} has no frame that {args.start} does not have; nothing can be chosen")
    if len(places) < args.count:
        warn(f"{len(places)} instead of {args.count} frames are chosen: the others repeat these or the start")
    write_frames(args.output, [pool.frames[k] for k in places])
    key = "radii" if args.method == "farthest" else "energy_std_per_atom"
    finite = [float(value) if abs(value) < float("inf") else None for value in values]
    write_json(args.json, {"places": places.tolist(), key: finite})
    if not args.quiet:
        _print_summary(args, pool, places, values)


def _chosen(args, pool, start):
    from openmm_kml.potential import KernelPotential
    from openmm_kml.selection import farthest_frames, most_uncertain_frames
    from openmm_kml.weights import load

    progress = not args.quiet
    weights = None if args.model is None else load(args.model)
    if args.method == "farthest":
        return farthest_frames(pool, args.count, start, weights, progress)
    # A difference to a baseline is as uncertain without it.
    potential = KernelPotential.load(args.model, delta=weights.baseline is not None)
    return most_uncertain_frames(pool, args.count, potential, start, progress)


def _print_summary(args, pool, places, values):
    known = [value for value in values if value < float("inf")]
    shown = "no distances"
    if known and args.method == "farthest":
        shown = f"farthest {max(known):.3g} and last {known[-1]:.3g} from all chosen before (features have no unit)"
    elif known:
        shown = f"deviations of the energy from {1e3 * known[0]:.3g} down to {1e3 * min(known):.3g} meV an atom"
    print(f"{args.output}: {len(places)} of {len(pool)} frames; {shown}")
