"""HTTP/1.1 responses, taken in pieces: what a Mesos master answers, its endless event stream included.

Used by the driver: pymesos reads its event stream through this, and so do our own short exchanges with a master. The
framing is RFC 9112 section 6.3: no body for 1xx, 204 and 304; else chunks; else Content-Length; else until the
connection closes. Trusts nobody: lines, headers and lengths are bounded before they are stored, and what two parsers
could read in two ways (both length and chunks, two lengths, a blank before a colon) is refused.

    STATUS -> HEADERS -> LENGTH | UNTIL_CLOSE | SIZE -> CHUNK -> CHUNK_END -> SIZE ... -> TRAILERS -> COMPLETE
       ^         |
       +---------+ 1xx: another response follows

Feed `receive_data`, and `receive_eof` at the connection's end; take the body's bytes with `take_body` as they come.
"""

import enum
import re

from roujiamo.errors import ProtocolError

# h11 and nginx allow lines of about 8 KiB and a few dozen headers; a master sends five short ones.
MAX_LINE = 8192
MAX_HEADERS = 100
# A chunk's size line carries extensions that nobody uses (RFC 9112 section 7.1.1).
MAX_CHUNK_LINE = 1024
MAX_INTERIM_RESPONSES = 10

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([^\x00\n\r]*))?\Z")
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00\n\r]*)\Z")
# Sizes of 15 digits: far beyond any record, and no integer to grow.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00\n\r]*)?\Z")
_LENGTH = re.compile(r"[0-9]{1,15}\Z")


class State(enum.Enum):
    """What the parser waits for."""

    STATUS = "status line"
    HEADERS = "header"
    LENGTH = "body of known length"
    UNTIL_CLOSE = "body until the connection closes"
    SIZE = "chunk's size"
    CHUNK = "chunk"
    CHUNK_END = "chunk's end"
    TRAILERS = "trailer"
    COMPLETE = "nothing"


_LINE_LIMITS = {
    State.STATUS: MAX_LINE,
    State.HEADERS: MAX_LINE,
    State.SIZE: MAX_CHUNK_LINE,
    State.CHUNK_END: 2,
    State.TRAILERS: MAX_LINE,
}


class ResponseParser:
    """One response. `status` is 0 until the status line is there; header names are in lower case."""

    def __init__(self) -> None:
        self.state = State.STATUS
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        self.is_chunked = False
        self.failure: str | None = None
        self._minor_version = 1
        self._interim_responses = 0
        self._trailers = 0
        self._line = bytearray()
        self._body = bytearray()
        self._remaining = 0
        self._on_line = {
            State.STATUS: self._on_status_line,
            State.HEADERS: self._on_header_line,
            State.SIZE: self._on_chunk_line,
            State.CHUNK_END: self._on_chunk_end,
            State.TRAILERS: self._on_trailer_line,
        }

    @property
    def are_headers_complete(self) -> bool:
        """True once the final response's headers have been read."""
        return self.state not in (State.STATUS, State.HEADERS)

    @property
    def is_complete(self) -> bool:
        """True once the whole response has been read."""
        return self.state is State.COMPLETE

    @property
    def has_body_bytes(self) -> bool:
        """True where `take_body` would give some."""
        return bool(self._body)

    def take_body(self) -> bytes:
        """Return the body's bytes that have come since the last call."""
        body = bytes(self._body)
        self._body.clear()
        return body

    def receive_data(self, data: bytes) -> int:
        """Read `data`; return how many of its bytes belong to this response (all, until it is complete).

        Raises ProtocolError where it is no HTTP response, and at every call after that.
        """
        if self.failure is not None:
            raise ProtocolError(self.failure)
        position = 0
        while position < len(data) and self.state is not State.COMPLETE:
            if self.state in _LINE_LIMITS:
                position = self._receive_line(data, position)
            else:
                position = self._receive_body(data, position)
        return position

    def receive_eof(self) -> None:
        """Note the connection's end, which completes a body of unknown length.

        Raises ProtocolError where the response is cut short by it.
        """
        if self.failure is not None:
            raise ProtocolError(self.failure)
        if self.state is State.UNTIL_CLOSE:
            self.state = State.COMPLETE
        elif self.state is not State.COMPLETE:
            self._fail(f"the connection closed in the middle of an answer (waiting for: {self.state.value})")

    def _receive_line(self, data: bytes, position: int) -> int:
        limit = _LINE_LIMITS[self.state]
        # Only what the line may still take is searched and stored.
        end = data.find(b"\n", position, position + limit + 1 - len(self._line))
        stop = end if end >= 0 else min(len(data), position + limit + 1 - len(self._line))
        self._line += data[position:stop]
        # Either the line is whole, or `data` is used up, or there is more of it than a line may have.
        if len(self._line) > limit:
            self._fail(f"the answer's {self.state.value} line is longer than {limit} bytes")
        if end < 0:
            return stop
        line = bytes(self._line)
        self._line.clear()
        # A lone newline ends a line too (RFC 9112 section 2.2).
        self._on_line[self.state](line[:-1] if line.endswith(b"\r") else line)
        return end + 1

    def _receive_body(self, data: bytes, position: int) -> int:
        if self.state is State.UNTIL_CLOSE:
            self._body += data[position:]
            return len(data)
        taken = data[position : position + self._remaining]
        self._body += taken
        self._remaining -= len(taken)
        if not self._remaining:
            self.state = State.CHUNK_END if self.state is State.CHUNK else State.COMPLETE
        return position + len(taken)

    def _on_status_line(self, line: bytes) -> None:
        match = _STATUS_LINE.match(line)
        if match is None:
            self._fail(f"the answer is not HTTP: it starts with {line[:40]!r}")
            return
        self._minor_version = int(match[1])
        self.status = int(match[2])
        self.reason = (match[3] or b"").decode("latin-1").strip()
        self.state = State.HEADERS

    def _on_header_line(self, line: bytes) -> None:
        if not line:
            self._on_headers_end()
            return
        match = _HEADER_LINE.match(line)
        if match is None:
            self._fail(f"the answer has a broken header: {line[:40]!r}")
            return
        name, value = match[1].decode("ascii").lower(), match[2].decode("latin-1").strip(" \t")
        if name in self.headers:
            # A list, whatever the header (RFC 9110 section 5.3).
            value = self.headers[name] + ", " + value
        if len(value) > MAX_LINE or (name not in self.headers and len(self.headers) >= MAX_HEADERS):
            self._fail(f"the answer has more than {MAX_HEADERS} headers, or one longer than {MAX_LINE} bytes")
        self.headers[name] = value

    def _on_headers_end(self) -> None:
        if 100 <= self.status < 200:
            self._on_interim_response()
        elif self.status in (204, 304):
            self.state = State.COMPLETE
        elif "transfer-encoding" in self.headers:
            self._on_transfer_encoding(self.headers["transfer-encoding"])
        elif "content-length" in self.headers:
            self._remaining = self._content_length(self.headers["content-length"])
            self.state = State.LENGTH if self._remaining else State.COMPLETE
        else:
            self.state = State.UNTIL_CLOSE

    def _on_interim_response(self) -> None:
        self._interim_responses += 1
        if self.status == 101 or self._interim_responses > MAX_INTERIM_RESPONSES:
            self._fail(f"the answer is {self.status} {self.reason}, which nobody asked for")
        self.headers.clear()
        self.status = 0
        self.reason = ""
        self.state = State.STATUS

    def _on_transfer_encoding(self, value: str) -> None:
        if value.lower() != "chunked" or self._minor_version == 0:
            self._fail(f"the answer's body is encoded in a way that is not understood: {value[:40]!r}")
        if "content-length" in self.headers:
            self._fail("the answer states both a length and chunks")
        self.is_chunked = True
        self.state = State.SIZE

    def _content_length(self, value: str) -> int:
        # The same length said twice is one length (RFC 9110 section 8.6).
        lengths = {part.strip(" \t") for part in value.split(",")}
        if len(lengths) != 1 or _LENGTH.match(min(lengths)) is None:
            self._fail(f"the answer's Content-Length is not a length: {value[:40]!r}")
        return int(min(lengths))

    def _on_chunk_line(self, line: bytes) -> None:
        match = _CHUNK_LINE.match(line)
        if match is None:
            self._fail(f"the answer has a broken chunk: {line[:40]!r} stands where its size should")
            return
        self._remaining = int(match[1], 16)
        self.state = State.CHUNK if self._remaining else State.TRAILERS

    def _on_chunk_end(self, line: bytes) -> None:
        if line:
            self._fail("the answer has a chunk that is longer than it says")
        self.state = State.SIZE

    def _on_trailer_line(self, line: bytes) -> None:
        if not line:
            self.state = State.COMPLETE
            return
        self._trailers += 1
        if self._trailers > MAX_HEADERS or _HEADER_LINE.match(line) is None:
            self._fail(f"the answer has a broken trailer, or more than {MAX_HEADERS} of them")

    def _fail(self, sentence: str) -> None:
        self.failure = sentence
        self._line.clear()
        raise ProtocolError(sentence)
