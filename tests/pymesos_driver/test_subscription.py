"""One subscription: what it sends, what it reports, and that its end is always told, once, with the reason."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from roujiamo.errors import ProtocolError
from roujiamo.pymesos_driver.credential import Credential
from roujiamo.pymesos_driver.subscription import Subscription
from roujiamo.pymesos_driver.trouble import MasterTrouble, Redirected
from tests.pymesos_driver.scripted_master import (
    FRAMEWORK_ID,
    STREAM_ID,
    Request,
    Script,
    ScriptedMaster,
    accept_call,
    subscribed,
)
from tests.support import scaled


class Heard:
    """A listener that only notes."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self.ends: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def on_event(self, _: Subscription, name: str, event: dict[str, Any]) -> None:
        self.events.put((name, event))

    def on_end(self, _: Subscription, error: BaseException | None) -> None:
        self.ends.put(error)

    def event(self) -> tuple[str, dict[str, Any]]:
        return self.events.get(timeout=scaled(10))

    def end(self) -> BaseException | None:
        return self.ends.get(timeout=scaled(10))


@contextmanager
def subscription(
    script: Script, credential: Credential | None = None, on_call: Script = accept_call, **framework: Any
) -> Iterator[tuple[Subscription, Heard, ScriptedMaster]]:
    """A subscription at a master that answers SUBSCRIBE with `script`."""
    heard = Heard()
    with ScriptedMaster(script, on_call=on_call) as master:
        made = Subscription(master.address, {"user": "u", "name": "n", **framework}, credential, heard)
        made.start()
        try:
            yield made, heard, master
        finally:
            made.stop()
            made.join()


def stay(request: Request) -> None:
    """Subscribed, and nothing more."""
    request.begin_stream(subscribed())
    request.wait_for_close()


def test_the_framework_is_subscribed_as_it_was_given() -> None:
    """pymesos adds GPU_RESOURCES, which gets a framework offered scarce agents, and a failover timeout of its own."""
    with subscription(stay, capabilities=[{"type": "PARTITION_AWARE"}]) as (_, heard, master):
        assert heard.event()[0] == "subscribed"
        sent = master.requests[0]
    assert sent.path == "/api/v1/scheduler"
    assert sent.call == {
        "type": "SUBSCRIBE",
        "subscribe": {
            "framework_info": {
                "user": "u",
                "name": "n",
                "capabilities": [{"type": "PARTITION_AWARE"}],
                "failover_timeout": 60.0,
            }
        },
    }


def test_an_id_is_sent_twice_as_mesos_wants_it() -> None:
    """In the call and in the FrameworkInfo; a failover timeout that was given stays."""
    with subscription(stay, id={"value": "f-1"}, failover_timeout=5.0) as (_, heard, master):
        heard.event()
        call = master.requests[0].call
    assert call["framework_id"] == {"value": "f-1"}
    assert call["subscribe"]["framework_info"]["id"] == {"value": "f-1"}
    assert call["subscribe"]["framework_info"]["failover_timeout"] == 5.0


def test_credentials_go_with_every_call_and_only_with_ours() -> None:
    """pymesos keeps one dictionary of headers for all drivers of a process."""
    with subscription(stay, Credential("hpc", "s3cret")) as (first, heard, master):
        heard.event()
        first.call("REVIVE", None, 10)
        with subscription(stay) as (second, other, open_master):
            other.event()
            second.call("REVIVE", None, 10)
            assert "authorization" not in open_master.requests[0].headers
            assert "authorization" not in open_master.requests[1].headers
        assert master.requests[0].headers["authorization"] == "Basic aHBjOnMzY3JldA=="
        assert master.requests[1].headers["authorization"] == "Basic aHBjOnMzY3JldA=="
        assert master.requests[0].call["subscribe"]["framework_info"]["principal"] == "hpc"


def test_a_call_names_framework_and_stream_and_returns_when_it_is_taken() -> None:
    """The body of each call stands under its type in lower case."""
    with subscription(stay) as (made, heard, master):
        heard.event()
        made.call("KILL", {"task_id": {"value": "t"}, "agent_id": {"value": "a"}}, 10)
        sent = master.wait_for("KILL")
    assert sent.headers["mesos-stream-id"] == STREAM_ID
    assert sent.call == {
        "type": "KILL",
        "framework_id": {"value": FRAMEWORK_ID},
        "kill": {"task_id": {"value": "t"}, "agent_id": {"value": "a"}},
    }


def test_every_event_is_handed_on_and_an_unreadable_one_does_not_end_the_stream() -> None:
    """pymesos's I/O thread dies of a missing key."""

    def script(request: Request) -> None:
        request.begin_stream(subscribed(7.0, version="1.12.0-dev+x"), {"type": "HEARTBEAT"})
        request.event({"type": "OFFERS", "offers": {"offers": [{"id": {"value": "o"}}]}})
        request.event({"type": "OFFERS", "offers": {}})
        request.event({"type": "UPDATE", "update": {"status": None}})
        request.event({"type": "RESCIND", "rescind": {"offer_id": "text"}})
        request.event({"type": "NEW_KIND", "new_kind": {}})
        request.event({"type": 7})
        request.chunk(b"4\nnull" + b"2\n[]" + b'3\n"x"')
        request.event({"type": "RESCIND", "rescind": {"offer_id": {"value": "o"}}})
        request.event({"type": "UPDATE", "update": {"status": {"state": "TASK_RUNNING", "uuid": "u"}}})
        request.event({"type": "FAILURE", "failure": {"agent_id": {"value": "a"}, "status": 9}})
        request.event({"type": "ERROR", "error": {"message": "Framework failed over"}})
        request.wait_for_close()

    with subscription(script) as (made, heard, _):
        seen = []
        while not seen or seen[-1][0] != "error":
            seen.append(heard.event())
    assert made.heartbeat_seconds == 7.0
    assert [event for event in seen if event[0] not in ("subscribed", "trouble")] == [
        ("offers", {"offers": [{"id": {"value": "o"}}]}),
        ("rescind", {"offer_id": "o"}),
        ("update", {"status": {"state": "TASK_RUNNING", "uuid": "u"}}),
        ("failure", {"agent_id": "a", "status": 9}),
        ("error", {"message": "Framework failed over"}),
    ]
    troubles = [event["trouble"] for name, event in seen if name == "trouble"]
    assert len(troubles) >= 4
    assert all(trouble.kind == "internal" and not trouble.is_fatal for trouble in troubles)


def test_updates_are_not_acknowledged_from_the_io_thread() -> None:
    """A refusal there would end pymesos; who passes the update on acknowledges it."""

    def script(request: Request) -> None:
        request.begin_stream(subscribed(), {"type": "UPDATE", "update": {"status": {"uuid": "u"}}})
        request.wait_for_close()

    with subscription(script) as (made, heard, master):
        assert [heard.event()[0], heard.event()[0]] == ["subscribed", "update"]
        made.call("REVIVE", None, 10)
        assert master.kinds() == ["SUBSCRIBE", "REVIVE"]


def refuse(status: str, body: str = "", **headers: str) -> Script:
    """Answer SUBSCRIBE with this."""
    return lambda request: request.answer(status, body, **headers)


def refuse_in_two_pieces(request: Request) -> None:
    """The body a little later than the head, as a busy master has it; pymesos adds bytes to str then."""
    request.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 20\r\n\r\n")
    for piece in (b"role ", b"'x' is ", b"invalid!"):
        request.send(piece)
    request.wait_for_close()


def refuse_until_close(request: Request) -> None:
    """A proxy that knows no Content-Length."""
    request.send(b"HTTP/1.0 403 Forbidden\r\n\r\nnot you")
    request.close()


def cut_inside_an_event(request: Request) -> None:
    """The master's machine lost its power."""
    request.begin_stream(subscribed())
    request.send(b"40\r\n100\n{")
    request.close()


def cut_inside_the_headers(request: Request) -> None:
    """As before, earlier."""
    request.send(b"HTTP/1.1 200 OK\r\nTransfer-")
    request.close()


def end_in_good_order(request: Request) -> None:
    """A master that shuts down."""
    request.begin_stream(subscribed())
    request.end_stream()


def not_an_event_stream(request: Request) -> None:
    """Chunks that are not RecordIO; pymesos would store them for ever."""
    request.begin_stream(subscribed())
    request.chunk(b"<html>")
    request.wait_for_close()


def endless_record(request: Request) -> None:
    """A length that no record has."""
    request.begin_stream(subscribed())
    request.chunk(b"99999999999\n{")
    request.wait_for_close()


@pytest.mark.parametrize(
    ("script", "kind", "is_fatal", "sentence"),
    [
        (refuse("401 Unauthorized", "401 Unauthorized."), "unauthorized", True, "credentials"),
        (refuse_in_two_pieces, "invalid", True, "role 'x' is invalid!"),
        (refuse_until_close, "forbidden", True, "not you"),
        (refuse("503 Service Unavailable", "No leader elected"), "no_master", False, "No leader elected"),
        (refuse("500 Oops"), "unreachable", False, "HTTP 500"),
        (refuse("202 Accepted"), "invalid", True, "not a Mesos master"),
        (refuse("200 OK", "hello"), "invalid", True, "not a Mesos master"),
        (refuse("307 Temporary Redirect"), "invalid", True, "not a Mesos master"),
        (lambda request: request.send(b"SSH-2.0-OpenSSH_9\r\n"), "invalid", True, "not HTTP"),
        (lambda request: request.close(), "unreachable", False, "without an answer"),
        (cut_inside_the_headers, "unreachable", False, "without an answer"),
        (cut_inside_an_event, "unreachable", False, "lost"),
        (end_in_good_order, "unreachable", False, "lost"),
    ],
)
def test_every_end_has_its_reason(script: Script, kind: str, is_fatal: bool, sentence: str) -> None:
    """pymesos logs most of these and tries again for a day; its caller hears nothing."""
    with subscription(script) as (made, heard, _):
        error = heard.end()
        assert isinstance(error, MasterTrouble), error
        assert (error.kind, error.is_fatal) == (kind, is_fatal)
        assert sentence in str(error)
        with pytest.raises(MasterTrouble, match="no connection"):
            made.call("REVIVE", None, 10)


def broken_json(request: Request) -> None:
    """A record that is no event."""
    request.begin_stream(subscribed())
    request.chunk(b"5\n{oops")
    request.wait_for_close()


def deep_json(request: Request) -> None:
    """Valid, and more than a parser's stack."""
    request.begin_stream(subscribed())
    request.chunk(b"200000\n" + b"[" * 100_000 + b"]" * 100_000)
    request.wait_for_close()


@pytest.mark.parametrize("script", [not_an_event_stream, endless_record, broken_json, deep_json])
def test_what_is_no_event_stream_is_not_stored(script: Script) -> None:
    """The stream ends at its first wrong byte; another try may do better."""
    with subscription(script) as (_, heard, _master):
        assert isinstance(heard.end(), ProtocolError)


def test_a_redirect_says_where_to() -> None:
    """The caller decides whether to follow: pymesos would, without an end."""
    with subscription(refuse("307 Temporary Redirect", Location="//10.1.2.3:5050")) as (_, heard, _master):
        error = heard.end()
    assert isinstance(error, Redirected)
    assert error.location == "10.1.2.3:5050"


def test_nobody_listening_is_an_end_too() -> None:
    """pymesos sleeps in its I/O thread for up to 15 s between tries."""
    with ScriptedMaster(stay) as master:
        address = master.address
    heard = Heard()
    made = Subscription(address, {"user": "u", "name": "n"}, None, heard)
    made.start()
    error = heard.end()
    made.join()
    assert isinstance(error, MasterTrouble)
    assert error.kind == "unreachable"
    assert not made.has_asked


def test_stopping_is_no_trouble_and_sends_no_teardown() -> None:
    """A subscription that is given up must not take the framework with it."""
    with subscription(stay) as (made, heard, master):
        heard.event()
        made.stop()
        assert heard.end() is None
        assert master.kinds() == ["SUBSCRIBE"]


def test_a_refused_call_raises_where_it_was_made_and_the_stream_goes_on() -> None:
    """In pymesos it ends the I/O thread when it came from a callback. What was sent is not quoted: it holds a token."""

    def on_call(request: Request) -> None:
        request.answer("400 Bad Request", "Failed to validate scheduler::Call: nonsense")

    with subscription(stay, on_call=on_call) as (made, heard, _):
        heard.event()
        with pytest.raises(MasterTrouble, match=r"ACCEPT.*nonsense") as caught:
            made.call("ACCEPT", {"operations": ["t0ken"]}, 10)
        assert "t0ken" not in str(caught.value)
        assert made.is_subscribed
        assert heard.ends.empty()


def drip(request: Request) -> None:
    """A byte now and then: every read succeeds, the answer never comes."""
    for byte in b"HTTP/1.1 202 Accepted\r\nX: " + b"y" * 1000:
        request.connection.sendall(bytes([byte]))
        # The pace of this master, not a wait for anything.
        time.sleep(0.05)


@pytest.mark.parametrize("on_call", [Request.wait_for_close, drip])
def test_a_call_that_hangs_ends_in_its_time(on_call: Script) -> None:
    """pymesos waits a day, under a lock that even `connected` needs; a limit for each read alone would not do."""
    with subscription(stay, on_call=on_call) as (made, heard, _):
        heard.event()
        with pytest.raises(MasterTrouble, match="did not answer in time"):
            made.call("REVIVE", None, 0.3)
        assert made.connected
        assert made.is_subscribed


def test_stopping_makes_a_waiting_call_fail_at_once() -> None:
    """Whoever gives the subscription up must not wait for its calls."""
    arrived = threading.Event()

    def on_call(request: Request) -> None:
        arrived.set()
        request.wait_for_close()

    with subscription(stay, on_call=on_call) as (made, heard, _):
        heard.event()
        failed: queue.SimpleQueue[MasterTrouble] = queue.SimpleQueue()

        def call() -> None:
            try:
                made.call("REVIVE", None, 600)
            except MasterTrouble as error:
                failed.put(error)

        caller = threading.Thread(target=call)
        caller.start()
        assert arrived.wait(scaled(10))
        made.stop()
        assert failed.get(timeout=scaled(10)).kind == "unreachable"
        caller.join()
