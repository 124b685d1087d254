"""RECONCILE: what the master knows of tasks, and of those that it does not know (docs/reconciliation.md of Mesos)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.conftest import Master, unique
from tests.support.scheduler import Scheduler, task

AWARE = [{"type": "PARTITION_AWARE"}]


def ask(framework: Scheduler, *tasks: dict[str, Any]) -> int:
    """RECONCILE; returns how many events there were before."""
    before = len(framework.events)
    assert framework.call("RECONCILE", reconcile={"tasks": tasks}) == (202, b"")
    return before


def test_a_running_task_is_told_with_its_latest_state(master: Master) -> None:
    """With the agent's id or without; the answer has no uuid, and nobody acknowledges it."""
    name = unique("t")
    with master.framework() as framework:
        offer = framework.launch(name, "sleep 1000")
        running = framework.update(name, ("TASK_RUNNING",))
        for named in (
            {"task_id": {"value": name}, "agent_id": offer["agent_id"]},
            {"task_id": {"value": name}},
        ):
            before = ask(framework, named)
            status = framework.answer(name, "REASON_RECONCILIATION", since=before)
            assert status["state"] == "TASK_RUNNING"
            assert status["message"] == "Reconciliation: Latest task state"
            assert (status["source"], status["agent_id"]) == ("SOURCE_MASTER", offer["agent_id"])
            assert status["container_status"] == running["container_status"]
            assert "uuid" not in status


def test_all_tasks_that_are_not_over_are_told_when_none_is_named(master: Master) -> None:
    one, two, over = unique("one"), unique("two"), unique("over")
    with master.framework() as framework:
        offer = framework.offer()
        framework.accept(
            offer, task(one, "sleep 1000", offer), task(two, "sleep 1000", offer), task(over, "true", offer)
        )
        framework.update(one, ("TASK_RUNNING",))
        framework.update(two, ("TASK_RUNNING",))
        framework.update(over)
        before = ask(framework)
        for name in (one, two):
            framework.answer(name, "REASON_RECONCILIATION", since=before)
        framework.read_what_is_there()
        told = [event for event in framework.events[before:] if event["type"] == "UPDATE"]
        assert {one["update"]["status"]["task_id"]["value"] for one in told} == {one, two}


@pytest.mark.parametrize("is_aware", [False, True])
def test_unknown_tasks_are_lost_or_told_more_exactly(master: Master, is_aware: bool) -> None:
    """PARTITION_AWARE frameworks learn whether the agent at least is known."""
    with master.framework(capabilities=AWARE if is_aware else []) as framework:
        agent_id = framework.offer()["agent_id"]
        here, nowhere, somewhere = unique("here"), unique("nowhere"), unique("somewhere")
        ask(
            framework,
            {"task_id": {"value": here}, "agent_id": agent_id},
            {"task_id": {"value": nowhere}},
            {"task_id": {"value": somewhere}, "agent_id": {"value": "nope-S0"}},
        )
        found = {
            name: framework.update(name, ("TASK_LOST", "TASK_GONE", "TASK_UNKNOWN"))
            for name in (here, nowhere, somewhere)
        }
        assert {status["reason"] for status in found.values()} == {"REASON_RECONCILIATION"}
        assert [found[name]["message"] for name in (here, nowhere, somewhere)] == [
            "Reconciliation: Task is unknown to the agent",
            "Reconciliation: Task is unknown",
            "Reconciliation: Task is unknown",
        ]
        assert [found[name]["state"] for name in (here, nowhere, somewhere)] == (
            ["TASK_GONE", "TASK_UNKNOWN", "TASK_UNKNOWN"] if is_aware else ["TASK_LOST"] * 3
        )
        assert found[here]["agent_id"] == agent_id
        assert "agent_id" not in found[nowhere]


def test_a_task_that_is_over_and_acknowledged_is_unknown(master: Master) -> None:
    name = unique("t")
    with master.framework(capabilities=AWARE) as framework:
        offer = framework.launch(name, "true")
        framework.update(name)
        before = ask(framework, {"task_id": {"value": name}, "agent_id": offer["agent_id"]})
        assert framework.answer(name, "REASON_RECONCILIATION", since=before)["state"] == "TASK_GONE"


def test_another_frameworks_task_is_unknown(master: Master) -> None:
    name = unique("t")
    with master.framework() as owner, master.framework() as other:
        agent_id = owner.launch(name, "sleep 1000")["agent_id"]
        owner.update(name, ("TASK_RUNNING",))
        ask(other, {"task_id": {"value": name}, "agent_id": agent_id})
        assert other.update(name)["message"] == "Reconciliation: Task is unknown to the agent"
