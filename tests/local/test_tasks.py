"""Tasks are real processes: environment, user, URIs, exit statuses, kill policy, and nothing left of them."""

from __future__ import annotations

import contextlib
import functools
import http.server
import itertools
import os
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.local.conftest import Cluster
from tests.support import is_alive, until
from tests.support.scheduler import Scheduler, get, subscribed

NUMBERS = itertools.count()
KILLING = [{"type": "TASK_KILLING_STATE"}]


def sandbox(cluster: Cluster, status: dict[str, Any]) -> tuple[str, str]:
    """The agent's address, and the sandbox of the task that a status is about."""
    agent_id = status["agent_id"]["value"]
    (agent,) = get(cluster.address, f"/slaves?slave_id={agent_id}")[1]["slaves"]
    address = agent["pid"].partition("@")[2]
    for framework in [
        entry for key in ("frameworks", "completed_frameworks") for entry in get(address, "/state")[1][key]
    ]:
        for executor in framework["executors"] + framework["completed_executors"]:
            if executor["id"] == status["executor_id"]["value"]:
                return address, executor["directory"]
    raise AssertionError(f"no executor for {status}")


def read(cluster: Cluster, status: dict[str, Any], name: str = "stdout") -> str:
    """A file of a task's sandbox, through the agent's HTTP."""
    address, directory = sandbox(cluster, status)
    answer = get(address, f"/files/read?path={directory}/{name}&offset=0")[1]
    text: str = answer["data"]
    return text


def launch_and_wait(cluster: Cluster, command: str | dict[str, Any], **more: Any) -> dict[str, Any]:
    with subscribed(cluster.address, failover_timeout=60) as scheduler:
        # The sandbox is found by the task's id, and the cluster serves many tests.
        task_id = f"task-{next(NUMBERS)}"
        scheduler.launch(task_id, command, **more)
        status = scheduler.update(task_id)
        scheduler.call("TEARDOWN")
        return status


@pytest.mark.parametrize(
    ("command", "state", "message"),
    [
        ("true", "TASK_FINISHED", "Command exited with status 0"),
        ("exit 3", "TASK_FAILED", "Command exited with status 3"),
        ("no-such-command", "TASK_FAILED", "Command exited with status 127"),
        ("kill -9 $$", "TASK_FAILED", "Command terminated with signal Killed"),
        ("kill -SEGV $$", "TASK_FAILED", "Command terminated with signal Segmentation fault"),
        ("kill -INT $$", "TASK_FAILED", "Command terminated with signal Interrupt"),
        ({"shell": False, "value": "/no/such"}, "TASK_FAILED", "Command exited with status 1"),
        (
            {"shell": False, "value": "sh", "arguments": ["sh", "-c", "exit 4"]},
            "TASK_FAILED",
            "Command exited with status 4",
        ),
        ({"shell": True}, "TASK_FAILED", "Executor terminated"),
    ],
)
def test_the_end_is_told_in_the_words_of_mesos(
    shared: Cluster, command: str | dict[str, Any], state: str, message: str
) -> None:
    status = launch_and_wait(shared, command)
    assert (status["state"], status["message"]) == (state, message)


def test_a_task_starts_runs_and_ends_in_this_order(shared: Cluster) -> None:
    with subscribed(shared.address) as scheduler:
        scheduler.launch("t", "sleep 0.05")
        status = scheduler.update("t")
        assert scheduler.states("t") == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
        assert status["source"] == "SOURCE_EXECUTOR"
        assert status["container_status"]["executor_pid"] > 0
        scheduler.call("TEARDOWN")


def test_the_environment_is_bare(shared: Cluster) -> None:
    """No HOME, USER, SHELL, LANG: what Mesos does not give a task must not work by accident here."""
    variables = {"variables": [{"name": "MINE", "value": "bär"}]}
    status = launch_and_wait(shared, {"value": "env; pwd; umask", "environment": variables})
    *lines, directory, umask = read(shared, status).splitlines()
    found = dict(line.partition("=")[::2] for line in lines)
    assert found["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert found["MINE"] == "bär"
    assert found["MESOS_SANDBOX"] == found["PWD"] == directory
    assert found["MESOS_TASK_ID"] == status["task_id"]["value"]
    strangers = [one for one in found if not one.startswith(("MESOS_", "LIBPROCESS_"))]
    assert sorted(strangers) == ["MINE", "PATH", "PWD"]
    assert umask == "0022"


def test_streams_are_files_and_stdin_is_empty(shared: Cluster) -> None:
    status = launch_and_wait(shared, "cat; echo out; echo err >&2; ls -l /proc/$$/fd | wc -l")
    out, count = read(shared, status).splitlines()
    assert out == "out"
    assert read(shared, status, "stderr") == "err\n"
    # Three streams and the line that says "total": nothing else was inherited.
    assert int(count) <= 5


def test_agents_have_hostnames_of_their_own(shared: Cluster) -> None:
    with subscribed(shared.address, failover_timeout=60) as scheduler:
        first = scheduler.offer()
        scheduler.launch("one", "uname -n", cpus=4)
        second = scheduler.offer()
        scheduler.launch("two", "uname -n", cpus=4)
        assert {first["hostname"], second["hostname"]} == {"agent1", "agent2"}
        if "no UTS namespaces" in shared.program.errors():
            pytest.skip("this system allows no UTS namespaces")
        for task_id, offer in (("one", first), ("two", second)):
            assert read(shared, scheduler.update(task_id)) == offer["hostname"] + "\n"
        scheduler.call("TEARDOWN")


def test_offers_carry_attributes(shared: Cluster) -> None:
    with subscribed(shared.address) as scheduler:
        assert scheduler.offer()["attributes"] == [
            {"name": "zone", "type": "TEXT", "text": {"value": "a"}},
            {"name": "rack", "type": "SCALAR", "scalar": {"value": 7.0}},
        ]
        scheduler.call("TEARDOWN")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run tasks as another user")
def test_a_task_runs_as_its_user(shared: Cluster) -> None:
    status = launch_and_wait(
        shared, {"value": "id -un; touch mine; ls -ld . | cut -d' ' -f3", "user": "nobody"}
    )
    assert status["state"] == "TASK_FINISHED"
    assert read(shared, status).split() == ["nobody", "nobody"]


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root runs every task as itself")
def test_an_unknown_user_loses_the_task(shared: Cluster) -> None:
    status = launch_and_wait(shared, {"value": "true", "user": "nosuchuser"})
    assert (status["state"], status["reason"]) == ("TASK_LOST", "REASON_EXECUTOR_TERMINATED")
    assert str(status["message"]).startswith("Failed to create executor directory '/")
    assert str(status["message"]).endswith(
        "Failed to chown directory to 'nosuchuser': No such user 'nosuchuser'"
    )


def test_uris_are_fetched(shared: Cluster, tmp_path: Path) -> None:
    """Files by path and by URL, marked executable, or unpacked."""
    (tmp_path / "script").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "inner").write_text("packed\n")
    with tarfile.open(tmp_path / "some.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "inner", "inner")
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(0o755)
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            uris = [
                {"value": str(tmp_path / "script"), "executable": True},
                {"value": f"http://127.0.0.1:{server.server_port}/some.tar.gz"},
                {"value": f"file://{tmp_path}/inner", "output_file": "renamed", "extract": False},
            ]
            status = launch_and_wait(shared, {"value": "./script; cat inner renamed", "uris": uris})
        finally:
            server.shutdown()
            thread.join()
    assert read(shared, status) == "ran\npacked\npacked\n"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Nobody reads this server's log."""


def test_a_missing_uri_fails_the_launch(shared: Cluster) -> None:
    status = launch_and_wait(shared, {"value": "true", "uris": [{"value": "file:///no/such"}]})
    assert (status["state"], status["reason"]) == ("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED")
    assert str(status["message"]).startswith(
        "Failed to launch container: Failed to fetch all URIs for container '"
    )
    assert "no/such" in read(shared, status, "stderr")


def test_a_kill_is_announced_and_gentle(shared: Cluster) -> None:
    with subscribed(shared.address, capabilities=KILLING) as scheduler:
        scheduler.launch("t", "trap 'exit 5' TERM; while :; do sleep 0.05; done")
        scheduler.update("t", ("TASK_RUNNING",))
        scheduler.call("KILL", kill={"task_id": {"value": "t"}})
        status = scheduler.update("t")
        assert scheduler.states("t")[-2:] == ["TASK_KILLING", "TASK_KILLED"]
        assert status["message"] in (
            "Command exited with status 5",
            "Command terminated with signal Terminated",
        )
        scheduler.call("TEARDOWN")


def test_a_stubborn_task_is_killed_after_the_grace_of_the_call(shared: Cluster) -> None:
    with subscribed(shared.address) as scheduler:
        scheduler.launch("deaf", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
        running = scheduler.update("deaf", ("TASK_RUNNING",))
        until(lambda: read(shared, running) == "ready\n", what="the trap to be set")
        policy = {"grace_period": {"nanoseconds": 200_000_000}}
        scheduler.call("KILL", kill={"task_id": {"value": "deaf"}, "kill_policy": policy})
        status = scheduler.update("deaf", seconds=2.5)
        assert (status["state"], status["message"]) == (
            "TASK_KILLED",
            "Command terminated with signal Killed",
        )
        assert "TASK_KILLING" not in scheduler.states("deaf")
        scheduler.call("TEARDOWN")


def test_a_task_that_may_not_run_longer_is_ended(shared: Cluster) -> None:
    status = launch_and_wait(shared, "sleep 1000", max_completion_time={"nanoseconds": 100_000_000})
    assert (status["state"], status["reason"]) == ("TASK_FAILED", "REASON_MAX_COMPLETION_TIME_REACHED")


LEAVERS = (
    "setsid sleep 1000 & (setsid sh -c 'sleep 1001 & sleep 1002' &) ; sh -c 'sleep 1003 &' ; sleep 0.1; "
)


def pids_below(scheduler: Scheduler, cluster: Cluster, count: int) -> set[int]:
    """The pids of the task's processes, once there are so many."""
    status = scheduler.update("t", ("TASK_RUNNING",))
    executor = status["container_status"]["executor_pid"]

    def find() -> set[int]:
        found: set[int] = set()
        waiting = [executor]
        while waiting:
            pid = waiting.pop()
            # A process may end between two looks.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children = set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
                found |= children
                waiting += children
        return found if len(found) >= count else set()

    return until(find, what=f"{count} processes of the task")


def test_an_ended_task_leaves_no_process(shared: Cluster) -> None:
    """Whatever called setsid or forked twice is gone when the task's end is told."""
    with subscribed(shared.address) as scheduler:
        scheduler.launch("t", LEAVERS + "sleep 0.3")
        pids = pids_below(scheduler, shared, 6)
        scheduler.update("t", ("TASK_FINISHED",))
        assert not [pid for pid in pids if is_alive(pid)]
        scheduler.call("TEARDOWN")


@pytest.mark.parametrize("how", ["KILL", "TEARDOWN", "stream"])
def test_a_killed_task_leaves_no_process(shared: Cluster, how: str) -> None:
    """The same for KILL, TEARDOWN, and a framework without failover timeout that drops its stream."""
    with subscribed(shared.address) as scheduler:
        scheduler.launch("t", LEAVERS + "sleep 1000")
        pids = pids_below(scheduler, shared, 6)
        if how == "KILL":
            scheduler.call("KILL", kill={"task_id": {"value": "t"}})
            scheduler.update("t", ("TASK_KILLED",))
        elif how == "TEARDOWN":
            scheduler.call("TEARDOWN")
        else:
            scheduler.close()
        until(lambda: not [pid for pid in pids if is_alive(pid)], what="the task's processes to end")


def test_a_killed_executor_fails_its_task_and_leaves_no_process(shared: Cluster) -> None:
    with subscribed(shared.address) as scheduler:
        scheduler.launch("t", LEAVERS + "sleep 1000")
        pids = pids_below(scheduler, shared, 6)
        status = scheduler.update("t", ("TASK_RUNNING",))
        os.kill(status["container_status"]["executor_pid"], 9)
        end = scheduler.update("t")
        assert (end["state"], end["message"]) == ("TASK_FAILED", "Executor terminated")
        assert end["source"] == "SOURCE_AGENT"
        until(lambda: not [pid for pid in pids if is_alive(pid)], what="the task's processes to end")
        scheduler.call("TEARDOWN")


def test_an_unacknowledged_update_comes_again(shared: Cluster) -> None:
    """The cluster of these tests repeats after 0.3 s, so three of the first and none of the second in a second."""
    with subscribed(shared.address, acknowledges=False) as scheduler:
        scheduler.launch("t", "true")
        scheduler.update("t", ("TASK_STARTING",))

        def is_third(event: dict[str, Any]) -> bool:
            return scheduler.states("t").count("TASK_STARTING") >= 3

        scheduler.wait_for(is_third)
        assert set(scheduler.states("t")) == {"TASK_STARTING"}
        scheduler.call("TEARDOWN")
