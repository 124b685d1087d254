"""The call-back port: where the proxies of the session's tasks connect.

Runs in the broker. Trusts nobody before the proof of `roujiamo.protocol.handshake`, and says nothing before a valid
hello, so whoever has no secret of this session cannot even tell what listens here. A peer that has not proved itself
costs a connection and at most 133 stored bytes, for at most HANDSHAKE_SECONDS, and only PENDING_LIMIT of them are kept:
the oldest makes room for the next, so idle intruders cannot keep a proxy out.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable

from roujiamo.broker.hosts import Host
from roujiamo.broker.streams import Receiver
from roujiamo.errors import AuthenticationError, ProtocolError, RoujiamoError
from roujiamo.protocol.handshake import HELLO_SIZE, NONCE_SIZE, PROOF_SIZE, Responder

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
PENDING_LIMIT = 1024
# A proxy's connection takes a place in the queue until it is accepted; thousands may call back at once.
BACKLOG = 4096


class CallBackConnection(Receiver):
    """One TCP connection: HELLO, PROOF, then the bytes of a host's link."""

    __slots__ = ("_buffer", "_host", "_port", "_proving", "_responder", "_told", "_transport", "deadline")

    def __init__(self, port: CallBackPort) -> None:
        self._port = port
        self._buffer = bytearray()
        self._responder: Responder | None = None
        self._told = 0
        self._proving: Host | None = None
        self._host: Host | None = None
        self._transport: asyncio.Transport | None = None
        self.deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._port.admit(self)
        self.deadline = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, self.abort)

    def data_received(self, data: memoryview) -> None:
        try:
            if self._host is not None:
                if self._host.transport is not self._transport:
                    # Another connection has taken over; what still comes here is sealed for this one.
                    self.abort()
                    return
                self._port.heard(self._host)
                self._host.receive_data(data)
                return
            self._buffer += data
            while self._host is None and self._step():
                pass
            if len(self._buffer) > HELLO_SIZE + PROOF_SIZE:
                raise AuthenticationError("a peer that goes on before it is answered")
        except ProtocolError as error:
            log.info("call-back from %s refused: %s", self._peer(), error)
            self.abort()

    def _step(self) -> bool:
        """Take the next message of the handshake if it is there; return whether it was."""
        if self._responder is None:
            if len(self._buffer) < HELLO_SIZE:
                return False
            responder = Responder(self._port.find_secret, os.urandom(NONCE_SIZE))
            responder.receive_hello(bytes(self._buffer[:HELLO_SIZE]))
            del self._buffer[:HELLO_SIZE]
            self._responder = responder
            self._proving = self._port.find_host(responder)
            assert self._transport is not None
            link = self._proving.link
            self._told = link.received if link is not None else 0
            self._transport.write(responder.challenge(self._told))
            return True
        if len(self._buffer) < PROOF_SIZE:
            return False
        self._responder.receive_proof(bytes(self._buffer[:PROOF_SIZE]))
        rest = bytes(self._buffer[PROOF_SIZE:])
        self._buffer.clear()
        self._settle(rest)
        return True

    def _settle(self, rest: bytes) -> None:
        """The peer is proved: from now on the connection is its host's."""
        host, transport, responder = self._proving, self._transport, self._responder
        assert host is not None and transport is not None and responder is not None
        if self.deadline is not None:
            self.deadline.cancel()
        self._port.settle(self)
        self._host = host
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A peer's machine that vanished is noticed by the pings; this bounds what lies in the kernel (tcp(7)).
        connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._port.unacknowledged_milliseconds
        )
        if not self._port.on_proved(host, responder, transport, self._told):
            raise ProtocolError("a proxy whose host has gone on without it; it may try again")
        if rest:
            host.receive_data(rest)

    def connection_lost(self, error: Exception | None) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
        self._port.settle(self)
        if self._host is not None and self._host.transport is self._transport:
            self._port.on_disconnected(self._host)

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _peer(self) -> str:
        assert self._transport is not None
        address = self._transport.get_extra_info("peername")
        return f"{address[0]} port {address[1]}" if address else "an unknown address"


class CallBackPort:
    """Listens for proxies.

    `on_proved(host, responder, transport, told)`: a proxy has proved itself, and was told that `told` of its batches
    have arrived; returns whether the connection is taken. `on_disconnected(host)`: its connection is lost.
    `keepalive_seconds`: how long a connection may be silent; two thirds of it, what is sent may be unacknowledged.
    """

    def __init__(
        self,
        *,
        find_secret: Callable[[int, bytes, int], bytes | None],
        find_host: Callable[[Responder], Host],
        on_proved: Callable[[Host, Responder, asyncio.Transport, int], bool],
        on_disconnected: Callable[[Host], None],
        keepalive_seconds: float,
    ) -> None:
        self.find_secret = find_secret
        self.find_host = find_host
        self.on_proved = on_proved
        self.on_disconnected = on_disconnected
        # More than a day is for ever, and must fit an int.
        self.unacknowledged_milliseconds = max(1, int(min(keepalive_seconds, 86_400) * 1000 * 2 / 3))
        self.port = 0
        self._server: asyncio.Server | None = None
        self._pending: dict[CallBackConnection, None] = {}

    async def listen(self, address: str, ports: tuple[int, int] | None) -> None:
        """Listen on `address`, on any free port or on one of the range `ports` (low, high, both included).

        Raises RoujiamoError where there is none.
        """
        loop = asyncio.get_running_loop()
        candidates = range(ports[0], ports[1] + 1) if ports else range(1)
        for candidate in candidates:
            try:
                self._server = await loop.create_server(
                    lambda: CallBackConnection(self), address, candidate, backlog=BACKLOG
                )
            except OSError as error:
                if error.errno == errno.EADDRINUSE and candidate != candidates[-1]:
                    continue
                where = f"{address} port {candidates[0]}" + (
                    f" to {candidates[-1]}" if len(candidates) > 1 else ""
                )
                raise RoujiamoError(
                    f"cannot listen for the tasks' call-backs on {where}: {error.strerror}; "
                    "see --callback-address and --callback-port"
                ) from error
            self.port = int(self._server.sockets[0].getsockname()[1])
            return

    def admit(self, connection: CallBackConnection) -> None:
        """Count a connection that has not proved itself; the oldest one makes room where there are too many."""
        if len(self._pending) >= PENDING_LIMIT:
            next(iter(self._pending)).abort()
            del self._pending[next(iter(self._pending))]
        self._pending[connection] = None

    def settle(self, connection: CallBackConnection) -> None:
        """The connection is proved, or gone."""
        self._pending.pop(connection, None)

    @staticmethod
    def heard(host: Host) -> None:
        """Note that the proxy lives."""
        host.last_heard = asyncio.get_running_loop().time()

    def close(self) -> None:
        """Stop listening and drop who has not proved itself."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._pending):
            connection.abort()
