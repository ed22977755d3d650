"""The log of a campaign, and its state: what a continuation finds."""

import fcntl
import json
import os
from pathlib import Path

from openmm_kml.errors import DataError
from openmm_kml.files import write_atomically

FORMAT = "openmm-kml active learning 1"
STATE, LOG = "state.json", "log.jsonl"


class Journal:
    """One line of JSON for each event, with a sentence for people; cut back to the last state on a continuation.

    It also locks the directory against a second process.

    Parameters
    ----------
    directory : path
    size : int
        Bytes of the log that the state knows of; what follows is written anew.
    say : callable
        Given each sentence.
    """

    def __init__(self, directory, size, say):
        path = Path(directory) / LOG
        self._file = path.open("r+b" if path.exists() else "x+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise DataError(f"another process is learning in {directory}; wait for it or stop it") from None
        if os.fstat(self._file.fileno()).st_size < size:
            self._file.close()
            raise DataError(f"{path} is shorter than {STATE} says: it was changed; begin in another directory")
        self._file.truncate(size)
        self._file.seek(size)
        self._say = say

    def write(self, event, text, **numbers):
        """Append an event, and say it."""
        self._file.write((json.dumps({"event": event, "text": text} | numbers, ensure_ascii=False) + "\n").encode())
        self._say(text)

    def remark(self, text):
        """Say what is no part of the log, such as times, which are others each time."""
        self._say(text)

    def size(self):
        """Bring the log to the disk and return its size in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self):
        self._file.close()


def write_state(directory, state):
    """Write the state under a temporary name, then rename it."""
    text = json.dumps({"format": FORMAT} | state, indent=1, ensure_ascii=False) + "\n"
    write_atomically(Path(directory) / STATE, text.encode())


def read_state(directory):
    """Return the state of a campaign.

    Raises
    ------
    DataError
        If there is none, or the file is something else.
    """
    path = Path(directory) / STATE
    if not path.exists():
        raise DataError(f"{directory} has no campaign to resume: {path} is missing; begin one with --start")
    try:
        state = json.loads(path.read_bytes())
        whole = state["format"] == FORMAT and {"identity", "rounds", "log_size", "calls"} <= set(state)
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise DataError(f"{path} is damaged or no state of kml active-learn; begin in another directory")
    return state


def read_log(directory):
    """Return the events of a campaign, a list of dict."""
    lines = (Path(directory) / LOG).read_bytes().splitlines()
    return [json.loads(line) for line in lines]
