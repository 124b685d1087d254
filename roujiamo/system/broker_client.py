"""A session as its owner sees it: starts the broker, asks it for the session, ends that.

Used by the programs that want a session. The broker is in a process session of its own; it learns the request, secret
included, from the control connection. It may be started long before that, so that it loads while its owner does: this
module loads little.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess

from roujiamo.system.programs import program_command, without_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from roujiamo.session.request import SessionRequest

GIVE_UP_SECONDS = 5.0


class SessionClient:
    """A started broker: `control` is the connection to it, `pid` its process. It does nothing before it is asked."""

    def __init__(self) -> None:
        """Start the broker."""
        self.control, theirs = socket.socketpair()
        # Whether the session shows its log on our stderr, the request says.
        log = os.dup(2)
        words = ["--control-fd", str(theirs.fileno()), "--log-fd", str(log)]
        try:
            self._process = subprocess.Popen(
                program_command("roujiamo.broker", *words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), log),
                env=without_secret(os.environ),
                start_new_session=True,
            )
        finally:
            theirs.close()
            os.close(log)
        self.pid = self._process.pid
        self._is_asked = False

    def ask_for(self, request: SessionRequest) -> None:
        """Ask for the session, once."""
        self._is_asked = True
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
        """End a broker that was not asked for anything, and wait until it and its driver are gone; else nothing."""
        if self._is_asked:
            return
        self.control.close()
        try:
            self._process.wait(GIVE_UP_SECONDS)
        except BaseException as error:
            # Also where the user does not wait for it.
            self._process.kill()
            self._process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise

    def wait(self, seconds: float) -> int:
        """Return the broker's exit status, once it has ended. Raises TimeoutExpired (subprocess)."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """End the broker at once; the driver and the tasks end by themselves."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
