"""The peer's half of openmm_overhead.py: openmm-ml's ASE potential around sgdml's calculator.

    python openmm_overhead_peer.py case.npz answer.json

Runs in an environment with openmm, openmmml, sgdml and ase; knows nothing of this project.
"""

import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import openmm
from ase import Atoms
from openmm import app
from openmmml import MLPotential
from sgdml.intf.ase_calc import SGDMLCalculator
from sgdml.utils.desc import Desc

ROUNDS = 15
STEPS = 20
TIME_STEP = 1e-7  # ps


def write_model(case, path):
    """Write the model as a file of sgdml's own."""
    n, n_perms = len(case["z"]), len(case["perms"])
    n_pairs = n * (n - 1) // 2
    tril = np.array([Desc.perm(p) for p in case["perms"]])
    np.savez(
        path,
        type="m",
        code_version="1.0.3",
        z=case["z"],
        R_desc=case["R_desc"],
        R_d_desc_alpha=case["R_d_desc_alpha"],
        perms=case["perms"],
        tril_perms_lin=(tril + np.arange(n_perms)[:, None] * n_pairs).flatten("F"),
        sig=case["sig"],
        c=case["c"],
        std=1.0,
    )


def median_step(context):
    """Return the median time of a step in microseconds."""
    context.getIntegrator().step(STEPS)
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        context.getIntegrator().step(STEPS)
        times.append(1e6 * (time.perf_counter() - start) / STEPS)
    return float(np.median(times))


def main(case_path, answer_path):
    logging.disable(logging.WARNING)
    case = np.load(case_path)
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for number in case["z"]:
        topology.addAtom("X", app.Element.getByAtomicNumber(int(number)), residue)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "model.npz"))
        write_model(case, path)
        calculator = SGDMLCalculator(path, E_to_eV=1.0, F_to_eV_Ang=1.0)
    atoms = Atoms(numbers=case["z"], positions=case["positions"], calculator=calculator)
    answer = {"energy": float(np.ravel(atoms.get_potential_energy())[0])}
    for platform in ("Reference", "CPU"):
        system = MLPotential("ase").createSystem(topology, calculator=calculator)
        properties = {"Threads": "1"} if platform == "CPU" else {}
        context = openmm.Context(
            system, openmm.VerletIntegrator(TIME_STEP), openmm.Platform.getPlatformByName(platform), properties
        )
        context.setPositions(case["positions"] / 10)
        answer[platform] = {"step": median_step(context)}
    Path(answer_path).write_text(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
