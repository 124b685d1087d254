"""Agents that are lost, and come back, or leave in good order, as their frameworks see it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.conftest import Master, unique
from tests.local.conftest import Cluster, cluster
from tests.support import is_alive, until
from tests.support.scheduler import Scheduler, task

AWARE = {
    "failover_timeout": 60.0,
    "checkpoint": True,
    "capabilities": [{"type": "PARTITION_AWARE"}],
}


@pytest.fixture
def fragile(master: Master) -> Iterator[Master]:
    """A master whose agents the test may stop and kill; it gives them up early."""
    if master.cluster is None:
        pytest.skip("the agents of the real Mesos are not processes that a test may kill one by one")
    with cluster("--agents", "2", "--agent-ping-timeout", "0.1", "--agent-removal-timeout", "0.3") as one:
        yield Master(one.address, None, 10, one)


def of(master: Master) -> Cluster:
    assert master.cluster is not None
    return master.cluster


def hold_two(aware: Scheduler, plain: Scheduler) -> tuple[str, str, str, dict[str, Any]]:
    """A task of each framework on one agent: their names, the agent's, and the first one's offer."""
    offer = aware.offer()
    mine, other = unique("aware"), unique("plain")
    aware.accept(offer, task(mine, "sleep 1000", offer))
    aware.update(mine, ("TASK_RUNNING",))
    aware.call("SUPPRESS")
    aware.decline(aware.offers(1), refuse_seconds=0.0)
    theirs = next(one for one in plain.offers(2) if one["agent_id"] == offer["agent_id"])
    plain.accept(theirs, task(other, "sleep 1000", theirs))
    plain.update(other, ("TASK_RUNNING",))
    return mine, other, offer["hostname"], offer


def test_a_killed_agents_tasks_are_lost_and_its_offers_withdrawn(fragile: Master) -> None:
    """At once where the framework does not checkpoint; else when the agent is given up, as unreachable."""
    with fragile.framework(**AWARE) as aware, fragile.framework(failover_timeout=60.0) as plain:
        mine, other, hostname, offer = hold_two(aware, plain)
        held = plain.offers(2)
        pid = of(fragile).agent_pid(hostname)
        os.kill(pid, signal.SIGKILL)
        lost = plain.update(other)
        assert (lost["state"], lost["message"], lost["reason"], lost["source"]) == (
            "TASK_LOST",
            f"Agent {hostname} disconnected",
            "REASON_AGENT_DISCONNECTED",
            "SOURCE_MASTER",
        )
        gone = next(one for one in held if one["agent_id"] == offer["agent_id"])
        plain.wait_for(lambda event: event == {"type": "RESCIND", "rescind": {"offer_id": gone["id"]}})
        unreachable = aware.update(mine)
        assert (unreachable["state"], unreachable["message"], unreachable["reason"]) == (
            "TASK_UNREACHABLE",
            "health check timed out",
            "REASON_AGENT_REMOVED",
        )
        assert set(unreachable["unreachable_time"]) == {"nanoseconds"}
        for framework in (aware, plain):
            failure = {"type": "FAILURE", "failure": {"agent_id": offer["agent_id"]}}
            framework.wait_for(lambda event, failure=failure: event == failure)
        shown = {one["hostname"] for one in fragile.get("/slaves")["slaves"]}
        assert hostname not in shown
        for framework, name, state in (
            (aware, mine, "TASK_UNREACHABLE"),
            (plain, other, "TASK_LOST"),
        ):
            since = len(framework.events)
            named = {"task_id": {"value": name}, "agent_id": offer["agent_id"]}
            framework.call("RECONCILE", reconcile={"tasks": [named]})
            answer = framework.answer(name, "REASON_RECONCILIATION", since=since)
            assert (answer["state"], answer["message"]) == (state, "Reconciliation: Task is unreachable")


def test_an_agent_that_stops_for_a_while_comes_back_with_its_tasks(fragile: Master) -> None:
    """A partition: unreachable after the pings that it missed, running again after it went on."""
    with fragile.framework(**AWARE) as framework:
        name = unique("t")
        offer = framework.launch(name, "sleep 1000")
        framework.update(name, ("TASK_RUNNING",))
        pid = of(fragile).agent_pid(offer["hostname"])
        os.kill(pid, signal.SIGSTOP)
        framework.update(name, ("TASK_UNREACHABLE",))
        os.kill(pid, signal.SIGCONT)
        back = framework.answer(name, "REASON_AGENT_REREGISTERED")
        assert (back["state"], back["message"]) == ("TASK_RUNNING", "Unreachable agent re-reregistered")
        agent = next(one for one in fragile.get("/slaves")["slaves"] if one["hostname"] == offer["hostname"])
        assert (agent["id"], agent["active"]) == (offer["agent_id"]["value"], True)
        since = len(framework.events)
        framework.call("RECONCILE", reconcile={"tasks": []})
        assert framework.answer(name, "REASON_RECONCILIATION", since=since)["state"] == "TASK_RUNNING"


def test_an_agent_that_is_told_to_leave_unregisters(fragile: Master) -> None:
    """SIGUSR1: its tasks are lost, and end."""
    with fragile.framework(**AWARE) as framework:
        name = unique("t")
        offer = framework.launch(name, "sleep 1000")
        executor = framework.update(name, ("TASK_RUNNING",))["container_status"]["executor_pid"]
        os.kill(of(fragile).agent_pid(offer["hostname"]), signal.SIGUSR1)
        lost = framework.update(name)
        assert (lost["state"], lost["reason"], lost["message"]) == (
            "TASK_LOST",
            "REASON_AGENT_REMOVED",
            f"Agent {offer['hostname']} removed: the agent unregistered",
        )
        failure = {"type": "FAILURE", "failure": {"agent_id": offer["agent_id"]}}
        framework.wait_for(lambda event: event == failure)
        until(lambda: not is_alive(executor), what="the task to end")


def test_an_agent_that_the_operator_declares_gone_is_gone_for_good(fragile: Master) -> None:
    """MARK_AGENT_GONE: nobody may hope for its tasks any more."""
    with fragile.framework(**AWARE) as framework:
        name = unique("t")
        offer = framework.launch(name, "sleep 1000")
        executor = framework.update(name, ("TASK_RUNNING",))["container_status"]["executor_pid"]
        gone = {"agent_id": offer["agent_id"]}
        assert fragile.operator("MARK_AGENT_GONE", mark_agent_gone=gone) == (200, b"")
        told = framework.update(name, ("TASK_GONE_BY_OPERATOR",))
        assert (told["reason"], told["message"]) == ("REASON_AGENT_REMOVED", "Agent has been marked gone")
        failure = {"type": "FAILURE", "failure": {"agent_id": offer["agent_id"]}}
        framework.wait_for(lambda event: event == failure)
        since = len(framework.events)
        named = {"task_id": {"value": name}, "agent_id": offer["agent_id"]}
        framework.call("RECONCILE", reconcile={"tasks": [named]})
        answer = framework.answer(name, "REASON_RECONCILIATION", since=since)
        assert (answer["state"], answer["message"]) == (
            "TASK_GONE_BY_OPERATOR",
            "Reconciliation: Task is gone",
        )
        until(lambda: not is_alive(executor), what="the task to end")


def test_a_killed_executor_is_the_end_of_its_task(fragile: Master) -> None:
    with fragile.framework(**AWARE) as framework:
        name = unique("t")
        framework.launch(name, "sleep 1000")
        executor = framework.update(name, ("TASK_RUNNING",))["container_status"]["executor_pid"]
        os.kill(executor, signal.SIGKILL)
        status = framework.update(name)
        assert (status["state"], status["message"], status["reason"], status["source"]) == (
            "TASK_FAILED",
            "Executor terminated",
            "REASON_EXECUTOR_TERMINATED",
            "SOURCE_AGENT",
        )
