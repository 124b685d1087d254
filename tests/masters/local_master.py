"""Local clusters that a test may kill, stop and start again on the same port.

Imported by the test process only.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support import Program, running


class LocalMaster:
    """A running local cluster; `address` is its master's host:port."""

    def __init__(self, program: Program) -> None:
        self.pid = program.pid
        self.address = program.ready_line.partition("master ")[2].partition(",")[0]
        self._program = program

    def kill(self) -> None:
        """As a crash would."""
        self._program.process.send_signal(signal.SIGKILL)
        self._program.wait()


@contextmanager
def local_cluster(port: int = 0, *options: str) -> Iterator[LocalMaster]:
    """A local cluster on `port` (0: a free one) with one agent, where the options do not say more."""
    argv = [sys.executable, "-m", "roujiamo.local", "--port", str(port), "--agents", "1", *options]
    with running(argv, ready="local cluster") as program:
        yield LocalMaster(program)
