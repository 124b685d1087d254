"""The call-back port: where the proxies of the session's tasks connect.

Runs in the broker. Trusts nobody before the proof of `roujiamo.protocol.handshake`, and says nothing before a valid
hello, so whoever has no secret of this session cannot even tell what listens here. A peer that has not proved itself
costs a connection and at most 133 stored bytes, for at most HANDSHAKE_SECONDS, and only PENDING_LIMIT of them are kept:
the oldest makes room for the next, so idle intruders cannot keep a proxy out.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import socket
from collections.abc import Callable

from roujiamo.broker.connection import Connection, Listener
from roujiamo.broker.hosts import Host
from roujiamo.errors import AuthenticationError, ProtocolError, RoujiamoError
from roujiamo.protocol.handshake import HELLO_SIZE, NONCE_SIZE, PROOF_SIZE, Responder

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
PENDING_LIMIT = 1024
# A proxy's connection takes a place in the queue until it is accepted; thousands may call back at once.
BACKLOG = 4096


class CallBack:
    """One connection: HELLO, PROOF, then the bytes of a host's link."""

    __slots__ = ("_buffer", "_connection", "_host", "_port", "_responder", "_told", "accepted_at")

    def __init__(self, port: CallBackPort, connection: Connection, accepted_at: float) -> None:
        self.accepted_at = accepted_at
        self._port = port
        self._connection = connection
        self._buffer = b""
        self._responder: Responder | None = None
        self._told = 0
        self._host: Host | None = None
        connection.on_data = self._receive_handshake
        connection.on_lost = self._on_lost

    def _receive_handshake(self, data: memoryview) -> None:
        try:
            self._buffer += data
            if self._responder is None and len(self._buffer) >= HELLO_SIZE:
                self._receive_hello()
            if self._responder is not None and len(self._buffer) >= PROOF_SIZE:
                self._receive_proof()
            elif len(self._buffer) > HELLO_SIZE + PROOF_SIZE:
                raise AuthenticationError("a peer that goes on before it is answered")
        except ProtocolError as error:
            log.info("call-back from %s refused: %s", self._connection.peer(), error)
            self._connection.abort()

    def _receive_hello(self) -> None:
        hello, self._buffer = self._buffer[:HELLO_SIZE], self._buffer[HELLO_SIZE:]
        responder = Responder(self._port.find_secret, os.urandom(NONCE_SIZE))
        responder.receive_hello(hello)
        self._responder = responder
        self._host = self._port.find_host(responder)
        link = self._host.link
        self._told = link.received if link is not None else 0
        self._connection.write(responder.challenge(self._told))

    def _receive_proof(self) -> None:
        """The peer is proved with that, and the connection is its host's from now on."""
        host, responder = self._host, self._responder
        assert host is not None and responder is not None
        responder.receive_proof(self._buffer[:PROOF_SIZE])
        rest, self._buffer = self._buffer[PROOF_SIZE:], b""
        self._responder = None
        self._port.settle(self)
        self._connection.on_data = self._receive
        if not self._port.on_proved(host, responder, self._connection, self._told):
            raise ProtocolError("a proxy whose host has gone on without it; it may try again")
        if rest:
            # One that has come back goes on at once.
            with memoryview(rest) as view:
                self._receive(view)

    def _receive(self, data: memoryview) -> None:
        host = self._host
        assert host is not None
        if host.transport is not self._connection:
            # Another connection has taken over; what still comes here is sealed for this one.
            self._connection.abort()
            return
        self._port.heard(host)
        try:
            host.receive_data(data)
        except ProtocolError as error:
            log.info("%s: connection from %s dropped: %s", host.name, self._connection.peer(), error)
            self._connection.abort()

    def _on_lost(self) -> None:
        self._port.settle(self)
        if self._host is not None and self._host.transport is self._connection:
            self._port.on_disconnected(self._host)

    def abort(self) -> None:
        """Drop the connection at once."""
        self._connection.abort()


class CallBackPort:
    """Listens for proxies.

    `on_proved(host, responder, connection, told)`: a proxy has proved itself, and was told that `told` of its batches
    have arrived; returns whether the connection is taken. `on_disconnected(host)`: its connection is lost.
    `keepalive_seconds`: how long a connection may be silent; two thirds of it, what is sent may be unacknowledged.
    """

    def __init__(
        self,
        *,
        find_secret: Callable[[int, bytes, int], bytes | None],
        find_host: Callable[[Responder], Host],
        on_proved: Callable[[Host, Responder, Connection, int], bool],
        on_disconnected: Callable[[Host], None],
        keepalive_seconds: float,
    ) -> None:
        self.find_secret = find_secret
        self.find_host = find_host
        self.on_proved = on_proved
        self.on_disconnected = on_disconnected
        # More than a day is for ever, and must fit an int.
        self._unacknowledged_milliseconds = max(1, int(min(keepalive_seconds, 86_400) * 1000 * 2 / 3))
        self.port = 0
        self._loop = asyncio.get_running_loop()
        self._listener: Listener | None = None
        # In the order of their times.
        self._pending: dict[CallBack, None] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def listen(self, address: str, ports: tuple[int, int] | None) -> None:
        """Listen on `address`, on any free port or on one of the range `ports` (low, high, both included).

        Raises RoujiamoError where there is none.
        """
        candidates = range(ports[0], ports[1] + 1) if ports else range(1)
        for candidate in candidates:
            try:
                listener = self._bound(address, candidate)
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
            self.port = int(listener.getsockname()[1])
            self._listener = Listener(listener, self._admit)
            return

    def _bound(self, address: str, port: int) -> socket.socket:
        """Return a listening socket. What is set on it holds for the connections that it accepts (tcp(7))."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A peer's machine that vanished is noticed by the pings; this bounds what lies in the kernel.
            listener.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._unacknowledged_milliseconds
            )
            listener.bind((address, port))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener

    def _admit(self, connection: Connection) -> None:
        """Count a connection that has not proved itself; the oldest one makes room where there are too many."""
        call = CallBack(self, connection, self._loop.time())
        if len(self._pending) >= PENDING_LIMIT:
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            oldest.abort()
        self._pending[call] = None
        if self._sweep is None:
            self._sweep = self._loop.call_later(HANDSHAKE_SECONDS, self._drop_slow)

    def _drop_slow(self) -> None:
        """Drop who has had its time; one timer does for all."""
        self._sweep = None
        until = self._loop.time() - HANDSHAKE_SECONDS
        for call in list(itertools.takewhile(lambda call: call.accepted_at <= until, self._pending)):
            del self._pending[call]
            call.abort()
        if self._pending:
            left = next(iter(self._pending)).accepted_at - until
            self._sweep = self._loop.call_later(left, self._drop_slow)

    def settle(self, call: CallBack) -> None:
        """The connection is proved, or gone."""
        self._pending.pop(call, None)
        if not self._pending and self._sweep is not None:
            # It would only wake an idle broker.
            self._sweep.cancel()
            self._sweep = None

    def heard(self, host: Host) -> None:
        """Note that the proxy lives."""
        host.last_heard = self._loop.time()

    def close(self) -> None:
        """Stop listening and drop who has not proved itself."""
        if self._listener is None:
            return
        if self._sweep is not None:
            self._sweep.cancel()
        for call in list(self._pending):
            call.abort()
        self._listener.close()
        self._listener = None
