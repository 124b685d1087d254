"""Masters and agents that are killed and started again, as on a real cluster: what is lost, and what comes back."""

from __future__ import annotations

import http.client
import os
import signal
from pathlib import Path
from typing import Any

from tests.local.conftest import Cluster, cluster
from tests.support import children_called, children_of, is_alive, until
from tests.support.scheduler import Scheduler, get, subscribed

RETURNS = {"failover_timeout": 60.0, "checkpoint": True, "capabilities": [{"type": "PARTITION_AWARE"}]}


def kill_master(one: Cluster) -> None:
    """Kill the master that there is, and wait until its port is closed."""
    pid = one.master_pid()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid), what="the master to be gone")


def is_serving(address: str) -> bool:
    try:
        return get(address, "/health")[0] == 200
    except (ConnectionError, http.client.HTTPException):
        return False


def pids_of(scheduler: Scheduler, task_id: str) -> set[int]:
    """The executor of a running task, and all processes of the task."""
    executor = scheduler.update(task_id, ("TASK_RUNNING",))["container_status"]["executor_pid"]
    until(lambda: children_of(executor), what="the task's process")
    return {executor, *children_of(executor)}


def reason_is(reason: str, task_id: str) -> Any:
    def is_it(event: dict[str, Any]) -> bool:
        status = event.get("update", {}).get("status", {})
        return status.get("task_id") == {"value": task_id} and status.get("reason") == reason

    return is_it


def test_a_new_master_learns_all_from_the_agents() -> None:
    """Frameworks, tasks, their states and what was not acknowledged; the tasks themselves notice nothing."""
    with cluster("--restart-master", "0.3") as one, subscribed(one.address, **RETURNS) as first:
        before = get(one.address, "/state")[1]
        first.launch("t", "sleep 1000")
        pids = pids_of(first, "t")
        kill_master(one)
        until(lambda: is_serving(one.address), what="the new master")
        after = until(lambda: state_with_agents(one.address, 2), what="the agents to be back")
        assert after["id"] != before["id"]
        assert {agent["id"] for agent in after["slaves"]} == {agent["id"] for agent in before["slaves"]}
        (known,) = after["frameworks"]
        assert (known["id"], known["recovered"], known["active"]) == (first.id["value"], True, False)
        assert [(task["id"], task["state"]) for task in known["tasks"]] == [("t", "TASK_RUNNING")]
        with subscribed(one.address, id=first.id, **RETURNS) as second:
            second.call("RECONCILE", reconcile={"tasks": []})
            status = second.wait_for(reason_is("REASON_RECONCILIATION", "t"))["update"]["status"]
            assert (status["state"], status["message"]) == (
                "TASK_RUNNING",
                "Reconciliation: Latest task state",
            )
            assert not [pid for pid in pids if not is_alive(pid)]
            # The rest of the agent is offered, and not what the task has.
            assert second.offer()
            (known,) = get(one.address, "/frameworks")[1]["frameworks"]
            assert (known["recovered"], known["used_resources"]["cpus"]) == (False, 0.1)
            second.call("TEARDOWN")
            until(lambda: not [pid for pid in pids if is_alive(pid)], what="the task to end")


def state_with_agents(address: str, count: int) -> Any:
    state = get(address, "/state")[1]
    return state if len(state["slaves"]) == count else None


def test_what_was_not_acknowledged_comes_again_from_the_next_master() -> None:
    with (
        cluster("--restart-master", "0.3", "--agents", "1") as one,
        subscribed(one.address, acknowledges=False, **RETURNS) as first,
    ):
        first.launch("t", "exit 3")
        starting = first.update("t", ("TASK_STARTING",))
        kill_master(one)
        until(lambda: is_serving(one.address), what="the new master")
        with subscribed(one.address, id=first.id, **RETURNS) as second:
            assert second.update("t", ("TASK_STARTING",))["uuid"] == starting["uuid"]
            assert second.update("t")["message"] == "Command exited with status 3"
            until(
                lambda: not get(one.address, "/frameworks")[1]["frameworks"][0]["tasks"],
                what="the last acknowledgement",
            )
            second.call("TEARDOWN")


def test_a_framework_that_does_not_come_back_is_removed_by_the_next_master() -> None:
    """Its failover timeout begins anew with the first agent that tells of it."""
    with cluster("--restart-master", "0.1", "--agents", "1") as one:
        with subscribed(one.address, failover_timeout=0.5, checkpoint=True) as scheduler:
            scheduler.launch("t", "sleep 1000")
            pids = pids_of(scheduler, "t")
            kill_master(one)
        until(lambda: not [pid for pid in pids if is_alive(pid)], what="the task to end")
        until(
            lambda: get(one.address, "/frameworks")[1]["completed_frameworks"], what="the framework's removal"
        )


def test_a_master_that_is_not_started_again_takes_the_cluster_with_it() -> None:
    with cluster("--agents", "1") as one, subscribed(one.address, **RETURNS) as scheduler:
        scheduler.launch("t", "sleep 1000")
        pids = pids_of(scheduler, "t")
        os.kill(one.master_pid(), signal.SIGKILL)
        assert one.program.wait() == 1
        assert one.program.errors() == (
            "roujiamo local: the master's process was killed, and with it the cluster ends\n"
        )
        assert not [pid for pid in pids if is_alive(pid)]


def location(address: str, method: str, path: str) -> tuple[int, str | None]:
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request(method, path, b"{}" if method == "POST" else None)
        response = connection.getresponse()
        return response.status, response.headers.get("Location")
    finally:
        connection.close()


def test_one_master_leads_and_the_others_send_their_callers_to_it() -> None:
    """The redirects are those of Mesos; when the leader is killed the next one leads, with the agents' tasks."""
    with cluster("--masters", "2", "--restart-master", "0.3") as one:
        first, second = one.address, one.program.ready_line.rpartition("standing by: ")[2]
        assert location(second, "GET", "/redirect") == (307, f"//{first}")
        assert location(second, "GET", "/master/redirect") == (307, f"//{first}")
        assert location(second, "GET", "/slaves") == (307, f"//{first}/slaves")
        assert location(second, "POST", "/api/v1/scheduler") == (307, f"//{first}/api/v1/scheduler")
        assert location(second, "GET", "/health") == (200, None)
        with subscribed(first, **RETURNS) as scheduler:
            scheduler.launch("t", "sleep 1000")
            scheduler.update("t", ("TASK_RUNNING",))
            # The first one started has the lower pid.
            leader, _ = sorted(children_called(one.program.pid, "master"))
            os.kill(leader, signal.SIGKILL)
            until(lambda: location(second, "GET", "/redirect")[1] == f"//{second}", what="the next leader")
            until(lambda: state_with_agents(second, 2), what="the agents to be back")
            with subscribed(second, id=scheduler.id, **RETURNS) as again:
                again.call("RECONCILE", reconcile={"tasks": []})
                again.wait_for(reason_is("REASON_RECONCILIATION", "t"))
                again.call("TEARDOWN")
        until(lambda: is_serving(first), what="the first one to be back")
        assert location(first, "GET", "/redirect") == (307, f"//{second}")


def test_tasks_outlive_their_agents_process_where_their_framework_checkpoints() -> None:
    """The agent comes back with its id; what its tasks did meanwhile is told then. Others are lost at once."""
    with (
        cluster("--restart-agents", "0.5", "--agents", "1") as one,
        subscribed(one.address, **RETURNS) as scheduler,
    ):
        until_file = "while [ ! -e go ]; do sleep 0.02; done; exit 3"
        scheduler.launch("ends", until_file)
        scheduler.launch("lives", "sleep 1000")
        sandboxes = {task: sandbox(scheduler, one, task) for task in ("ends", "lives")}
        lives = pids_of(scheduler, "lives")
        scheduler.call("SUPPRESS")
        plain = Scheduler(one.address, name="plain", failover_timeout=60)
        plain.launch("lost", "sleep 1000")
        lost = pids_of(plain, "lost")
        agent_id = get(one.address, "/slaves")[1]["slaves"][0]["id"]
        os.kill(one.agent_pid("agent1"), signal.SIGKILL)
        (sandboxes["ends"] / "go").touch()
        assert plain.update("lost")["message"] == "Agent agent1 disconnected"
        until(lambda: not [pid for pid in lost if is_alive(pid)], what="the task without checkpoint to end")
        assert scheduler.update("ends")["message"] == "Command exited with status 3"
        agent = get(one.address, "/slaves")[1]["slaves"][0]
        assert (agent["id"], agent["active"]) == (agent_id, True)
        assert not [pid for pid in lives if not is_alive(pid)]
        assert scheduler.states("lives") == ["TASK_STARTING", "TASK_RUNNING"]
        # It is the new process's to kill.
        scheduler.call("KILL", kill={"task_id": {"value": "lives"}})
        assert scheduler.update("lives")["state"] == "TASK_KILLED"
        until(lambda: not [pid for pid in lives if is_alive(pid)], what="the killed task to end")
        scheduler.call("TEARDOWN")
        plain.call("TEARDOWN")
        plain.close()


def sandbox(scheduler: Scheduler, one: Cluster, task_id: str) -> Path:
    """A task's sandbox, as its agent's /state names it."""
    scheduler.update(task_id, ("TASK_RUNNING",))
    agent = get(one.address, "/slaves")[1]["slaves"][0]
    state = get(agent["pid"].partition("@")[2], "/state")[1]
    return next(
        Path(executor["directory"])
        for framework in state["frameworks"]
        for executor in framework["executors"]
        if executor["id"] == task_id
    )


def test_an_executor_that_outlived_its_agent_leaves_nothing_when_it_is_killed() -> None:
    with (
        cluster("--restart-agents", "0.1", "--agents", "1") as one,
        subscribed(one.address, **RETURNS) as scheduler,
    ):
        scheduler.launch("t", "setsid sleep 1000 & sleep 1000")
        pids = pids_of(scheduler, "t")
        killed = one.agent_pid("agent1")
        os.kill(killed, signal.SIGKILL)
        until(
            lambda: [pid for pid in children_called(one.program.pid, "agent1") if pid != killed],
            what="the agent's new process",
        )
        until(lambda: get(one.address, "/slaves")[1]["slaves"][0].get("reregistered_time"), what="its return")
        os.kill(min(pids), signal.SIGKILL)
        assert scheduler.update("t")["message"] == "Executor terminated"
        until(lambda: not [pid for pid in pids if is_alive(pid)], what="the task to end")
        scheduler.call("TEARDOWN")


def test_a_killed_keeper_takes_what_outlived_its_agent_with_it() -> None:
    """The executor's socket has an end at last."""
    with (
        cluster("--restart-agents", "1000", "--agents", "1", "--agent-removal-timeout", "0.2") as one,
        subscribed(one.address, **RETURNS) as scheduler,
    ):
        scheduler.launch("t", "sleep 1000")
        pids = pids_of(scheduler, "t")
        os.kill(one.agent_pid("agent1"), signal.SIGKILL)
        scheduler.update("t", ("TASK_UNREACHABLE",))
        assert not [pid for pid in pids if not is_alive(pid)]
        one.program.process.kill()
        one.program.wait()
        until(lambda: not [pid for pid in pids if is_alive(pid)], what="the task to end")


def test_an_agents_word_of_the_latest_state_counts_before_its_acknowledgement() -> None:
    """After a new registration RECONCILE tells the latest state; updates still come one by one, from the first."""
    with (
        cluster("--restart-master", "0.3", "--agents", "1") as one,
        subscribed(one.address, acknowledges=False, **RETURNS) as first,
    ):
        first.launch("t", "sleep 1000")
        first.update("t", ("TASK_STARTING",))
        agent = get(one.address, "/slaves")[1]["slaves"][0]["pid"].partition("@")[2]
        until(lambda: is_running(agent), what="the task to run")
        kill_master(one)
        until(lambda: is_serving(one.address), what="the new master")
        until(lambda: state_with_agents(one.address, 1), what="the agent to be back")
        with subscribed(one.address, acknowledges=False, id=first.id, **RETURNS) as second:
            assert second.update("t", ("TASK_STARTING",))
            second.call("RECONCILE", reconcile={"tasks": []})
            assert second.answer("t", "REASON_RECONCILIATION")["state"] == "TASK_RUNNING"
            second.call("TEARDOWN")


def is_running(agent: str) -> bool:
    """Whether the one task of an agent is, as the agent's own /state has it."""
    frameworks = get(agent, "/state")[1]["frameworks"]
    tasks = [task for one in frameworks for executor in one["executors"] for task in executor["tasks"]]
    return [task["state"] for task in tasks] == ["TASK_RUNNING"]
