"""A TCP relay, as the network between two parts, that breaks in the manner that a test asks for.

Imported by the test process only. Clients are those that connect (a driver, a proxy), the server is whom they want (a
master, a broker). One thread accepts, two for each connection copy.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType

from tests.support import scaled

_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 14\r\nConnection: close\r\n\r\nno server here"
)

UP = "up"
DOWN = "down"


class _Pair:
    """One connection: its client's end and its server's."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        # One end was cut alone: what the other still says vanishes.
        self.is_half = False

    def shut(self) -> None:
        for one in (self.client, self.server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class Relay:
    """Listens at `address` for the time of a with-block and carries what comes to `server` (host:port) and back."""

    def __init__(self, server: str) -> None:
        host, _, port = server.rpartition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        # How many connections it has taken.
        self.accepted = 0
        # How long each piece takes on its way.
        self.delay_seconds = 0.0
        self._is_unavailable = False
        self._flows = {UP: threading.Event(), DOWN: threading.Event()}
        self.flow()
        self._budget: int | None = None
        self._change: str | None = None
        self._pairs: list[_Pair] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Relay:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.flow()
        self.cut()
        while self._threads:
            self._threads.pop().join(scaled(10))
        for pair in self._pairs:
            pair.client.close()
            pair.server.close()
        self._listener.close()

    def cut(self) -> None:
        """End every connection there is."""
        with self._lock:
            for pair in self._pairs:
                pair.shut()

    def cut_end(self, end: str) -> None:
        """End the `client`'s or the `server`'s side of every connection; the other side is not told."""
        with self._lock:
            for pair in self._pairs:
                pair.is_half = True
                with contextlib.suppress(OSError):
                    getattr(pair, end).shutdown(socket.SHUT_RDWR)

    def cut_within(self, size: int) -> None:
        """Pass `size` more bytes of what the server says, and then end every connection: in the middle of an event."""
        self._budget = size

    def stall(self, *directions: str) -> None:
        """Carry nothing more (that way: UP, to the server, or DOWN): what a lost link without a FIN looks like.

        Where nothing goes either way, connections that are made meanwhile never come to anything.
        """
        for direction in directions or (UP, DOWN):
            self._flows[direction].clear()

    def flow(self) -> None:
        """The end of a stall."""
        for way in self._flows.values():
            way.set()

    def change(self, how: str) -> None:
        """Do to the next piece what somebody on the path might: `alter` a bit of it, `repeat` it, `drop` it."""
        self._change = how

    def be_unavailable(self, is_unavailable: bool) -> None:
        """Answer 503 to whoever connects, as a proxy without a server behind it."""
        self._is_unavailable = is_unavailable

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self._is_unavailable:
                self._start(self._refuse, client)
                continue
            try:
                server = socket.create_connection(self._server, 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(client, server)
            # As where the packets of an attempt are lost: it comes to nothing, even when the way is there again.
            pair.is_half = not any(way.is_set() for way in self._flows.values())
            with self._lock:
                self._pairs.append(pair)
            self._start(self._carry, pair, UP)
            self._start(self._carry, pair, DOWN)

    def _refuse(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(5)
            # What merely looks whether anybody listens sends nothing.
            if client.recv(65_536):
                client.sendall(_UNAVAILABLE)

    def _carry(self, pair: _Pair, direction: str) -> None:
        source, target = (pair.client, pair.server) if direction == UP else (pair.server, pair.client)
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._flows[direction].wait()
                if self.delay_seconds:
                    time.sleep(self.delay_seconds)
                if direction == DOWN and self._budget is not None:
                    target.sendall(data[: self._budget])
                    self._budget = None
                    self.cut()
                    return
                if pair.is_half:
                    continue
                target.sendall(self._changed(data))
        if not pair.is_half:
            pair.shut()

    def _changed(self, data: bytes) -> bytes:
        how, self._change = self._change, None
        if how == "repeat":
            return data + data
        if how == "alter":
            return data[:-1] + bytes([data[-1] ^ 1])
        return b"" if how == "drop" else data
