"""A connection of the broker: bytes in order, nothing after the end, and one end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from roujiamo.broker.connection import MAX_PIECES, Connection
from roujiamo.broker.loop import run
from roujiamo.protocol.frames import LARGE
from tests.support import come_true


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[Connection, socket.socket, list[str]]]:
    """A connection in the loop, its other end, and how often it was lost."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    lost: list[str] = []
    connection = Connection(ours)
    connection.on_lost = lambda: lost.append("lost")
    try:
        yield connection, theirs, lost
    finally:
        connection.abort()
        theirs.close()


@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_arrives_in_order_whatever_the_socket_takes(seed: int) -> None:
    """Some goes at once, some waits, and what waits when the connection is closed goes still."""
    dice = random.Random(seed)
    writes = [
        [dice.randbytes(dice.choice([0, 1, 9, 5_000, 65_536])) for _ in range(dice.choice([1, 2, 8]))]
        for _ in range(60)
    ]
    writes.append([b"x" * 10] * (MAX_PIECES + 500))
    sent = b"".join(b"".join(pieces) for pieces in writes)

    async def scenario() -> None:
        async def read_all(end: socket.socket) -> bytes:
            received = bytearray()
            while more := await asyncio.get_running_loop().sock_recv(end, 1 << 16):
                received += more
            return bytes(received)

        async with connected() as (connection, theirs, lost):
            reading = asyncio.create_task(read_all(theirs))
            for pieces in writes:
                connection.write(*pieces)
                if dice.random() < 0.2:
                    await asyncio.sleep(0)
            connection.close()
            connection.write(b"too late")
            received = await reading
            assert received == sent
            await come_true(lambda: lost == ["lost"])

    run(scenario())


def test_a_view_that_waits_is_as_it_was_when_it_was_written() -> None:
    """It shows a buffer that is received into again."""

    async def scenario() -> None:
        async with connected() as (connection, theirs, _):
            buffer = bytearray(b"a" * (8 << 20))
            connection.write(memoryview(buffer))
            buffer[:] = b"b" * len(buffer)
            received = bytearray()
            while len(received) < len(buffer):
                received += await asyncio.get_running_loop().sock_recv(theirs, 1 << 16)
            assert received == b"a" * len(buffer)

    run(scenario())


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

    run(scenario())


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

    run(scenario())


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
        run(scenario())
    assert "KeyError: 'a fault'" in caplog.text


@pytest.mark.parametrize("pieces", [(b"two",), (b"t" * LARGE, b"w", b"o")])
def test_where_the_system_takes_a_write_no_more_the_connection_ends(pieces: tuple[bytes, ...]) -> None:
    """It may have no memory for the moment: what comes behind the gap must not pass for all."""

    class Socket(socket.socket):
        has_memory = True

        def send(self, *arguments: Any) -> int:
            self._take()
            return super().send(*arguments)

        def sendmsg(self, *arguments: Any) -> int:
            self._take()
            return super().sendmsg(*arguments)

        def _take(self) -> None:
            if not self.has_memory:
                raise OSError(errno.ENOBUFS, "No buffer space available")

    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            lost: list[str] = []
            stand_in = Socket(fileno=ours.detach())
            connection = Connection(stand_in)
            connection.on_lost = lambda: lost.append("lost")
            connection.write(b"one")
            stand_in.has_memory = False
            connection.write(*pieces)
            stand_in.has_memory = True
            connection.write(b"three")
            assert lost == []
            await come_true(lambda: lost == ["lost"])
            assert (theirs.recv(100), theirs.recv(100)) == (b"one", b"")

    run(scenario())
