"""The session's unix socket: where shims on the launch host ask for remote commands, and our own programs for facts.

Runs in the broker. The socket lies in a folder of mode 0700 and the peer's uid is checked as well (SO_PEERCRED,
unix(7)), so who gets here may do whatever this user may. One connection is one remote command; its end without a CLOSE
means that the shim is gone.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roujiamo.broker.connection import Connection, Listener
from roujiamo.broker.hosts import Host
from roujiamo.broker.outlet import Outlet
from roujiamo.errors import ProtocolError, RoujiamoError
from roujiamo.protocol import frames
from roujiamo.protocol.channel import CLOSED
from roujiamo.protocol.route import Route

log = logging.getLogger(__name__)

BACKLOG = 1024

OpenRoute = Callable[["ShimConnection", int, bytes], Route | None]
Answer = Callable[[dict[str, Any]], dict[str, Any]]


class ShimConnection(Outlet):
    """One shim: an OPEN, then the frames of its channel both ways.

    What one turn of the loop has for it goes together: a command that ends at once is told in one piece.
    """

    def __init__(self, socket_server: ShimSocket, connection: Connection) -> None:
        super().__init__()
        self._server = socket_server
        self._connection = connection
        self._decoder = frames.Decoder()
        self._pieces: list[bytes] = []
        self._route: Route | None = None
        connection.on_data = self._receive_data
        connection.on_lost = self._on_lost

    def _receive_data(self, data: memoryview) -> None:
        host = self._route.acceptor if self._route is not None else None
        if isinstance(host, Host):
            host.hold()
        try:
            for frame_type, channel, payload in self._decoder.receive_data(data):
                self._receive(frame_type, channel, payload)
        except ProtocolError as error:
            log.warning("a shim broke the protocol: %s", error)
            if self._route is not None:
                self._route.abort(255, f"the request broke the protocol: {error}")
            self.close()
        finally:
            if isinstance(host, Host):
                host.flush()

    def _receive(self, frame_type: int, channel: int, payload: bytes) -> None:
        if frame_type == frames.CONTROL and self._route is None:
            self._control(payload)
        elif self._route is None and frame_type == frames.OPEN:
            self._route = self._server.on_open(self, channel, payload)
        elif self._route is not None:
            self._route.frame_from_opener(frame_type, payload)
            if self._route.state == CLOSED:
                self.close()
        else:
            raise ProtocolError("a connection that does not begin with OPEN")

    def _control(self, payload: bytes) -> None:
        try:
            request = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise ProtocolError("a request that is no JSON") from error
        if not isinstance(request, dict):
            raise ProtocolError("a request that is no JSON object")
        self.send_frame(frames.CONTROL, 0, json.dumps(self._server.answer(request)).encode())
        self.flush()

    def send_frame(self, frame_type: int, channel: int, payload: bytes = b"") -> None:
        """Write one frame to the shim. What waits here is bounded by the window that the shim granted."""
        if not self._is_held:
            # A payload may be a view of what is received into again before this is written.
            payload = bytes(payload)
        self._pieces += frames.encode_pieces(frame_type, channel, payload)
        if frame_type in (frames.CLOSE, frames.OPEN_FAILURE):
            self.close()
        else:
            self.flush_soon()

    def _write(self) -> None:
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._connection.write(*pieces)

    def _on_lost(self) -> None:
        self._server.connections.discard(self)
        if self._route is not None:
            self._route.opener_gone()

    def close(self) -> None:
        """Close the connection when all is written."""
        self.flush()
        self._connection.close()


class ShimSocket:
    """Listens on the session's unix socket.

    `on_open(connection, number, payload)` starts a route, `answer(request)` answers one of our own programs.
    """

    def __init__(self, on_open: OpenRoute, answer: Answer) -> None:
        self.on_open = on_open
        self.answer = answer
        self.connections: set[ShimConnection] = set()
        self._listener: Listener | None = None

    def listen(self, path: Path) -> None:
        """Listen on `path`. Raises RoujiamoError."""
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(path))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise RoujiamoError(f"cannot make the session's socket {path}: {error.strerror}") from error
        self._listener = Listener(listener, self.admit)

    def admit(self, connection: Connection) -> None:
        """Serve a process of this user; drop any other."""
        uid = connection.peer_uid()
        if uid != os.geteuid():
            log.warning("a process of uid %d tried the session's socket", uid)
            connection.abort()
            return
        # What its socket does not take waits in the connection, copied, and costs more calls to the system: a tenth of
        # the broker's CPU for a gigabyte.
        connection.set_send_buffer(frames.INITIAL_WINDOW)
        self.connections.add(ShimConnection(self, connection))

    def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._listener is not None:
            self._listener.close()
        for connection in list(self.connections):
            connection.close()
