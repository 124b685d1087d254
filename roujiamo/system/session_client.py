"""What a session needs before it is asked for: a name, a folder, a user.

Layer 2; used by the programs that want a session.
"""

from __future__ import annotations

import os
from pathlib import Path

from roujiamo.system.runtime_folder import runtime_folder, sweep


def new_session_name() -> str:
    """Return the id of a new session, which is its folder's name."""
    return f"{os.getpid()}-{os.urandom(4).hex()}"


def new_session_folder(name: str = "") -> Path:
    """Return the path of a new session's folder, which the broker makes; sweep what dead brokers left.

    Raises RoujiamoError.
    """
    folder = runtime_folder()
    sweep(folder)
    return folder / (name or new_session_name())


def current_user() -> str:
    """Return the name of the user that submits."""
    if not os.geteuid():
        return "root"
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())
