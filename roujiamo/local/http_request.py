"""HTTP/1.1 requests out of a byte stream, bounded. Pure; used by the local master and its agents.

The sender is anyone who can reach the port: head and body have limits, and whatever is not a request is a BadRequest
with the status to answer (RFC 9112).
"""

from __future__ import annotations

from dataclasses import dataclass

from roujiamo.mesos.master.http_messages import Request, parse_query, unescape_path

# Mesos itself (libprocess, http_parser) allows 80 KiB of headers.
MAX_HEAD = 80 << 10
# An ACCEPT with the largest tasks that a command executor takes stays far below.
MAX_BODY = 32 << 20

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


class BadRequest(Exception):
    """The stream is no HTTP any more: answer with `status` and close."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Received:
    """A request, and whether the connection stays open after its response."""

    request: Request
    keeps_alive: bool


@dataclass(frozen=True)
class _Head:
    method: str
    target: str
    headers: dict[str, str]
    length: int
    keeps_alive: bool


class RequestParser:
    """Takes bytes of any cut; gives back the requests that they complete.

    `wants_continue` is true while a client waits for `100 Continue` before it sends its body (RFC 9110, 10.1.1).
    """

    def __init__(self, max_head: int = MAX_HEAD, max_body: int = MAX_BODY) -> None:
        self._max_head = max_head
        self._max_body = max_body
        self._buffer = bytearray()
        self._scanned = 0
        self._head: _Head | None = None
        self.wants_continue = False

    @property
    def is_idle(self) -> bool:
        """True between two requests."""
        return self._head is None and not self._buffer

    def receive_data(self, data: bytes) -> list[Received]:
        """Return the complete requests, oldest first; raises BadRequest, after which the parser is of no use."""
        self._buffer += data
        received = []
        while True:
            if self._head is None and not self._read_head():
                break
            head = self._head
            if head is None or len(self._buffer) < head.length:
                break
            body = bytes(self._buffer[: head.length])
            del self._buffer[: head.length]
            self._head = None
            self.wants_continue = False
            path, _, query = head.target.partition("?")
            request = Request(head.method, unescape_path(path), parse_query(query), head.headers, body)
            received.append(Received(request, head.keeps_alive))
        return received

    def _read_head(self) -> bool:
        while self._buffer.startswith(b"\r\n"):
            # RFC 9112 section 2.2: an empty line before a request is to be ignored.
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end < 0 or end > self._max_head:
            self._scanned = len(self._buffer)
            # The end itself may still be half in: a head is too long at the same byte however the stream is cut.
            if self._scanned > self._max_head + 3:
                raise BadRequest(431, f"The request's headers are longer than {self._max_head} bytes.")
            return False
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        self._scanned = 0
        self._head = self._parse_head(lines)
        return True

    def _parse_head(self, lines: list[str]) -> _Head:
        parts = lines[0].split(" ")
        if len(parts) != 3 or not parts[0] or not set(parts[0]) <= _TOKEN or not parts[2].startswith("HTTP/"):
            raise BadRequest(400, "400 Bad Request.")
        method, target, version = parts
        if version not in ("HTTP/1.1", "HTTP/1.0"):
            raise BadRequest(505, "This server speaks HTTP/1.1.")
        if not target.startswith("/"):
            # Absolute form (a proxy's): the path begins behind the authority.
            target = "/" + target.partition("://")[2].partition("/")[2]
        headers = _parse_headers(lines[1:])
        if "transfer-encoding" in headers:
            raise BadRequest(501, "This server takes no chunked requests: send a Content-Length.")
        length = _content_length(headers.get("content-length"), self._max_body)
        connection = headers.get("connection", "").lower()
        keeps_alive = connection != "close" and (version == "HTTP/1.1" or connection == "keep-alive")
        self.wants_continue = headers.get("expect", "").lower() == "100-continue"
        return _Head(method, target, headers, length, keeps_alive)


def _parse_headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or not set(name) <= _TOKEN:
            raise BadRequest(400, "400 Bad Request.")
        if name == "content-length" and headers.get(name, value.strip()) != value.strip():
            raise BadRequest(400, "400 Bad Request.")
        headers[name] = value.strip(" \t")
    return headers


def _content_length(text: str | None, max_body: int) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit():
        raise BadRequest(400, "400 Bad Request.")
    if len(text) > 15 or int(text) > max_body:
        raise BadRequest(413, f"The request's body is longer than {max_body} bytes.")
    return int(text)
