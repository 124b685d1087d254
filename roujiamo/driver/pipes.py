"""The driver's ends of its pipes: lines in, lines out, and a log that is rather lost than waited for.

Used by the driver's main thread (the log by all). The broker may stop reading or be killed at any moment; none of
it may make the driver wait or grow.
"""

from __future__ import annotations

import logging
import os
import select
import stat
from collections import deque
from contextlib import suppress

from roujiamo.errors import ProtocolError

READ_SIZE = 1 << 18


class LineReader:
    """Lines from `fd`. `is_eof` once the other side has closed it."""

    def __init__(self, fd: int, max_line: int) -> None:
        self.is_eof = False
        self._fd = fd
        self._max_line = max_line
        self._buffer = bytearray()
        self._searched = 0

    def fileno(self) -> int:
        """For `poll`."""
        return self._fd

    def read(self) -> list[bytes]:
        """Read once, and return the lines that are whole now. Call it when `fd` is readable.

        Raises ProtocolError where a line is too long.
        """
        try:
            data = os.read(self._fd, READ_SIZE)
        except OSError:
            # A terminal that is gone, a socket that was reset: an end as good as any.
            data = b""
        if not data:
            self.is_eof = True
            return []
        self._buffer += data
        end = self._buffer.rfind(b"\n", self._searched)
        self._searched = len(self._buffer)
        lines = []
        if end >= 0:
            lines = bytes(self._buffer[:end]).split(b"\n")
            del self._buffer[: end + 1]
            self._searched = len(self._buffer)
        if len(self._buffer) > self._max_line:
            raise ProtocolError(f"a line to the driver is longer than {self._max_line} bytes")
        return [line for line in lines if line.strip()]


class LineWriter:
    """Lines to `fd`, as fast as it takes them. `is_broken` once nobody reads it any more."""

    def __init__(self, fd: int) -> None:
        self.is_broken = False
        self.pending_bytes = 0
        self._fd = fd
        self._waiting: deque[memoryview] = deque()
        mode = os.fstat(fd).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            # The broker's and ours alone: a terminal or a file may be shared, and never stops.
            os.set_blocking(fd, False)

    def fileno(self) -> int:
        """For `poll`."""
        return self._fd

    def write(self, line: bytes) -> None:
        """Queue `line`; `flush` writes it."""
        if not self.is_broken:
            self._waiting.append(memoryview(line))
            self.pending_bytes += len(line)

    def flush(self) -> None:
        """Write what can be written now."""
        while self._waiting:
            part = self._waiting[0]
            try:
                written = os.write(self._fd, part)
            except BlockingIOError:
                return
            except OSError:
                self.break_off()
                return
            self.pending_bytes -= written
            if written == len(part):
                self._waiting.popleft()
            else:
                self._waiting[0] = part[written:]

    def break_off(self) -> None:
        """Nobody reads: drop what waits, and what comes."""
        self.is_broken = True
        self._waiting.clear()
        self.pending_bytes = 0


class DroppingHandler(logging.Handler):
    """Writes log lines to `fd`, unless that would have to be waited for."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        line = f"roujiamo driver: {self.format(record)}\n".encode(errors="replace")
        # A pipe that can be written takes PIPE_BUF bytes without waiting (poll(2), pipe(7)).
        with suppress(OSError):
            if self._poll.poll(0):
                os.write(self._fd, line[: select.PIPE_BUF])
