"""Structures as extended XYZ, every digit kept."""

import json

import numpy as np

from openmm_kml.elements import symbol
from openmm_kml.files import write_atomically


def frame_text(frame, info=(), arrays=()):
    """Return a structure as extended XYZ in eV and Å; reading it gives the same numbers to the last bit.

    Parameters
    ----------
    frame : openmm_kml.structures.Structure
    info : mapping of str to number or word
        Further entries of the second line.
    arrays : mapping of str to ndarray of shape (n_atoms,)
        Further numbers of the atoms.
    """
    entries = []
    if frame.cell is not None:
        entries.append(f'Lattice="{_numbers(frame.cell)}"')
    entries.append(f'pbc="{" ".join("T" if periodic else "F" for periodic in frame.pbc)}"')
    columns = {"pos": frame.positions} | ({} if frame.forces is None else {"forces": frame.forces}) | dict(arrays)
    columns = {name: np.reshape(values, (len(frame), -1)) for name, values in columns.items()}
    properties = [f"{name}:R:{values.shape[1]}" for name, values in columns.items()]
    entries.append("Properties=" + ":".join(["species:S:1", *properties]))
    if frame.energy is not None:
        entries.append(f"energy={frame.energy!r}")
    if frame.virial is not None:
        entries.append(f'virial="{_numbers(frame.virial)}"')
    if frame.group:
        entries.append(f"config_type={json.dumps(frame.group, ensure_ascii=False)}")
    entries += [f"{key}={value}" for key, value in dict(info).items()]
    rows = np.hstack(list(columns.values()))
    lines = [f"{symbol(z):<2} {_numbers(row)}" for z, row in zip(frame.numbers, rows, strict=True)]
    return "\n".join([str(len(frame)), " ".join(entries), *lines]) + "\n"


def write_frames(path, frames):
    """Write structures as one file of extended XYZ, whole or not at all."""
    write_atomically(path, "".join(frame_text(frame) for frame in frames).encode())


def _numbers(values):
    return " ".join(repr(float(value)) for value in np.ravel(values))
