"""Machines that the operator takes down for maintenance and brings up again; the agents on them leave and come back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.conftest import Master, unique
from tests.conformance.test_maintenance import post_schedule, window
from tests.local.conftest import cluster
from tests.support import is_alive, until
from tests.support.scheduler import authorization, request

# No agent is there, so that it may go down on any master.
NOBODYS = {"hostname": "nobodys", "ip": "192.0.2.77"}


def shown(machine: dict[str, str]) -> str:
    return json.dumps(machine, separators=(",", ":"))


def post(master: Master, path: str, content: Any) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", **authorization(master.credentials)}
    return request(master.address, "POST", f"/master/machine/{path}", json.dumps(content).encode(), headers)


@pytest.fixture
def scheduled(master: Master) -> Iterator[dict[str, Any]]:
    """A window for a machine without agents; the schedule is emptied at the end, the machine up."""
    assert master.get("/maintenance/schedule") == {}
    planned = window(NOBODYS)
    try:
        assert post_schedule(master, {"windows": [planned]}) == (200, b"")
        yield planned
    finally:
        post(master, "up", [NOBODYS])
        assert post_schedule(master, {"windows": []}) == (200, b"")


@pytest.mark.parametrize("way", ["down", "up"])
def test_machines_that_cannot_change_are_refused(master: Master, way: str) -> None:
    """All or none, with the reason."""
    call, field = {
        "down": ("START_MAINTENANCE", "start_maintenance"),
        "up": ("STOP_MAINTENANCE", "stop_maintenance"),
    }[way]
    agent = master.get("/slaves")["slaves"][0]
    there = {"hostname": agent["hostname"], "ip": agent["pid"].partition("@")[2].rpartition(":")[0]}
    mode = {"down": "DRAINING", "up": "DOWN"}[way]
    unknown = {"hostname": unique("nosuch"), "ip": "192.0.2.1"}
    refused = [
        ([], "List of machines is empty"),
        ([{}], "Both 'hostname' and 'ip' for a machine are empty"),
        ([there, there], f"Machine '{shown(there)}' appears more than once in the schedule"),
        ([unknown], f"Machine '{shown(unknown)}' is not part of a maintenance schedule"),
        ([there], f"Machine '{shown(there)}' is not in {mode} mode and cannot be brought {way}"),
    ]
    for machines, sentence in refused:
        assert post(master, way, machines) == (400, sentence.encode())
        assert master.operator(call, **{field: {"machines": machines}}) == (400, sentence.encode())
    assert post(master, way, {}) == (400, b"Unexpected JSON type parsed")
    missing = f"Failed to validate master::Call: Expecting '{field}' to be present"
    assert master.operator(call) == (400, missing.encode())


def test_a_machine_goes_down_and_comes_up(master: Master, scheduled: dict[str, Any]) -> None:
    """Down, it stays in the schedule; up, it is in none."""
    assert master.get("/maintenance/status") == {"draining_machines": [{"id": NOBODYS}]}
    machines = {"machines": [NOBODYS]}
    assert master.operator("START_MAINTENANCE", start_maintenance=machines) == (200, b"")
    assert master.get("/maintenance/status") == {"down_machines": [NOBODYS]}
    assert master.get("/maintenance/schedule") == {"windows": [scheduled]}
    again = f"Machine '{shown(NOBODYS)}' is not in DRAINING mode and cannot be brought down"
    assert master.operator("START_MAINTENANCE", start_maintenance=machines) == (400, again.encode())
    kept = f"Machine '{shown(NOBODYS)}' is deactivated and cannot be removed from the schedule"
    assert post_schedule(master, {"windows": []}) == (400, kept.encode())
    assert master.operator("UPDATE_MAINTENANCE_SCHEDULE", update_maintenance_schedule={"schedule": {}}) == (
        400,
        kept.encode(),
    )
    assert master.operator("STOP_MAINTENANCE", stop_maintenance=machines) == (200, b"")
    assert master.get("/maintenance/status") == {}
    assert master.get("/maintenance/schedule") == {}
    late = f"Machine '{shown(NOBODYS)}' is not in DOWN mode and cannot be brought up"
    assert master.operator("STOP_MAINTENANCE", stop_maintenance=machines) == (400, late.encode())


def test_an_agent_leaves_with_its_machine_and_comes_back_as_another(master: Master) -> None:
    """Its tasks are lost, also those of a PARTITION_AWARE framework; up again, it has another id."""
    if master.cluster is None:
        pytest.skip("an agent of the real Mesos that is shut down cannot be started again by itself")
    aware = [{"type": "PARTITION_AWARE"}]
    with (
        cluster("--agents", "2") as one,
        Master(one.address, None, 10, one).framework(capabilities=aware) as framework,
    ):
        own = Master(one.address, None, 10, one)
        name = unique("t")
        offer = framework.launch(name, "sleep 1000")
        executor = framework.update(name, ("TASK_RUNNING",))["container_status"]["executor_pid"]
        machine = {"hostname": offer["hostname"], "ip": offer["url"]["address"]["ip"]}
        assert post_schedule(own, {"windows": [window(machine)]}) == (200, b"")
        framework.wait_for(lambda event: event["type"] == "INVERSE_OFFERS")
        assert post(own, "down", [machine]) == (200, b"")
        lost = framework.update(name)
        assert (lost["state"], lost["reason"], lost["source"], lost["message"]) == (
            "TASK_LOST",
            "REASON_AGENT_REMOVED",
            "SOURCE_MASTER",
            f"Agent {offer['hostname']} removed: Operator initiated 'Machine DOWN'",
        )
        framework.wait_for(lambda event: event["type"] == "RESCIND_INVERSE_OFFER")
        failure = {"type": "FAILURE", "failure": {"agent_id": offer["agent_id"]}}
        framework.wait_for(lambda event: event == failure)
        assert offer["hostname"] not in {each["hostname"] for each in own.get("/slaves")["slaves"]}
        until(lambda: not is_alive(executor), what="the task to end")
        assert post(own, "up", [machine]) == (200, b"")
        since = len(framework.events)
        framework.wait_for(
            lambda event: (
                event["type"] == "OFFERS"
                and any(
                    each["hostname"] == offer["hostname"] and each["agent_id"] != offer["agent_id"]
                    for each in event["offers"]["offers"]
                )
            ),
            since=since,
        )
