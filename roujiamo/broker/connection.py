"""A connection of the call-back port: what a broker of ten thousand hosts needs of a transport, and not more.

Runs in the broker's loop, by a `selector` of its own that the loop watches as a whole. asyncio makes a task, several
objects and a turn of its loop of each connection that it accepts: 90 of the 250 µs that a call-back took. Looks at
nothing that passes, and so trusts nobody.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from roujiamo.broker.streams import MAX_PIECES, received
from roujiamo.protocol.frames import LARGE
from roujiamo.protocol.link import drop_written
from roujiamo.system.selector import READ, WRITE, Selector

log = logging.getLogger(__name__)


class Connection:
    """One connected socket. `on_data` is given views that are good until it returns; `on_lost` is called once."""

    __slots__ = ("_events", "_selector", "_socket", "_waiting", "on_data", "on_lost")

    def __init__(self, selector: Selector, connection: socket.socket) -> None:
        """Takes over `connection`, which does not block."""
        self.on_data: Callable[[memoryview], None] = _ignore
        self.on_lost: Callable[[], None] | None = None
        self._selector = selector
        self._socket: socket.socket | None = connection
        self._waiting: list[bytes] = []
        self._events = READ
        selector.register(connection, READ, self._on_ready)

    def receive(self) -> None:
        """Read what has arrived."""
        if self._socket is None:
            return
        try:
            size = self._socket.recv_into(received)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            size = 0
        if not size:
            self.abort()
            return
        try:
            self.on_data(received[:size])
        except Exception:
            # A fault of ours ends this connection, not the session.
            log.exception("a connection of the call-back port failed")
            self.abort()

    def write(self, *pieces: bytes) -> None:
        """Write in the order of the calls: at once what the socket takes, the rest when it takes more.

        Pieces may be views of what is received into again: what does not go at once is copied.
        """
        if self._socket is None:
            return
        if self._waiting:
            self._waiting += map(bytes, pieces)
            return
        self._waiting += pieces if sum(map(len, pieces)) >= LARGE else (b"".join(pieces),)
        self._flush()
        if self._waiting:
            self._waiting = [bytes(piece) for piece in self._waiting]

    def _flush(self) -> None:
        assert self._socket is not None
        try:
            while self._waiting:
                drop_written(self._waiting, self._socket.sendmsg(self._waiting[:MAX_PIECES]))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            # Reading will find out as well, and whoever writes does not expect that the connection ends meanwhile.
            self._waiting.clear()
        self._watch(self._events & READ | (WRITE if self._waiting else 0))

    def pause_reading(self) -> None:
        """Leave what arrives with the system for now."""
        self._watch(self._events & ~READ)

    def resume_reading(self) -> None:
        """Read again."""
        self._watch(self._events | READ)

    def abort(self) -> None:
        """Close, whatever waits."""
        if self._socket is None:
            return
        if self._events:
            self._selector.unregister(self._socket)
        self._socket.close()
        self._socket = None
        self._waiting.clear()
        if self.on_lost is not None:
            # Not at once: whoever closes it is in the middle of something.
            asyncio.get_running_loop().call_soon(self.on_lost)

    def local_address(self) -> str:
        """Return the address at this end."""
        return str(self._socket.getsockname()[0]) if self._socket is not None else ""

    def peer(self) -> str:
        """Return the other end's address, for the log."""
        try:
            address = self._socket.getpeername() if self._socket is not None else None
        except OSError:
            address = None
        return f"{address[0]} port {address[1]}" if address else "an unknown address"

    def _watch(self, events: int) -> None:
        if self._socket is None or events == self._events:
            return
        if not self._events:
            self._selector.register(self._socket, events, self._on_ready)
        elif events:
            self._selector.modify(self._socket, events, self._on_ready)
        else:
            # Not only muted: epoll reports the other end's close whether asked or not.
            self._selector.unregister(self._socket)
        self._events = events

    def _on_ready(self, mask: int) -> None:
        if mask & READ:
            self.receive()
        if mask & WRITE and self._socket is not None:
            self._flush()


def _ignore(data: memoryview) -> None:
    """Who has not begun to listen misses nothing: see `CallBackPort`."""
