"""The broker's connections, to proxies and shims: what ten thousand hosts need of a transport, and not more.

Served by the selector of the broker's `loop`. asyncio makes a task, several objects and a turn of its loop of each
connection that it accepts: 90 of the 250 µs that a call-back took; it receives into a new object of 256 KiB each time,
and joins what is written in pieces. Here all connections receive into one buffer, which none of them keeps anything
in, and the pieces go to the socket as they are. Looks at nothing that passes, and so trusts nobody.
"""

from __future__ import annotations

import _socket
import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Sequence

from roujiamo.broker.loop import connections
from roujiamo.protocol.frames import LARGE
from roujiamo.protocol.link import drop_written
from roujiamo.system.selector import READ, WRITE

log = logging.getLogger(__name__)

RECEIVE_SIZE = 256 << 10
# What one call writes at most (sysconf(3), IOV_MAX).
MAX_PIECES = 1024
# Accepted in one go; whoever has connected before is served between two of them.
ACCEPTS = 64
# After the system had no descriptor left.
ACCEPT_AGAIN_SECONDS = 1.0

_CREDENTIALS = struct.Struct("3i")

_received = memoryview(bytearray(RECEIVE_SIZE))


class Connection:
    """One connected socket. `on_data` is given views that are good until it returns; `on_lost` is called once."""

    __slots__ = ("_events", "_is_closing", "_selector", "_socket", "_waiting", "on_data", "on_lost")

    def __init__(self, connection: _socket.socket) -> None:
        """Takes over `connection`. In the running loop, which is of `roujiamo.broker.loop`."""
        self.on_data: Callable[[memoryview], None] = _ignore
        self.on_lost: Callable[[], None] | None = None
        self._selector = connections()
        self._socket: _socket.socket | None = connection
        self._waiting: list[bytes] = []
        self._is_closing = False
        self._events = READ
        connection.setblocking(False)
        self._selector.register(connection, READ, self._on_ready)

    def receive(self) -> None:
        """Read what has arrived."""
        if self._socket is None:
            return
        try:
            size = self._socket.recv_into(_received)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            size = 0
        if not size:
            self.abort()
            return
        try:
            self.on_data(_received[:size])
        except Exception:
            # A fault of ours ends this connection, not the session.
            log.exception("a connection failed")
            self.abort()

    def write(self, *pieces: bytes) -> None:
        """Write in the order of the calls: at once what the socket takes, the rest when it takes more.

        One piece at least. They may be views of what is received into again: what does not go at once is copied.
        """
        if self._socket is None or self._is_closing:
            return
        if self._waiting:
            self._waiting += map(bytes, pieces)
            return
        size = len(pieces[0])
        if len(pieces) > 1:
            size = sum(map(len, pieces))
            if size < LARGE:
                pieces = (b"".join(pieces),)
        written = self._send(pieces)
        if written < size and not self._is_closing:
            waiting = list(pieces)
            drop_written(waiting, written)
            self._waiting = [bytes(piece) for piece in waiting]
            self._watch(self._events | WRITE)

    def _flush(self) -> None:
        """Write more of what waits."""
        drop_written(self._waiting, self._send(self._waiting))
        if self._waiting or self._socket is None:
            return
        if self._is_closing:
            self.abort()
        else:
            self._watch(self._events & READ)

    def _send(self, pieces: Sequence[bytes]) -> int:
        """Return how much of it the system has taken."""
        assert self._socket is not None
        try:
            if len(pieces) == 1:
                return self._socket.send(pieces[0])
            return self._socket.sendmsg(pieces[:MAX_PIECES])
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            # Nothing may follow what is lost here, and reading need not find out: the system may have no memory for the
            # moment. Not at once, as whoever writes does not expect that the connection ends meanwhile.
            self._waiting.clear()
            self._is_closing = True
            self._watch(0)
            asyncio.get_running_loop().call_soon(self.abort)
        return 0

    def pause_reading(self) -> None:
        """Leave what arrives with the system for now."""
        self._watch(self._events & ~READ)

    def resume_reading(self) -> None:
        """Read again."""
        if not self._is_closing:
            self._watch(self._events | READ)

    def close(self) -> None:
        """Read and take no more, and close when all is written."""
        self._is_closing = True
        if self._waiting:
            self._watch(WRITE)
        else:
            self.abort()

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

    def set_send_buffer(self, size: int) -> None:
        """Have the system take so many bytes (socket(7), SO_SNDBUF)."""
        if self._socket is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def peer_uid(self) -> int:
        """Return the uid of the process that connected a unix socket (unix(7), SO_PEERCRED)."""
        assert self._socket is not None
        given = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(given)[1])

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
    """Who has not begun to listen misses nothing: see `Listener`."""


class Listener:
    """Takes connections on a socket that listens. `on_connection(connection)` sets what is to hear of its bytes."""

    def __init__(self, listener: socket.socket, on_connection: Callable[[Connection], None]) -> None:
        """Takes over `listener`. In the running loop."""
        self._loop = asyncio.get_running_loop()
        self._selector = connections()
        self._on_connection = on_connection
        self._socket: socket.socket | None = listener
        self._family = int(listener.family)
        self._is_listening = False
        listener.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        if self._socket is not None:
            self._selector.register(self._socket, READ, self._accept)
            self._is_listening = True

    def _accept(self, mask: int) -> None:
        for _ in range(ACCEPTS):
            if self._socket is None:
                return
            try:
                # As `accept` does, but for its enumerations and a socket of Python's own: 2 of 8 µs.
                descriptor, _ = self._socket._accept()  # type: ignore[attr-defined]  # not in typeshed
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("cannot take a connection: %s", error.strerror)
                self._selector.unregister(self._socket)
                self._is_listening = False
                self._loop.call_later(ACCEPT_AGAIN_SECONDS, self._listen)
                return
            connection = Connection(_socket.socket(self._family, socket.SOCK_STREAM, 0, descriptor))
            self._on_connection(connection)
            # Most have said something by now.
            connection.receive()

    def close(self) -> None:
        """Listen no longer; the connections are left as they are."""
        if self._socket is None:
            return
        if self._is_listening:
            self._selector.unregister(self._socket)
        self._socket.close()
        self._socket = None
