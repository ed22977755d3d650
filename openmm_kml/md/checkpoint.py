"""The checkpoint: where a run was, and how long its files were then."""

import hashlib
import json
from pathlib import Path

from openmm_kml.errors import DataError
from openmm_kml.files import write_atomically

FORMAT = "openmm-kml checkpoint 1"


def write_checkpoint(path, step, identity, outputs, context_state):
    """Write a checkpoint under a temporary name, then rename it.

    The file is one line of JSON, then the bytes that OpenMM's ``Context.createCheckpoint`` gave.

    Parameters
    ----------
    path : path
    step : int
    identity : dict
        What a continuation must have in common with the run; plain JSON.
    outputs : dict
        Name of an output file -> its size in bytes and whatever else is needed to go on; plain JSON.
    context_state : bytes
    """
    header = {"format": FORMAT, "step": step, "identity": identity, "outputs": outputs}
    header["digest"] = _digest(header, context_state)
    write_atomically(path, _text(header) + b"\n" + context_state)


def read_checkpoint(path):
    """Return step, identity, outputs and the Context's state of a checkpoint.

    Raises
    ------
    DataError
        If the file is not a whole checkpoint.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    first, _, context_state = path.read_bytes().partition(b"\n")
    try:
        header = json.loads(first)
        digest = header.pop("digest")
        fields = header["step"], header["identity"], header["outputs"]
        whole = header["format"] == FORMAT and digest == _digest(header, context_state)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise DataError(f"{path} is damaged or no checkpoint of kml md; start the run anew")
    return *fields, context_state


def check_identity(path, found, expected):
    """Raise DataError naming the first entry in which a run and its continuation differ."""
    for name in sorted(expected):
        if found.get(name) != expected[name]:
            raise DataError(
                f"{path} is of another run: its {name} is {found.get(name)!r}, now it would be {expected[name]!r}; "
                "resume with the model, the start and the options of the run, or name another output directory"
            )


def _text(header):
    return json.dumps(header, sort_keys=True).encode()


def _digest(header, context_state):
    """Return the digest of all that a checkpoint says: a changed number in its header is found, too."""
    return hashlib.sha256(_text(header) + b"\n" + context_state).hexdigest()
