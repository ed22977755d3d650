"""Two and three bodies beside `gap_fit`: errors on unseen frames, seconds of training, microseconds of evaluation.

    python benchmarks/gap_fit_peer.py --train Si_train.extxyz --test Si_test.extxyz --size 50 --cutoff3 3.5 5.0 \
        --folder si50

Both train on the same frames with the same noises. The peer comes with `pip install quippy-ase`: pair distances and
SOAP (Bartók et al., Phys. Rev. B 87, 184115 (2013)). FOLDER keeps its potential (gap.xml with the files beside it), our
models and all errors (errors.json); what is there already is not done again. Times are CPU times.

Both read `noise_force` as a deviation of each component. Of energies and virials, `gap_fit` takes the noise of a frame
of n atoms for sqrt(n) times the number given, our trainer for n times the number. `--gap-noises same` tells
`gap_fit` ours for each frame; `--gap-noises own` leaves it its own reading, which trusts energies more.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write
from ase.stress import voigt_6_to_full_3x3_stress

from openmm_kml.files import write_atomically
from openmm_kml.metrics import structure_errors
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import read_structures, split_structures
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.weights import save

PAIRS = (
    "distance_2b cutoff={cutoff} cutoff_transition_width=1.0 covariance_type=ard_se delta=1.0 theta_uniform=1.0 "
    "n_sparse=20 sparse_method=uniform"
)
SOAP = (
    "soap n_max={n_max} l_max={l_max} cutoff={cutoff} cutoff_transition_width=0.5 atom_sigma=0.5 zeta={zeta:g} "
    "delta={delta} covariance_type=dot_product n_sparse={n_sparse} sparse_method=cur_points"
)


def atoms_of(frame, noises=None):
    """Return ASE atoms with the labels of a frame under the names that gap_fit looks for."""
    atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
    n = len(frame)
    if frame.energy is not None:
        atoms.info["dft_energy"] = frame.energy
    if frame.virial is not None:
        atoms.info["dft_virial"] = frame.virial
    if frame.forces is not None:
        atoms.arrays["dft_force"] = frame.forces
    if noises is not None:
        atoms.info |= {"energy_sigma": n * noises[0], "virial_sigma": n * noises[2]}
    return atoms


def program(name):
    """Return the path of a program beside this Python, else on the PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is not installed; pip install quippy-ase")
    return found


def run(command, log):
    """Run a command and return its CPU seconds and its peak memory in bytes."""
    with log.open("wb") as file:
        actions = [(os.POSIX_SPAWN_DUP2, file.fileno(), 1), (os.POSIX_SPAWN_DUP2, file.fileno(), 2)]
        child = os.posix_spawn(command[0], command, os.environ | {"OMP_NUM_THREADS": "1"}, file_actions=actions)
        _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{command[0]} failed; see {log}")
    return usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss


def fit_gap(train, arguments):
    """Train the peer and return what it cost."""
    folder, noises = arguments.folder, (arguments.noise_energy, arguments.noise_force, arguments.noise_virial)
    data = folder / "train.xyz"
    own = arguments.gap_noises == "own"
    write(data, [atoms_of(frame, None if own else noises) for frame in train], format="extxyz")
    values = vars(arguments) | {"cutoff": arguments.gap_cutoff}
    gap = "{" + PAIRS.format(**values) + " : " + SOAP.format(**values) + "}"
    command = [
        program("gap_fit"),
        f"at_file={data}",
        f"gap={gap}",
        "default_sigma={" + " ".join(f"{value:g}" for value in (*noises, 0)) + "}",
        "energy_parameter_name=dft_energy",
        "force_parameter_name=dft_force",
        "virial_parameter_name=dft_virial",
        "e0_method=average",
        "sparse_jitter=1e-10",
        "rnd_seed=1",
        "do_copy_at_file=F",
        "sparse_separate_file=T",
        f"gp_file={folder / 'gap.xml'}",
    ]
    seconds, memory = run(command, folder / "gap_fit.log")
    return {"training_seconds": seconds, "peak_memory": memory, "command": command[2:]}


def predictions_of_gap(path, structures):
    """Return (energy, forces, virial) of each structure."""
    from quippy.potential import Potential

    potential = Potential("IP GAP", param_filename=str(path))
    results = []
    for frame in structures:
        potential.calculate(atoms_of(frame), properties=["energy", "forces", "stress"])
        found = potential.results
        results.append((found["energy"], found["forces"], -frame.volume * voigt_6_to_full_3x3_stress(found["stress"])))
    return results


def predictions_of_model(path, structures):
    """Return (energy, forces, virial) of each structure."""
    potential = KernelPotential.load(path)
    results = []
    for frame in structures:
        results.append(potential.evaluate(frame.positions, frame.numbers, frame.cell, frame.pbc, n_threads=1)[:3])
    return results


def tested(predict, path, test):
    """Return errors on the test frames, and CPU microseconds for an atom's energy, forces and virial."""
    predict(path, test[:1])
    start = time.process_time()
    predictions = predict(path, test)
    microseconds = 1e6 * (time.process_time() - start) / test.n_atoms
    kinds = {}
    for kind in test.groups:
        chosen = [k for k, frame in enumerate(test) if frame.group == kind]
        kinds[kind] = structure_errors([predictions[k] for k in chosen], test[chosen])
    errors = structure_errors(predictions, test)
    return {"errors": errors, "errors_of_kinds": kinds, "microseconds_per_atom": microseconds}


def fit_two_and_three(train, cutoff3, arguments):
    """Train our model and return what it cost."""
    options = NBodyOptions(
        cutoff3=cutoff3,
        noise_energy=arguments.noise_energy,
        noise_force=arguments.noise_force,
        noise_virial=arguments.noise_virial,
        progress=False,
    )
    start = time.process_time()
    fit = fit_nbody(train, None, options)
    seconds = time.process_time() - start
    save(fit.weights, arguments.folder / f"nbody{cutoff3:g}.safetensors")
    return {"training_seconds": seconds, "triples_per_atom": fit.report["triples_per_atom"]}


def kinds_table(results):
    """Return the Markdown table of the errors of each kind of frames."""
    kinds = list(next(iter(results.values()))["errors_of_kinds"])
    lines = ["| meV/atom, meV/Å | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for name, entry in results.items():
        cells = [
            " / ".join("" if e[key] is None else f"{1e3 * e[key]:.1f}" for key in ("energy_mae_per_atom", "forces_mae"))
            for e in entry["errors_of_kinds"].values()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table(results):
    """Return the Markdown table."""
    lines = [
        "| model | energy MAE, meV/atom | force MAE, meV/Å | force RMSE | virial MAE, meV/atom | training, CPU s | "
        "evaluation, µs an atom |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in results.items():
        errors = entry["errors"]
        keys = ("energy_mae_per_atom", "forces_mae", "forces_rmse", "virial_mae_per_atom")
        numbers = [np.nan if errors[key] is None else 1e3 * errors[key] for key in keys]
        lines.append(
            f"| {name} | {numbers[0]:.2f} | {numbers[1]:.1f} | {numbers[2]:.1f} | {numbers[3]:.1f} "
            f"| {entry['training_seconds']:.1f} | {entry['microseconds_per_atom']:.1f} |"
        )
    return "\n".join(lines)


def main():
    """Train what is missing, test everything, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, help="frames for the test; by default those that are not trained on")
    parser.add_argument("--size", type=int, help="training frames; all of them otherwise")
    parser.add_argument("--folder", type=Path, required=True, help="keeps potentials and errors")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of frames")
    parser.add_argument("--cutoff3", type=float, nargs="*", default=[3.5, 5.0], help="of our models, Å")
    parser.add_argument("--no-gap", action="store_true", help="leave the peer out")
    parser.add_argument("--noise-energy", type=float, default=0.002, help="eV/atom")
    parser.add_argument("--noise-force", type=float, default=0.1, help="eV/Å")
    parser.add_argument("--noise-virial", type=float, default=0.05, help="eV/atom")
    parser.add_argument("--gap-noises", choices=("own", "same"), default="own")
    parser.add_argument("--gap-cutoff", type=float, default=5.0, help="Å")
    parser.add_argument("--n-max", type=int, default=8)
    parser.add_argument("--l-max", type=int, default=8)
    parser.add_argument("--n-sparse", type=int, default=500)
    parser.add_argument("--delta", type=float, default=0.5, help="prior deviation of SOAP, eV")
    parser.add_argument("--zeta", type=float, default=4, help="power of its kernel")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    pool = read_structures(arguments.train)
    size = arguments.size or len(pool)
    train, _, rest = split_structures(pool, size, 0, None, arguments.seed)
    test = read_structures(arguments.test) if arguments.test else rest
    file = arguments.folder / "errors.json"
    results = json.loads(file.read_text()) if file.exists() else {}

    def record(name, fit, predict, path):
        for what, work in (
            ("training_seconds", fit),
            ("errors", lambda: tested(predict, arguments.folder / path, test)),
        ):
            if what not in results.setdefault(name, {"n_train": size}):
                results[name] |= work()
                write_atomically(file, json.dumps(results, indent=1).encode())

    for cutoff3 in arguments.cutoff3:
        record(
            f"two and three bodies, cutoff3 {cutoff3:g} Å",
            lambda cutoff3=cutoff3: fit_two_and_three(train, cutoff3, arguments),
            predictions_of_model,
            f"nbody{cutoff3:g}.safetensors",
        )
    if not arguments.no_gap:
        record("gap_fit", lambda: fit_gap(train, arguments), predictions_of_gap, "gap.xml")
    print(f"{size} frames, {train.n_atoms} atoms; tested on {len(test)} frames\n{table(results)}")
    print(f"\n{kinds_table(results)}")


if __name__ == "__main__":
    main()
