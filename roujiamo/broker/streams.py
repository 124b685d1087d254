"""Bytes between the broker's sockets and its protocols, without copies that asyncio's streams of bytes would make.

Runs in the broker; trusts nobody, as it looks at nothing. asyncio receives into a new object of 256 KiB each time, and
joins what is written in pieces (before Python 3.12). Here all connections receive into one buffer, which none of them
keeps anything in, and the pieces go to the socket as they are.
"""

from __future__ import annotations

import asyncio
import os

from roujiamo.protocol.frames import LARGE
from roujiamo.protocol.link import drop_written

RECEIVE_SIZE = 256 << 10
# What one call writes at most (sysconf(3), IOV_MAX).
MAX_PIECES = 1024

received = memoryview(bytearray(RECEIVE_SIZE))


class Receiver(asyncio.BufferedProtocol):
    """A protocol whose `data_received(data)` is given a view that is good until it returns."""

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> memoryview:
        return received

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(received[:nbytes])

    def data_received(self, data: memoryview) -> None:
        raise NotImplementedError


class Outlet:
    """Where frames go out: those of one turn of the loop together, at its end or at the next `flush`."""

    __slots__ = ("_flush_scheduled", "_is_held")

    def __init__(self) -> None:
        self._flush_scheduled = False
        self._is_held = False

    def flush_soon(self) -> None:
        """Call `flush` at the end of this turn of the loop, unless that is somebody's task already."""
        if not self._flush_scheduled and not self._is_held:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def hold(self) -> None:
        """Until the next `flush`, which is the caller's, frames wait: it spares a turn of the loop."""
        self._is_held = True

    def flush(self) -> None:
        """Write what waits."""
        self._flush_scheduled = self._is_held = False
        self._write()

    def _write(self) -> None:
        raise NotImplementedError


def write(transport: asyncio.Transport, pieces: list[bytes]) -> None:
    """Write `pieces`: at once what the socket takes, the rest as the transport can. Empties the list.

    Pieces may be views of what is received into again: what does not go at once is copied.
    """
    if sum(map(len, pieces)) < LARGE:
        transport.write(b"".join(pieces))
        pieces.clear()
        return
    if not transport.get_write_buffer_size():
        try:
            # The socket that the transport has closed has no descriptor, and its number may be another's.
            descriptor = transport.get_extra_info("socket").fileno()
            drop_written(pieces, os.writev(descriptor, pieces[:MAX_PIECES]))
        except OSError:
            # What the matter is, the transport finds out and tells.
            pass
    if pieces:
        transport.write(b"".join(pieces))
        pieces.clear()
