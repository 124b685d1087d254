"""The driver process with masters that work: the local cluster and, where it is named, a real Mesos."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

from tests.driver.driver_process import Driver, driver, first_line
from tests.support import is_alive, until


def frameworks(master: str) -> dict[str, dict[str, Any]]:
    """The frameworks that the master has and that are not over, by id."""
    with urllib.request.urlopen(f"http://{master}/master/frameworks", timeout=10) as answer:
        return {framework["id"]: framework for framework in json.load(answer)["frameworks"]}


def is_gone(master: str, framework_id: str) -> None:
    """Wait until the master has no such framework any more: neither active nor waiting for its failover."""
    until(lambda: framework_id not in frameworks(master), 10, f"{framework_id} to be torn down")


def launch(offer: dict[str, Any], task_id: str, command: str) -> dict[str, Any]:
    """An accept of `offer` that runs `command` on a tenth of a cpu."""
    task = {
        "name": task_id,
        "task_id": {"value": task_id},
        "agent_id": offer["agent_id"],
        "command": {"shell": True, "value": command},
        "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
        ],
    }
    operation = {"type": "LAUNCH", "launch": {"task_infos": [task]}}
    return {
        "call": "accept",
        "offer_ids": [offer["id"]["value"]],
        "operations": [operation],
        "refuse_seconds": 0.1,
    }


def subscribe(running: Driver) -> str:
    """Wait for the subscription; return the framework's id."""
    return str(running.expect("subscribed")["framework_id"])


def run_task(running: Driver, name: str, command: str) -> str:
    """Launch a task on the next offer and return its id once it runs."""
    offer = running.expect("offers")["offers"][0]
    task_id = f"{name}-{os.getpid()}-{offer['id']['value']}"
    running.send(launch(offer, task_id, command))
    while True:
        status = running.expect("update")["status"]
        assert status["state"] in ("TASK_STARTING", "TASK_RUNNING"), status
        if status["state"] == "TASK_RUNNING":
            return task_id


def test_a_task_is_launched_followed_and_its_updates_are_acknowledged(master: str) -> None:
    """Only the first unacknowledged update is ever sent, so seeing the third proves the first two."""
    with driver(first_line(master)) as running:
        event = running.expect("subscribed")
        assert event["again"] is False
        assert event["master"]["version"]
        assert event["master"]["address"].endswith(master.rpartition(":")[2])
        offer = running.expect("offers")["offers"][0]
        running.send(launch(offer, f"exit3-{event['framework_id']}", "exit 3"))
        states = []
        while not states or states[-1]["state"] in ("TASK_STARTING", "TASK_RUNNING"):
            states.append(running.expect("update")["status"])
        assert [status["state"] for status in states] == ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]
        assert states[-1]["message"] == "Command exited with status 3"
        running.send({"call": "teardown"})
        assert running.wait() == 0
        is_gone(master, event["framework_id"])
        assert running.log() == ""


def test_a_running_task_is_killed_and_reconciled(master: str) -> None:
    """KILL and RECONCILE carry the agent's id, which pymesos drops."""
    with driver(first_line(master)) as running:
        subscribe(running)
        offer = running.expect("offers")["offers"][0]
        task_id = f"sleep-{offer['id']['value']}"
        running.send(launch(offer, task_id, "exec sleep 600"))
        while running.expect("update")["status"]["state"] != "TASK_RUNNING":
            pass
        task = {"task_id": task_id, "agent_id": offer["agent_id"]["value"]}
        running.send({"call": "reconcile", "tasks": [task]})
        status = running.expect("update")["status"]
        assert (status["state"], status["reason"]) == ("TASK_RUNNING", "REASON_RECONCILIATION")
        running.send({"call": "kill", **task})
        while (state := running.expect("update")["status"]["state"]) == "TASK_KILLING":
            pass
        assert state == "TASK_KILLED"


def test_suppress_decline_and_revive_are_taken(master: str) -> None:
    """After a decline with a long filter no offers come, until they are revived."""
    with driver(first_line(master)) as running:
        subscribe(running)
        offers = running.expect("offers")["offers"]
        ids = [offer["id"]["value"] for offer in offers]
        running.send({"call": "decline", "offer_ids": ids, "refuse_seconds": 3600.0})
        running.send({"call": "suppress"})
        running.send({"call": "ping", "id": "x"})
        assert running.expect("pong", id="x")["blocked_seconds"] < 60
        running.send({"call": "revive"})
        again = running.expect("offers")["offers"]
        assert {offer["hostname"] for offer in again} <= {offer["hostname"] for offer in offers} | {
            "agent1",
            "agent2",
        }


@pytest.mark.parametrize("end", ["eof", "sigterm", "stdout", "teardown"])
def test_every_way_out_tears_the_framework_down(master: str, end: str) -> None:
    """The guardian's promise: however its broker ends, the tasks' processes and the framework's name are gone."""
    with driver(first_line(master)) as running:
        framework_id = subscribe(running)
        run_task(running, "left", "echo $$; exec sleep 600")
        if end == "eof":
            running.close_stdin()
        elif end == "sigterm":
            os.kill(running.pid, signal.SIGTERM)
        elif end == "stdout":
            assert running.process.stdout is not None
            running.process.stdout.close()
        else:
            running.send({"call": "teardown"})
        assert running.wait() == 0
        is_gone(master, framework_id)
        assert running.log() == ""


def test_a_terminals_signals_do_not_reach_it(master: str) -> None:
    """Ctrl-C, Ctrl-\\, Ctrl-Z and a hang-up are for the user's program; the broker decides what they mean for us."""
    with driver(first_line(master)) as running:
        subscribe(running)
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGHUP, signal.SIGINT):
            os.kill(running.pid, number)
        running.send({"call": "ping", "id": 1})
        running.expect("pong", id=1)
        assert is_alive(running.pid)


BROKER = """
import json, os, subprocess, sys, threading
driver = subprocess.Popen([sys.executable, "-m", "roujiamo.driver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          start_new_session=True)
driver.stdin.write(sys.argv[1].encode() + b"\\n")
driver.stdin.flush()
print(driver.pid, flush=True)
for line in driver.stdout:
    sys.stdout.buffer.write(line)
    sys.stdout.flush()
"""


def test_a_killed_broker_takes_its_framework_with_it(master: str) -> None:
    """kill -9: nothing of it can clean up, so the driver must, and then end."""
    argv = [sys.executable, "-c", BROKER, json.dumps(first_line(master))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as broker:
        assert broker.stdout is not None
        driver_pid = int(broker.stdout.readline())
        event = json.loads(broker.stdout.readline())
        assert event["event"] == "subscribed"
        assert event["framework_id"] in frameworks(master)
        broker.send_signal(signal.SIGKILL)
        broker.wait()
    is_gone(master, event["framework_id"])
    until(lambda: not is_alive(driver_pid), 10, "the driver to end")


def test_a_killed_driver_is_replaced_and_the_framework_goes_on(master: str) -> None:
    """The broker starts another with the framework's id: same framework, its task still running."""
    with driver(first_line(master)) as first:
        framework_id = subscribe(first)
        task_id = run_task(first, "survivor", "exec sleep 600")
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    with driver(first_line(master, framework={"id": {"value": framework_id}})) as second:
        event = second.expect("subscribed")
        assert (event["framework_id"], event["again"]) == (framework_id, True)
        second.send({"call": "reconcile", "tasks": [{"task_id": task_id}]})
        assert second.expect("update")["status"]["state"] == "TASK_RUNNING"
        second.send({"call": "teardown"})
        assert second.wait() == 0
    is_gone(master, framework_id)


def test_a_driver_that_was_replaced_says_so_and_leaves_the_framework_alone(master: str) -> None:
    """ERROR "Framework failed over" must not be answered by another subscription, nor by a TEARDOWN."""
    with driver(first_line(master)) as first:
        framework_id = subscribe(first)
        with driver(first_line(master, framework={"id": {"value": framework_id}})) as second:
            subscribe(second)
            assert first.expect("error")["kind"] == "failed_over"
            assert first.wait() == 1
            assert frameworks(master)[framework_id]["active"]
            second.send({"call": "teardown"})
            assert second.wait() == 0


def test_a_framework_that_is_over_stays_over(master: str) -> None:
    """ERROR "Framework has been removed" is fatal; pymesos would try thousands of times."""
    with driver(first_line(master)) as running:
        framework_id = subscribe(running)
        running.send({"call": "teardown"})
        assert running.wait() == 0
    with driver(first_line(master, framework={"id": {"value": framework_id}})) as running:
        event = running.expect("error")
        assert (event["kind"], event["fatal"]) == ("removed", True)
        assert running.wait() == 1


def test_a_framework_that_the_master_does_not_like_is_refused_with_its_sentence(master: str) -> None:
    """Mesos answers 200, and then ERROR."""
    with driver(first_line(master, framework={"roles": ["a"]})) as running:
        event = running.expect("error")
        assert (event["kind"], event["fatal"]) == ("invalid", True)
        assert "MULTI_ROLE" in event["message"]
        assert running.wait() == 1
    with driver(first_line(master, framework={"user": None})) as running:
        assert running.expect("error")["kind"] == "invalid"


def test_the_capabilities_are_the_frameworks_own(master: str) -> None:
    """No GPU_RESOURCES, which pymesos adds."""
    with driver(first_line(master, framework={"capabilities": [{"type": "PARTITION_AWARE"}]})) as running:
        framework_id = subscribe(running)
        framework = frameworks(master)[framework_id]
        assert framework["capabilities"] == ["PARTITION_AWARE"]
        assert framework["failover_timeout"] == 20.0


def test_a_wrong_address_beside_a_right_one_is_passed_over(master: str) -> None:
    """Several masters, `http://` allowed: the one that is away is said, and the next one tried."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    with driver(first_line(f"127.0.0.1:{closed},http://{master}")) as running:
        assert running.expect("error")["kind"] == "unreachable"
        subscribe(running)


def test_what_a_killed_driver_left_can_be_torn_down_before_it_is_subscribed(master: str) -> None:
    """Its id is enough: the broker may die, too, before the new driver has got anywhere."""
    with driver(first_line(master)) as running:
        framework_id = subscribe(running)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
    with driver(first_line(master, framework={"id": {"value": framework_id}})) as running:
        running.close_stdin()
        assert running.wait() == 0
    is_gone(master, framework_id)
