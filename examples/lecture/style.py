"""What the pictures share: options of the command line, ticks, and small files."""

import argparse
import io
from pathlib import Path

from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator
from PIL import Image

from openmm_kml.cli.common import positive_float, positive_int
from openmm_kml.files import write_atomically
from openmm_kml.plots import BLUE, GRAY, GREEN, ORANGE, figure_bytes, new_figure

__all__ = [
    "BLUE",
    "GRAY",
    "GREEN",
    "ORANGE",
    "new_figure",
    "options_parser",
    "plain_ticks",
    "positive_float",
    "positive_int",
    "put_legend",
    "save",
]


def options_parser(doc):
    """Return a parser that knows where pictures go; `doc` is the docstring of the script."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("lecture"), help="for the pictures (default: lecture)")
    return parser


def plain_ticks(axis, ticks):
    """Label a logarithmic axis with these numbers themselves, not with powers of ten."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_locator(NullLocator())


def put_legend(ax, **keywords):
    """Add a legend without a frame."""
    ax.legend(**{"frameon": False, "fontsize": 10.5} | keywords)


def save(figure, path):
    """Write a PNG of 256 colors, a third of the size and no worse to the eye; print its name."""
    picture = Image.open(io.BytesIO(figure_bytes(figure, "png", dpi=110))).convert("RGB")
    stream = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(stream, "png", optimize=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, stream.getvalue())
    print(f"wrote {path}\n")
