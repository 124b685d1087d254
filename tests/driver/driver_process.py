"""The real driver process, spoken to as the broker does.

Imported by the test process only.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support import scaled


class Driver:
    """A running driver. `seen` are the events so far that no `expect` has taken."""

    def __init__(self, process: subprocess.Popen[bytes], log: Any) -> None:
        self.process = process
        self.pid = process.pid
        self.seen: list[dict[str, Any]] = []
        self._log = log
        self._buffer = b""

    def send(self, line: Mapping[str, Any] | bytes) -> None:
        """One line to its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()

    def expect(self, event: str, seconds: float = 15, **values: Any) -> dict[str, Any]:
        """The next event of that name with these values; others stay in `seen`."""
        deadline = time.monotonic() + scaled(seconds)
        while True:
            for index, line in enumerate(self.seen):
                if line["event"] == event and all(line.get(name) == value for name, value in values.items()):
                    return self.seen.pop(index)
            if not self.read(deadline - time.monotonic()):
                raise AssertionError(
                    f"no event {event!r} {values} within {scaled(seconds):g} s; "
                    f"seen: {str(self.seen)[:2000]}; log: {self.log()[-2000:]}"
                )

    def read(self, seconds: float) -> bool:
        """Take in what it has written; False at the end of its stdout, or of the time."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], max(0.0, seconds))[0]:
            return False
        data = os.read(self.process.stdout.fileno(), 1 << 20)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self.seen += map(json.loads, lines)
        return bool(data)

    def read_to_end(self, seconds: float = 20) -> list[dict[str, Any]]:
        """All events until it closes its stdout; AssertionError when it does not."""
        deadline = time.monotonic() + scaled(seconds)
        while self.read(deadline - time.monotonic()):
            pass
        assert time.monotonic() < deadline, f"the driver goes on: {self.log()[-2000:]}"
        return self.seen

    def close_stdin(self) -> None:
        """What the broker's death looks like."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def wait(self, seconds: float = 20) -> int:
        """Its exit status; AssertionError when it does not end in time."""
        try:
            return self.process.wait(scaled(seconds))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the driver still runs; log: {self.log()[-2000:]}") from None

    def log(self) -> str:
        """Its stderr so far."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode(errors="replace")


def first_line(master: str, **more: Any) -> dict[str, Any]:
    """A configuration; waits are cut short enough for a test."""
    framework = {"user": "root", "name": "driver-test", "failover_timeout": 20.0, **more.pop("framework", {})}
    limits = {"retry_seconds": 0.5, **more.pop("limits", {})}
    return {"master": master, "framework": framework, "limits": limits, **more}


@contextlib.contextmanager
def driver(
    configuration: Mapping[str, Any] | None, *options: str, python: str = sys.executable, **popen: Any
) -> Iterator[Driver]:
    """Run a driver for the time of a with-block; its stdin is closed at the end, and SIGKILL follows when need be."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [python, "-m", "roujiamo.driver", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            **popen,
        )
        running = Driver(process, log)
        try:
            if configuration is not None:
                running.send(configuration)
            yield running
        finally:
            running.close_stdin()
            try:
                process.wait(scaled(15))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            assert process.stdout is not None
            process.stdout.close()
