"""Where the folder of a user's sessions is, and that it is the user's alone.

Imported by the shim (Python 3.6, loads in well under a millisecond) and by the programs that start or look for a
session: they have to agree. Trusts nothing that it finds in a shared temporary folder.
"""

import posix

from roujiamo.errors import RoujiamoError

MYPY = False
if MYPY:
    from collections.abc import Mapping

# stat(2)
_FILE_TYPE = 0o170000
_FOLDER = 0o040000

# In the order of Python's tempfile.
_TEMPORARY_VARIABLES = (b"TMPDIR", b"TEMP", b"TMP")
_TEMPORARY_FOLDERS = (b"/tmp", b"/var/tmp", b"/usr/tmp")


def choose_folder(environment: "Mapping[bytes, bytes]") -> bytes:
    """Return the path of the user's folder for sessions, and make nothing.

    `ROUJIAMO_RUNTIME_DIR`, else `roujiamo` in `XDG_RUNTIME_DIR` (XDG Base Directory Specification) where that is ours,
    else `roujiamo-UID` in the temporary folder. Raises RoujiamoError.
    """
    wanted = environment.get(b"ROUJIAMO_RUNTIME_DIR")
    if wanted:
        return _absolute(wanted)
    xdg = environment.get(b"XDG_RUNTIME_DIR")
    if xdg and _is_ours(xdg):
        return xdg.rstrip(b"/") + b"/roujiamo"
    for folder in [environment.get(name, b"") for name in _TEMPORARY_VARIABLES] + list(_TEMPORARY_FOLDERS):
        if folder and posix.access(folder, posix.W_OK | posix.X_OK) and _file_type(folder) == _FOLDER:
            return _absolute(folder).rstrip(b"/") + b"/roujiamo-%d" % posix.geteuid()
    raise RoujiamoError(
        "no temporary folder can be written; set ROUJIAMO_RUNTIME_DIR to a folder that can be written"
    )


def make_private(folder: bytes) -> None:
    """Make `folder` where it is missing. Raises RoujiamoError where it is not ours alone, or cannot be made."""
    try:
        try:
            posix.mkdir(folder, 0o700)
        except FileExistsError:
            pass
        state = posix.lstat(folder)
    except OSError as error:
        raise RoujiamoError(
            "cannot make the folder for sessions %s: %s; set ROUJIAMO_RUNTIME_DIR to another"
            % (_show(folder), error.strerror)
        ) from error
    if state.st_mode & _FILE_TYPE != _FOLDER or state.st_uid != posix.geteuid() or state.st_mode & 0o077:
        raise RoujiamoError(
            "%s is not a folder of yours alone (mode 0700); remove it or set ROUJIAMO_RUNTIME_DIR to another"
            % _show(folder)
        )


def _absolute(path: bytes) -> bytes:
    return path if path[:1] == b"/" else posix.getcwdb() + b"/" + path


def _is_ours(folder: bytes) -> bool:
    try:
        return _file_type(folder) == _FOLDER and posix.stat(folder).st_uid == posix.geteuid()
    except OSError:
        return False


def _file_type(path: bytes) -> int:
    try:
        return posix.stat(path).st_mode & _FILE_TYPE
    except OSError:
        return 0


def _show(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
