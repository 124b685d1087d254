"""A session's own local cluster: who may talk to it, and what becomes of a session when it ends too early."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
from pathlib import Path

import psutil
import pytest

from roujiamo.broker.cluster import PRINCIPAL, LocalCluster
from roujiamo.errors import LocalClusterError
from roujiamo.system.sessions import ask
from tests.broker.conftest import folder, session_with
from tests.support import children_of, is_alive, until
from tests.support.scheduler import authorization, get, request

__all__ = ["folder"]

SUBSCRIBE = {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root", "name": "intruder"}}}


def cluster_of(broker_pid: int) -> psutil.Process:
    """The cluster's first process, among the broker's children."""
    (cluster,) = [one for one in psutil.Process(broker_pid).children() if "roujiamo.local" in one.cmdline()]
    return cluster


def test_only_the_session_may_talk_to_its_cluster(folder: Path) -> None:
    """Any user of this machine reaches its ports: without the secret, nothing is run, read or ended."""
    path = folder / "12345-0123abcd"
    with session_with(folder, folder=str(path), master="local:1", nodes=1, processes=1) as session:
        session.wait_until_ready()
        status = ask(path, {"request": "status"})
        master = status["master"]
        credential = ask(path, {"request": "credential"})
        own = f"{credential['principal']}:{credential['secret']}"
        headers = {"Content-Type": "application/json"}
        calls = {
            "/api/v1/scheduler": json.dumps(SUBSCRIBE).encode(),
            "/api/v1": b'{"type": "GET_HEALTH"}',
            "/teardown": f"frameworkId={status['framework_id']}".encode(),
            "/machine/down": b"[]",
        }
        for target, body in calls.items():
            for wrong in (None, "roujiamo:", f"{PRINCIPAL}:{'0' * 32}"):
                answer = request(master, "POST", target, body, {**headers, **authorization(wrong)})
                assert answer == (401, b"401 Unauthorized."), (target, wrong)
        (agent,) = get(master, "/slaves", own)[1]["slaves"]
        where = agent["pid"].partition("@")[2]
        for address, target in (
            *((master, f"/{name}") for name in ("state", "slaves", "frameworks", "tasks", "roles", "flags")),
            *(
                (where, target)
                for target in ("/slave(1)/state", "/files/debug", "/files/read?path=/&offset=0")
            ),
        ):
            assert get(address, target) == (401, b"401 Unauthorized."), target
            assert get(address, target, own)[0] != 401, target
        assert [one["id"] for one in get(master, "/frameworks", own)[1]["frameworks"]] == [
            status["framework_id"]
        ]
        # Neither the secret nor the way to it is to be seen from outside.
        for process in (
            cluster_of(session.client.pid),
            *cluster_of(session.client.pid).children(recursive=True),
        ):
            assert credential["secret"] not in " ".join(process.cmdline()) + str(process.environ())


def test_a_cluster_that_dies_before_the_session_is_ready_ends_it_at_once(folder: Path) -> None:
    """And not after --timeout: no other master will come."""
    request = {"nodes": 1, "processes": 1, "cpus_per_process": 640.0, "timeout_seconds": 600.0}
    with session_with(folder, folder=str(folder / "12345-0123abcd"), master="local:1", **request) as session:
        while session.next("progress")["phase"] != "offers":
            pass
        os.kill(cluster_of(session.client.pid).pid, signal.SIGKILL)
        assert "the local cluster of this run has ended" in session.next("failed")["message"]


def test_a_cluster_that_cannot_start_is_noticed_and_its_reason_told() -> None:
    """Not after the time that a start may take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = children_of(os.getpid())

    async def start() -> str:
        cluster = LocalCluster("local:200", 1, lambda _: None)
        resource.setrlimit(resource.RLIMIT_NOFILE, (120, hard))
        return await cluster.start()

    try:
        with pytest.raises(LocalClusterError, match=r"has ended at its start: .*Too many open files"):
            asyncio.run(start())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    until(
        lambda: not any(map(is_alive, children_of(os.getpid()) - before)),
        what="the cluster's processes to end",
    )
