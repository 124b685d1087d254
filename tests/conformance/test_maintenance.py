"""The maintenance schedule and inverse offers (docs/maintenance.md of Mesos)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.conftest import Master, unique
from tests.support.scheduler import Scheduler, authorization, request, task

HOUR = {"nanoseconds": 3_600_000_000_000}


def post_schedule(master: Master, schedule: Any) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", **authorization(master.credentials)}
    return request(
        master.address, "POST", "/master/maintenance/schedule", json.dumps(schedule).encode(), headers
    )


def window(*machines: dict[str, str]) -> dict[str, Any]:
    start = {"nanoseconds": int((time.time() + 600) * 1e9)}
    return {"machine_ids": list(machines), "unavailability": {"start": start, "duration": HOUR}}


@pytest.fixture
def drained(master: Master) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """One agent's machine, and the window in which it is to be maintained; the schedule is emptied at the end."""
    assert master.get("/maintenance/schedule") == {}
    agent = master.get("/slaves")["slaves"][0]
    machine = {"hostname": agent["hostname"], "ip": agent["pid"].partition("@")[2].rpartition(":")[0]}
    planned = window(machine)
    try:
        yield machine, planned
    finally:
        assert post_schedule(master, {"windows": []}) == (200, b"")


def inverse_offers(framework: Scheduler, since: int = 0) -> list[dict[str, Any]]:
    event = framework.wait_for(lambda one: one["type"] == "INVERSE_OFFERS", since=since)
    offers: list[dict[str, Any]] = event["inverse_offers"]["inverse_offers"]
    return offers


def test_a_schedule_is_kept_and_shown(master: Master, drained: tuple[dict[str, str], dict[str, Any]]) -> None:
    machine, planned = drained
    assert post_schedule(master, {"windows": [planned]}) == (200, b"")
    assert master.get("/maintenance/schedule") == {"windows": [planned]}
    assert master.get("/maintenance/status") == {"draining_machines": [{"id": machine}]}
    assert master.operator("GET_MAINTENANCE_SCHEDULE")[1] == {
        "type": "GET_MAINTENANCE_SCHEDULE",
        "get_maintenance_schedule": {"schedule": {"windows": [planned]}},
    }
    assert master.operator("UPDATE_MAINTENANCE_SCHEDULE", update_maintenance_schedule={"schedule": {}}) == (
        200,
        b"",
    )
    assert master.get("/maintenance/schedule") == {}
    assert master.get("/maintenance/status") == {}


MACHINE = {"hostname": "h", "ip": "192.0.2.1"}
REFUSED = {
    "no machines": (window(), "List of machines in the maintenance window is empty"),
    "a machine twice": (
        window(MACHINE, MACHINE),
        """Machine '{"hostname":"h","ip":"192.0.2.1"}' appears more than once in the schedule""",
    ),
    "a machine without a name": (window({}), "Both 'hostname' and 'ip' for a machine are empty"),
    "less than no time": (
        {
            "machine_ids": [MACHINE],
            "unavailability": {"start": HOUR, "duration": {"nanoseconds": -1}},
        },
        "Unavailability 'duration' is negative",
    ),
    "no time": ({"machine_ids": [MACHINE]}, "Missing required fields: windows[0].unavailability"),
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_a_schedule_that_cannot_be_is_refused(master: Master, what: str) -> None:
    bad, message = REFUSED[what]
    assert post_schedule(master, {"windows": [bad]}) == (400, message.encode())
    assert master.get("/maintenance/schedule") == {}


def test_who_uses_a_machine_to_be_maintained_is_asked_to_leave(
    master: Master, drained: tuple[dict[str, str], dict[str, Any]]
) -> None:
    """Offers are withdrawn and come again with the time of the maintenance; whatever it answers, it is asked again."""
    machine, planned = drained
    name = unique("t")
    with master.framework() as framework:
        offers = framework.offers(len(master.get("/slaves")["slaves"]))
        mine = next(one for one in offers if one["hostname"] == machine["hostname"])
        framework.accept(mine, task(name, "sleep 1000", mine))
        framework.update(name, ("TASK_RUNNING",))
        others = [one["id"] for one in offers if one is not mine]
        since = len(framework.events)
        assert post_schedule(master, {"windows": [planned]}) == (200, b"")
        for offer_id in others:
            withdrawn = {"type": "RESCIND", "rescind": {"offer_id": offer_id}}
            framework.wait_for(lambda event, withdrawn=withdrawn: event == withdrawn, since=since)
        (inverse,) = inverse_offers(framework, since)
        assert (inverse["agent_id"], inverse["framework_id"]) == (mine["agent_id"], framework.id)
        assert inverse["unavailability"] == planned["unavailability"]
        assert inverse["url"] == mine["url"]
        again = [
            one
            for event in framework.events[since:]
            if event["type"] == "OFFERS"
            for one in event["offers"]["offers"]
        ]
        assert {one["hostname"] for one in again if "unavailability" in one} <= {machine["hostname"]}
        for kind in ("DECLINE", "ACCEPT"):
            since = len(framework.events)
            call = {"inverse_offer_ids": [inverse["id"]], "filters": {"refuse_seconds": 0.5}}
            assert framework.call(f"{kind}_INVERSE_OFFERS", **{f"{kind.lower()}_inverse_offers": call}) == (
                202,
                b"",
            )
            (shown,) = master.get("/maintenance/status")["draining_machines"]
            (answer,) = shown["statuses"]
            assert (answer["framework_id"], answer["status"]) == (framework.id, kind)
            (inverse,) = inverse_offers(framework, since)
        since = len(framework.events)
        assert post_schedule(master, {"windows": []}) == (200, b"")
        framework.wait_for(
            lambda event: (
                event
                == {
                    "type": "RESCIND_INVERSE_OFFER",
                    "rescind_inverse_offer": {"inverse_offer_id": inverse["id"]},
                }
            ),
            since=since,
        )
        # Nobody was thrown out.
        assert framework.states(name)[-1] == "TASK_RUNNING"


def test_an_offer_is_enough_to_be_asked_and_nothing_is_not(
    master: Master, drained: tuple[dict[str, str], dict[str, Any]]
) -> None:
    _, planned = drained
    with master.framework() as holder:
        holder.offers(len(master.get("/slaves")["slaves"]))
        with master.framework(suppressed_roles=("*",)) as other:
            assert post_schedule(master, {"windows": [planned]}) == (200, b"")
            assert inverse_offers(holder)
            other.read_what_is_there()
            assert {event["type"] for event in other.events} <= {"SUBSCRIBED", "HEARTBEAT"}
