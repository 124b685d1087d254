"""Bytes between the broker's sockets and its protocols: none is lost, doubled or overtaken."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest

from roujiamo.broker.streams import MAX_PIECES, Outlet, Receiver, write


class Collector(Receiver):
    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data: memoryview) -> None:
        self.data += data

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set_result(error)


@pytest.mark.parametrize("seed", range(5))
def test_pieces_arrive_in_order_whatever_the_socket_takes(seed: int) -> None:
    """Some go at once, some wait in the transport; small ones and large ones do not overtake one another."""
    dice = random.Random(seed)
    writes = [
        [dice.randbytes(dice.choice([1, 9, 5_000, 65_536])) for _ in range(dice.choice([1, 2, 8]))]
        for _ in range(60)
    ]
    writes.append([b"x" * 10] * (MAX_PIECES + 500))
    sent = b"".join(b"".join(pieces) for pieces in writes)

    async def scenario() -> bytearray:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        _, collector = await loop.create_connection(Collector, sock=theirs)
        for pieces in writes:
            write(transport, pieces)
            assert pieces == []
            if dice.random() < 0.2:
                await asyncio.sleep(0)
        transport.close()
        assert await collector.ended is None
        return collector.data

    assert asyncio.run(scenario()) == sent


def test_a_peer_that_is_gone_is_the_transports_to_tell() -> None:
    """Whoever writes goes on; the connection's loss is heard as ever."""

    async def scenario() -> Exception | None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        transport, writer = await loop.create_connection(Collector, sock=ours)
        transport.pause_reading()
        theirs.close()
        write(transport, [bytes(5_000)])
        write(transport, [bytes(5_000)])
        error = await writer.ended
        write(transport, [bytes(5_000)])
        return error

    assert isinstance(asyncio.run(scenario()), ConnectionError)


def test_one_turns_frames_go_together_and_a_held_outlet_waits_for_its_flush() -> None:
    """Each write is a call to the system, and wakes the peer."""

    class Counter(Outlet):
        writes = 0

        def _write(self) -> None:
            self.writes += 1

    async def scenario() -> None:
        outlet = Counter()
        for _ in range(3):
            outlet.flush_soon()
        await asyncio.sleep(0)
        assert outlet.writes == 1
        outlet.hold()
        outlet.flush_soon()
        await asyncio.sleep(0)
        assert outlet.writes == 1
        outlet.flush()
        outlet.flush_soon()
        await asyncio.sleep(0)
        assert outlet.writes == 3

    asyncio.run(scenario())
