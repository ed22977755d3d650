"""Make all pictures of the lecture.

    python examples/lecture/make_all.py [--folder lecture]

Every picture is a script of its own, with options; `--help` tells them.
"""

import importlib

from style import options_parser
from tqdm import tqdm

SCRIPTS = (
    "overfitting",
    "kernel_regression",
    "missing_repulsion",
    "repulsion_prior",
    "walls_prior",
    "symmetry",
    "energy_conservation",
    "timescales",
)


def main(arguments=None):
    options = options_parser(__doc__).parse_args(arguments)
    for name in tqdm(SCRIPTS, "pictures", unit=" scripts"):
        tqdm.write(f"--- {name}")
        importlib.import_module(name).main(["--folder", str(options.folder)])


if __name__ == "__main__":
    main()
