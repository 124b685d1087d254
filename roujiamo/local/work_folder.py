"""The temporary folder of a cluster: made, held by whoever still needs it, removed by the last.

Master and agents each hold a shared lock on it (flock(2)), which the kernel lets go of however they end. An agent that
outlives a killed master, and finds that it is the last, removes everything; should all be killed at once, the next
cluster of this user sweeps what nobody holds. Trusts only folders that belong to this user.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

_PREFIX = "roujiamo-local-"
# A folder so young may belong to a cluster that has made it and not locked it yet.
_MIN_AGE_SECONDS = 60.0


def make() -> Path:
    """Sweep what killed clusters left, and make a new folder."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    # Tasks of other users must reach their sandboxes below.
    folder.chmod(0o711)
    return folder


def hold(folder: Path) -> int:
    """Hold the folder until this process ends; return the descriptor that does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def remove_if_last(folder: Path, descriptor: int) -> None:
    """Let go of the folder, and remove it where nobody else holds it."""
    try:
        # Not atomic, luckily: of two that try at once the first one to fail has lost its own lock, and the second wins.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            if time.time() - found.st_mtime < _MIN_AGE_SECONDS:
                continue
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                remove_if_last(folder, descriptor)
            finally:
                os.close(descriptor)
