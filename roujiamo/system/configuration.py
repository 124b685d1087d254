"""Reads the user's and the system's roujiamo.toml.

Layer 2; used by the programs that ask for a session. A configuration may name the mpiexec that is run, so a file that
others can write is refused, as ssh(1) refuses its own; beyond that it is trusted as the command line is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from roujiamo.errors import UsageError
from roujiamo.session.settings import Configuration
from roujiamo.system.configuration_files import VARIABLE, candidates

MAX_FILE = 1 << 20


def read_configurations(environment: Mapping[str, str]) -> list[Configuration]:
    """Return the configurations that are there, the nearest first. Raises UsageError, with the file and the line."""
    encoded = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    is_named = bool(encoded.get(VARIABLE))
    found = []
    for path in candidates(encoded):
        name = os.fsdecode(path)
        try:
            text = _text_of(name)
        except (FileNotFoundError, NotADirectoryError) as error:
            if is_named:
                raise UsageError(f"{name}: there is no such file (ROUJIAMO_CONFIG names it)") from error
            continue
        except OSError as error:
            raise UsageError(f"{name}: cannot be read: {error.strerror}") from error
        # Brings tomllib and difflib, for which most users would wait in vain.
        from roujiamo.session.configuration import ConfigurationError, parse

        try:
            entries = parse(text, environment.get("HOME", ""))
        except ConfigurationError as error:
            raise UsageError(f"{name}:{error.line}: {error}") from error
        found.append(Configuration(name, tuple(entries)))
    return found


def _text_of(path: str) -> str:
    """Raises OSError, UsageError."""
    # Not to wait for the writer of a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            if status.st_uid not in (0, os.geteuid()):
                raise UsageError(
                    f"{path}: it belongs to the user {status.st_uid}, who is neither you nor root"
                )
            if status.st_mode & 0o022:
                mode = stat.S_IMODE(status.st_mode)
                raise UsageError(f"{path}: others may write it (mode {mode:04o}): chmod go-w {path}")
        content = file.read(MAX_FILE + 1) or b""
    if len(content) > MAX_FILE:
        raise UsageError(f"{path}: this is no configuration: it has more than {MAX_FILE} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}:{line}: this is no UTF-8 text") from error
