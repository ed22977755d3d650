"""``kml quickstart``: the main job in a minute."""

import time
from pathlib import Path

from openmm_kml.cli.common import add_command, add_threads_option, natural

_WHAT = {
    "report.html": "pictures and numbers: open it in a browser",
    "ethanol.safetensors": "the trained potential",
    "simulate.py": "the simulation as a script: edit it and run it again",
    "simulate.new.py": "the script as it came",
    "ethanol.pdb": "atoms, bonds and starting positions",
    "langevin.dcd": "trajectory at 500 K (open with ethanol.pdb)",
    "langevin.csv": "its energies and temperatures",
    "nve.dcd": "trajectory at constant energy",
    "nve.csv": "its energies",
}


def add_parser(subparsers):
    parser = add_command(
        subparsers,
        "quickstart",
        run,
        "train, test and simulate ethanol, and write a report",
        "kml quickstart\nkml quickstart --output ethanol_run --seed 1",
        "Train a potential on the bundled ethanol data, test it, run 5 ps of Langevin dynamics and 5 ps at constant "
        "energy in OpenMM, and leave the weight file, trajectories, a script to edit and a report with pictures.",
    )
    parser.add_argument("--output", type=Path, default=Path("quickstart"), metavar="DIR", help="default: quickstart")
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="of split and dynamics (default: 0)")
    parser.add_argument("--data", type=Path, metavar="FILE", help="other data of one molecule, in eV and Å")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    add_threads_option(parser)


def run(args):
    from openmm_kml.quickstart import Settings, run_quickstart

    def say(text):
        print(text, flush=True)

    started = time.perf_counter()
    settings = Settings.quick() if args.quick else Settings()
    written = run_quickstart(args.output, settings, args.seed, args.data, args.threads, say)
    print(f"\nDone in {time.perf_counter() - started:.0f} s. In {args.output}:")
    for path in sorted(written, key=lambda path: list(_WHAT).index(path.name)):
        print(f"  {path.name:<20}  {_WHAT[path.name]}")
    print("\nNext:")
    print(f"  open {args.output}/report.html")
    print(f"  python {args.output}/simulate.py --picoseconds 20 --temperature 300")
    print("  kml train gdml YOUR_DATA.xyz -o model.safetensors --n-train 200 --n-valid 100")
