"""A session as its owner sees it: starts the broker, follows its events, ends it.

Used by the programs that want a session. The broker is in a process session of its own; it learns the request, secret
included, from the control connection.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from pathlib import Path

from roujiamo.session.request import SessionRequest
from roujiamo.system.programs import program_command
from roujiamo.system.runtime_folder import runtime_folder, sweep

GIVE_UP_SECONDS = 5.0


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


class SessionClient:
    """A started broker: `control` is the connection to it, `pid` its process. It does nothing before it is asked."""

    def __init__(self, *, verbose: bool) -> None:
        """Start the broker; with `verbose` its log goes to our stderr."""
        self.control, theirs = socket.socketpair()
        with theirs:
            words = ["--control-fd", str(theirs.fileno()), *(["-v"] if verbose else [])]
            self._process = subprocess.Popen(
                program_command("roujiamo.broker", *words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None if verbose else subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self.pid = self._process.pid

    def ask_for(self, request: SessionRequest) -> None:
        """Ask for the session, once."""
        # Of a broker that is gone its end tells.
        with contextlib.suppress(BrokenPipeError):
            self.control.sendall(request.to_json().encode() + b"\n")

    def name_child(self, pid: int) -> None:
        """Tell the broker of a child of ours that is to end with us, should we be killed."""
        with contextlib.suppress(OSError):
            self.control.sendall(json.dumps({"request": "child", "pid": pid}).encode() + b"\n")

    def end(self, *, settle: bool = False) -> None:
        """Ask the broker to end the session; with `settle` once the remote commands have told how they ended."""
        with contextlib.suppress(OSError):
            self.control.sendall(json.dumps({"request": "end", "settle": settle}).encode() + b"\n")

    def give_up(self) -> None:
        """End a broker that was not asked for anything, and wait until it is gone, its driver included."""
        self.control.close()
        try:
            self._process.wait(GIVE_UP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self, seconds: float) -> int:
        """Return the broker's exit status, once it has ended. Raises TimeoutExpired (subprocess)."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """End the broker at once; the driver and the tasks end by themselves."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
