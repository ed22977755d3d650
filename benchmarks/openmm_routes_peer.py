"""The peer's half of openmm_routes.py: openmm-ml's ASE potential around sgdml's calculator, on request.

    python openmm_routes_peer.py case.npz

Reads one request a line and answers each with one line of JSON: ``energy`` gives the energy in eV, ``ROUTE PLATFORM
STEPS`` makes Verlet steps. Runs with openmm, openmmml, sgdml and ase; knows nothing of this project.
"""

import functools
import json
import logging
import os
import sys
from contextlib import redirect_stdout

import numpy as np
import openmm
from openmm_overhead_peer import TIME_STEP, write_model

# As in openmm_overhead.py. Atoms that do not move at all would be answered from ASE's cache.
PROPERTIES = {"Reference": {}, "CPU": {"Threads": "1"}, "OpenCL": {"Precision": "mixed"}}


def calculator(route):
    """Return sgdml's ASE calculator as shipped, or with its process pool and chunks turned off."""
    from sgdml.intf.ase_calc import SGDMLCalculator

    result = SGDMLCalculator("model.npz", E_to_eV=1.0, F_to_eV_Ang=1.0)
    if route == "repaired":
        result.gdml_predict._set_num_workers(0)
        result.gdml_predict._set_chunk_size(None)
    return result


class Peer:
    """Contexts by route and platform, made at the first request."""

    def __init__(self, path):
        self.case = dict(np.load(path))
        write_model(self.case, "model.npz")
        self.calculator = functools.cache(calculator)
        self.context = functools.cache(self._context)

    def energy(self):
        from ase import Atoms

        atoms = Atoms(numbers=self.case["z"], positions=self.case["positions"], calculator=self.calculator("repaired"))
        return float(np.ravel(atoms.get_potential_energy())[0])

    def step(self, route, platform, n):
        self.context(route, platform).getIntegrator().step(n)
        return n

    def _context(self, route, platform):
        from openmm import app
        from openmmml import MLPotential

        topology = app.Topology()
        residue = topology.addResidue("MOL", topology.addChain())
        for number in self.case["z"]:
            topology.addAtom("X", app.Element.getByAtomicNumber(int(number)), residue)
        system = MLPotential("ase").createSystem(topology, removeCMMotion=False, calculator=self.calculator(route))
        context = openmm.Context(
            system,
            openmm.VerletIntegrator(TIME_STEP),
            openmm.Platform.getPlatformByName(platform),
            PROPERTIES[platform],
        )
        context.setPositions(self.case["positions"] / 10)
        return context


def main(path):
    logging.disable(logging.WARNING)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the packages print is kept from the answers
    with redirect_stdout(sys.stderr):
        peer = Peer(path)
        for line in sys.stdin:
            words = line.split()
            answer = peer.energy() if words == ["energy"] else peer.step(words[0], words[1], int(words[2]))
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
