"""`zk://` with a real ZooKeeper: who leads, who leads next, and what is said where nobody does."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack

import pytest
from kazoo.security import make_digest_acl

from roujiamo.pymesos_driver.master import Address, ZooKeeper
from roujiamo.pymesos_driver.trouble import MasterTrouble
from roujiamo.pymesos_driver.zookeeper import find_leader
from tests.driver.driver_process import driver, first_line
from tests.masters.local_master import local_cluster
from tests.masters.zookeeper_server import ZooKeeperServer, free_port, master_info
from tests.support import scaled

SECONDS = 8.0


def ensemble(*ports: int, path: str = "/mesos", digest: str = "") -> ZooKeeper:
    """Servers of this machine."""
    return ZooKeeper(tuple(Address("127.0.0.1", port) for port in ports), path, digest)


def trouble(at: ZooKeeper, seconds: float = SECONDS) -> MasterTrouble:
    """What `find_leader` raises; it does so in its time."""
    start = time.monotonic()
    with pytest.raises(MasterTrouble) as caught:
        find_leader(at, scaled(seconds))
    assert time.monotonic() - start < scaled(seconds) + scaled(3)
    return caught.value


def test_the_master_that_registered_first_leads(zookeeper: ZooKeeperServer) -> None:
    """Another stands by, and leads at once when the first is gone; then nobody does."""
    at = ensemble(zookeeper.port)
    with zookeeper.leader("127.0.0.1:5051"):
        with zookeeper.leader("127.0.0.1:5052"):
            assert find_leader(at, SECONDS) == Address("127.0.0.1", 5051)
        with zookeeper.leader("10.1.2.3:5053"):
            pass
        assert find_leader(at, SECONDS) == Address("127.0.0.1", 5051)
    gone = trouble(at)
    assert (gone.kind, gone.is_fatal) == ("no_master", False)
    assert str(gone) == f"no Mesos master leads at zk://{zookeeper.address}/mesos: is one running?"


def test_what_else_lies_beside_the_masters_is_no_master(zookeeper: ZooKeeperServer) -> None:
    """Mesos keeps its replicated log's nodes there, and masters before 1.0 wrote `info_` nodes that are no JSON."""
    with zookeeper.client() as client:
        client.ensure_path("/mesos/log_replicas")
        client.create("/mesos/info_0000000000", b"\x0a\x01x")
        assert trouble(ensemble(zookeeper.port)).kind == "no_master"
        with zookeeper.leader("127.0.0.1:5051"):
            assert find_leader(ensemble(zookeeper.port), SECONDS) == Address("127.0.0.1", 5051)


def test_a_path_that_does_not_exist_is_said(zookeeper: ZooKeeperServer) -> None:
    """The usual mistake: the right ensemble, another cluster's path."""
    with zookeeper.leader("127.0.0.1:5051", path="/clusters/hpc"):
        wrong = trouble(ensemble(zookeeper.port))
        assert wrong.kind == "no_master"
        assert "there is no such path" in str(wrong)
        assert find_leader(ensemble(zookeeper.port, path="/clusters/hpc"), SECONDS).port == 5051


def test_what_is_no_master_info_is_quoted(zookeeper: ZooKeeperServer) -> None:
    """Shortened, and without what a terminal would act upon."""
    for content in (
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"address": {"ip": "10.0.0.1"}}',
        b'{"address": "10.0.0.1:5050"}',
        b"\x1b[2J" + b"[" * 9000,
    ):
        with zookeeper.register(content):
            unreadable = trouble(ensemble(zookeeper.port))
        assert (unreadable.kind, unreadable.is_fatal) == ("no_master", False)
        assert "not readable" in str(unreadable)
        assert str(unreadable).isprintable()
        assert len(str(unreadable)) < 300


def test_a_path_under_a_password_is_read_with_it(zookeeper: ZooKeeperServer) -> None:
    """And the sentence that says what to write without it does not repeat what was tried."""
    acl = [make_digest_acl("mesos", "s3cret", read=True)]
    with zookeeper.register(master_info("127.0.0.1:5051"), acl=acl), zookeeper.client() as client:
        client.set_acls("/mesos", [make_digest_acl("mesos", "s3cret", all=True)])
        for digest in ("", "mesos:wr0ng"):
            refused = trouble(ensemble(zookeeper.port, digest=digest))
            assert refused.is_fatal
            assert "USER:PASSWORD" in str(refused)
            assert "wr0ng" not in str(refused)
        assert find_leader(ensemble(zookeeper.port, digest="mesos:s3cret"), SECONDS).port == 5051


def test_servers_that_are_down_or_hang_do_not_hide_the_one_that_answers(zookeeper: ZooKeeperServer) -> None:
    """An ensemble is there so that one of its servers may fail, in whatever way."""
    with (
        socket.create_server(("127.0.0.1", 0)) as hanging,
        zookeeper.leader("127.0.0.1:5051"),
    ):
        ports = (free_port(), hanging.getsockname()[1], zookeeper.port)
        start = time.monotonic()
        assert find_leader(ensemble(*ports), scaled(SECONDS)).port == 5051
        assert time.monotonic() - start < scaled(SECONDS)


def test_a_zookeeper_that_hangs_is_left_in_time(zookeeper: ZooKeeperServer) -> None:
    """SIGSTOP: the kernel still accepts connections."""
    with zookeeper.leader("127.0.0.1:5051"):
        os.kill(zookeeper.pid, signal.SIGSTOP)
        try:
            silent = trouble(ensemble(zookeeper.port), 1.5)
        finally:
            os.kill(zookeeper.pid, signal.SIGCONT)
    assert (silent.kind, silent.is_fatal) == ("unreachable", False)
    assert "no answer" in str(silent)


def test_a_zookeeper_whose_name_does_not_exist_is_fatal_at_the_start() -> None:
    """A typing mistake should not cost the user the whole waiting time."""
    with driver(first_line("zk://no-such-host.invalid:2181/mesos")) as held:
        (event,) = held.read_to_end()
        assert (event["kind"], event["fatal"]) == ("unreachable", True)
        assert "no-such-host.invalid" in event["message"]
        assert held.wait() == 1


def test_a_driver_waits_for_a_zookeeper_and_then_for_a_leader(zookeeper: ZooKeeperServer) -> None:
    """Each state has its sentence."""
    zookeeper.stop()
    with (
        local_cluster() as cluster,
        driver(first_line(f"zk://{zookeeper.address}/mesos", limits={"retry_seconds": 0.3})) as held,
    ):
        assert "ZooKeeper cannot be asked" in held.expect("error", kind="unreachable")["message"]
        zookeeper.start()
        assert "no such path" in held.expect("error", kind="no_master")["message"]
        with zookeeper.leader(cluster.address):
            assert held.expect("subscribed", again=False)["master"]["address"] == cluster.address
            # It may have accepted a connection a moment before it served.
            assert {event["kind"] for event in held.seen if event["event"] == "error"} <= {"unreachable"}
            held.send({"call": "teardown"})
            assert held.wait() == 0


def test_a_new_leader_gets_the_framework_under_its_id(zookeeper: ZooKeeperServer) -> None:
    """The leader dies; until its session has run out ZooKeeper still names it."""
    limits = {"retry_seconds": 0.3}
    with (
        local_cluster() as first,
        local_cluster() as second,
        driver(first_line(f"zk://{zookeeper.address}/mesos", limits=limits)) as held,
        ExitStack() as second_stands,
    ):
        with zookeeper.leader(first.address):
            framework_id = held.expect("subscribed")["framework_id"]
            second_stands.enter_context(zookeeper.leader(second.address))
            first.kill()
            held.expect("disconnected")
            assert first.address in held.expect("error", kind="unreachable")["message"]
        event = held.expect("subscribed")
        assert (event["framework_id"], event["again"]) == (framework_id, True)
        assert event["master"]["address"] == second.address
        held.send({"call": "teardown"})
        assert held.wait() == 0


def test_a_zookeeper_that_goes_away_is_not_missed_while_the_master_stays(zookeeper: ZooKeeperServer) -> None:
    """It is asked when a master is needed; the subscription goes on, and so does its end."""
    with (
        local_cluster() as cluster,
        zookeeper.leader(cluster.address),
        driver(first_line(f"zk://{zookeeper.address}/mesos")) as held,
    ):
        held.expect("subscribed")
        zookeeper.stop()
        held.expect("offers")
        held.send({"call": "suppress"})
        held.send({"call": "revive"})
        held.send({"call": "ping", "id": 1})
        held.expect("pong")
        assert [event["event"] for event in held.seen if event["event"] != "offers"] == []
        held.send({"call": "teardown"})
        assert held.wait() == 0
        zookeeper.start()


def test_when_zookeeper_and_master_have_both_been_away_the_framework_comes_back(
    zookeeper: ZooKeeperServer,
) -> None:
    """As after the failure of a whole rack: in which order they come back does not matter."""
    port = free_port()
    configuration = first_line(f"zk://{zookeeper.address}/mesos", limits={"retry_seconds": 0.3})
    with zookeeper.leader(f"127.0.0.1:{port}"), ExitStack() as until_the_end:
        with local_cluster(port) as cluster:
            held = until_the_end.enter_context(driver(configuration))
            framework_id = held.expect("subscribed")["framework_id"]
            zookeeper.stop()
            cluster.kill()
            held.expect("disconnected")
            assert "ZooKeeper cannot be asked" in held.expect("error")["message"]
        with local_cluster(port):
            zookeeper.start()
            event = held.expect("subscribed")
            assert (event["framework_id"], event["again"]) == (framework_id, True)
            held.send({"call": "teardown"})
            assert held.wait() == 0
