"""Interruptions of the call-backs, shorter than the grace: no byte is lost, none comes twice, no host ends."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.network.conftest import Echo, relayed_session
from tests.support import on_demand, until
from tests.support.relay import DOWN, UP, Relay

BLOCK = 1 << 16
# Pings go twelve times a minute then, so that an end that was cut alone is missed within the grace.
KEEPALIVE_SECONDS = 1.5


def faults(chance: random.Random) -> list[tuple[str, Callable[[Relay], None]]]:
    """Each kind once, in the seed's order; `flow` ends the ones that last."""
    found: list[tuple[str, Callable[[Relay], None]]] = [
        ("both ends are cut", lambda relay: relay.cut()),
        ("the host's end is cut", lambda relay: relay.cut_end("client")),
        ("the broker's end is cut", lambda relay: relay.cut_end("server")),
        ("nothing goes to the broker", lambda relay: relay.stall(UP)),
        ("nothing goes to the host", lambda relay: relay.stall(DOWN)),
        ("nothing goes at all", lambda relay: relay.stall()),
        ("a bit is changed", lambda relay: relay.change("alter")),
        ("a piece comes twice", lambda relay: relay.change("repeat")),
        ("a piece is missing", lambda relay: relay.change("drop")),
        ("it breaks within a batch", lambda relay: relay.cut_within(chance.randrange(1, 5000))),
    ]
    chance.shuffle(found)
    return found


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=on_demand) for seed in range(1, 20))])
def test_no_byte_is_lost_or_doubled_however_the_way_breaks(folder: Path, seed: int) -> None:
    """Every kind of interruption, one after another, under two streams that go both ways at once."""
    chance = random.Random(seed)
    blocks = [chance.randbytes(BLOCK)] * 32
    with relayed_session(folder, keepalive_seconds=KEEPALIVE_SECONDS) as (session, relay):
        for _, inflict in faults(chance):
            # A slow way, so that something is under way whenever it breaks.
            relay.delay_seconds = 0.005
            echoes = [Echo(session, host["name"], blocks) for host in session.hosts]
            reached = chance.randrange(BLOCK, 8 * BLOCK)
            until(lambda echoes=echoes, reached=reached: echoes[0].received > reached, 30, "some bytes")  # type: ignore[misc]
            inflict(relay)
            threading.Event().wait(chance.uniform(0.0, 0.5))
            relay.flow()
            relay.delay_seconds = 0.0
            for echo in echoes:
                echo.finish()
        assert relay.accepted > 2 + 5, "the connections were not lost"
        assert not [event for event in session.end() if event["event"] == "host_lost"]


@on_demand
def test_a_slow_way_is_no_interruption(folder: Path) -> None:
    """A fifth of a second each way: the start, commands and pings take longer, and no connection is given up."""
    with relayed_session(folder, nodes=1, processes=1, keepalive_seconds=KEEPALIVE_SECONDS) as (
        session,
        relay,
    ):
        relay.delay_seconds = 0.2
        (host,) = session.hosts
        for number in range(3):
            assert session.rsh(host["name"], f"echo {number}").stdout == b"%d\n" % number
        assert relay.accepted == 1


def test_an_interruption_just_shorter_than_the_grace_is_survived(folder: Path) -> None:
    """The way is there again when the grace is all but over: there is a try after that, not only before."""
    with relayed_session(folder, nodes=1, processes=1, reconnect_grace_seconds=2) as (session, relay):
        (host,) = session.hosts
        echo = Echo(session, host["name"], [bytes(BLOCK)] * 64)
        until(lambda: echo.received, 30, "some bytes")
        relay.stall()
        relay.cut()
        threading.Event().wait(1.9)
        relay.flow()
        echo.finish()
