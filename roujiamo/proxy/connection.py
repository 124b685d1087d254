"""The worker's connection to the broker: one link over as many TCP connections as it takes.

Runs in the worker's loop; never blocks. Trusts the broker only after each handshake, and its batches only by their
tags.

    CONNECTED --lost--> AWAY --try--> CONNECTING --connected--> GREETING --challenge is right--> CONNECTED
    CONNECTING, GREETING --failed--> AWAY        AWAY --the grace is over, and a last try has failed--> BrokerGone
    CONNECTING --refused--> BrokerGone           (nobody listens any more: the broker has ended)
"""

import _socket
import errno
import os
import select
import time

from roujiamo.errors import AuthenticationError, ProtocolError
from roujiamo.protocol import frames, handshake
from roujiamo.protocol.link import Link, drop_written
from roujiamo.proxy.log import say
from roujiamo.proxy.settings import Settings
from roujiamo.system.selector import READ, WRITE, Selector

MYPY = False
if MYPY:
    from collections.abc import Callable

CONNECTED = "connected"
AWAY = "away"
CONNECTING = "connecting"
GREETING = "greeting"

RECEIVE_SIZE = 256 << 10
# Above this the commands' output stays in their pipes: what the broker does not take, nobody needs to keep here.
CONGESTED_BYTES = 1 << 20

# Between two tries to come back; the first is at once.
RETRY_SECONDS = 0.25
# What one call writes at most (sysconf(3), IOV_MAX).
MAX_PIECES = 1024
# For one try: a host that does not answer must not use up the grace.
TRY_SECONDS = 2.0
# The kernel's most (tcp(7), TCP_KEEPCNT).
MAX_PROBES = 127
# So often may a connection be lost through what came over it, with nothing got through in between.
MAX_FRUITLESS = 3

_IN_PROGRESS = (errno.EINPROGRESS, errno.EAGAIN, errno.EINTR)


class BrokerGone(Exception):
    """The broker is gone, or as good as that; its text says why."""


class BrokerConnection:
    """Frames to and from the broker. `deliver(type, channel, payload)` is called for each frame that arrives.

    Send with `send_frame` or `send_frames`, then `flush`. Call `on_time` when `deadline` has come.
    """

    def __init__(
        self,
        selector: Selector,
        connection: _socket.socket,
        send_key: bytes,
        receive_key: bytes,
        deliver: "Callable[[int, int, bytes], None]",
    ) -> None:
        """`connection`: the one that first contact made, with its keys."""
        self._selector = selector
        self._socket = connection  # type: _socket.socket | None
        self._family = connection.family
        self._address = connection.getpeername()
        self._link = Link(send_key, receive_key)
        self._deliver = deliver
        # One buffer for all: a new one of this size would be the system's pages, each time.
        self._received = memoryview(bytearray(RECEIVE_SIZE))
        self._outgoing = []  # type: list[bytes]
        self._outgoing_bytes = 0
        self._events = READ
        self._greeting = bytearray()
        self._initiator = None  # type: handshake.Initiator | None
        self._resume = b""
        self._settings = Settings({})
        self._epoch = 0
        self._fruitless = 0
        self._received_at_loss = 0
        self._last_heard = time.monotonic()
        self._give_up_at = 0.0
        self._is_last_try = False
        self._next_step_at = 0.0
        self.state = CONNECTED
        self._adopt(connection)
        selector.register(connection, READ, self._on_ready)

    def configure(self, resume: bytes, settings: Settings) -> None:
        """Take what the welcome said: the credential to come back with, and how long to wait for what."""
        self._resume = resume
        self._settings = settings
        if self._socket is not None:
            self._have_probed(self._socket)

    def acknowledge(self) -> None:
        """Have the broker forget what has arrived: the welcome is large, and kept for each host."""
        self._link.acknowledge()

    @property
    def peer(self) -> str:
        """The broker's address, for the log."""
        return "%s port %d" % self._address[:2]

    @property
    def is_congested(self) -> bool:
        """Whether the broker takes less than the host has for it."""
        return self._link.queued + self._outgoing_bytes > CONGESTED_BYTES

    @property
    def deadline(self) -> float:
        """When `on_time` is to be called at the latest (time.monotonic)."""
        if self.state == CONNECTED:
            return self._last_heard + self._settings.silence_seconds
        return min(self._give_up_at, self._next_step_at)

    def send_frame(self, frame_type: int, channel: int, payload: bytes = b"") -> None:
        """Queue one frame."""
        self._link.send_frame(frame_type, channel, payload)

    def send_frames(self, encoded: "list[tuple[bytes, ...]]") -> None:
        """Queue frames that are encoded already, each as its pieces."""
        self._link.send_frames(encoded)

    def flush(self) -> None:
        """Write what the connection takes now; the rest goes when it takes more."""
        connection = self._socket
        if self.state != CONNECTED or connection is None:
            return
        try:
            while True:
                pieces = self._outgoing
                if not pieces:
                    pieces = self._link.pieces_to_send()
                    if not pieces:
                        break
                    self._outgoing = pieces
                    self._outgoing_bytes = sum(map(len, pieces))
                sent = (
                    connection.send(pieces[0])
                    if len(pieces) == 1
                    else connection.sendmsg(pieces[:MAX_PIECES])
                )
                self._outgoing_bytes -= sent
                drop_written(pieces, sent)
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(_reason(error))
            return
        self._watch(READ | (WRITE if self._outgoing else 0))

    def farewell(self, sentence: str, seconds: float) -> None:
        """Say GOODBYE, for which the loop may stop for some moments: it is over anyway."""
        self.send_frame(frames.GOODBYE, 0, sentence.encode())
        until = time.monotonic() + seconds
        while self.state == CONNECTED and self._socket is not None:
            self.flush()
            if not self._outgoing or time.monotonic() >= until:
                return
            waiting = select.poll()
            waiting.register(self._socket, select.POLLOUT)
            waiting.poll(1000 * max(0.0, until - time.monotonic()))

    def on_time(self, now: float) -> None:
        """Do what is due. Raises BrokerGone."""
        if now < self.deadline:
            return
        if self.state == CONNECTED:
            self._lose("it has been silent for %d s" % (now - self._last_heard))
            return
        if now >= self._give_up_at and self._is_last_try:
            raise BrokerGone(
                "the broker at %s could not be reached again within %g s"
                % (self.peer, self._settings.reconnect_grace_seconds)
            )
        if now >= self._give_up_at:
            # The network may be there again since a moment ago, and the SYN of the try under way be lost.
            self._is_last_try = True
            self._give_up_at = now + TRY_SECONDS
            self._drop()
            self._try()
        elif self.state == AWAY:
            self._try()
        else:
            self._fail_try(now)

    def _adopt(self, connection: _socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._have_probed(connection)

    def _have_probed(self, connection: _socket.socket) -> None:
        """Have the kernel look whether the other end is still there, often enough to come back within the grace.

        Where the broker's end alone is lost, its system answers a probe with a reset (tcp(7), SO_KEEPALIVE). Probes
        that are not answered mean no more than the broker's silence does.
        """
        seconds = max(1, min(60, round(self._settings.reconnect_grace_seconds / 2)))
        connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
        connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPIDLE, seconds)
        connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPINTVL, seconds)
        probes = max(1, min(MAX_PROBES, int(self._settings.silence_seconds / seconds)))
        connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_KEEPCNT, probes)

    def _watch(self, events: int) -> None:
        if self._socket is not None and events != self._events:
            self._events = events
            self._selector.modify(self._socket, events, self._on_ready)

    def _on_ready(self, mask: int) -> None:
        if self.state == CONNECTED:
            if mask & READ:
                self._receive()
            if mask & WRITE:
                self.flush()
        elif self.state == CONNECTING:
            self._finish_connect()
        elif self.state == GREETING:
            self._receive_challenge()

    def _receive(self) -> None:
        connection = self._socket
        if connection is None:
            return
        try:
            size = connection.recv_into(self._received)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(_reason(error))
            return
        if not size:
            self._lose("it closed the connection")
            return
        self._last_heard = time.monotonic()
        self._take(self._received[:size])
        if self._link.failure is not None:
            # It waited behind the frames that were delivered.
            self._take(self._received[:0])

    def _take(self, data: memoryview) -> None:
        """Deliver the frames that `data` completes."""
        try:
            arrived = self._link.receive_data(data)
        except ProtocolError as error:
            # Something between the two hosts may have damaged it. A broker that does not speak the wire ends it.
            self._fruitless = 0 if self._link.received > self._received_at_loss else self._fruitless + 1
            if self._fruitless >= MAX_FRUITLESS:
                raise BrokerGone("the broker at %s sent %s, again and again" % (self.peer, error)) from error
            self._lose(str(error))
            return
        for frame_type, channel, payload in arrived:
            self._deliver(frame_type, channel, payload)

    def _lose(self, reason: str) -> None:
        """The connection is of no use any more: drop it, and come back within the grace. Raises BrokerGone."""
        if not self._resume:
            raise BrokerGone("lost the broker at %s before its welcome: %s" % (self.peer, reason))
        now = time.monotonic()
        say("lost the broker at %s: %s; trying to come back" % (self.peer, reason))
        self._drop()
        self._received_at_loss = self._link.received
        self._give_up_at = now + self._settings.reconnect_grace_seconds
        self._is_last_try = False
        self._next_step_at = now

    def _drop(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None
        self._outgoing = []
        self._outgoing_bytes = 0
        self.state = AWAY

    def _try(self) -> None:
        now = time.monotonic()
        connection = _socket.socket(self._family, _socket.SOCK_STREAM)
        self._adopt(connection)
        result = connection.connect_ex(self._address)
        self._socket = connection
        self.state = CONNECTING
        self._next_step_at = now + TRY_SECONDS
        self._events = WRITE
        self._selector.register(connection, self._events, self._on_ready)
        if result not in (0, *_IN_PROGRESS):
            self._fail_try(now, result)

    def _fail_try(self, now: float, code: int = 0) -> None:
        self._drop()
        if code == errno.ECONNREFUSED:
            raise BrokerGone("the broker at %s has ended" % self.peer)
        self._next_step_at = now + RETRY_SECONDS

    def _finish_connect(self) -> None:
        connection = self._socket
        if connection is None:
            return
        code = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if code:
            self._fail_try(time.monotonic(), code)
            return
        # Each try has an epoch of its own: the broker answers none twice.
        self._epoch += 1
        self._initiator = handshake.Initiator(
            self._resume,
            handshake.RESUME,
            os.urandom(handshake.NONCE_SIZE),
            epoch=self._epoch,
            received=self._link.received,
        )
        self._greeting = bytearray()
        self.state = GREETING
        try:
            # An empty connection takes a hello at once.
            connection.send(self._initiator.hello)
        except OSError:
            self._fail_try(time.monotonic())
            return
        self._watch(READ)

    def _receive_challenge(self) -> None:
        connection, initiator = self._socket, self._initiator
        if connection is None or initiator is None:
            return
        try:
            data = connection.recv(handshake.CHALLENGE_SIZE - len(self._greeting))
            self._greeting += data
            if data and len(self._greeting) < handshake.CHALLENGE_SIZE:
                return
            # A challenge that was cut short is refused like a wrong one.
            connection.send(initiator.receive_challenge(bytes(self._greeting)))
        except BlockingIOError:
            return
        except (OSError, AuthenticationError):
            self._fail_try(time.monotonic())
            return
        try:
            self._link.resume(initiator.send_key, initiator.receive_key, initiator.peer_received)
        except ProtocolError as error:
            raise BrokerGone(
                "the broker at %s has lost count of the session: %s" % (self.peer, error)
            ) from error
        self.state = CONNECTED
        self._last_heard = time.monotonic()
        say("the broker at %s is there again" % self.peer)
        self.flush()


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
