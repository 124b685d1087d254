"""Responses of a master, read in pieces: framing, bounds, and the answers that a real Mesos 1.11 gave."""

import random

import pytest

from roujiamo.errors import ProtocolError
from roujiamo.mesos.http_response import MAX_CHUNK_LINE, MAX_HEADERS, MAX_LINE, ResponseParser

# As a real Mesos 1.11.0 master sent them (dates aside).
SUBSCRIBED = (
    b"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 04:10:38 GMT\r\nTransfer-Encoding: chunked\r\n"
    b"Mesos-Stream-Id: f90644d2-7f77-4031-8d8a-fff03dc0f27a\r\nContent-Type: application/json\r\n\r\n"
    b'17\r\n20\n{"type":"HEARTBEAT"}\r\n17\r\n20\n{"type":"HEARTBEAT"}\r\n'
)
UNAUTHORIZED = (
    b"HTTP/1.1 401 Unauthorized\r\nDate: Tue, 24 Nov 2026 04:27:30 GMT\r\n"
    b'WWW-Authenticate: Basic realm="mesos-master-scheduler"\r\nContent-Type: text/plain; charset=utf-8\r\n'
    b"Content-Length: 17\r\n\r\n401 Unauthorized."
)
REDIRECT = (
    b"HTTP/1.1 307 Temporary Redirect\r\nDate: Tue, 24 Nov 2026 04:10:38 GMT\r\nLocation: //127.0.0.1:5050\r\n"
    b"Content-Length: 0\r\n\r\n"
)
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nDate: Tue, 24 Nov 2026 04:10:38 GMT\r\nContent-Length: 0\r\n\r\n"

# What each whole response must give: status, body, complete before the end of the connection.
WHOLE = [
    (SUBSCRIBED + b"0\r\n\r\n", 200, b'20\n{"type":"HEARTBEAT"}' * 2, True),
    (SUBSCRIBED, 200, b'20\n{"type":"HEARTBEAT"}' * 2, False),
    (UNAUTHORIZED, 401, b"401 Unauthorized.", True),
    (REDIRECT, 307, b"", True),
    (ACCEPTED, 202, b"", True),
    (b"HTTP/1.1 200 OK\r\n\r\nuntil close", 200, b"until close", False),
    (b"HTTP/1.0 503 Service Unavailable\r\n\r\n", 503, b"", False),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
    (
        b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok",
        202,
        b"ok",
        True,
    ),
    (b"HTTP/1.1 200\r\nContent-Length: 2, 2\r\n\r\nok", 200, b"ok", True),
    (b"HTTP/1.1 200 \nContent-Length:2\n\nok", 200, b"ok", True),
    (
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"
            b'5;name="value"\r\nhello\r\n00A ; x\r\n, big worl\r\n1\r\nd\r\n0;last\r\nETag: "1"\r\nX-T: 2\r\n\r\n'
        ),
        200,
        b"hello, big world",
        True,
    ),
]


def read(stream: bytes, step: int) -> tuple[int, bytes, bool, dict[str, str], str | None]:
    """What a parser makes of `stream` in pieces of `step` bytes."""
    parser = ResponseParser()
    body = b""
    try:
        for start in range(0, len(stream), step):
            parser.receive_data(stream[start : start + step])
            body += parser.take_body()
    except ProtocolError:
        body += parser.take_body()
    return parser.status, body, parser.is_complete, parser.headers, parser.failure


@pytest.mark.parametrize("step", [1, 2, 3, 16, 1 << 20])
@pytest.mark.parametrize(("stream", "status", "body", "is_complete"), WHOLE)
def test_a_response_reads_the_same_however_it_is_cut(
    stream: bytes, status: int, body: bytes, is_complete: bool, step: int
) -> None:
    """TCP cuts inside status lines, headers, sizes, chunks and their ends."""
    assert read(stream, step)[:3] == (status, body, is_complete)


def test_headers_are_found_by_their_lower_case_names() -> None:
    """Mesos and proxies in front of it write them as they like."""
    parser = ResponseParser()
    parser.receive_data(b"HTTP/1.1 307 Go\r\nLOCATION:  //a:1 \t\r\nVia: x\r\nvia: y\r\nEmpty:\r\n\r\n")
    assert parser.headers == {"location": "//a:1", "via": "x, y", "empty": ""}
    assert parser.are_headers_complete


def test_bytes_behind_a_complete_response_are_not_taken() -> None:
    """They belong to the next answer on a connection that is kept open."""
    parser = ResponseParser()
    assert parser.receive_data(ACCEPTED + b"HTTP/1.1 200") == len(ACCEPTED)
    assert parser.is_complete
    assert parser.receive_data(b"HTTP") == 0


def test_the_end_of_the_connection_completes_only_what_has_no_length() -> None:
    """A cut event stream must be told from a finished one."""
    until_close = ResponseParser()
    until_close.receive_data(b"HTTP/1.1 200 OK\r\n\r\nbody")
    until_close.receive_eof()
    assert until_close.is_complete
    for cut in (b"", b"HTTP/1.1 200", SUBSCRIBED, UNAUTHORIZED[:-1], SUBSCRIBED + b"0\r\n"):
        parser = ResponseParser()
        parser.receive_data(cut)
        with pytest.raises(ProtocolError, match="closed in the middle"):
            parser.receive_eof()


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("step", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    "stream",
    [
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        b"\r\n",
        b"HTTP/2 200 OK\r\n",
        b"HTTP/1.1 99 No\r\n",
        b"HTTP/1.1 600 No\r\n",
        b"HTTP/1.1  200 OK\r\n",
        b"HTTP/1.1 200OK\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        HEAD + b"No colon\r\n",
        HEAD + b"Name : value\r\n",
        HEAD + b": value\r\n",
        HEAD + b"A: 1\r\n folded\r\n",
        HEAD + b"A: nul\x00\r\n",
        HEAD + b"A: \rb\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1x\r\n\r\n",
        HEAD + b"Content-Length: 1, 2\r\n\r\n",
        HEAD + b"Content-Length: \r\n\r\n",
        HEAD + b"Content-Length: 9999999999999999\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"xyz\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"0x5\r\n",
        CHUNKED + b"1234567890abcdef\r\n",
        CHUNKED + b"3\r\nabcd\r\n",
        CHUNKED + b"3\r\nabc3\r\n",
        CHUNKED + b"0\r\nbroken trailer\r\n",
    ],
)
def test_what_is_not_one_clear_response_is_refused_for_ever(stream: bytes, step: int) -> None:
    """The documented error and no other, with a sentence, at the first byte that is wrong and ever after."""
    parser = ResponseParser()

    def receive_all() -> None:
        for start in range(0, len(stream), step):
            parser.receive_data(stream[start : start + step])

    with pytest.raises(ProtocolError, match="answer"):
        receive_all()
    assert parser.failure
    with pytest.raises(ProtocolError):
        parser.receive_data(b"x")
    with pytest.raises(ProtocolError):
        parser.receive_eof()


@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
@pytest.mark.parametrize(
    ("fits", "too_long"),
    [
        (HEAD + b"A: " + b"x" * (MAX_LINE - 4) + b"\r\n", HEAD + b"A: " + b"x" * MAX_LINE),
        (
            HEAD + b"".join(b"H%d: x\r\n" % n for n in range(MAX_HEADERS)),
            HEAD + b"Same: xxxxxxxxxxxx\r\n" * 600,
        ),
        (CHUNKED + b"1;" + b"x" * (MAX_CHUNK_LINE - 3) + b"\r\n", CHUNKED + b"1;" + b"x" * MAX_CHUNK_LINE),
        (
            CHUNKED + b"0\r\n" + b"T: x\r\n" * MAX_HEADERS,
            CHUNKED + b"0\r\n" + b"T: x\r\n" * (MAX_HEADERS + 1),
        ),
        (HEAD + b"A: b\r\n" * 2, HEAD + b"".join(b"H%d: x\r\n" % n for n in range(MAX_HEADERS + 1))),
    ],
)
def test_lines_and_headers_are_bounded_before_they_are_stored(
    fits: bytes, too_long: bytes, step: int
) -> None:
    """A peer that never ends a line or its headers must not fill the memory."""
    assert read(fits, step)[4] is None
    assert read(too_long, step)[4] is not None


def test_all_at_once_and_byte_by_byte_agree_on_mutated_responses() -> None:
    """Same status, headers, body and verdict, whatever the bytes are; seeded, so that a failure can be found again."""
    source = random.Random(1)
    originals = [stream for stream, *_ in WHOLE]
    for _ in range(1500):
        stream = bytearray(source.choice(originals))
        for _ in range(source.randrange(1, 4)):
            at = source.randrange(len(stream))
            match source.randrange(3):
                case 0:
                    stream[at] = source.randrange(256)
                case 1:
                    del stream[at : at + source.randrange(1, 9)]
                case _:
                    stream[at:at] = source.choice([b"\r\n", b"0", b":", b"\n", b" ", source.randbytes(3)])
            if not stream:
                stream += b"\r"
        whole = read(bytes(stream), 1 << 20)
        assert read(bytes(stream), 1) == whole, bytes(stream)
        assert read(bytes(stream), 3) == whole, bytes(stream)
