"""The broker's side of a host, against a proxy that has proved itself and does what no proxy does."""

from __future__ import annotations

import pytest

from roujiamo.broker.hosts import CONTACTED, LOST, Host
from roujiamo.protocol import frames
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
        self.host._flush_scheduled = True
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
