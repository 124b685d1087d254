"""Shims inside the task: their requests for other hosts, passed on to the broker.

Runs in the worker's loop; never blocks. With tree spawn a daemon on this host starts the daemons of other hosts,
through the roujiamo-rsh on its PATH. That shim finds an abstract unix socket here (a sandbox's path is too long for a
unix address). Anyone on the machine can connect to it: so it trusts a peer of this uid (unix(7), SO_PEERCRED) that
knows the session's token, which other tasks of the same uid do not.
"""

import _socket
import errno
import os
import resource
import struct

from roujiamo.errors import ProtocolError
from roujiamo.protocol.channel import CLOSED
from roujiamo.protocol.frames import INITIAL_WINDOW, MAX_COMMAND, OPEN, Decoder, encode
from roujiamo.protocol.hashing import is_same
from roujiamo.protocol.route import Route
from roujiamo.proxy.command import RESERVED_DESCRIPTORS
from roujiamo.proxy.log import say
from roujiamo.system.selector import READ, WRITE, Selector

MYPY = False
if MYPY:
    from collections.abc import Callable
    from typing import Protocol

    class Host(Protocol):
        """What the relays need of the worker."""

        selector: Selector

        @property
        def is_congested(self) -> bool:
            """Whether nothing more is to be sent for now."""

        def send_frame(self, frame_type: int, channel: int, payload: bytes = b"") -> None:
            """Queue one frame for the broker."""

        def after(self, seconds: float, action: "Callable[[], None]") -> None:
            """Call `action` later."""


# A tree's daemon starts as many others as its launcher's radix says (64 in Open MPI), Open MPI's limit is 128 at once.
MAX_SHIMS = 1024
# A shim sends its request first of all.
REQUEST_SECONDS = 10.0
# The largest frame of a shim is its OPEN.
MAX_FRAME = MAX_COMMAND + 4096
# What is kept for a shim that does not read: more than its window can only be one that broke the rules.
MAX_WAITING = 4 * INITIAL_WINDOW
RECEIVE_SIZE = 128 << 10
# After the system had no descriptor left.
ACCEPT_AGAIN_SECONDS = 1.0


class ShimListener:
    """The socket, and the shims that are connected, by the even number of their channel to the broker."""

    def __init__(self, host: "Host") -> None:
        self.token = os.urandom(16).hex()
        self.name = "@roujiamo-" + os.urandom(16).hex()
        self._host = host
        self._shims = set()  # type: set[ShimConnection]
        self._routed = {}  # type: dict[int, ShimConnection]
        self._next_number = 2
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.bind("\0" + self.name[1:])
        self._socket.listen(MAX_SHIMS)
        self._listen()

    def receive_frame(self, frame_type: int, number: int, payload: bytes) -> None:
        """Take a frame of the broker for an even channel."""
        shim = self._routed.get(number)
        if shim is not None:
            shim.frame_from_broker(frame_type, payload)

    def update(self) -> None:
        """Listen to those shims for whose bytes there is room now."""
        for shim in list(self._shims):
            shim.update()

    def number_for(self, shim: "ShimConnection") -> int:
        """Return a channel number for a new request; none is used twice."""
        number = self._next_number
        self._next_number += 2
        self._routed[number] = shim
        return number

    def forget(self, shim: "ShimConnection", number: int) -> None:
        """The shim's connection has ended."""
        self._shims.discard(shim)
        self._routed.pop(number, None)

    def _listen(self) -> None:
        self._host.selector.register(self._socket, READ, self._on_ready)

    def _on_ready(self, mask: int) -> None:
        try:
            descriptor, _ = self._socket._accept()  # type: ignore[attr-defined]
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                say("cannot take a roujiamo-rsh of this host: %s" % error.strerror)
                self._host.selector.unregister(self._socket)
                self._host.after(ACCEPT_AGAIN_SECONDS, self._listen)
            return
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, struct.calcsize("3i"))
        uid = struct.unpack("3i", credentials)[1]
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVED_DESCRIPTORS
        if uid != os.geteuid() or len(self._shims) >= MAX_SHIMS or connection.fileno() >= limit:
            connection.close()
            return
        self._shims.add(ShimConnection(self._host, self, connection))


class ShimConnection:
    """One shim: its unix socket on one side, its channel to the broker on the other."""

    def __init__(self, host: "Host", listener: ShimListener, connection: _socket.socket) -> None:
        self._host = host
        self._listener = listener
        self._socket = connection
        self._decoder = Decoder(MAX_FRAME)
        self._outgoing = bytearray()
        self._route = None  # type: Route | None
        self._number = 0
        self._events = 0
        self._is_closed = False
        connection.setblocking(False)
        self.update()
        host.after(REQUEST_SECONDS, self._expect_request)

    def send_frame(self, frame_type: int, channel: int, payload: bytes = b"") -> None:
        """Queue a frame for the shim (its route calls this)."""
        self._outgoing += encode(frame_type, channel, payload)

    def frame_from_broker(self, frame_type: int, payload: bytes) -> None:
        """Take a frame of this shim's channel."""
        if self._route is None:
            return
        try:
            self._route.frame_from_acceptor(frame_type, payload)
            if len(self._outgoing) > MAX_WAITING:
                raise ProtocolError("a window of more than %d bytes" % MAX_WAITING)
        except ProtocolError as error:
            self._refuse(error)
        self._flush()

    def update(self) -> None:
        """Watch what something can be done with now."""
        if self._is_closed:
            return
        events = WRITE if self._outgoing else 0
        if not self._host.is_congested:
            events |= READ
        if events != self._events:
            if self._events == 0:
                self._host.selector.register(self._socket, events, self._on_ready)
            elif events == 0:
                self._host.selector.unregister(self._socket)
            else:
                self._host.selector.modify(self._socket, events, self._on_ready)
            self._events = events

    def _on_ready(self, mask: int) -> None:
        if mask & READ:
            self._receive()
        if not self._is_closed:
            self._flush()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        try:
            for frame_type, _, payload in self._decoder.receive_data(data):
                if self._is_closed:
                    return
                if self._route is None:
                    self._request(frame_type, payload)
                else:
                    self._route.frame_from_opener(frame_type, payload)
        except ProtocolError as error:
            self._refuse(error)

    def _request(self, frame_type: int, payload: bytes) -> None:
        if frame_type != OPEN:
            raise ProtocolError("a request must come first")
        route = Route(self, 1, payload)
        if not is_same(route.token, self._listener.token.encode()):
            # Nothing is said to a stranger.
            self._close()
            return
        self._route = route
        self._number = self._listener.number_for(self)
        route.connect(self._host, self._number)

    def _refuse(self, error: ProtocolError) -> None:
        if self._route is not None:
            self._route.abort(255, str(error))
        else:
            self._close()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: self._socket.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self._close()
            return
        if not self._outgoing and self._route is not None and self._route.state == CLOSED:
            self._close()
            return
        self.update()

    def _expect_request(self) -> None:
        if self._route is None:
            self._close()

    def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._route is not None:
            self._route.opener_gone()
        if self._events:
            self._host.selector.unregister(self._socket)
        self._socket.close()
        self._listener.forget(self, self._number)
