"""Requests come out whole however the bytes are cut, and nothing else does."""

from __future__ import annotations

import random

import pytest

from roujiamo.local.http_request import BadRequest, Received, RequestParser

STREAM = (
    b"POST /api/v1/scheduler?x=%C3%A4&y HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nMesos-Stream-Id: s\r\n\r\nabc"
    b"\r\nGET /files/read?path=/a+b%2Fc&offset=0 HTTP/1.1\r\nConnection: close\r\n\r\n"
    b"GET /version HTTP/1.0\r\n\r\n"
)


def parse(pieces: list[bytes]) -> list[Received]:
    parser = RequestParser()
    received = [one for piece in pieces for one in parser.receive_data(piece)]
    assert parser.is_idle
    return received


def test_byte_by_byte_is_all_at_once() -> None:
    whole = parse([STREAM])
    assert parse([STREAM[index : index + 1] for index in range(len(STREAM))]) == whole
    post, read, version = whole
    assert (post.request.method, post.request.path, post.request.body) == (
        "POST",
        "/api/v1/scheduler",
        b"abc",
    )
    assert post.request.query == {"x": "ä", "y": ""}
    assert post.request.headers["mesos-stream-id"] == "s"
    assert read.request.query == {"path": "/a b/c", "offset": "0"}
    assert [one.keeps_alive for one in whole] == [True, False, False]
    assert version.request.path == "/version"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, 431),
        (b"x" * 100_000, 431),
    ],
)
def test_what_is_no_request_has_a_status(data: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as problem:
        RequestParser().receive_data(data)
    assert problem.value.status == status


def test_a_body_is_awaited_only_within_its_bound() -> None:
    parser = RequestParser(max_body=10)
    with pytest.raises(BadRequest):
        parser.receive_data(b"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n")


def test_mutated_requests_are_requests_or_bad() -> None:
    """By whole and by bytes alike: the same requests, or a BadRequest both times."""

    def outcome(pieces: list[bytes]) -> object:
        parser, received = RequestParser(max_head=300), []
        try:
            for piece in pieces:
                received += parser.receive_data(piece)
        except BadRequest as problem:
            return received, problem.status
        return received, None

    chance = random.Random(11)
    for _ in range(1500):
        data = bytearray(STREAM)
        for _ in range(chance.randint(1, 5)):
            place = chance.randrange(len(data))
            data[place : place + chance.randint(0, 3)] = bytes(
                chance.choices(b"\r\n: /%\0aZ9\xff", k=chance.randint(0, 3))
            )
        by_bytes = outcome([bytes(data[index : index + 1]) for index in range(len(data))])
        whole = outcome([bytes(data)])
        # Requests before a bad one are lost to who gets both in one piece: it is told the error first.
        assert by_bytes == whole or (whole[1] is not None and whole[1] == by_bytes[1])  # type: ignore[index]
