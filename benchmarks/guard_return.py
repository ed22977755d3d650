"""Whether a run that leaves the data comes back, by what the model knows beforehand.

    python benchmarks/guard_return.py [--cases ethanol solids] [--runs 6] [--output FILE]

Ethanol by DFT: runs start with a compressed bond or are driven at two and three times the temperature of the data for
2.5 ps, then rest at 300 K for 5 ps; without priors, with the repulsion, over two baselines, with the repulsion and the
walls. Silicon (Stillinger and Weber) and copper (effective medium theory), data at 300 and 600 K: a pair of neighbors
starts at half its distance, or the crystal is heated or compressed for 2 ps, then rests at 300 K for 4 ps; without and
with the repulsion, silicon under its own truth, too.

*Fused*: two atoms were nearer than 0.4 of the sum of their covalent radii. *Whole*: in the end the bonds are those of
the start. *Back*: whole (solids: not fused), and the uncertainty is below the guard's threshold again.
"""

import numpy as np
import openmm
from guard_common import FUSED, Ethanol, dynamics, gdml_fit, lean, positions_of, study_parser, write_results
from guard_solids import copper, silicon, squeeze

from openmm_kml.bonds import covalent_sums
from openmm_kml.doubt import doubt_of
from openmm_kml.errors import EvaluationError
from openmm_kml.interfaces.baseline import SystemBaseline
from openmm_kml.interfaces.baselines import subtract_from
from openmm_kml.interfaces.bonded_model import bonded_model
from openmm_kml.interfaces.openmm import KMLForce
from openmm_kml.neighbors import neighbor_list

from delta_case import classical  # isort: skip  (guard_common puts its folder on the path)

COLLAPSES = (  # bond, its factor, temperature
    ("C–C at 0.75", (0, 1, 0.75), 300.0),
    ("C–H at 0.6", (0, 6, 0.6), 300.0),
    ("O–H at 0.6", (2, 3, 0.6), 300.0),
    ("1000 K", (0, 1, 1.0), 1000.0),
    ("1500 K", (0, 1, 1.0), 1500.0),
)
SOLID_DRIVES = {  # distance of a pair at the start, by its length; temperature for 2 ps; least edges, by the crystal's
    "a pair at 0.5": (0.5, 300.0, 1.0),
    "1800 K": (1.0, 1800.0, 1.0),
    "6000 K": (1.0, 6000.0, 1.0),
    "edges at 0.9": (1.0, 300.0, 0.9),
    "edges at 0.75": (1.0, 300.0, 0.75),
}
DRIVEN, RESTED, EVERY = 10000, 20000, 50  # steps of 0.25 fs
LAST = 10  # looks whose median uncertainty counts


def priors(ethanol):
    """Return what a run is done with: name -> functions that make its Forces, the potential watched, its threshold."""
    weights, watched = ethanol.fit.weights, (ethanol.whole, ethanol.threshold)
    bonded = openmm.System()
    for z in ethanol.numbers:
        bonded.addParticle(openmm.app.Element.getByAtomicNumber(int(z)).mass)
    for force in bonded_model(lean(weights), ethanol.start):
        bonded.addForce(force)
    return {
        "none": ([lambda: KMLForce(lean(weights))], *watched),
        "repulsion": ([lambda: KMLForce(lean(weights, "repulsion"))], *watched),
        "repulsion, over OPLS": difference(ethanol, classical()),
        "repulsion, over bonds and angles": difference(ethanol, bonded),
        "repulsion and walls": ([lambda: KMLForce(lean(weights, "repulsion", "walls"))], *watched),
    }


def difference(ethanol, system):
    """Return a prior that is a baseline."""
    parts = [
        subtract_from(part, SystemBaseline(system, "baseline"))
        for part in (ethanol.train, ethanol.validation, ethanol.test)
    ]
    fit = gdml_fit(*parts[:2])
    print(f"  over a baseline: {fit.report['validation_errors']}", flush=True)
    makers = [lambda: KMLForce(lean(fit.weights, "repulsion"))]
    for k in range(system.getNumForces()):
        makers.append(lambda k=k: openmm.XmlSerializer.clone(system.getForce(k)))
    return makers, *ethanol.watched(fit.weights, parts[2])


def molecule_run(ethanol, prior, start, temperature, seed):
    """Return whether atoms fused, whether the molecule is whole in the end, and whether it is back."""
    makers, potential, threshold = prior
    context = dynamics([make() for make in makers], ethanol.numbers, start, None, temperature, 0.25, seed)
    integrator, fused, doubts = context.getIntegrator(), False, []
    for step in range(0, DRIVEN + RESTED, EVERY):
        if step == DRIVEN:
            integrator.setTemperature(300.0)
        try:
            integrator.step(EVERY)
        except openmm.OpenMMException:
            return {"fused": fused, "whole": False, "back": False}
        r = positions_of(context)
        fused |= ethanol.has_fused(r)
        if step >= DRIVEN + RESTED - LAST * EVERY:
            doubts.append(doubt_of(potential, r).value)
    whole = ethanol.is_whole(r)
    return {"fused": fused, "whole": whole, "back": whole and bool(np.median(doubts) < threshold)}


def ethanol_case(options):
    """Return and print how runs of ethanol end, by prior and start."""
    ethanol, result = Ethanol(options.frames), {}
    for prior, means in priors(ethanol).items():
        result[prior] = {}
        for name, (i, j, factor), temperature in COLLAPSES:
            start = ethanol.start.copy()
            start[j] = start[i] + factor * (start[j] - start[i])
            ends = [molecule_run(ethanol, means, start, temperature, seed) for seed in range(1, options.runs + 1)]
            result[prior][name] = {what: sum(end[what] for end in ends) for what in ends[0]}
            print(f"{prior}, {name}: {result[prior][name]} of {options.runs}", flush=True)
    return result


def solid_run(solid, prior, drive, seed):
    """Return whether atoms fused, the true energy above the crystal in the end, eV an atom, and the uncertainty."""
    numbers, cell, start = solid.numbers.tolist(), solid.cell, solid.start.copy()
    watched, threshold = solid.watched(prior)
    pair, hot, edge = SOLID_DRIVES[drive]
    i, j = solid.bond
    start[j] = start[i] + pair * (start[j] - start[i])
    force = KMLForce(solid.models[prior], numbers=numbers, periodic=True)
    context = dynamics([force], numbers, start, cell, hot, 1.0, seed)
    driven, rested, nearest, energies, doubts = 2000, 4000, np.inf, [], []
    sums = covalent_sums(numbers)
    for step in range(0, driven + rested, 20):
        if step == driven:
            context.getIntegrator().setTemperature(300.0)
        if edge < 1 and step <= 1.5 * driven:  # down for the time of the drive, up in half of it
            part = step / driven if step < driven else 3 - 2 * step / driven
            squeeze(context, cell * (1 - (1 - edge) * part))
        try:
            context.getIntegrator().step(20)
            r = positions_of(context)
            box = context.getState().getPeriodicBoxVectors(asNumpy=True)._value * 10
            i, j, _, _, distances = neighbor_list(r, box, True, FUSED * sums.max())
            nearest = min(nearest, (distances / sums[i, j]).min(initial=1.0))
            if step >= driven + rested - 1000:
                energies.append(solid.truth(r, box)[0] / len(numbers))
                doubts.append(doubt_of(watched, r, numbers, box).value)
        except (openmm.OpenMMException, EvaluationError):
            return {"fused": True, "above": None, "back": False}
    above = float(np.mean(energies)) - solid.crystal_energy
    back = nearest >= FUSED and bool(np.median(doubts) < threshold)
    return {"fused": bool(nearest < FUSED), "above": round(above, 4), "back": back}


def solids_case(options):
    """Return and print how runs of silicon and copper end, by prior and drive."""
    result = {}
    for solid in (silicon(), copper()):
        result[solid.name] = {}
        for prior in solid.models:
            for drive in SOLID_DRIVES:
                ends = [solid_run(solid, prior, drive, seed) for seed in range(1, options.solid_runs + 1)]
                found = {what: sum(bool(end[what]) for end in ends) for what in ("fused", "back")}
                found["above_eV"] = sorted(end["above"] for end in ends if end["above"] is not None)
                result[solid.name][f"{prior}, {drive}"] = found
                print(f"{solid.name}, {prior}, {drive}: {found} of {options.solid_runs}", flush=True)
    return result


def main():
    parser = study_parser(__doc__, 60, "prior and start")
    cases = {"ethanol": ethanol_case, "solids": solids_case}
    parser.add_argument("--cases", nargs="*", choices=list(cases), default=list(cases))
    parser.add_argument("--solid-runs", type=int, default=6, help="of each drive")
    options = parser.parse_args()
    write_results({name: cases[name] for name in options.cases}, options)


if __name__ == "__main__":
    main()
