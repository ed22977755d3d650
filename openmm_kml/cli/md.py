"""``kml md``: molecular dynamics with a trained model."""

import sys
from pathlib import Path

from openmm_kml.cli.baseline import add_baseline_option, load_potential
from openmm_kml.cli.common import add_command, add_threads_option, natural, positive_float, positive_int

_WHAT = {
    "start.pdb": "the atoms: open the trajectory together with it",
    "trajectory.dcd": "frames",
    "trajectory.xtc": "frames",
    "energies.csv": "energies and temperature",
    "checkpoint": "where --resume goes on",
    "uncertainty.csv": "standard deviations of the energy",
    "uncertain.xyz": "frames of which the model is not certain",
}


def add_parser(subparsers):
    parser = add_command(
        subparsers,
        "md",
        run,
        "run molecular dynamics in OpenMM",
        "kml md ethanol.safetensors ethanol.xyz --ensemble nvt --temperature 300 --steps 20000 -o run/\n"
        "kml md ethanol.safetensors ethanol.xyz --ensemble nvt --temperature 300 --steps 40000 -o run/ --resume",
        "Run molecular dynamics in OpenMM, of one molecule or of a periodic structure, at constant energy (nve), "
        "temperature (nvt) or pressure (npt). A killed run goes on with --resume; one that leaves physics is stopped "
        "and says at which step.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="weight file")
    parser.add_argument("start", type=Path, metavar="START", help="atoms and positions: .pdb, .xyz, or what ASE reads")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="directory of the run")
    add_baseline_option(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in DIR up to --steps")
    group = parser.add_argument_group("the dynamics")
    group.add_argument("--ensemble", choices=("nve", "nvt", "npt"), default="nvt", help="default: nvt")
    group.add_argument("--temperature", type=positive_float, default=300.0, metavar="K", help="default: 300")
    group.add_argument("--pressure", type=float, default=1.0, metavar="BAR", help="of npt (default: 1)")
    group.add_argument("--timestep", type=positive_float, default=0.5, metavar="FS", help="femtoseconds (default: 0.5)")
    group.add_argument("--steps", type=positive_int, default=20000, metavar="N", help="of the whole run (20000)")
    group.add_argument(
        "--friction", type=positive_float, default=1.0, metavar="G", help="of nvt and npt, 1/ps (default: 1)"
    )
    group.add_argument("--seed", type=natural, default=0, metavar="N", help="of velocities and noise (default: 0)")
    group.add_argument("--minimize", action="store_true", help="relax START before the first step")
    group.add_argument("--platform", default="Reference", metavar="NAME", help="of OpenMM (default: Reference)")
    add_threads_option(group, "one for small models, else all cores")
    group = parser.add_argument_group("what is written")
    group.add_argument("--interval", type=positive_int, default=100, metavar="N", help="steps between frames (100)")
    group.add_argument("--trajectory", choices=("dcd", "xtc"), default="dcd", help="format (default: dcd)")
    group.add_argument("--checkpoint-seconds", type=float, default=10.0, metavar="S", help="between two (default: 10)")
    group = parser.add_argument_group("when the run is stopped")
    group.add_argument("--max-temperature", type=positive_float, metavar="K", help="default: ten times --temperature")
    group.add_argument(
        "--max-stretch", type=positive_float, default=1.8, metavar="X", help="of a bond, in covalent radii (1.8)"
    )
    group.add_argument(
        "--min-contact", type=positive_float, default=0.5, metavar="X", help="of two atoms, in covalent radii (0.5)"
    )
    group.add_argument(
        "--guard-uncertainty",
        type=_threshold,
        metavar="X",
        help="eV: of the largest standard deviation of an atom's energy (one molecule: of the energy, by the number of "
        "atoms); auto: some times what is usual",
    )
    group.add_argument(
        "--guard-interval", type=positive_int, default=100, metavar="N", help="steps between two looks at it (100)"
    )
    group.add_argument(
        "--guard-action",
        choices=("stop", "flag"),
        default="stop",
        help="then: stop, or keep the frame and go on (stop)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no summary")


def run(args):
    from openmm_kml import md

    settings = md.Settings(
        ensemble=args.ensemble,
        temperature=args.temperature,
        pressure=args.pressure,
        timestep=args.timestep,
        steps=args.steps,
        friction=args.friction,
        interval=args.interval,
        seed=args.seed,
        platform=args.platform,
        trajectory=args.trajectory,
        minimize=args.minimize,
        max_temperature=args.max_temperature,
        max_stretch=args.max_stretch,
        min_contact=args.min_contact,
        guard_uncertainty=args.guard_uncertainty,
        guard_interval=args.guard_interval,
        guard_action=args.guard_action,
        checkpoint_seconds=args.checkpoint_seconds,
        n_threads=args.threads,
    )
    potential = load_potential(args.model, args.baseline)
    summary = md.run(potential, args.start, args.output, settings, resume=args.resume, progress=not args.quiet)
    if not args.quiet:
        _print_summary(summary, args)
    if summary.signal:
        print(f"kml: interrupted at step {summary.last_step}; --resume goes on from there", file=sys.stderr)
        raise SystemExit(128 + summary.signal)  # as shells have it


def _threshold(text):
    return text if text == "auto" else positive_float(text)


def _print_summary(summary, args):
    picoseconds = summary.last_step * args.timestep * 1e-3
    print(
        f"steps {summary.first_step} to {summary.last_step} ({picoseconds:g} ps in all), "
        f"{summary.nanoseconds_per_day:.3g} ns/day, mean temperature {summary.temperature:.0f} K"
    )
    if summary.uncertainty:
        print(summary.uncertainty)
    for path in summary.files:
        print(f"  {path}  {_WHAT[path.name]}")
