"""The cluster as a program: its first line, its ends, and what is left after each of them."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local.conftest import READY, Cluster, cluster
from tests.support import children_of, is_alive, running, until
from tests.support.scheduler import Scheduler, get, request, subscribed

RESTLESS = "setsid sleep 1000 & (setsid sleep 1001 &); while :; do sleep 0.05; done"
STUBBORN = "trap '' TERM; " + RESTLESS


@pytest.fixture
def temporary_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a cluster of the test puts its temporary folder; short, and readable by every user."""
    folder = Path(tempfile.mkdtemp(prefix="rjl-"))
    folder.chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder)


def start_task(one: Cluster, command: str = RESTLESS, **options: Any) -> tuple[Scheduler, set[int]]:
    """A scheduler with a task that likes to fork, and the pids of all processes of the cluster."""
    scheduler = Scheduler(one.address, failover_timeout=60, **options)
    scheduler.launch("t", command)
    scheduler.update("t", ("TASK_RUNNING",))
    until(lambda: "sleep" in commands(one), what="the task's processes")
    return scheduler, {one.program.pid, *children_of(one.program.pid)}


def commands(one: Cluster) -> set[str]:
    found = set()
    for pid in children_of(one.program.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.add(Path(f"/proc/{pid}/comm").read_text().strip())
    return found


def agent_pids(one: Cluster) -> list[int]:
    """The agents' processes, oldest first."""
    agents = get(one.address, "/slaves")[1]["slaves"]
    return sorted(one.agent_pid(agent["hostname"]) for agent in agents)


def are_gone(pids: set[int]) -> bool:
    return not [pid for pid in pids if is_alive(pid)]


def test_the_first_line_says_what_it_is_and_is_for() -> None:
    with cluster("--agents", "3") as one:
        assert one.program.ready_line == f"{READY}{one.address}, 3 agents"
        hosts = sorted(agent["hostname"] for agent in get(one.address, "/slaves")[1]["slaves"])
        assert hosts == ["agent1", "agent2", "agent3"]
        assert one.program.output().count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_with_status_0(number: int, temporary_folder: Path) -> None:
    with cluster() as one:
        scheduler, pids = start_task(one, STUBBORN if number == signal.SIGTERM else RESTLESS)
        assert list(temporary_folder.iterdir())
        one.program.process.send_signal(number)
        assert one.program.wait() == 0
        scheduler.close()
        until(lambda: are_gone(pids), 2, "every process to end")
    assert not list(temporary_folder.iterdir())


def test_a_killed_master_takes_everything_with_it(temporary_folder: Path) -> None:
    """Agents see the end of their socket, executors that of theirs; folders go with the agents."""
    with cluster() as one:
        scheduler, pids = start_task(one)
        one.program.process.kill()
        one.program.wait()
        scheduler.close()
        until(lambda: are_gone(pids), what="every process to end")
        until(lambda: not list(temporary_folder.iterdir()), what="the folder to be removed")


def test_a_second_signal_does_not_wait_for_the_grace() -> None:
    """Ctrl-C once ends tasks in their grace (2 s here), twice now."""
    with cluster("--agents", "1") as one:
        scheduler, pids = start_task(one, STUBBORN)
        one.program.process.send_signal(signal.SIGINT)
        scheduler.close()
        until(lambda: is_refused(one.address), what="the first signal to have been taken")
        one.program.process.send_signal(signal.SIGINT)
        assert one.program.wait(1.5) == 0
        assert are_gone(pids)


def is_refused(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        # It was let in and dropped: the next one will be refused.
        return False
    return False


def test_a_killed_cluster_leaves_its_folder_to_the_next(temporary_folder: Path) -> None:
    """With master and agents killed at once nobody is left to remove it; a later cluster of the user sweeps it."""
    with cluster("--agents", "1") as one:
        (folder,) = temporary_folder.iterdir()
        agents = agent_pids(one)
        for pid in [*agents, one.program.pid]:
            os.kill(pid, signal.SIGSTOP)
        for pid in [*agents, one.program.pid]:
            os.kill(pid, signal.SIGKILL)
        one.program.wait()
    assert folder.exists()
    with cluster("--agents", "1"):
        assert folder.exists(), "a folder so young may be another cluster's that is just starting"
    os.utime(folder, (0, 0))
    with cluster("--agents", "1") as other:
        assert not folder.exists()
        os.utime(next(temporary_folder.iterdir()), (0, 0))
        with cluster("--agents", "1"):
            assert get(other.address, "/health")[0] == 200
            assert len(list(temporary_folder.iterdir())) == 2


def test_a_task_of_a_killed_agent_and_executor_ends_too() -> None:
    """With both gone at once the master, a subreaper as well, is the one that finds what is left."""
    with cluster("--agents", "1") as one:
        scheduler, _ = start_task(one)
        (agent,) = agent_pids(one)
        executor = scheduler.update("t", ("TASK_RUNNING",))["container_status"]["executor_pid"]
        pids = children_of(agent)
        os.kill(agent, signal.SIGSTOP)
        os.kill(executor, signal.SIGKILL)
        os.kill(agent, signal.SIGKILL)
        until(lambda: are_gone(pids), what="the task's processes to end")
        scheduler.close()


def test_the_owner_may_end_and_is_told_when_all_is_there() -> None:
    """`--ready-fd` says where the master is; the end of `--owner-fd` ends the cluster, as when its owner was killed."""
    ready_read, ready_write = os.pipe()
    owner_read, owner_write = os.pipe()
    command = [sys.executable, "-m", "roujiamo.local", "--port", "0", "--agents", "1"]
    command += ["--ready-fd", str(ready_write), "--owner-fd", str(owner_read)]
    with running(command, pass_fds=(ready_write, owner_read)) as program:
        os.close(ready_write)
        os.close(owner_read)
        with os.fdopen(ready_read) as stream:
            address = json.loads(stream.readline())["master"]
        assert get(address, "/health")[0] == 200
        os.close(owner_write)
        assert program.wait() == 0


def test_a_port_that_is_taken_is_told_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "roujiamo.local", "--port", str(port)]
        with running(command) as program:
            assert program.wait() == 1
            assert program.errors() == (
                f"roujiamo local: 127.0.0.1:{port}: cannot listen there: Address already in use; "
                "try --port 0 for a free port\n"
            )


@pytest.mark.parametrize(
    "option",
    [
        ("--agents", "0"),
        ("--port", "x"),
        ("--cpus", "-1"),
        ("--attributes", "zone"),
        ("--name-prefix", "a b"),
    ],
)
def test_a_wrong_option_is_named(option: tuple[str, str]) -> None:
    with running([sys.executable, "-m", "roujiamo.local", *option]) as program:
        assert program.wait() == 2
        assert option[0] in program.errors().splitlines()[-1]


def test_frameworks_must_prove_who_they_are(tmp_path: Path) -> None:
    """HTTP basic authentication, with the recorded answers; a file that is none is told."""
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps({"credentials": [{"principal": "hpc", "secret": "s3cret"}]}))
    with cluster("--agents", "1", "--credentials", str(path)) as one:
        for wrong in (None, "hpc:nope", "nobody:s3cret"):
            refused = Scheduler(one.address, credentials=wrong)
            assert (refused.status, refused.refusal) == (401, b"401 Unauthorized.")
        other = Scheduler(one.address, credentials="hpc:s3cret", principal="other")
        assert other.status == 400
        assert other.refusal.endswith(
            b"Authenticated principal 'hpc' does not match principal 'other' set in `FrameworkInfo`"
        )
        with subscribed(one.address, credentials="hpc:s3cret", principal="hpc") as scheduler:
            assert scheduler.offer()
            assert scheduler.call("TEARDOWN") == (202, b"")
        assert get(one.address, "/state")[0] == 200
    path.write_text("[]")
    with running([sys.executable, "-m", "roujiamo.local", "--credentials", str(path)]) as program:
        assert program.wait() == 2
        assert str(path) in program.errors()


def test_an_offer_that_nobody_uses_is_withdrawn_where_the_operator_wants_that() -> None:
    """--offer_timeout of Mesos; what it held is offered again."""
    with cluster("--agents", "1", "--offer-timeout", "0.2") as one, subscribed(one.address) as scheduler:
        offer = scheduler.offer()
        scheduler.wait_for(lambda event: event == {"type": "RESCIND", "rescind": {"offer_id": offer["id"]}})
        assert scheduler.offer()["agent_id"] == offer["agent_id"]
        scheduler.call("TEARDOWN")


@pytest.mark.skipif(os.geteuid() != 0, reason="the tests already run as an ordinary user")
def test_an_ordinary_user_has_a_cluster_too(temporary_folder: Path) -> None:
    """Without root: hostnames by user namespaces, tasks as the user; or a sentence on stderr that says what is not."""
    nobody = pwd.getpwnam("nobody")
    # The interpreter may lie where only root can read: loaded by root, run by nobody. A process that changed its user
    # may not write to its own /proc files until it is dumpable again (prctl(2), PR_SET_DUMPABLE), as any other is.
    stub = (
        "import ctypes, encodings.ascii, encodings.idna, encodings.latin_1, os, sys; "
        "from roujiamo.local import program; os.setgroups([]); "
        f"os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid}); ctypes.CDLL(None).prctl(4, 1, 0, 0, 0); "
        "sys.exit(program.main(['--port', '0']))"
    )
    with running([sys.executable, "-c", stub], ready=READY) as program:
        one = Cluster(program)
        with subscribed(one.address, failover_timeout=60) as scheduler:
            offer = scheduler.launch("t", "id -u > out; uname -n >> out; " + RESTLESS)
            status = scheduler.update("t", ("TASK_RUNNING",))
            sandbox = f"*/*/slaves/{offer['agent_id']['value']}/frameworks/*/executors/t/runs/latest"
            (directory,) = temporary_folder.glob(sandbox)
            lines = until(lambda: two_lines(directory / "out"), what="the task's two lines")
            assert lines[0] == str(nobody.pw_uid)
            assert lines[1] == offer["hostname"] or "no UTS namespaces" in program.errors()
            pids = children_of(status["container_status"]["executor_pid"])
            scheduler.call("TEARDOWN")
            until(lambda: are_gone(pids), what="the task to end")
    assert not list(temporary_folder.iterdir())


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_a_system_without_namespaces_is_told_and_works() -> None:
    """Where no hostname can be had the cluster says so, once, and a task finds its agent's name in MESOS_HOSTNAME."""
    command = [
        "setpriv",
        "--bounding-set",
        "-sys_admin",
        "--",
        sys.executable,
        "-m",
        "roujiamo.local",
        "--port",
        "0",
    ]
    with running(command, ready=READY) as program:
        one = Cluster(program)
        assert program.errors().startswith(
            "roujiamo local: no UTS namespaces here (Operation not permitted): "
        )
        assert program.errors().count("\n") == 1
        with subscribed(one.address) as scheduler:
            hostname = scheduler.offer()["hostname"]
            scheduler.launch("t", f'test "$MESOS_HOSTNAME" = {hostname}')
            assert scheduler.update("t")["state"] == "TASK_FINISHED"
            scheduler.call("TEARDOWN")


def two_lines(path: Path) -> list[str]:
    lines = path.read_text().split() if path.exists() else []
    return lines if len(lines) == 2 else []


def test_a_work_folder_that_was_named_is_kept(tmp_path: Path) -> None:
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        pytest.skip("this uid has no name, and a framework must give one")
    with (
        cluster("--agents", "1", "--work-dir", str(tmp_path / "work")) as one,
        subscribed(one.address, user=user) as scheduler,
    ):
        scheduler.launch("t", "echo kept")
        scheduler.update("t")
        scheduler.call("TEARDOWN")
    (stdout,) = (tmp_path / "work").glob("agent1/slaves/*/frameworks/*/executors/t/runs/latest/stdout")
    assert stdout.read_text() == "kept\n"


def test_a_client_that_speaks_no_http_is_answered_and_dropped() -> None:
    with cluster("--agents", "1") as one:
        host, _, port = one.address.partition(":")
        for garbage in (
            b"\0\xff" * 100 + b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        ):
            with socket.create_connection((host, int(port)), timeout=10) as client:
                client.sendall(garbage)
                answer = client.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert request(one.address, "GET", "/health")[0] == 200
        assert one.program.errors() == ""
