"""Files that are never seen half-written."""

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_atomically(path, data):
    """Write bytes to a file beside `path` and rename it onto `path` once they are on the disk."""
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        # The rename would put a plain file where the device was.
        raise OSError(errno.EINVAL, "not a plain file, so it cannot be replaced", str(path))
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
