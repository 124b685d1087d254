"""A running Open MPI job while masters and agents are killed, and what becomes of its framework.

The job is `tests/masters/sums.py`: ranks that exchange sums all the time until they are told to stop, so that whatever
disturbs one of them is seen in the result.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.conftest import Bench
from tests.local.conftest import Cluster, cluster
from tests.masters.zookeeper_server import ZooKeeperServer
from tests.support import Program, children_called, children_of, is_alive, until, without_open_mpis_race
from tests.support.relay import Relay

SUMS = [sys.executable, str(Path(__file__).with_name("sums.py"))]
RESULT = "4 ranks agree"


def get(master: str, path: str) -> Any:
    """What the master's endpoint says; None while there is no master."""
    try:
        with urllib.request.urlopen(f"http://{master}{path}", timeout=5) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def framework(master: str) -> dict[str, Any]:
    """Our framework, once it is subscribed there; empty before."""
    state = get(master, "/state") or {"frameworks": []}
    ours = [each for each in state["frameworks"] if each["name"].startswith("roujiamo ")]
    return ours[0] if ours and ours[0]["active"] and ours[0].get("connected", True) else {}


def running_tasks(master: str) -> int:
    """How many tasks of ours the master knows to run."""
    return [task["state"] for task in framework(master).get("tasks", [])].count("TASK_RUNNING")


@contextlib.contextmanager
def job(bench: Bench, master: str, *options: str) -> Iterator[Program]:
    """The job over two hosts, once its ranks exchange sums."""
    with bench.started("-N", "2", "-n", "4", *options, master, *SUMS, str(bench.folder / "stop")) as run:
        run.wait_for_line("exchanging", 60)
        yield run


def finish(bench: Bench, run: Program) -> None:
    """Tell the ranks to stop; the result is right, and nothing was said."""
    stop = bench.folder / "stop"
    stop.touch()
    assert run.wait(60) == 0, run.errors()
    stop.unlink()
    assert RESULT in run.output()
    assert without_open_mpis_race(run.errors()) == ""


def is_over(master: str, framework_id: str) -> None:
    """Wait until the master has neither the framework nor a task of it."""

    def gone() -> bool:
        state = get(master, "/state")
        return state is not None and framework_id not in [each["id"] for each in state["frameworks"]]

    until(gone, 15, f"the end of {framework_id} on {master}")


def kill_master(one: Cluster) -> None:
    """As a crash would; wait until it is gone."""
    pid = min(children_called(one.program.pid, "master"))
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid), what="the master to be gone")


def test_a_job_does_not_notice_that_its_master_is_killed_and_comes_back(bench: Bench) -> None:
    """The new master knows what agents and frameworks tell it: ours comes with its id, and is ended there."""
    with cluster("--restart-master", "1") as one, job(bench, one.address) as run:
        before = framework(one.address)
        assert running_tasks(one.address) == 2
        kill_master(one)
        after = until(lambda: framework(one.address), 30, "the framework on the new master")
        assert after["id"] == before["id"]
        until(lambda: running_tasks(one.address) == 2, 30, "the tasks on the new master")
        finish(bench, run)
        is_over(one.address, before["id"])


def test_a_job_may_end_while_there_is_no_master(bench: Bench) -> None:
    """Its result counts. That no master comes back is said after the failover timeout, and what it means at the end."""
    with (
        cluster("--restart-master", "1000") as one,
        job(bench, one.address, "--failover-timeout", "0.5") as run,
    ):
        kill_master(one)
        until(lambda: "no master for 0.5 s (--failover-timeout)" in run.errors(), 20, "a word about it")
        (bench.folder / "stop").touch()
        assert run.wait(60) == 0
        (bench.folder / "stop").unlink()
        assert RESULT in run.output()
        assert "the master did not confirm the end of the framework" in run.errors()


def test_a_job_goes_on_under_the_next_leader(bench: Bench) -> None:
    """Several masters named, the leader killed: the driver is sent on to the one that leads."""
    with cluster("--masters", "2", "--restart-master", "1000") as one:
        second = one.program.ready_line.rpartition("standing by: ")[2]
        with job(bench, f"{second},{one.address}") as run:
            before = framework(one.address)
            kill_master(one)
            after = until(lambda: framework(second), 30, "the framework under the next leader")
            assert after["id"] == before["id"]
            until(lambda: running_tasks(second) == 2, 30, "the tasks under the next leader")
            finish(bench, run)
            is_over(second, before["id"])


def test_a_job_finds_the_next_leader_through_zookeeper(bench: Bench, zookeeper: ZooKeeperServer) -> None:
    """The same with zk://: until the dead leader's session ends ZooKeeper still names it."""
    with cluster("--masters", "2", "--restart-master", "1000") as one, contextlib.ExitStack() as stack:
        second = one.program.ready_line.rpartition("standing by: ")[2]
        first_stands = stack.enter_context(contextlib.ExitStack())
        first_stands.enter_context(zookeeper.leader(one.address))
        stack.enter_context(zookeeper.leader(second))
        with job(bench, f"zk://{zookeeper.address}/mesos") as run:
            before = framework(one.address)
            kill_master(one)
            first_stands.close()
            after = until(lambda: framework(second), 30, "the framework under the next leader")
            assert after["id"] == before["id"]
            finish(bench, run)
            is_over(second, before["id"])


def test_a_job_does_not_notice_that_an_agents_process_is_killed_and_comes_back(bench: Bench) -> None:
    """The framework checkpoints: tasks, and the proxies' call-backs in them, outlive the agent's process."""
    with (
        cluster("--restart-agents", "0.5", "--agent-removal-timeout", "60") as one,
        job(bench, one.address) as run,
    ):
        framework_id = framework(one.address)["id"]
        killed = one.agent_pid("agent1")
        os.kill(killed, signal.SIGKILL)
        until(
            lambda: set(children_called(one.program.pid, "agent1")) - {killed}, 10, "the agent's new process"
        )
        until(lambda: running_tasks(one.address) == 2, 20, "the tasks on the agent that came back")
        finish(bench, run)
        is_over(one.address, framework_id)


def test_a_job_goes_on_without_the_agents_process_while_its_tasks_live(bench: Bench) -> None:
    """The master calls the tasks unreachable; their call-backs say that they are well, and are believed."""
    with (
        cluster("--restart-agents", "1000", "--agent-removal-timeout", "0.3") as one,
        job(bench, one.address) as run,
    ):
        os.kill(one.agent_pid("agent1"), signal.SIGKILL)
        until(lambda: unreachable_tasks(one.address) == 1, 20, "a task that is unreachable")
        finish(bench, run)


def unreachable_tasks(master: str) -> int:
    """How many tasks of ours the master has lost sight of."""
    return len(framework(master).get("unreachable_tasks", []))


@pytest.mark.parametrize("removal_seconds", ["0.3", "60"])
def test_a_job_whose_host_is_lost_ends_by_itself_and_says_which(bench: Bench, removal_seconds: str) -> None:
    """The agent dies with all that runs on it, as a machine does; nothing goes on on the other one.

    The launcher knows only a number for the host. Its name is said whether the master has noticed by then or not.
    """
    with cluster("--agent-removal-timeout", removal_seconds) as one, job(bench, one.address) as run:
        framework_id = framework(one.address)["id"]
        agent = one.agent_pid("agent1")
        # Stopped first: none lives to see another's end.
        dying = [agent, *children_of(agent)]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in dying:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        assert run.wait(60) != 0
        assert RESULT not in run.output()
        assert re.search(
            r"^roujiamo: .*agent1 (was|has been) (lost|out of reach)", run.errors(), re.MULTILINE
        ), run.errors()
        assert not re.search(r"^roujiamo: .*agent2", run.errors(), re.MULTILINE)
        is_over(one.address, framework_id)


def test_a_job_that_is_away_from_its_master_for_too_long_ends_and_says_why(bench: Bench) -> None:
    """The master ends the tasks after the failover timeout; the job ends with them, and not a day later."""
    with (
        cluster() as one,
        Relay(one.address) as relay,
        job(bench, relay.address, "--failover-timeout", "1") as run,
    ):
        relay.be_unavailable(True)
        relay.cut()
        until(lambda: "ended: asked to end" in run.errors(), 30, "the end of a task")
        relay.be_unavailable(False)
        assert run.wait(60) != 0
        assert RESULT not in run.output()
        assert "no master for 1 s (--failover-timeout), so Mesos may end the tasks" in run.errors()
        assert re.search(
            r"^roujiamo: the task on agent[12] ended: asked to end by SIGTERM", run.errors(), re.MULTILINE
        )


def test_a_job_whose_framework_an_operator_ends_says_so(bench: Bench) -> None:
    """POST /teardown: the tasks are killed by Mesos, and the user is told why."""
    with cluster() as one, job(bench, one.address) as run:
        framework_id = framework(one.address)["id"]
        body = f"frameworkId={framework_id}".encode()
        with urllib.request.urlopen(f"http://{one.address}/teardown", body, timeout=5) as answer:
            assert answer.status == 200
        assert run.wait(60) != 0
        assert "the master removed the framework" in run.errors()
        assert "did not confirm" not in run.errors(), "there was nothing left to confirm"
        assert "broker is gone" not in run.errors(), "it has said why it ends"


def test_a_job_does_not_notice_a_master_that_stops_answering_for_a_while(bench: Bench) -> None:
    """SIGSTOP: no connection ends; the missing heartbeats tell the driver, which subscribes again."""
    with (
        cluster("--heartbeat-interval", "0.5", "--restart-master", "1000") as one,
        job(bench, one.address) as run,
    ):
        before, first = framework(one.address), connections_to(one.address)
        master = one.master_pid()
        os.kill(master, signal.SIGSTOP)
        try:
            until(lambda: connections_to(one.address) - first, 20, "another try to subscribe")
        finally:
            os.kill(master, signal.SIGCONT)
        until(
            lambda: framework(one.address).get("reregistered_time", 0) > before["registered_time"],
            20,
            "its return",
        )
        assert framework(one.address)["id"] == before["id"]
        finish(bench, run)
        is_over(one.address, before["id"])


def connections_to(master: str) -> set[str]:
    """The client's ends of the established connections to a master's port (proc(5), net/tcp)."""
    port = int(master.rpartition(":")[2])
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {line[1] for line in lines if line[2] == f"0100007F:{port:04X}" and line[3] == "01"}


def test_a_job_does_not_notice_that_the_way_to_its_master_is_cut_again_and_again(bench: Bench) -> None:
    """Only the driver uses it; the ranks' own connections and the call-backs do not pass there."""
    with cluster() as one, Relay(one.address) as relay, job(bench, relay.address) as run:
        framework_id = framework(one.address)["id"]
        for _ in range(2):
            relay.cut_within(5)
            seen = relay.accepted
            relay.cut()
            until(lambda: relay.accepted > seen and framework(one.address), 20, "the framework's return")
        finish(bench, run)
        is_over(one.address, framework_id)
