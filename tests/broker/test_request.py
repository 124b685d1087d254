"""The request, which the broker reads before it has a loop, and while it loads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from roujiamo.broker.program import MAX_REQUEST, take_request
from roujiamo.errors import UsageError


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The owner's end of a control connection, and the broker's."""
    owner, broker = socket.socketpair()
    with closing(owner), closing(broker):
        yield owner, broker


def test_what_comes_behind_the_request_stays_for_the_loop(ends: tuple[socket.socket, socket.socket]) -> None:
    """An owner that gives up at once asks for the end in the same moment."""
    owner, broker = ends
    owner.sendall(b'{"master": "m"}\n{"request": "end"}\n')
    assert take_request(broker, iter(())) == b'{"master": "m"}\n'
    assert broker.recv(100) == b'{"request": "end"}\n'


def test_it_loads_while_it_waits_and_no_longer(ends: tuple[socket.socket, socket.socket]) -> None:
    """The request comes while the second of three pieces loads: the third is for later."""
    owner, broker = ends

    def pieces() -> Iterator[str]:
        yield "first"
        owner.sendall(b"{}\n")
        yield "second"
        yield "third"

    loading = pieces()
    assert take_request(broker, loading) == b"{}\n"
    assert list(loading) == ["third"]


def test_a_request_may_be_larger_than_the_connection_holds(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """The user's environment is in it."""
    owner, broker = ends
    line = b"x" * (MAX_REQUEST - 1) + b"\n"
    writing = threading.Thread(target=owner.sendall, args=(line,))
    writing.start()
    try:
        assert take_request(broker, iter(())) == line
    finally:
        writing.join()


def test_a_request_without_an_end_is_refused(ends: tuple[socket.socket, socket.socket]) -> None:
    """Nothing is stored without a bound."""
    owner, broker = ends

    def flood() -> None:
        piece = b"x" * (1 << 20)
        try:
            while True:
                owner.sendall(piece)
        except BrokenPipeError:
            return

    writing = threading.Thread(target=flood)
    writing.start()
    try:
        with pytest.raises(UsageError, match="too large: more than 8 MiB"):
            take_request(broker, iter(()))
    finally:
        broker.close()
        writing.join()


def test_an_owner_that_ends_before_it_asks_has_asked_for_nothing(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """All is loaded by then, or not."""
    owner, broker = ends
    owner.close()
    assert take_request(broker, iter(())) == b""
