"""How long runs of ethanol last by what the model knows beforehand, and when the guard would have stopped them.

    python benchmarks/guard_survival.py [--temperatures 500 800] [--runs 6] [--length 300] [--output FILE]

A model of 200 DFT frames at 500 K; Langevin dynamics (0.5 fs, 5/ps) from the frame of least energy, without priors,
with the repulsion, with the repulsion and the walls. A run is lost where two atoms fuse (0.4 of the sum of covalent
radii), are 12 Å apart, or a number is not finite. Every 0.1 ps the uncertainty is compared with the guard's threshold,
and with two thirds of it.
"""

import numpy as np
import openmm
from guard_common import APART, Ethanol, dynamics, lean, positions_of, study_parser, write_results

from openmm_kml.doubt import doubt_of
from openmm_kml.interfaces.openmm import KMLForce

PRIORS = {"none": (), "repulsion": ("repulsion",), "repulsion and walls": ("repulsion", "walls")}
STEP, EVERY = 0.5, 200  # fs, steps


def run(ethanol, potential, temperature, seed, length):
    """Return how a run ends, when, and when the uncertainty was first above two and three times the usual, ps."""
    context = dynamics([KMLForce(potential)], ethanol.numbers, ethanol.start, None, temperature, STEP, seed)
    alarms, end, above, looks = {"2": None, "3": None}, "survived", 0, round(1000 * length / STEP / EVERY)
    for look in range(1, looks + 1):
        time = round(look * EVERY * STEP / 1000, 2)
        try:
            context.getIntegrator().step(EVERY)
        except openmm.OpenMMException:
            end = "not finite"
            break
        r = positions_of(context)
        doubt = doubt_of(ethanol.whole, r).value
        above += doubt > ethanol.threshold
        for name, part in (("2", 2 / 3), ("3", 1.0)):
            if alarms[name] is None and doubt > part * ethanol.threshold:
                alarms[name] = time
        if ethanol.has_fused(r):
            end = "fused"
        elif ethanol.distances(r).max() > APART:
            end = "apart"
        if end != "survived":
            break
    whole = end == "survived" and ethanol.is_whole(r)
    return {"end": end, "whole": whole, "ps": time, "alarms": alarms, "looks above": above / look}


def survival(options, temperature):
    """Return and print how runs at a temperature end."""
    ethanol, result = Ethanol(options.frames), {}
    for prior, kinds in PRIORS.items():
        if prior not in options.priors:
            continue
        potential = lean(ethanol.fit.weights, *kinds)
        runs = [run(ethanol, potential, temperature, seed, options.length) for seed in range(1, options.runs + 1)]
        result[prior] = runs
        lasted = sum(one["end"] == "survived" for one in runs)
        print(f"{temperature:g} K, {prior}: {lasted} of {len(runs)} survived", flush=True)
        for one in runs:
            print(f"    {one}", flush=True)
        stopped = [one["alarms"]["3"] for one in runs if one["alarms"]["3"] is not None]
        print(f"  the guard stops {len(stopped)}, at {np.sort(stopped)} ps", flush=True)
    return result


def main():
    parser = study_parser(__doc__, 200, "prior and temperature")
    parser.add_argument("--temperatures", type=float, nargs="*", default=[500.0, 800.0], help="K")
    parser.add_argument("--priors", nargs="*", choices=list(PRIORS), default=list(PRIORS))
    parser.add_argument("--length", type=float, default=300.0, help="ps")
    options = parser.parse_args()
    cases = {f"{t:g} K": lambda options, t=t: survival(options, t) for t in options.temperatures}
    write_results(cases, options)


if __name__ == "__main__":
    main()
