"""The driver process with local clusters of its own, which a test may kill, stop, restart and lock."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.driver.driver_process import driver, first_line
from tests.masters.local_master import local_cluster
from tests.masters.zookeeper_server import free_port
from tests.support import children_called, until


@pytest.fixture(scope="module")
def locked_master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A master that knows one principal."""
    file: Path = tmp_path_factory.mktemp("locked") / "credentials.json"
    file.write_text(json.dumps({"credentials": [{"principal": "hpc", "secret": "s3cret"}]}))
    port = free_port()
    with local_cluster(port, "--credentials", str(file)):
        yield f"127.0.0.1:{port}"


def test_the_right_credentials_are_taken_for_every_call(locked_master: str) -> None:
    """SUBSCRIBE, calls, TEARDOWN; the framework's principal is filled in."""
    with driver(first_line(locked_master, principal="hpc", secret="s3cret")) as held:
        held.expect("subscribed")
        offers = held.expect("offers")["offers"]
        held.send(
            {
                "call": "decline",
                "offer_ids": [offer["id"]["value"] for offer in offers],
                "refuse_seconds": 0.0,
            }
        )
        held.expect("offers")
        held.send({"call": "teardown"})
        assert held.wait() == 0


@pytest.mark.parametrize(("principal", "secret"), [(None, None), ("hpc", "wrong"), ("other", "s3cret")])
def test_wrong_credentials_are_one_fatal_sentence(
    locked_master: str, principal: str | None, secret: str | None
) -> None:
    """401, at once and without a second try."""
    with driver(first_line(locked_master, principal=principal, secret=secret)) as held:
        (event,) = held.read_to_end()
        assert (event["kind"], event["fatal"]) == ("unauthorized", True)
        assert held.wait() == 1


def test_a_framework_with_anothers_principal_is_one_fatal_sentence(locked_master: str) -> None:
    """Mesos wants FrameworkInfo.principal to be the authenticated one."""
    line = first_line(locked_master, principal="hpc", secret="s3cret", framework={"principal": "other"})
    with driver(line) as held:
        (event,) = held.read_to_end()
        assert (event["kind"], event["fatal"]) == ("principal", True)
        assert "other" in event["message"]


def test_a_killed_master_that_comes_back_is_subscribed_to_again() -> None:
    """The stream ends, nobody listens for a while, then a new master takes the framework under its id."""
    port = free_port()
    with driver(first_line(f"127.0.0.1:{port}")) as held:
        with local_cluster(port) as cluster:
            framework_id = held.expect("subscribed")["framework_id"]
            cluster.kill()
            held.expect("disconnected")
            assert held.expect("error")["kind"] == "unreachable"
        with local_cluster(port):
            event = held.expect("subscribed")
            assert (event["framework_id"], event["again"]) == (framework_id, True)
            held.send({"call": "teardown"})
            assert held.wait() == 0


def test_a_stopped_master_holds_neither_the_driver_nor_its_end() -> None:
    """SIGSTOP: connections are accepted by the kernel and nothing is answered."""
    port = free_port()
    limits = {"call_seconds": 0.5, "teardown_seconds": 1.5}
    with local_cluster(port) as cluster, driver(first_line(f"127.0.0.1:{port}", limits=limits)) as held:
        held.expect("offers")
        (master,) = children_called(cluster.pid, "master")
        os.kill(master, signal.SIGSTOP)
        try:
            held.send({"call": "revive"})
            assert held.expect("error", call="revive")["kind"] == "unreachable"
            held.send({"call": "ping", "id": 1})
            held.expect("pong")
            held.close_stdin()
            assert held.wait() == 1
            assert "may not be torn down" in held.log()
        finally:
            os.kill(master, signal.SIGCONT)


def test_a_master_that_stops_for_a_moment_loses_no_teardown() -> None:
    """It is tried again until the time is up."""
    port = free_port()
    with local_cluster(port) as cluster, driver(first_line(f"127.0.0.1:{port}")) as held:
        held.expect("subscribed")
        (master,) = children_called(cluster.pid, "master")
        os.kill(master, signal.SIGSTOP)
        held.close_stdin()
        until(lambda: _is_sending(port), 10, "the TEARDOWN to be on its way")
        os.kill(master, signal.SIGCONT)
        assert held.wait() == 0


def _is_sending(port: int) -> bool:
    """Whether a second connection to `port` is established: the event stream is the first (proc(5), net/tcp)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    remote = f"0100007F:{port:04X}"
    return sum(line.split()[2] == remote and line.split()[3] == "01" for line in lines) >= 2
