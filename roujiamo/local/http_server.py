"""The HTTP server of the local master and of its agents: an asyncio protocol around the pure parser.

The peer is anyone who can reach the port. A request must be complete within a time, nobody is read from who does not
read what was answered, and a stream whose reader stopped is cut before it fills the memory.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterator
from email.utils import formatdate
from typing import Protocol

from roujiamo.local.http_request import BadRequest, RequestParser
from roujiamo.mesos.master.http_messages import REASONS, Request, Response, plain
from roujiamo.mesos.recordio import encode

# From a request's first byte to its last.
REQUEST_SECONDS = 60.0
# What a stopped reader of a stream may leave unread; ten thousand agents' offers are 20 MB.
MAX_UNREAD_STREAM = 64 << 20
MAX_CONNECTIONS = 10_000


class Service(Protocol):
    """What answers the requests of a server."""

    def answer(self, request: Request) -> Response:
        """Return the response; it is written before `on_answered` is called."""

    def on_answered(self, connection: HttpConnection, response: Response) -> None:
        """The response is on its way; with a `stream_id`, `connection` is that stream now."""

    def on_stream_closed(self, stream_id: str) -> None:
        """The peer closed the stream, or it broke, or was cut."""


class HttpConnection(asyncio.Protocol):
    """One connection: requests one after another, or a stream after the first that asks for one."""

    def __init__(self, service: Service, connections: set[HttpConnection]) -> None:
        self._service = service
        self._connections = connections
        self._parser = RequestParser()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._parts: Iterator[bytes] | None = None
        self._stream_id: str | None = None
        self._is_closing = False
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._connections) >= MAX_CONNECTIONS:
            transport.abort()
            return
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._is_closing or self._stream_id is not None:
            # A stream's reader has nothing more to say.
            return
        try:
            received = self._parser.receive_data(data)
        except BadRequest as problem:
            self._respond("GET", plain(problem.status, str(problem)), keeps_alive=False)
            return
        for one in received:
            response = self._service.answer(one.request)
            self._respond(one.request.method, response, one.keeps_alive)
            self._service.on_answered(self, response)
            if self._is_closing or self._stream_id is not None:
                break
        if self._parser.wants_continue and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._parser.wants_continue = False
        self._watch_request()

    def eof_received(self) -> bool:
        # A client that closes its sending side wants its answers still, but a stream's reader that does is gone.
        return self._stream_id is None and self._parts is not None

    def connection_lost(self, error: Exception | None) -> None:
        self._is_closing = True
        self._connections.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
        if self._stream_id is not None:
            stream_id, self._stream_id = self._stream_id, None
            self._service.on_stream_closed(stream_id)

    def pause_writing(self) -> None:
        self._is_paused = True
        if self._transport is not None and self._stream_id is None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_paused = False
        self._write_parts()
        if self._transport is not None and self._stream_id is None and not self._transport.is_closing():
            self._transport.resume_reading()

    def send_event(self, event: bytes) -> None:
        """Send one event on the stream that this connection is."""
        if self._transport is None or self._is_closing:
            return
        if self._transport.get_write_buffer_size() > MAX_UNREAD_STREAM:
            self._transport.abort()
            return
        record = encode(event)
        self._transport.write(b"%x\r\n%b\r\n" % (len(record), record))

    def end_stream(self) -> None:
        """End the stream in good order. `on_stream_closed` is not called for it."""
        self._stream_id = None
        if self._transport is not None and not self._is_closing:
            self._transport.write(b"0\r\n\r\n")
            self._close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _respond(self, method: str, response: Response, keeps_alive: bool) -> None:
        if self._transport is None:
            return
        headers = {"Date": formatdate(usegmt=True), **response.headers}
        is_stream = response.stream_id is not None
        if response.parts is not None:
            # Another request's response must not come between the parts.
            keeps_alive = False
        if is_stream:
            headers["Transfer-Encoding"] = "chunked"
        elif "Content-Length" not in headers:
            headers["Content-Length"] = str(len(response.body))
        if not keeps_alive and not is_stream:
            headers["Connection"] = "close"
        reason = REASONS.get(response.status, "Unknown")
        lines = [
            f"HTTP/1.1 {response.status} {reason}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        self._transport.write(head if method == "HEAD" else head + response.body)
        self._stream_id = response.stream_id
        if is_stream:
            # The peer's end is seen while nothing is read only if reading goes on.
            return
        if not keeps_alive:
            self._is_closing = True
        if response.parts is not None and method != "HEAD":
            self._parts = response.parts
            self._write_parts()
        elif not keeps_alive:
            self._close()

    def _write_parts(self) -> None:
        """Write a long body piece by piece, as fast as the peer takes it."""
        while self._parts is not None and not self._is_paused and self._transport is not None:
            part = next(self._parts, None)
            if part is not None:
                self._transport.write(part)
                continue
            self._parts = None
            if self._is_closing:
                self._close()

    def _watch_request(self) -> None:
        if self._parser.is_idle or self._is_closing or self._stream_id is not None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
        elif self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(REQUEST_SECONDS, self._time_out)

    def _time_out(self) -> None:
        self._deadline = None
        self._respond("GET", plain(408, "The request was not complete in time."), keeps_alive=False)

    def _close(self) -> None:
        self._is_closing = True
        if self._transport is not None:
            self._transport.close()


class HttpServer:
    """A listening socket and its connections."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connections: set[HttpConnection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serve the connections of a bound socket."""
        loop = asyncio.get_running_loop()

        def connect() -> HttpConnection:
            return HttpConnection(self._service, self._connections)

        self._server = await loop.create_server(connect, sock=listener, backlog=1024)

    def close(self) -> None:
        """Close the listener and every connection at once."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()


def own_address(listener: socket.socket) -> tuple[str, int]:
    """The address under which others reach a listener: for one on all addresses, the one that faces outwards."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host, port
    is_v4 = address.version == 4
    with socket.socket(listener.family, socket.SOCK_DGRAM) as probe:
        try:
            # Documentation addresses (RFC 5737, RFC 3849): this only asks for the route, nothing is sent.
            probe.connect(("192.0.2.1" if is_v4 else "2001:db8::1", 9))
            return probe.getsockname()[0], port
        except OSError:
            return ("127.0.0.1" if is_v4 else "::1"), port
