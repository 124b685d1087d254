"""A user's shell at a terminal: a real `sh -i` on a pseudo-terminal, which keeps jobs as POSIX says.

Imported by the test process only. The terminal does not echo, so what is on the screen was written by programs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import subprocess
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support import scaled, until

CTRL_C, CTRL_BACKSLASH, CTRL_Z = b"\x03", b"\x1c", b"\x1a"
PROMPT = "ready: "
_ECHO = 3


class Shell:
    """What is typed, and the screen."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self.screen = ""
        self._terminal = terminal

    def read(self) -> str:
        """All that has been written so far."""
        with contextlib.suppress(OSError):
            while piece := os.read(self._terminal, 65_536):
                self.screen += piece.decode("utf-8", "replace").replace("\r\n", "\n")
        return self.screen

    def keys(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._terminal, keys)

    def type(self, line: str) -> None:
        """Type a line at the prompt; the screen is empty before it.

        What is typed sooner is read by a launcher that is still there, for its first rank.
        """
        self.wait_for(PROMPT + "$")
        self.screen = ""
        self.keys(line.encode() + b"\n")

    def wait_for(self, pattern: str, seconds: float = 20, count: int = 1) -> str:
        """The first match of a regular expression (re.MULTILINE), once there are so many."""

        def find() -> list[re.Match[str]] | None:
            matches = list(re.finditer(pattern, self.read(), re.MULTILINE))
            return matches if len(matches) >= count else None

        try:
            found = until(find, seconds)
        except AssertionError as late:
            raise AssertionError(f"no {pattern!r} on the screen: {self.screen!r}") from late
        assert found is not None
        return found[0][0]

    def status(self) -> int:
        """The status of the last command, once the shell is there again. The screen stays."""
        before = self.wait_for(f"(?s).*{PROMPT}$")
        self.type('echo "status<$?>"')
        found = self.wait_for(rf"status<\d+>\n{PROMPT}$")
        self.screen = before
        return int(found[7 : found.index(">")])

    def hang_up(self) -> None:
        """The terminal goes away, as when its window is closed."""
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1


@contextlib.contextmanager
def shell(environment: Mapping[str, str], folder: Path) -> Iterator[Shell]:
    """A shell for the time of a with-block; at its end the terminal hangs up."""
    ours, theirs = pty.openpty()
    settings = termios.tcgetattr(theirs)
    settings[_ECHO] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    process = subprocess.Popen(
        ["/bin/sh", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "PS1": PROMPT, "ENV": "", **environment},
        cwd=folder,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    one = Shell(process, ours)
    try:
        yield one
    finally:
        one.hang_up()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(scaled(10))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
