"""Small sets of reference data with a known energy function."""

import numpy as np

from openmm_kml.structures import MoleculeSet

WATER = np.array([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]])
WATER_NUMBERS = np.array([8, 1, 1])
_PAIRS = ((0, 1, 4.0, 2.2), (0, 2, 4.0, 2.2), (1, 2, 1.5, 1.6))  # i, j, depth (eV), width (1/Å) of a Morse curve


def morse(positions):
    """Return energies (M,) in eV and forces (M, 3, 3) in eV/Å of water as three Morse curves, at about -400 eV."""
    energies = np.full(len(positions), -400.0)
    forces = np.zeros_like(positions)
    for i, j, depth, width in _PAIRS:
        vector = positions[:, i] - positions[:, j]
        r = np.linalg.norm(vector, axis=1)
        decay = np.exp(-width * (r - np.linalg.norm(WATER[i] - WATER[j])))
        energies += depth * (1 - decay) ** 2
        pull = -2 * depth * width * (1 - decay) * decay / r
        forces[:, i] += pull[:, None] * vector
        forces[:, j] -= pull[:, None] * vector
    return energies, forces


def water_set(n_frames=60, seed=0, noise=0.06):
    """Return distorted water molecules with their Morse energies and forces."""
    rng = np.random.default_rng(seed)
    positions = WATER + rng.normal(0, noise, (n_frames, 3, 3))
    return MoleculeSet(WATER_NUMBERS, positions, *morse(positions), "water")


def write_xyz(path, molecules, energy="energy", forces="forces", extra=""):
    """Write a set as extended XYZ with the given names of energy and forces (None: left out), to full precision."""
    symbols = {1: "H", 6: "C", 8: "O"}
    columns = "species:S:1:pos:R:3" + (f":{forces}:R:3" if forces else "")
    lines = []
    for frame, positions in enumerate(molecules.positions):
        lines.append(str(len(positions)))
        value = f" {energy}={molecules.energies[frame]!r}" if energy else ""
        lines.append(f'Properties={columns}{value}{extra} pbc="F F F"'.replace("np.float64(", "").replace(")", ""))
        for atom, number in enumerate(molecules.numbers):
            row = [*positions[atom], *(molecules.forces[frame, atom] if forces else ())]
            lines.append(" ".join([symbols[int(number)], *(f"{x:.17g}" for x in row)]))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_npz(path, molecules, **changes):
    """Write a set in sGDML's layout in eV and Å; ``name=None`` leaves an array out, other values replace it."""
    arrays = {
        "z": molecules.numbers.astype(np.uint8),
        "R": molecules.positions,
        "E": molecules.energies,
        "F": molecules.forces,
        "r_unit": np.array("Ang"),
        "e_unit": np.array("eV"),
    } | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path
