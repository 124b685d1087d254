"""Waiting for what may happen to a run: signals, the end of a child, and the broker's events, in one place.

Runs in `roujiamo run` (one loop around sigtimedwait(2); a thread that only reads the control connection and wakes it).
Signals are blocked and taken one by one, because how one came matters: the terminal's Ctrl-C reached mpiexec as well,
a `kill` of this process alone did not.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from roujiamo.errors import RoujiamoError

WATCHED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_WAKE = signal.SIGRTMIN
# siginfo_t.si_code of a signal that the kernel itself sent, as the terminal's are (sigaction(2)).
_SI_KERNEL = 128


class SignalCame(NamedTuple):
    """One of WATCHED. `from_terminal`: the whole foreground process group got it."""

    number: int
    from_terminal: bool


class ChildEnded(NamedTuple):
    """A child of ours: exit status as a shell gives it (128 + n for a signal), and whether a signal ended it."""

    pid: int
    status: int
    by_signal: bool = False


class BrokerSaid(NamedTuple):
    """An event of the broker; None when its connection has ended."""

    event: dict[str, Any] | None


Happening = SignalCame | ChildEnded | BrokerSaid


class Waiting:
    """Use as a context; `next(deadline)` returns what happens next, or None at the deadline (time.monotonic())."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._children: dict[int, None] = {}
        # A signal that nohup or a script's `&` has told us to ignore stays ignored: sigwaitinfo would see it.
        heard = (number for number in WATCHED if signal.getsignal(number) != signal.SIG_IGN)
        self._mask = frozenset({*heard, signal.SIGCHLD, _WAKE})
        self.previous_mask: Iterable[int] = ()

    def __enter__(self) -> Waiting:
        self.previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._mask)
        return self

    def __exit__(self, *_: object) -> None:
        # What came too late to matter is taken, so that it does not end us now.
        while signal.sigtimedwait(self._mask, 0) is not None:
            pass
        # The reader may still send its own, whose default is to end the process.
        signal.pthread_sigmask(signal.SIG_SETMASK, {*self.previous_mask, _WAKE})

    def follow(self, control: socket.socket) -> None:
        """Read the broker's events from `control` until it ends. Raises RoujiamoError."""
        main = threading.main_thread().ident
        assert main is not None

        def read() -> None:
            with control.makefile("rb") as lines, contextlib.suppress(OSError, ValueError):
                for line in lines:
                    self._events.put(json.loads(line))
                    signal.pthread_kill(main, _WAKE)
            self._events.put(None)
            signal.pthread_kill(main, _WAKE)

        try:
            threading.Thread(target=read, name="control", daemon=True).start()
        except RuntimeError as error:
            raise RoujiamoError(
                "cannot start a thread; a limit of this account is reached (`ulimit -u`, systemd's TasksMax)"
            ) from error

    def watch(self, pid: int) -> None:
        """Report the end of the child `pid`."""
        self._children[pid] = None

    def next(self, deadline: float | None = None) -> Happening | None:
        """Return the next thing that happens, or None when `deadline` has passed."""
        while True:
            with contextlib.suppress(queue.Empty):
                return BrokerSaid(self._events.get_nowait())
            ended = self._reap()
            if ended is not None:
                return ended
            if deadline is None:
                came: Any = signal.sigwaitinfo(self._mask)
            else:
                came = signal.sigtimedwait(self._mask, max(0.0, deadline - time.monotonic()))
            if came is None:
                return None
            if came.si_signo in WATCHED:
                return SignalCame(came.si_signo, came.si_code == _SI_KERNEL)

    def _reap(self) -> ChildEnded | None:
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._children[pid]
                code = os.waitstatus_to_exitcode(status)
                return ChildEnded(pid, code if code >= 0 else 128 - code, code < 0)
        return None
