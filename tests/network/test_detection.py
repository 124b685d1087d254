"""How soon each manner of losing a host is found, and what is said: `roujiamo/docs/faults.md` states the times."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from roujiamo.broker.proxies import LAST_TRY_SECONDS, PINGS
from tests.broker.conftest import session_with
from tests.network.conftest import free_port, relayed_session
from tests.support import is_alive, on_demand, scaled, until
from tests.support.relay import DOWN, UP, Relay

KEEPALIVE_SECONDS = 0.9
GRACE_SECONDS = 0.4
# What the document states: the silence, the look that finds it, the grace, the last try.
STATED_SECONDS = KEEPALIVE_SECONDS * (1 + 1 / PINGS) + GRACE_SECONDS + LAST_TRY_SECONDS


def one_end(end: str) -> Callable[[Relay], None]:
    def inflict(relay: Relay) -> None:
        relay.stall()
        relay.cut_end(end)

    return inflict


FOUND = {
    "no-packet-goes": lambda relay: relay.stall(),
    "none-to-the-broker": lambda relay: relay.stall(UP),
    "none-to-the-host": lambda relay: relay.stall(DOWN),
    "the-hosts-end-is-cut": one_end("client"),
    "the-brokers-end-is-cut": one_end("server"),
}


# The others are found by the same silences, and in CI by `tests/network/test_links.py`.
SAMPLE = ("no-packet-goes", "the-brokers-end-is-cut")


@pytest.mark.parametrize(
    "fault", [fault if fault in SAMPLE else pytest.param(fault, marks=on_demand) for fault in FOUND]
)
def test_a_lost_way_is_found_by_both_ends_in_the_stated_time(folder: Path, fault: str) -> None:
    """The broker says which host, the command's shim gives 255, and the host ends what it runs by itself."""
    with relayed_session(
        folder,
        nodes=1,
        processes=1,
        keepalive_seconds=KEEPALIVE_SECONDS,
        reconnect_grace_seconds=GRACE_SECONDS,
    ) as (session, relay):
        (host,) = session.hosts
        pid = int(session.rsh(host["name"], "sleep 1000 >/dev/null 2>&1 </dev/null & echo $!").stdout)
        FOUND[fault](relay)
        started = time.monotonic()
        lost = session.next("host_lost")
        assert time.monotonic() - started < scaled(STATED_SECONDS + 1)
        assert f"{host['name']} " in lost["message"]
        assert "out of reach" in lost["message"]
        assert "--reconnect-grace" in lost["message"]
        until(lambda: not is_alive(int(host["facts"]["pid"])), STATED_SECONDS + 1, "the proxy's own end")
        until(lambda: not is_alive(pid), 10, "the end of what ran there")
        assert session.rsh(host["name"], "true").returncode == 255


def test_a_host_whose_way_is_lost_before_it_is_ready_is_no_hang(folder: Path) -> None:
    """Its task runs and is not heard of: the run's time-out says so at the latest."""
    port = free_port()
    with Relay(f"127.0.0.1:{port}") as relay:
        relay.stall(DOWN)
        with session_with(
            folder,
            nodes=1,
            processes=1,
            callback_address=relay.address,
            callback_ports=(port, port),
            timeout_seconds=scaled(4),
        ) as session:
            with pytest.raises(AssertionError):
                session.next("ready")
            assert session.events[-1]["status"] == 124
            assert "has not called back yet" in session.events[-1]["message"]
    assert os.listdir(folder) == []
