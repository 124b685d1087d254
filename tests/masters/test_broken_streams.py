"""The driver's connection to a real master, broken on the way in every manner that networks know.

How long each takes to be noticed is stated here in the master's own heartbeats: three that are missing, and a second
look of at most a second. Masters say one every 15 s; this one is quicker, to be tested in a test's time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.driver.driver_process import Driver, driver, first_line
from tests.local.conftest import Cluster, cluster
from tests.support import scaled, until
from tests.support.relay import Relay
from tests.support.scheduler import get

HEARTBEAT_SECONDS = 0.5
NOTICED_SECONDS = 3 * HEARTBEAT_SECONDS + 1


@pytest.fixture(scope="module")
def master() -> Iterator[Cluster]:
    """A master that speaks often."""
    options = ("--heartbeat-interval", str(HEARTBEAT_SECONDS), "--allocation-interval", "0.1")
    with cluster("--agents", "1", *options) as one:
        yield one


@pytest.fixture
def relay(master: Cluster) -> Iterator[Relay]:
    """What stands between."""
    with Relay(master.address) as between:
        yield between


def subscribe(held: Driver) -> str:
    """Wait for the first subscription and its offers; return the framework's id."""
    framework_id = held.expect("subscribed", again=False)["framework_id"]
    held.expect("offers")
    return str(framework_id)


def comes_back(held: Driver, framework_id: str) -> None:
    """The same framework, subscribed again, with offers; and it can be ended."""
    assert held.expect("subscribed", again=True)["framework_id"] == framework_id
    held.expect("offers")
    held.send({"call": "teardown"})
    assert held.wait() == 0


@pytest.mark.parametrize("size", [0, 1, 7, 20])
def test_a_stream_cut_in_the_middle_of_an_event_is_taken_up_again(relay: Relay, size: int) -> None:
    """At once, as the end of a connection is seen; half an event counts for nothing."""
    with driver(first_line(relay.address)) as held:
        framework_id = subscribe(held)
        relay.cut_within(size)
        assert "was lost" in held.expect("disconnected", NOTICED_SECONDS)["reason"]
        comes_back(held, framework_id)


def test_a_stream_that_is_cut_again_and_again_is_taken_up_again(relay: Relay) -> None:
    """Each time under the same id; never as a new framework."""
    with driver(first_line(relay.address)) as held:
        framework_id = subscribe(held)
        for _ in range(4):
            relay.cut()
            held.expect("disconnected", NOTICED_SECONDS)
            assert held.expect("subscribed", again=True)["framework_id"] == framework_id
        held.send({"call": "teardown"})
        assert held.wait() == 0


def test_a_stream_that_stalls_is_noticed_by_the_missing_heartbeats(relay: Relay) -> None:
    """No FIN, no answer, connections that are taken and say nothing; then the link is back."""
    with driver(first_line(relay.address, limits={"answer_seconds": 0.5})) as held:
        framework_id = subscribe(held)
        relay.stall()
        start = time.monotonic()
        assert "heartbeats are missing" in held.expect("disconnected")["reason"]
        assert time.monotonic() - start < scaled(NOTICED_SECONDS + 1)
        assert "has not answered SUBSCRIBE" in held.expect("error", kind="unreachable")["message"]
        held.send({"call": "ping", "id": 1})
        held.expect("pong")
        relay.flow()
        comes_back(held, framework_id)


def test_a_proxy_without_a_master_behind_it_is_asked_until_there_is_one(relay: Relay) -> None:
    """503: said once, in a sentence that names the address and the answer."""
    with driver(first_line(relay.address)) as held:
        framework_id = subscribe(held)
        relay.be_unavailable(True)
        relay.cut()
        held.expect("disconnected", NOTICED_SECONDS)
        event = held.expect("error", kind="no_master")
        assert event["fatal"] is False
        assert f"{relay.address} is not leading yet (503): no server here" in event["message"]
        relay.be_unavailable(False)
        comes_back(held, framework_id)
        assert [each for each in held.seen if each["event"] == "error"] == []


def test_an_accept_whose_answer_is_lost_is_reported_with_its_offers(relay: Relay) -> None:
    """Whether it arrived cannot be known: it is not sent twice, and the broker is told which offers are void."""
    with driver(first_line(relay.address, limits={"call_seconds": 0.5})) as held:
        held.expect("subscribed")
        offer = held.expect("offers")["offers"][0]
        relay.stall()
        held.send({"call": "accept", "offer_ids": [offer["id"]["value"]], "operations": []})
        event = held.expect("error", call="accept")
        assert event["offer_ids"] == [offer["id"]["value"]]
        assert event["fatal"] is False
        relay.flow()


def test_who_is_away_for_longer_than_the_failover_timeout_learns_that_it_is_over(
    relay: Relay, master: Cluster
) -> None:
    """The master has then ended the tasks; going on would be a new framework without any."""
    line = first_line(relay.address, framework={"failover_timeout": 0.5})
    with driver(line) as held:
        framework_id = subscribe(held)
        relay.be_unavailable(True)
        relay.cut()
        held.expect("disconnected", NOTICED_SECONDS)
        until_removed(master.address, framework_id)
        relay.be_unavailable(False)
        event = held.expect("error", kind="removed")
        assert event["fatal"] is True
        assert "failover timeout" in event["message"]
        assert held.wait() == 1


def until_removed(master: str, framework_id: str) -> None:
    """Wait until the master has given the framework up."""

    def removed() -> bool:
        over = get(master, "/frameworks")[1]["completed_frameworks"]
        return framework_id in [each["id"] for each in over]

    until(removed, 10, "the framework's removal")
