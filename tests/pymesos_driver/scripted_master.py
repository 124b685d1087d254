"""A master that does what a test tells it, down to the byte: for the ways in which real ones rarely fail.

Imported by the test process only. It stands in for a Mesos master that misbehaves, on a real socket; what a good one
does is tested against the local cluster and a real Mesos.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from tests.support import scaled, until

FRAMEWORK_ID = "scripted-0001"
STREAM_ID = "stream-0001"


def subscribed(heartbeat_seconds: float = 15.0, version: str = "1.11.0-rc1") -> dict[str, Any]:
    """SUBSCRIBED as a master sends it."""
    return {
        "type": "SUBSCRIBED",
        "subscribed": {
            "framework_id": {"value": FRAMEWORK_ID},
            "heartbeat_interval_seconds": heartbeat_seconds,
            "master_info": {
                "id": "m",
                "ip": 16777343,
                "port": 5050,
                "hostname": "scripted.example",
                "version": version,
                "address": {"hostname": "scripted.example", "ip": "127.0.0.1", "port": 5050},
            },
        },
    }


@dataclass
class Request:
    """What came in, and the connection that it came on."""

    connection: socket.socket
    path: str
    headers: dict[str, str]
    body: str
    kind: str = ""
    call: dict[str, Any] = field(default_factory=dict)

    def send(self, data: bytes) -> None:
        """These bytes, now; a peer that is gone is no error."""
        with suppress(OSError):
            self.connection.sendall(data)

    def answer(self, status: str, body: str = "", **headers: str) -> None:
        """A whole answer."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", body]).encode())

    def begin_stream(self, *events: dict[str, Any]) -> None:
        """The head of an event stream, and these events."""
        self.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n"
            b"Mesos-Stream-Id: " + STREAM_ID.encode() + b"\r\n\r\n"
        )
        for event in events:
            self.event(event)

    def event(self, event: dict[str, Any]) -> None:
        """One event in one chunk."""
        record = json.dumps(event).encode()
        record = b"%d\n%b" % (len(record), record)
        self.chunk(record)

    def chunk(self, data: bytes) -> None:
        """One chunk."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def end_stream(self) -> None:
        """The last chunk."""
        self.send(b"0\r\n\r\n")

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def wait_for_close(self) -> None:
        """Return when the other side has closed, or the test is over."""
        with suppress(OSError):
            while self.connection.recv(4096):
                pass


Script = Callable[[Request], None]


def accept_call(request: Request) -> None:
    """What a master answers to a good call."""
    request.answer("202 Accepted")


class ScriptedMaster:
    """Listens in a with-block. Each SUBSCRIBE is given to the next of `subscribes` (the last one for all that follow),
    every other request to `on_call`."""

    def __init__(self, *subscribes: Script, on_call: Script = accept_call, port: int = 0) -> None:
        self.requests: list[Request] = []
        self._subscribes = subscribes
        self._on_call = on_call
        self._listener = socket.create_server(("127.0.0.1", port))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def kinds(self) -> list[str]:
        """The types of the calls so far."""
        return [request.kind for request in list(self.requests)]

    def wait_for(self, kind: str, seconds: float = 10) -> Request:
        """The first request of that kind."""
        found = until(
            lambda: [request for request in list(self.requests) if request.kind == kind],
            seconds,
            f"{kind} at the scripted master; it has {self.kinds()}",
        )
        return found[0]

    def __enter__(self) -> ScriptedMaster:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(scaled(10))
        for connection in self._connections:
            connection.close()

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with self._lock:
                    self._connections.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            request = self._read(connection)
            if request is None:
                return
            with self._lock:
                count = self.kinds().count("SUBSCRIBE")
                self.requests.append(request)
            if request.kind == "SUBSCRIBE":
                self._subscribes[min(count, len(self._subscribes) - 1)](request)
            else:
                self._on_call(request)

    def _read(self, connection: socket.socket) -> Request | None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += connection.recv(65536)
        request = Request(connection, first.split()[1], headers, body.decode())
        if request.body and headers.get("content-type") == "application/json":
            request.call = json.loads(request.body)
            request.kind = request.call["type"]
        else:
            request.kind = request.path
        return request
