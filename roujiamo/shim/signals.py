"""Signals as something to poll for, and the one way to stop at once.

Runs in the shim. The interpreter's C handler writes each signal's number into a pipe (signal.set_wakeup_fd), so the one
poll loop sees it in turn with everything else, and no Python code runs in between.
"""

import posix

from roujiamo.protocol.frames import SIGNAL_NUMBERS

MYPY = False
if MYPY:
    # The C module has no type stub.
    import signal as _signal
else:
    import _signal

# What ssh users expect to reach the command. TSTP and CONT stop and go on with the shim alone, as they do ssh.
FORWARDED = tuple(SIGNAL_NUMBERS[name] for name in (b"INT", b"TERM", b"HUP", b"QUIT", b"USR1", b"USR2"))


class Stopped(Exception):
    """The shim is to end now with `status`, and there is nothing to say about it."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class SignalPipe:
    """Collects the forwarded signals; `descriptor` is readable when `take` has some to return."""

    def __init__(self) -> None:
        self.descriptor = -1
        self._handled = []  # type: list[int]

    def catch(self) -> None:
        """Install the handlers. A signal that is ignored, as under nohup(1), stays so (ssh does the same)."""
        self.descriptor, write_end = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)
        _signal.set_wakeup_fd(write_end)
        for number in FORWARDED:
            if _signal.getsignal(number) == _signal.SIG_DFL:
                _signal.signal(number, _do_nothing)
                self._handled.append(number)

    def take(self) -> bytes:
        """Return the numbers of the signals that came since the last call, one a byte."""
        try:
            return posix.read(self.descriptor, 4096)
        except BlockingIOError:
            return b""

    def release(self) -> None:
        """Give the signals their own effect back: what follows may block, and Ctrl-C must end it."""
        for number in self._handled:
            _signal.signal(number, _signal.SIG_DFL)


def _do_nothing(_number: int, _frame: object) -> None:
    """Be there: without a handler in Python nothing is written to the pipe."""
