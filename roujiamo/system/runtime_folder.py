"""The folder of a user's sessions: sockets, hostfiles and logs of brokers, one sub-folder a session.

Used by the broker, and by the programs that start or look for one. Trusts nothing that it finds in a shared temporary
folder: the folder must be a real one, ours, and closed to everybody else. A session's folder is locked by its broker
for as long as that lives, so what a killed broker left is recognised and swept by whoever comes next.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from pathlib import Path

from roujiamo.errors import RoujiamoError
from roujiamo.system.private_folder import choose_folder, make_private
from roujiamo.system.processes import read_process

# A unix socket's address holds 108 bytes with its closing zero (unix(7)).
MAX_SOCKET_PATH = 107
LOCK = "lock"
# How `roujiamo.system.session_client` and the shim (for a launcher's session) call a session's folder; nothing else is
# ever swept.
_SESSION_NAME = re.compile(r"\d+-[0-9a-f]{8}")
_ABANDONED_SECONDS = 60.0
# A broker's last steps, and a sweep, are short.
_TAKE_OVER_SECONDS = 10.0
_PAUSE_SECONDS = 0.02
# Open MPI's mpiexec ends 1 to 3 s after its daemons.
_WRITER_SECONDS = 6.0
# shutil.rmtree holds one a level: the session's folder, a launcher's temporary one in it, what is in that.
_SPARE_DESCRIPTORS = 4
# The log, hostfiles, what a launcher keeps in its temporary folder.
_WANTED_BYTES = 1 << 20
_GONE = ".gone"
SOCKET = "socket"
# A run in an allocation has a folder of such a name in the session's.
RUN_PREFIX = "run-"
# Read by `roujiamo.shim.election`.
TIMEOUT = "timeout"


def runtime_folder() -> Path:
    """Return the user's folder for sessions, made where it is missing.

    Raises RoujiamoError where it is not safe or cannot be made.
    """
    return _made_private(_choose())


def _choose() -> Path:
    return Path(os.fsdecode(choose_folder(os.environb)))


def _made_private(folder: Path) -> Path:
    make_private(os.fsencode(folder))
    return folder


def check_socket_path(path: Path) -> None:
    """Raise RoujiamoError where `path` is too long for a unix socket's address."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise RoujiamoError(
            f"the path {path} is too long for a unix socket ({MAX_SOCKET_PATH} bytes); set ROUJIAMO_RUNTIME_DIR to a "
            "shorter one"
        )


def check_space(folder: Path) -> None:
    """Raise RoujiamoError where no session can live in `folder` because its disk is full: now, not half-way."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        disk = os.statvfs(folder)
    except OSError:
        return
    free = disk.f_bavail * disk.f_frsize
    # A file system without a size of its own says 0 of everything (statvfs(3)).
    if disk.f_blocks and free < _WANTED_BYTES:
        raise RoujiamoError(
            f"the disk of {folder} is full ({free >> 10} kB are free, a session needs {_WANTED_BYTES >> 10}); make "
            "room, or set TMPDIR or ROUJIAMO_RUNTIME_DIR to a folder on another"
        )


class SessionFolder:
    """One session's folder, held by its broker: `path` exists, mode 0700, locked, until `remove`.

    It may be there before, made by the shim that starts the session, or left by a broker that was killed.
    """

    def __init__(self, path: Path) -> None:
        """Make and lock it. Raises RoujiamoError."""
        self.path = path
        check_socket_path(path / SOCKET)
        try:
            check_space(path.parent)
        except RoujiamoError:
            _remove_if_empty(path.parent)
            raise
        deadline = time.monotonic() + _TAKE_OVER_SECONDS
        # To remove a folder takes some, when there may be none left.
        self._spare: list[int] = []
        try:
            for _ in range(_SPARE_DESCRIPTORS):
                self._spare.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            while not self._take():
                if time.monotonic() > deadline:
                    raise RoujiamoError(f"the session's folder {path} is in use by another broker")
                time.sleep(_PAUSE_SECONDS)
        except RoujiamoError:
            self._free_spare()
            raise
        except OSError as error:
            self._free_spare()
            if not (path / LOCK).exists():
                _remove_tree(path, ignore_errors=True)
                _remove_if_empty(path.parent)
            raise RoujiamoError(f"cannot make the session's folder {path}: {error.strerror}") from error

    def _take(self) -> bool:
        """Try once; return whether the folder is this broker's now."""
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            _made_private(self.path)
        except FileNotFoundError:
            # Another session's end has just removed the empty folder around it.
            _made_private(self.path.parent)
            return False
        # Locked before it has its name: a sweep that finds the name finds the lock held.
        fresh = self.path / f".{LOCK}"
        self._lock = os.open(fresh, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        if _try_lock(self._lock) and self._replace_lock(fresh):
            return True
        os.close(self._lock)
        return False

    def _replace_lock(self, fresh: Path) -> bool:
        """Give the lock its name, unless a broker lives that has locked the one of that name."""
        try:
            left = os.open(self.path / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            os.rename(fresh, self.path / LOCK)
            return True
        try:
            if not _try_lock(left):
                return False
            for entry in self.path.iterdir():
                if entry not in (fresh, self.path / LOCK):
                    _remove_entry(entry)
            os.rename(fresh, self.path / LOCK)
            return True
        finally:
            os.close(left)

    @property
    def socket(self) -> Path:
        """The path of the session's unix socket."""
        return self.path / SOCKET

    def tell_timeout(self, seconds: float) -> None:
        """Leave word for the shims how long to wait for a host, before they can connect."""
        (self.path / TIMEOUT).write_text(f"{seconds:g}", encoding="ascii")

    def _free_spare(self) -> None:
        while self._spare:
            os.close(self._spare.pop())

    def remove(self) -> None:
        """Remove the folder with all that is in it, and the one around it if it was the last; let the lock go.

        A launcher whose parent was killed may still be writing to the temporary folder in it, for as long as it takes
        to see that its daemons are gone. Blocks until then, but not for ever. Once; after that it does nothing.
        """
        if self._lock < 0:
            return
        self._free_spare()
        deadline = time.monotonic() + _WRITER_SECONDS
        while not self._try_remove() and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
        remove_left(self.path)
        os.close(self._lock)
        self._lock = -1

    def _try_remove(self) -> bool:
        """Return whether that is all that can be done. The lock goes last: what is left with it is swept later."""
        try:
            for entry in self.path.iterdir():
                if entry.name != LOCK:
                    _remove_entry(entry)
            (self.path / LOCK).unlink(missing_ok=True)
            self.path.rmdir()
        except OSError as error:
            # Somebody has removed or made an entry meanwhile.
            return error.errno not in (errno.ENOENT, errno.ENOTEMPTY) or not self.path.exists()
        return True


def remove_left(path: Path) -> None:
    """Remove what is left of a session's folder whose broker is gone, and the one around it if it was the last."""
    _remove_tree(path, ignore_errors=True)
    _remove_if_empty(path.parent)


def _remove_tree(path: Path, *, ignore_errors: bool = False) -> None:
    # Takes 4 ms to load: a session's broker does so once its driver is told, and before it may lack descriptors.
    import shutil

    shutil.rmtree(path, ignore_errors=ignore_errors)


def _remove_entry(entry: Path) -> None:
    """Raises OSError."""
    if entry.is_dir() and not entry.is_symlink():
        # Whoever still writes there does not find it any more, and so cannot be faster than its removal.
        gone = entry.with_name(_GONE)
        if entry != gone:
            _remove_tree(gone, ignore_errors=True)
            entry.rename(gone)
        _remove_tree(gone)
    else:
        entry.unlink()


def _remove_if_empty(folder: Path) -> None:
    """Remove the folder of sessions after its last one; one that the user has named is the user's."""
    if folder.name.startswith("roujiamo"):
        with contextlib.suppress(OSError):
            folder.rmdir()


def existing_sessions() -> list[Path]:
    """Return the user's session folders, oldest first, and make nothing. Raises RoujiamoError as `runtime_folder`."""
    folder = _choose()
    return session_folders(_made_private(folder)) if folder.exists() else []


def session_folders(folder: Path) -> list[Path]:
    """Return the session folders in `folder`, oldest first."""
    found = []
    # Any of them, and the folder itself, may go with a session's end meanwhile.
    with contextlib.suppress(OSError):
        for entry in folder.iterdir():
            if _SESSION_NAME.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    found.append((entry.stat().st_ctime, entry))
    return [entry for _, entry in sorted(found)]


def sweep(folder: Path) -> None:
    """Remove the session folders in `folder` whose broker is gone, and for which none is being started."""
    for entry in session_folders(folder):
        with contextlib.suppress(OSError):
            _sweep(entry)


def _sweep(entry: Path) -> None:
    # The shim that starts a session's broker holds the folder itself locked until that is done.
    place = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _try_lock(place) and _is_abandoned(entry):
            _remove_tree(entry, ignore_errors=True)
    finally:
        os.close(place)


def _is_abandoned(entry: Path) -> bool:
    try:
        lock = os.open(entry / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        # A launcher that outlived its broker has made it once more, or the broker died before it had locked it. A young
        # one may be about to be locked, as long as the process lives that had it made, whose pid is in its name.
        owner = int(entry.name.partition("-")[0])
        return read_process(owner) is None or time.time() - entry.stat().st_mtime > _ABANDONED_SECONDS
    try:
        return _try_lock(lock)
    finally:
        os.close(lock)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
