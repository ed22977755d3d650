"""Entry point of ``kml``: the commands, and what happens when one fails."""

import argparse
import contextlib
import os
import signal
import sys
from importlib import import_module

# In the order of the help. A module is imported for its parser, which must not import NumPy or OpenMM: `kml --help`
# answers at once.
COMMANDS = (
    "train",
    "test",
    "learning_curve",
    "info",
    "convert",
    "md",
    "active_learn",
    "select",
    "lammps_plugin",
    "tables",
    "quickstart",
)

EXIT_ERROR = 2
EXIT_BUG = 1
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
EXIT_TERMINATED = 143


def build_parser():
    """Return the argument parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="kml",
        description="Train kernel potentials on quantum-chemistry data and run them natively in OpenMM.",
        epilog="Start with:  kml quickstart        Help on a command:  kml train gdml --help",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"openmm_kml.cli.{name}").add_parser(subparsers)
    return parser


def main(argv=None):
    """Run a command and return its exit status.

    0 on success, 2 with one sentence on standard error for anything wrong with the input, 130 after Ctrl-C. With
    ``--debug`` errors are raised with their traceback.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    args = build_parser().parse_args(argv)
    args.argv = argv
    with contextlib.suppress(ValueError):  # not in the main thread: the caller handles signals
        # A terminated run removes its temporary files on the way out, as an interrupted one does.
        signal.signal(signal.SIGTERM, _terminated)
    try:
        args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nkml: interrupted; no output file was changed", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (head, less) went away; nobody is left to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
    except Exception as error:
        if args.debug:
            raise
        status, sentence = _explained(error)
        print(f"kml: error: {sentence}", file=sys.stderr)
        return status
    return 0


def _explained(error):
    """Return the exit status and one sentence for an exception."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename is not None:
        return EXIT_ERROR, f"{error.filename}: {(error.strerror or text).lower()}"
    if isinstance(error, MemoryError):
        return EXIT_ERROR, f"memory does not suffice{': ' + text if text else ''}; use fewer frames or another solver"
    # OpenMM's own exception derives from Exception alone, and is known here without importing OpenMM.
    if isinstance(error, (ValueError, OSError, ImportError)) or _is_expected(error):
        return EXIT_ERROR, text
    return EXIT_BUG, f"unexpected {type(error).__name__}: {text} (run again with --debug to see where)"


def _is_expected(error):
    from openmm_kml.errors import KMLError

    return isinstance(error, KMLError) or type(error).__name__ == "OpenMMException"


def _terminated(_signal, _frame):
    raise SystemExit(EXIT_TERMINATED)


class _Version(argparse.Action):
    """Print the version; looked up only when asked for."""

    def __call__(self, parser, namespace, values, option_string=None):
        from openmm_kml import __version__

        print(f"kml {__version__}")
        parser.exit()
