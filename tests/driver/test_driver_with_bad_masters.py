"""The driver process with masters that refuse, redirect, vanish, hang and lie."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.driver.driver_process import driver, first_line
from tests.pymesos_driver.scripted_master import (
    FRAMEWORK_ID,
    Request,
    Script,
    ScriptedMaster,
    accept_call,
    subscribed,
)
from tests.support import scaled, until

UPDATE = {
    "type": "UPDATE",
    "update": {"status": {"task_id": {"value": "t"}, "state": "TASK_LOST", "uuid": "dQ=="}},
}


def stay(request: Request) -> None:
    """A good master."""
    request.begin_stream(subscribed())
    request.wait_for_close()


def refuse(status: str, body: str = "", **headers: str) -> Script:
    """Answer SUBSCRIBE with this."""
    return lambda request: request.answer(status, body, **headers)


def end_with_error(message: str) -> Script:
    """200, and then ERROR, as Mesos does."""

    def script(request: Request) -> None:
        request.begin_stream({"type": "ERROR", "error": {"message": message}})
        request.end_stream()

    return script


def subscribe_and_cut(request: Request) -> None:
    """The stream ends in the middle of an event."""
    request.begin_stream(subscribed())
    request.send(b"40\r\n100\n{")
    request.close()


def hang(request: Request) -> None:
    """No answer, ever."""
    request.wait_for_close()


def closed_port() -> int:
    """A port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (refuse("401 Unauthorized", "401 Unauthorized."), "unauthorized"),
        (refuse("403 Forbidden", "no"), "forbidden"),
        (refuse("400 Bad Request", "Authenticated principal 'a' does not match principal 'b'"), "principal"),
        (refuse("400 Bad Request", "Missing required fields"), "invalid"),
        (refuse("404 Not Found"), "invalid"),
        (lambda request: request.send(b"220 smtp.example ESMTP\r\n"), "invalid"),
        (end_with_error("Framework has been removed"), "removed"),
        (end_with_error("Framework failed over"), "failed_over"),
        (end_with_error("The framework failover_timeout (1e+30) is invalid"), "invalid"),
        (end_with_error("Not authorized to use role"), "forbidden"),
    ],
)
def test_what_no_second_try_can_mend_is_fatal_and_not_tried_again(script: Script, kind: str) -> None:
    """One error event, then the end: there is no framework of ours to tear down."""
    with ScriptedMaster(script) as master, driver(first_line(master.address)) as running:
        (event,) = running.read_to_end()
        assert (event["event"], event["kind"], event["fatal"]) == ("error", kind, True)
        assert running.wait() == 1
        assert master.kinds() == ["SUBSCRIBE"]
        assert running.log() == ""


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (refuse("503 Service Unavailable", "No leader elected"), "no_master"),
        (refuse("500 Internal Server Error"), "unreachable"),
        (lambda request: request.close(), "unreachable"),
        (hang, "unreachable"),
    ],
)
def test_what_may_pass_is_said_and_tried_again(script: Script, kind: str) -> None:
    """The broker decides how long; the same trouble is said once."""
    with (
        ScriptedMaster(script, script, script, stay) as master,
        driver(first_line(master.address, limits={"answer_seconds": 0.3})) as running,
    ):
        event = running.expect("error")
        assert (event["kind"], event["fatal"]) == (kind, False)
        running.expect("subscribed", again=False)
        assert running.seen == []


def test_a_master_that_is_not_there_yet_is_waited_for() -> None:
    """Connection refused: said at once, not fatal."""
    port = closed_port()
    with driver(first_line(f"127.0.0.1:{port}")) as running:
        event = running.expect("error")
        assert (event["kind"], event["fatal"]) == ("unreachable", False)
        assert "connection refused" in event["message"]
        running.close_stdin()
        assert running.wait() == 0
        assert running.log() == ""


def test_a_host_that_does_not_exist_is_fatal() -> None:
    """A typing mistake should not cost the user the whole waiting time."""
    with driver(first_line("no-such-host.invalid:5050")) as running:
        (event,) = running.read_to_end()
        assert (event["kind"], event["fatal"]) == ("unreachable", True)
        assert "no-such-host.invalid" in event["message"]
        assert running.wait() == 1


def test_a_redirect_is_followed() -> None:
    """A master that does not lead names the one that does."""
    with (
        ScriptedMaster(stay) as leader,
        ScriptedMaster(refuse("307 Temporary Redirect", Location=f"//{leader.address}")) as follower,
        driver(first_line(follower.address)) as running,
    ):
        assert running.expect("subscribed")["master"]["address"] == leader.address
        assert running.seen == []


def test_masters_that_redirect_to_each_other_are_not_followed_for_ever() -> None:
    """During an election both may believe in the other."""
    with ScriptedMaster(refuse("503 Service Unavailable")) as other:
        to_itself: list[str] = []
        script = lambda request: request.answer("307 Temporary Redirect", Location="//" + to_itself[0])  # noqa: E731
        with ScriptedMaster(script) as master:
            to_itself.append(master.address)
            with driver(first_line(f"{master.address},{other.address}")) as running:
                assert running.expect("error", kind="no_master")["fatal"] is False


def test_a_cut_stream_is_told_and_subscribed_again_with_the_frameworks_id() -> None:
    """Not a day later, and not as a new framework."""
    with ScriptedMaster(subscribe_and_cut, stay) as master, driver(first_line(master.address)) as running:
        running.expect("subscribed", again=False)
        assert "lost" in running.expect("disconnected")["reason"]
        assert running.expect("subscribed")["again"] is True
        second = master.requests[-1]
        assert second.kind == "SUBSCRIBE"
        assert second.call["framework_id"] == {"value": FRAMEWORK_ID}


def test_missing_heartbeats_end_a_connection_that_is_only_half_alive() -> None:
    """pymesos has no watch: without a FIN it would never notice."""

    def half_alive(request: Request) -> None:
        request.begin_stream(subscribed(heartbeat_seconds=0.2))
        request.wait_for_close()

    with ScriptedMaster(half_alive, stay) as master, driver(first_line(master.address)) as running:
        running.expect("subscribed", again=False)
        assert "heartbeats" in running.expect("disconnected")["reason"]
        running.expect("subscribed", again=True)


def test_heartbeats_keep_a_connection() -> None:
    """Longer than the time after which their absence would end it."""
    enough = threading.Event()

    def beat(request: Request) -> None:
        request.begin_stream(subscribed(heartbeat_seconds=0.2))
        for _ in range(15):
            enough.wait(0.1)
            request.event({"type": "HEARTBEAT"})
        request.event({"type": "RESCIND", "rescind": {"offer_id": {"value": "the end"}}})
        request.wait_for_close()

    with ScriptedMaster(beat) as master, driver(first_line(master.address)) as running:
        running.expect("rescind", offer_id="the end")
        assert [event["event"] for event in running.seen] == ["subscribed"]


def test_a_stopped_driver_reads_what_came_meanwhile_before_it_gives_up() -> None:
    """SIGSTOP for longer than the heartbeats allow is not the master's silence."""
    go = threading.Event()

    def beat(request: Request) -> None:
        request.begin_stream(subscribed(heartbeat_seconds=0.3))
        while not go.wait(0.05):
            request.event({"type": "HEARTBEAT"})
        request.event({"type": "RESCIND", "rescind": {"offer_id": {"value": "the end"}}})
        while not go.wait(0):
            pass
        request.wait_for_close()

    with ScriptedMaster(beat) as master, driver(first_line(master.address)) as running:
        running.expect("subscribed")
        os.kill(running.pid, signal.SIGSTOP)
        threading.Event().wait(1.5)
        os.kill(running.pid, signal.SIGCONT)
        go.set()
        running.expect("rescind", offer_id="the end")
        assert running.seen == []


def test_an_update_is_acknowledged_after_it_was_passed_on_and_a_refusal_of_that_is_harmless() -> None:
    """In pymesos the refusal comes in its I/O thread and ends it."""

    def script(request: Request) -> None:
        request.begin_stream(subscribed(), UPDATE)
        request.wait_for_close()

    def on_call(request: Request) -> None:
        if request.kind == "ACKNOWLEDGE":
            request.answer("400 Bad Request", "Failed to validate scheduler::Call: Not a valid UUID")
        else:
            accept_call(request)

    with ScriptedMaster(script, on_call=on_call) as master, driver(first_line(master.address)) as running:
        running.expect("update")
        assert master.wait_for("ACKNOWLEDGE").call["acknowledge"] == {
            "task_id": {"value": "t"},
            "uuid": "dQ==",
        }
        running.send({"call": "revive"})
        master.wait_for("REVIVE")
        assert [event["event"] for event in running.seen] == ["subscribed"]


def test_a_refused_call_is_reported_by_name_and_the_framework_lives_on() -> None:
    """With the master's own sentence."""

    def on_call(request: Request) -> None:
        if request.kind == "ACCEPT":
            request.answer("400 Bad Request", "Expecting 'operations'")
        else:
            accept_call(request)

    with ScriptedMaster(stay, on_call=on_call) as master, driver(first_line(master.address)) as running:
        running.expect("subscribed")
        running.send({"call": "accept", "offer_ids": ["o1"], "operations": [{"t0ken": 1}]})
        event = running.expect("error")
        assert (event["kind"], event["fatal"], event["call"]) == ("invalid", False, "accept")
        assert event["offer_ids"] == ["o1"]
        assert "Expecting 'operations'" in event["message"]
        assert "t0ken" not in event["message"]
        running.send({"call": "suppress"})
        master.wait_for("SUPPRESS")


def test_a_master_that_has_forgotten_the_framework_is_asked_again() -> None:
    """A call tells it before the stream does, where the connection is half-dead."""

    def on_call(request: Request) -> None:
        if request.kind == "KILL" and master.kinds().count("SUBSCRIBE") == 1:
            request.answer("400 Bad Request", "Framework cannot be found")
        else:
            accept_call(request)

    with ScriptedMaster(stay, on_call=on_call) as master, driver(first_line(master.address)) as running:
        running.expect("subscribed")
        running.send({"call": "kill", "task_id": "t"})
        assert "cannot be found" in running.expect("disconnected")["reason"]
        running.expect("subscribed", again=True)
        until(lambda: master.kinds().count("KILL") == 2, what="the KILL to be made again")


def test_calls_while_disconnected_are_kept_where_they_mean_something_and_reported_where_not() -> None:
    """pymesos returns from both without a word."""
    port = closed_port()
    with driver(first_line(f"127.0.0.1:{port}", limits={"retry_seconds": 0.3})) as running:
        running.expect("error", kind="unreachable")
        running.send({"call": "accept", "offer_ids": ["o1", "o2"], "operations": []})
        running.send({"call": "decline", "offer_ids": ["o3"]})
        running.send({"call": "kill", "task_id": "t1"})
        running.send({"call": "kill", "task_id": "t1"})
        running.send({"call": "kill", "task_id": "t2"})
        running.send({"call": "revive"})
        running.send({"call": "suppress"})
        running.send({"call": "reconcile", "tasks": []})
        event = running.expect("error", call="accept")
        assert (event["fatal"], event["offer_ids"]) == (False, ["o1", "o2"])
        assert running.expect("error", call="decline")["offer_ids"] == ["o3"]
        with ScriptedMaster(stay, port=port) as master:
            running.expect("subscribed")
            master.wait_for("RECONCILE")
            kinds = master.kinds()
            assert kinds == ["SUBSCRIBE", "KILL", "KILL", "SUPPRESS", "RECONCILE"]
            running.send({"call": "teardown"})
            assert running.wait() == 0


def test_a_suppressed_framework_is_suppressed_again_after_a_reconnection() -> None:
    """A new subscription gets offers, whatever the one before it had asked."""
    cut = threading.Event()

    def until_cut(request: Request) -> None:
        request.begin_stream(subscribed())
        cut.wait(scaled(10))
        request.close()

    with ScriptedMaster(until_cut, stay) as master, driver(first_line(master.address)) as running:
        running.expect("subscribed")
        running.send({"call": "suppress"})
        master.wait_for("SUPPRESS")
        cut.set()
        running.expect("subscribed", again=True)
        until(lambda: master.kinds().count("SUPPRESS") == 2, what="SUPPRESS on the new stream")


def test_a_hanging_call_is_reported_and_pings_are_answered_meanwhile() -> None:
    """With the seconds that it has been hanging; the broker may replace the driver when they are too many."""
    with (
        ScriptedMaster(stay, on_call=hang) as master,
        driver(first_line(master.address, limits={"call_seconds": 1.0, "teardown_seconds": 0.5})) as running,
    ):
        running.expect("subscribed")
        running.send({"call": "revive"})
        master.wait_for("REVIVE")

        def blocked() -> bool:
            running.send({"call": "ping", "id": "p"})
            return bool(running.expect("pong", id="p")["blocked_seconds"] > 0.1)

        until(blocked, what="a pong that tells of the hanging call")
        event = running.expect("error", call="revive")
        assert (event["kind"], event["fatal"]) == ("unreachable", False)


def test_a_call_without_an_answer_is_made_once_more_on_a_new_subscription() -> None:
    """A REVIVE that is lost would be a wait for offers for ever; one that fails again is only reported."""
    with (
        ScriptedMaster(stay, stay, stay, on_call=refuse("500 Oops")) as master,
        driver(first_line(master.address, limits={"teardown_seconds": 1.0})) as running,
    ):
        running.expect("subscribed", again=False)
        running.send({"call": "revive"})
        assert running.expect("error", call="revive")["kind"] == "unreachable"
        running.expect("disconnected")
        running.expect("subscribed", again=True)
        running.expect("error", call="revive")
        running.send({"call": "ping", "id": 1})
        running.expect("pong")
        assert master.kinds() == ["SUBSCRIBE", "REVIVE", "SUBSCRIBE", "REVIVE"]


def test_teardown_goes_round_a_call_that_hangs_and_a_stream_that_is_refused() -> None:
    """The stream's TEARDOWN is not taken; a second subscription's is."""

    def on_call(request: Request) -> None:
        subscriptions = master.kinds().count("SUBSCRIBE")
        if request.kind == "REVIVE":
            hang(request)
        elif request.kind == "TEARDOWN" and subscriptions == 1:
            request.answer("500 Internal Server Error")
        else:
            accept_call(request)

    with ScriptedMaster(stay, on_call=on_call) as master, driver(first_line(master.address)) as running:
        running.expect("subscribed")
        running.send({"call": "revive"})
        master.wait_for("REVIVE")
        running.close_stdin()
        assert running.wait() == 0
        assert [kind for kind in master.kinds() if kind != "REVIVE"] == [
            "SUBSCRIBE",
            "TEARDOWN",
            "SUBSCRIBE",
            "TEARDOWN",
        ]


def test_teardown_falls_back_to_the_operators_endpoint() -> None:
    """The last way, with the credentials."""

    def on_call(request: Request) -> None:
        if request.kind == "/master/teardown":
            request.answer("200 OK")
        else:
            request.answer("500 Internal Server Error")

    with ScriptedMaster(stay, refuse("500 Oops"), on_call=on_call) as master:
        with driver(first_line(master.address, principal="hpc", secret="s3cret")) as running:
            running.expect("subscribed")
            running.close_stdin()
            assert running.wait() == 0
        last = master.requests[-1]
        assert (last.path, last.body) == ("/master/teardown", f"frameworkId={FRAMEWORK_ID}")
        assert last.headers["authorization"] == "Basic aHBjOnMzY3JldA=="


def test_a_teardown_that_nobody_takes_ends_in_time_and_says_so() -> None:
    """Exit status 1 and one sentence that names the framework."""
    with (
        ScriptedMaster(stay, refuse("500 Oops"), on_call=refuse("500 Oops")) as master,
        driver(first_line(master.address, limits={"teardown_seconds": 1.0})) as running,
    ):
        running.expect("subscribed")
        running.close_stdin()
        assert running.wait() == 1
        log = running.log()
    assert log.count("\n") == 1
    assert FRAMEWORK_ID in log
    assert "20 s after losing us" in log


def test_a_teardown_with_a_vanished_master_ends_in_time() -> None:
    """There is nobody to send it to."""
    with ScriptedMaster(stay) as master:
        context = driver(first_line(master.address, limits={"teardown_seconds": 1.0}))
        running = context.__enter__()
        running.expect("subscribed")
    running.expect("disconnected")
    running.close_stdin()
    assert running.wait() == 1
    assert FRAMEWORK_ID in running.log()
    context.__exit__(None, None, None)


def test_a_framework_that_is_granted_after_the_broker_died_is_torn_down_too() -> None:
    """SUBSCRIBE is on its way, the id not known: it is waited for."""
    go = threading.Event()

    def late(request: Request) -> None:
        go.wait(scaled(10))
        stay(request)

    with ScriptedMaster(late) as master, driver(first_line(master.address)) as running:
        master.wait_for("SUBSCRIBE")
        running.close_stdin()
        go.set()
        assert running.wait() == 0
        assert master.kinds() == ["SUBSCRIBE", "TEARDOWN"]


def test_a_framework_that_may_have_been_granted_unseen_is_said() -> None:
    """The master hangs: it may hold a framework whose id we were never told."""
    with (
        ScriptedMaster(hang) as master,
        driver(first_line(master.address, limits={"teardown_seconds": 0.6})) as running,
    ):
        master.wait_for("SUBSCRIBE")
        running.close_stdin()
        assert running.wait() == 1
        assert "id is not known" in running.log()


def test_a_broker_that_does_not_read_costs_no_memory_and_no_teardown() -> None:
    """Events stay with the master; TEARDOWN is sent all the same."""
    offer = {"id": {"value": "o"}, "attributes": ["x" * 1000] * 1000}
    offers = {"type": "OFFERS", "offers": {"offers": [offer]}}
    sent = 0

    def flood(request: Request) -> None:
        nonlocal sent
        request.begin_stream(subscribed())
        request.connection.settimeout(scaled(2))
        try:
            while sent < 300:
                request.connection.sendall(chunk)
                sent += 1
        except TimeoutError:
            request.connection.settimeout(None)
            request.wait_for_close()

    record = json.dumps(offers).encode()
    record = b"%d\n%b" % (len(record), record)
    chunk = b"%x\r\n%b\r\n" % (len(record), record)
    with ScriptedMaster(flood) as master, driver(first_line(master.address)) as running:
        until(lambda: sent > 0, what="the first offers")
        running.send({"call": "ping", "id": 1})
        until(lambda: master.requests[0].connection.gettimeout() is None, 20, "the master to be held up")
        assert sent < 100
        assert memory(running.pid) < 200 << 20
        running.close_stdin()
        assert running.wait() == 0
        assert "TEARDOWN" in master.kinds()


def memory(pid: int) -> int:
    """The largest resident size so far, in bytes (proc(5), VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


@pytest.mark.parametrize("end", ["teardown", "401", "missing host"])
def test_the_secret_is_nowhere_but_in_the_requests(end: str) -> None:
    """Not in argv, environment, events or the most talkative log."""
    secret = "s3krit-\u00e4\u00f6"
    script = refuse("401 Unauthorized", "no") if end == "401" else stay
    with ScriptedMaster(script) as master:
        address = "no-such-host.invalid" if end == "missing host" else master.address
        with driver(None, "-vv") as running:
            # Before the first line, which may end it: neither can change later.
            shown = b"".join(
                Path(f"/proc/{running.pid}/{name}").read_bytes() for name in ("cmdline", "environ")
            )
            running.send(first_line(address, principal="hpc", secret=secret))
            event: dict[str, Any] = running.expect("subscribed" if end == "teardown" else "error")
            running.close_stdin()
            events = running.read_to_end()
            running.wait()
            log = running.log()
    assert log
    for text in (shown.decode(errors="replace"), repr([event, *events]), log):
        assert "krit-" not in text
        assert "aHBjOnMza3Jp" not in text
