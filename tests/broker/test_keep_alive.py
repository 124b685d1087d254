"""The pings of a session: each host is asked, and all answers are read at one waking; so is the driver."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

import pytest

from roujiamo.broker.driver import Driver
from roujiamo.broker.hosts import READY, Host
from roujiamo.broker.moments import Moments
from roujiamo.broker.proxies import Proxies
from roujiamo.protocol import frames
from roujiamo.protocol.link import Link
from roujiamo.session.request import SessionRequest
from tests.support import come_true

UP, DOWN = b"u" * 32, b"d" * 32
_DEAF = "import time; time.sleep(1000)"
_ANSWERING = """\
import sys
for line in sys.stdin:
    print(line.replace("call", "event").replace("ping", "pong").strip(), flush=True)
"""


class Transport:
    """A connection to a host that keeps what happens to it."""

    def __init__(self, events: list[str]) -> None:
        self._events = events
        self.written = b""

    def write(self, *pieces: bytes) -> None:
        self.written += b"".join(pieces)

    def pause_reading(self) -> None:
        self._events.append("pause")

    def resume_reading(self) -> None:
        self._events.append("resume")

    def abort(self) -> None:
        self._events.append("abort")


def host_with(name: str, transport: Transport, heard: float) -> Host:
    host = Host(
        name, agent_id="A", task_id="T", slots=1, token=bytes(32), resume=bytes(32),
        on_ready=lambda host: None, on_lost=lambda host, sentence: None, on_open=lambda *_: None,
        on_failed=lambda *_: None, on_command=lambda *_: None,
    )  # fmt: skip
    host.link, host.state, host.last_heard = Link(DOWN, UP), READY, heard
    host.transport = transport  # type: ignore[assignment]
    return host


def proxies_of(*hosts: Host) -> Proxies:
    return Proxies(
        SessionRequest(master="local"),
        {host.name: host for host in hosts},
        lambda: False,
        unlocks_memory=False,
        moments=Moments(None),
    )


@pytest.mark.parametrize("is_ended", [False, True], ids=["to-the-end", "ended-while-answers-are-awaited"])
def test_answers_are_read_together_and_never_left(is_ended: bool) -> None:
    """All are asked before any answer is read, and whoever was asked is read from again, whatever comes."""
    events: list[str] = []

    async def scenario() -> list[Transport]:
        transports = [Transport(events) for _ in range(3)]
        heard = asyncio.get_running_loop().time()
        hosts = [host_with(f"agent{number}", each, heard) for number, each in enumerate(transports)]
        pinging = asyncio.create_task(proxies_of(*hosts).ping())
        await come_true(lambda: all(transport.written for transport in transports))
        assert events == ["pause"] * 3
        if is_ended:
            pinging.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pinging
        return transports

    for transport in asyncio.run(scenario()):
        assert Link(UP, DOWN).receive_data(transport.written) == [(frames.PING, 0, b"")]
    assert events == ["pause"] * 3 + ["resume"] * 3


def test_a_host_that_was_silent_too_long_is_not_asked_again() -> None:
    """Its connection is cut, so that it may come back over another."""
    events: list[str] = []
    transport = Transport(events)

    async def scenario() -> None:
        await proxies_of(host_with("agent1", transport, asyncio.get_running_loop().time() - 60)).ping()

    asyncio.run(scenario())
    assert (transport.written, events) == (b"", ["abort"])


def test_a_driver_that_does_not_answer_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by the second ping, however often it is looked at; an answered one is let alone."""
    monkeypatch.setattr("roujiamo.broker.driver.PING_SECONDS", 0.0)
    # The first is deaf, its successor answers each line as it comes.
    programs = [_DEAF, _ANSWERING]
    monkeypatch.setattr(
        "roujiamo.system.programs.program_command",
        lambda *_: [sys.executable, "-I", "-S", "-c", programs.pop(0)],
    )

    async def scenario() -> None:
        driver = Driver({"framework": {}, "verbose": False}, lambda event: None)
        await driver.start()
        first = driver._process
        assert first is not None
        driver.ping()
        driver.ping()
        assert await first.wait() == -signal.SIGKILL
        await come_true(lambda: driver._process not in (None, first))
        for number in range(1, 4):
            driver.ping()
            await come_true(lambda number=number: driver._answered == number)
        second = driver._process
        assert second is not None
        second.kill()
        await second.wait()

    asyncio.run(scenario())
    assert programs == []
