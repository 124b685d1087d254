"""A session as its owner sees it: starts the broker, asks it for the session, ends that.

Used by the programs that want a session. The broker is in a process session of its own; it learns the request, secret
included, from the control connection. It may be started long before that, so that it loads while its owner does: this
module loads little.
"""

from __future__ import annotations

import _socket
import os

from roujiamo.system.programs import kill_child, reap_within, start_program, without_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from roujiamo.session.request import SessionRequest

GIVE_UP_SECONDS = 5.0


class SessionClient:
    """A started broker: `control` is the connection to it, `pid` its process. It does nothing before it is asked."""

    def __init__(self) -> None:
        """Start the broker. Raises OSError."""
        # Not socket's: that, and what else is used of the library here, loads while the broker does (15 ms).
        ours, theirs = _socket.socketpair()
        # Whether the session shows its log on our stderr, the request says.
        log = os.dup(2)
        try:
            self.pid = start_program(
                "roujiamo.broker",
                *("--control-fd", str(theirs.fileno()), "--log-fd", str(log)),
                standard=dict.fromkeys(range(3)),
                passed=(theirs.fileno(), log),
                environment=without_secret(os.environ),
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(log)
        from socket import socket

        self.control: socket = socket(fileno=ours.detach())
        self._status: int | None = None
        self._is_asked = False

    def ask_for(self, request: SessionRequest) -> None:
        """Ask for the session, once."""
        self._is_asked = True
        self._send(request.to_json())

    def name_child(self, pid: int) -> None:
        """Tell the broker of a child of ours that is to end with us, should we be killed."""
        self._send(f'{{"request": "child", "pid": {pid}}}')

    def end(self, *, settle: bool = False) -> None:
        """Ask the broker to end the session; with `settle` once the remote commands have told how they ended."""
        self._send(f'{{"request": "end", "settle": {"true" if settle else "false"}}}')

    def _send(self, line: str) -> None:
        try:
            self.control.sendall(line.encode() + b"\n")
        except OSError:
            # Of a broker that is gone its end tells.
            return

    def give_up(self) -> None:
        """End a broker that was not asked for anything, and wait until it and its driver are gone; else nothing."""
        if self._is_asked:
            return
        self.control.close()
        try:
            self.wait(GIVE_UP_SECONDS)
        except TimeoutError:
            self._end_now()
        except BaseException:
            # The user does not wait for it.
            self._end_now()
            raise

    def _end_now(self) -> None:
        self.kill()
        self.wait(GIVE_UP_SECONDS)

    def wait(self, seconds: float) -> int:
        """Return the broker's exit status, once it has ended. Raises TimeoutError."""
        if self._status is None:
            self._status = reap_within(self.pid, seconds)
        return self._status

    def kill(self) -> None:
        """End the broker at once; the driver and the tasks end by themselves."""
        kill_child(self.pid)
