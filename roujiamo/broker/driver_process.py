"""The driver's process: started before the broker has loaded the rest of itself, and given to its loop later.

Runs in the broker. Of all that a session waits for before its first offer, the driver's load is the longest: so it is
started as the first thing, by what an interpreter has loaded anyway, and loads while the broker does. It is in a
process session of its own and waits for its settings; at the end of its stdin it ends.
"""

from __future__ import annotations

import os

from roujiamo.system.programs import reap, reap_within, start_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any

# Each line is one event; the offers of ten thousand agents are some 20 MB of JSON.
MAX_LINE = 256 << 20

TEARDOWN_SECONDS = 20.0


class DriverProcess:
    """One driver. `open` comes before all else but `tell` and `drop`; `status` is None while it runs."""

    def __init__(self, *options: str, log: int | None = None) -> None:
        """Start it with these options (see `roujiamo.driver.program`); `log` is for `--log-fd`. Raises OSError."""
        self.status: int | None = None
        self.is_told = False
        self._transport: asyncio.WriteTransport | None = None
        pipes = [*os.pipe()]
        try:
            pipes += os.pipe()
            stdin, self._stdin, self._stdout, stdout = pipes
            self.pid = start_program(
                "roujiamo.driver",
                *(() if log is None else ("--log-fd", str(log))),
                *options,
                standard={0: stdin, 1: stdout},
                passed=() if log is None else (log,),
                environment=os.environ,
            )
        except OSError:
            for descriptor in pipes:
                os.close(descriptor)
            raise
        os.close(stdin)
        os.close(stdout)

    async def open(self) -> None:
        """Give its pipes and its end to the running loop. Raises OSError."""
        import asyncio

        from roujiamo.broker.owner import Owner

        loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._lines = asyncio.StreamReader(limit=MAX_LINE)
        # Neither fails once it has its file; both own that from here on.
        reading, writing = os.fdopen(self._stdout, "rb", 0), os.fdopen(self._stdin, "wb", 0)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._lines), reading)
        self._transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, writing)
        self._owner = Owner(self.pid, 0, self._on_ended)

    def drop(self) -> None:
        """End it, and wait for that, where it has not been opened: one that was told tears its framework down."""
        if self.status is not None or self._transport is not None:
            return
        import contextlib

        for descriptor in (self._stdin, self._stdout):
            # Half opened, it is its file's, which may have closed it.
            with contextlib.suppress(OSError):
                os.close(descriptor)
        if not self.is_told:
            self.kill()
        try:
            self.status = reap_within(self.pid, TEARDOWN_SECONDS)
        except TimeoutError:
            self.kill()
            self.status = reap(self.pid)

    def _on_ended(self) -> None:
        self._owner.close()
        self.status = reap(self.pid)
        self._ended.set()

    def tell(self, settings: dict[str, Any]) -> None:
        """Tell it what to subscribe with: see `roujiamo.driver.lines`. Once, before anything else is written."""
        import json

        self.is_told = True
        line = json.dumps(settings).encode() + b"\n"
        if self._transport is not None:
            self.write(line)
            return
        try:
            # There is nothing before it in the pipe, and the driver reads it.
            os.write(self._stdin, line)
        except BrokenPipeError:
            # Its end will tell.
            return

    def write(self, line: bytes) -> None:
        """Write to its stdin, where that is still open."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(line)

    def close_stdin(self) -> None:
        """Have it end once it has read what was written."""
        if self._transport is not None:
            self._transport.close()

    async def read_line(self) -> bytes:
        """Return the next line that it has written; none, at the end of its stdout."""
        return await self._lines.readline()

    def kill(self) -> None:
        """End it at once."""
        if self.status is None:
            os.kill(self.pid, 9)

    async def wait(self) -> int:
        """Return its exit status, negative where a signal has ended it, once it has ended."""
        await self._ended.wait()
        assert self.status is not None
        return self.status
