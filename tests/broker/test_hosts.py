"""The broker's side of a host, against a proxy that has proved itself and does what no proxy does."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest

from roujiamo.broker.connection import Connection
from roujiamo.broker.hosts import CONTACTED, LOST, READY, Host
from roujiamo.broker.loop import run
from roujiamo.broker.shims import ShimConnection, ShimSocket
from roujiamo.protocol import frames
from roujiamo.protocol.channel import OPENER, Channel
from roujiamo.protocol.fields import pack_fields
from roujiamo.protocol.link import Link
from roujiamo.protocol.route import Route

OPEN_PAYLOAD = pack_fields(frames.VERSION, b"agent2", b"true", b"", b"1000")
UP, DOWN = b"u" * 32, b"d" * 32


class Proxy:
    """The proxy's end of the link, and the host that the broker has for it; its requests are refused at length."""

    def __init__(self) -> None:
        self.requests = 0
        self.losses: list[str] = []
        self.host = Host(
            "agent1", agent_id="A", task_id="T", slots=1, token=bytes(32), resume=bytes(32),
            on_ready=lambda host: None, on_lost=lambda host, sentence: self.losses.append(sentence),
            on_open=self._on_open, on_failed=lambda host, route, status: None, on_command=lambda *_: None,
        )  # fmt: skip
        self.host.link, self.link = Link(UP, DOWN), Link(DOWN, UP)
        self.host.state = CONTACTED

    def _on_open(self, host: Host, number: int, payload: bytes) -> Route | None:
        self.requests += 1
        route = Route(host, number, payload)
        route.acceptor_gone(255, "no " * 20_000)
        return route

    def say(self, *said: tuple[int, int, bytes]) -> None:
        # No loop runs here; what is queued stays queued, as for a proxy that does not read.
        self.host.hold()
        for frame in said:
            self.link.send_frame(*frame)
        self.host.receive_data(self.link.data_to_send())
        self.link._forget(self.link._sent)


def test_a_proxy_that_asks_for_ever_and_takes_no_answer_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it is bounded."""
    monkeypatch.setattr("roujiamo.broker.hosts.MAX_ANSWERS", 1 << 20)
    proxy = Proxy()
    number = 2
    while proxy.host.state != LOST:
        proxy.say((frames.OPEN, number, OPEN_PAYLOAD))
        number += 2
        assert proxy.host.link is None or proxy.host.link.queued < (1 << 20) + 100_000
    assert proxy.losses == ["the task on agent1 asks for more and more commands, and takes no answer"]


def test_what_comes_behind_a_goodbye_asks_for_nothing_any_more() -> None:
    """A command that was started for a host that is lost would have nobody to end it."""
    proxy = Proxy()
    proxy.say((frames.GOODBYE, 0, b"over"), (frames.OPEN, 2, OPEN_PAYLOAD))
    assert (proxy.requests, proxy.losses) == (0, ["the task on agent1 ended: over"])


def test_a_shim_that_reads_late_gets_each_byte_as_it_was() -> None:
    """What its socket does not take is kept, while the next is received into the same buffer."""
    block = random.Random(1).randbytes(4 << 20)

    async def scenario() -> bytes:
        loop = asyncio.get_running_loop()
        proxy = Proxy()
        proxy.host.state = READY
        started = loop.create_future()

        def start(shim: ShimConnection, number: int, payload: bytes) -> Route:
            route = Route(shim, number, payload)
            proxy.host.start_command(route)
            started.set_result(None)
            return route

        ours, theirs = socket.socketpair()
        server = ShimSocket(start, lambda request: {})
        server.admit(Connection(ours))
        channel = Channel(1, OPENER, len(block))
        channel.open(b"agent1", b"cat")
        theirs.sendall(channel.data_to_send())
        await started
        proxy.link.send_frame(frames.OPEN_OK, 1, frames.pack_u32(1 << 20))
        for start_at in range(0, len(block), 50_000):
            proxy.link.send_frame(frames.DATA, 1, block[start_at : start_at + 50_000])
        data = proxy.link.data_to_send()
        buffer = bytearray(1 << 18)
        for start_at in range(0, len(data), len(buffer)):
            size = min(len(buffer), len(data) - start_at)
            buffer[:size] = data[start_at : start_at + size]
            proxy.host.receive_data(memoryview(buffer)[:size])
        theirs.setblocking(False)
        decoder, got = frames.Decoder(), b""
        while len(got) < len(block):
            for frame_type, _, payload in decoder.receive_data(await loop.sock_recv(theirs, 100_000)):
                if frame_type == frames.DATA:
                    got += payload
        theirs.close()
        server.close()
        return got

    assert run(scenario()) == block
