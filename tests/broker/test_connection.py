"""A connection of the call-back port: bytes in order, nothing after the end, and one end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from roujiamo.broker.connection import Connection
from roujiamo.system.selector import Selector
from tests.support import scaled


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[Connection, socket.socket, list[str]]]:
    """A connection in the loop, its other end, and how often it was lost."""
    loop = asyncio.get_running_loop()
    selector = Selector()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    lost: list[str] = []
    connection = Connection(selector, ours)
    connection.on_lost = lambda: lost.append("lost")
    loop.add_reader(selector.fileno(), selector.serve, 0)
    try:
        yield connection, theirs, lost
    finally:
        connection.abort()
        theirs.close()
        loop.remove_reader(selector.fileno())
        # A fault that was logged holds it, and the test would be said to leave it.
        selector._poll.close()


async def come_true(condition: Callable[[], object]) -> None:
    for _ in range(int(scaled(10_000))):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it has not come")


def test_what_is_written_arrives_in_order_whatever_the_socket_takes() -> None:
    """A proxy that is slow for a while gets every byte, in the pieces' order, once."""

    async def scenario() -> None:
        async with connected() as (connection, theirs, _):
            pieces = [os.urandom(size) for size in (10, 300_000, 1, 0, 70_000) * 20]
            for number in range(0, len(pieces), 5):
                connection.write(*pieces[number : number + 5])
            received = bytearray()
            expected = b"".join(pieces)
            while len(received) < len(expected):
                received += await asyncio.get_running_loop().sock_recv(theirs, 1 << 16)
            assert received == expected
            # Nothing waits any more: what comes next is written at once.
            connection.write(b"next")
            assert theirs.recv(10) == b"next"

    asyncio.run(scenario())


def test_what_arrives_is_given_on_unless_reading_is_paused() -> None:
    """The pings' answers are read at one waking."""

    async def scenario() -> None:
        async with connected() as (connection, theirs, lost):
            received: list[bytes] = []
            connection.on_data = lambda data: received.append(bytes(data))
            theirs.send(b"one")
            await come_true(lambda: received == [b"one"])
            connection.pause_reading()
            theirs.send(b"two")
            await asyncio.sleep(0.05)
            assert received == [b"one"]
            connection.write(b"meanwhile")
            assert theirs.recv(10) == b"meanwhile"
            connection.resume_reading()
            await come_true(lambda: received == [b"one", b"two"])
            assert lost == []

    asyncio.run(scenario())


@pytest.mark.parametrize("waiting", [False, True])
def test_the_end_is_told_once_and_not_before_who_ended_it_is_done(waiting: bool) -> None:
    """Also to who was about to write, or does so afterwards."""

    async def scenario() -> None:
        for end in ("abort", "close"):
            async with connected() as (connection, theirs, lost):
                if waiting:
                    connection.write(bytes(8 << 20))
                if end == "abort":
                    connection.abort()
                    assert lost == []
                else:
                    theirs.close()
                await come_true(lambda lost=lost: lost)
                connection.write(b"too late")
                connection.pause_reading()
                connection.resume_reading()
                connection.abort()
                await asyncio.sleep(0.01)
                assert lost == ["lost"]
                assert connection.peer() == "an unknown address"

    asyncio.run(scenario())


def test_a_fault_of_ours_ends_its_connection_alone(caplog: pytest.LogCaptureFixture) -> None:
    """One host is lost then, and the session goes on."""

    async def scenario() -> None:
        async with connected() as (good, good_end, good_lost), connected() as (bad, bad_end, bad_lost):
            received: list[bytes] = []

            def fail(data: memoryview) -> None:
                raise KeyError("a fault")

            good.on_data = lambda data: received.append(bytes(data))
            bad.on_data = fail
            bad_end.send(b"x")
            good_end.send(b"y")
            await come_true(lambda: bad_lost and received == [b"y"])
            assert good_lost == []

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert "KeyError: 'a fault'" in caplog.text
