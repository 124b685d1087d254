"""A TCP relay between a driver and its master, which cuts, stalls or answers 503 when a test says so.

Imported by the test process only. One thread accepts, two for each connection copy.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

from tests.support import scaled

_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 14\r\nConnection: close\r\n\r\nno server here"
)


class Relay:
    """Listens at `address` for the time of a with-block and carries what comes to `master` (host:port) and back."""

    def __init__(self, master: str) -> None:
        host, _, port = master.rpartition(":")
        self._master = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        # How many connections it has taken.
        self.accepted = 0
        self._is_unavailable = False
        self._flows = threading.Event()
        self._flows.set()
        self._budget: int | None = None
        self._sockets: list[socket.socket] = []
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
        self._flows.set()
        self.cut()
        while self._threads:
            self._threads.pop().join(scaled(10))
        for one in self._sockets:
            one.close()
        self._listener.close()

    def cut(self) -> None:
        """End every connection there is."""
        with self._lock:
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def cut_within(self, size: int) -> None:
        """Pass `size` more bytes of what the master says, and then end every connection: in the middle of an event."""
        self._budget = size

    def stall(self) -> None:
        """Carry nothing more, and take connections without a word: what a lost link without a FIN looks like."""
        self._flows.clear()

    def flow(self) -> None:
        """The end of a stall."""
        self._flows.set()

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
                server = socket.create_connection(self._master, 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._sockets += [client, server]
            self._start(self._carry, client, server, False)
            self._start(self._carry, server, client, True)

    def _refuse(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(5)
            # What merely looks whether anybody listens sends nothing.
            if client.recv(65_536):
                client.sendall(_UNAVAILABLE)

    def _carry(self, source: socket.socket, target: socket.socket, is_from_master: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self._flows.wait()
                if is_from_master and self._budget is not None:
                    target.sendall(data[: self._budget])
                    self._budget = None
                    self.cut()
                    return
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
