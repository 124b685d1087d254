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


@pytest.mark.parametrize(
    ("command", "is_too_long"),
    [
        ({"value": "true", "environment": {"variables": [{"name": "BIG", "value": "x" * 64_500}]}}, False),
        ({"value": "true", "environment": {"variables": [{"name": "BIG", "value": "x" * 65_500}]}}, True),
        ({"value": "true", "environment": {"variables": [{"name": "BIG", "value": '"' * 33_000}]}}, True),
        ({"value": "true #" + "x" * 129_000}, False),
        ({"value": "true #" + "x" * 130_000}, True),
    ],
)
def test_a_command_too_long_for_mesos_fails_here_too(
    shared: Cluster, command: dict[str, object], is_too_long: bool
) -> None:
    """As measured: such a task ends with a status of 7 and no other word."""
    with subscribed(shared.address) as scheduler:
        scheduler.launch("t", command)
        message = scheduler.update("t")["message"]
        assert message == f"Command exited with status {7 if is_too_long else 0}"
        scheduler.call("TEARDOWN")
