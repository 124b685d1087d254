"""The lines between broker and driver: what is understood, and that a wrong one tells nothing secret."""

import json
from typing import Any

import pytest

from roujiamo.driver.lines import (
    Limits,
    encode_line,
    error_line,
    parse_call,
    parse_configuration,
    subscribed_line,
    to_request,
)
from roujiamo.errors import UsageError
from roujiamo.pymesos_driver.master import Address
from roujiamo.pymesos_driver.trouble import MasterTrouble


def configuration(**values: Any) -> bytes:
    """A first line with these values."""
    return json.dumps({"master": "m:1", "framework": {"user": "u", "name": "n"}, **values}).encode()


def test_the_first_line_configures_the_driver() -> None:
    """Master, FrameworkInfo, credentials, limits."""
    line = configuration(principal="hpc", secret="s3cret", limits={"call_seconds": 2})
    parsed = parse_configuration(line)
    assert parsed.master == (Address("m", 1),)
    assert parsed.framework == {"user": "u", "name": "n"}
    assert parsed.credential is not None
    assert parsed.credential.principal == "hpc"
    assert parsed.limits == Limits(call_seconds=2)
    assert "s3cret" not in repr(parsed)
    assert parse_configuration(configuration(principal=None, secret=None)).credential is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"s3cret",
        b'["s3cret"]',
        b"\xff s3cret",
        b"[" * 100_000,
        configuration(framework=["s3cret"]),
        configuration(master=None, secret="s3cret"),
        configuration(master="https://m:1", principal="p", secret="s3cret"),
        configuration(secret="s3cret"),
        configuration(principal="p", secret=["s3cret"]),
        configuration(limits={"s": 1}),
        configuration(limits={"call_seconds": 0}),
        configuration(limits={"call_seconds": "s3cret"}),
        configuration(limits=["s3cret"]),
    ],
)
def test_a_wrong_first_line_is_one_sentence_without_its_secret(line: bytes) -> None:
    """It goes to the broker and to the log."""
    with pytest.raises(UsageError) as caught:
        parse_configuration(line)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("call", "kind", "body"),
    [
        (
            {
                "call": "accept",
                "offer_ids": ["o1", "o2"],
                "operations": [{"type": "LAUNCH"}],
                "refuse_seconds": 5,
            },
            "ACCEPT",
            {
                "offer_ids": [{"value": "o1"}, {"value": "o2"}],
                "operations": [{"type": "LAUNCH"}],
                "filters": {"refuse_seconds": 5.0},
            },
        ),
        (
            {"call": "decline", "offer_ids": ["o1"], "refuse_seconds": 0.0},
            "DECLINE",
            {"offer_ids": [{"value": "o1"}], "filters": {"refuse_seconds": 0.0}},
        ),
        ({"call": "decline", "offer_ids": ["o1"]}, "DECLINE", {"offer_ids": [{"value": "o1"}]}),
        ({"call": "revive"}, "REVIVE", None),
        ({"call": "suppress"}, "SUPPRESS", None),
        (
            {"call": "kill", "task_id": "t", "agent_id": "a"},
            "KILL",
            {"task_id": {"value": "t"}, "agent_id": {"value": "a"}},
        ),
        ({"call": "kill", "task_id": "t", "agent_id": None}, "KILL", {"task_id": {"value": "t"}}),
        (
            {"call": "reconcile", "tasks": [{"task_id": "t", "agent_id": "a"}, {"task_id": "u"}]},
            "RECONCILE",
            {"tasks": [{"task_id": {"value": "t"}, "agent_id": {"value": "a"}}, {"task_id": {"value": "u"}}]},
        ),
        ({"call": "reconcile", "tasks": []}, "RECONCILE", {"tasks": []}),
    ],
)
def test_each_call_is_mesoss_call(call: dict[str, Any], kind: str, body: dict[str, Any] | None) -> None:
    """mesos/v1/scheduler/scheduler.proto."""
    request = to_request(parse_call(json.dumps(call).encode()))
    assert (request.name, request.kind, request.body) == (call["call"], kind, body)


@pytest.mark.parametrize(
    "line",
    [
        b"x",
        b"[]",
        b"{}",
        b'{"call": 1}',
        b'{"call": "explode"}',
        b'{"call": "accept", "offer_ids": ["o"]}',
        b'{"call": "accept", "offer_ids": [{"value": "o"}], "operations": []}',
        b'{"call": "accept", "offer_ids": 3, "operations": []}',
        b'{"call": "decline", "offer_ids": ["o"], "refuse_seconds": "x"}',
        b'{"call": "kill"}',
        b'{"call": "reconcile", "tasks": [1]}',
    ],
)
def test_a_call_that_is_none_is_refused(line: bytes) -> None:
    """The driver reports it and goes on."""
    with pytest.raises(UsageError):
        to_request(parse_call(line))


def test_an_error_names_the_call_and_the_offers_that_are_lost_with_it() -> None:
    """So that the broker need not guess which ACCEPT it was."""
    call = b'{"call": "accept", "offer_ids": ["o"], "operations": []}'
    line = error_line(MasterTrouble("invalid", "no"), is_fatal=False, request=to_request(parse_call(call)))
    assert line == {
        "event": "error",
        "kind": "invalid",
        "message": "no",
        "fatal": False,
        "call": "accept",
        "offer_ids": ["o"],
    }


def test_subscribed_tells_the_masters_own_name_and_where_it_was_reached() -> None:
    """pymesos gives the configured address for the master's name."""
    info = {
        "framework_id": {"value": "f"},
        "master_info": {"hostname": "h", "version": "1.11.0", "address": {"hostname": "real"}},
    }
    assert subscribed_line(info, "10.0.0.1:5050", is_again=True) == {
        "event": "subscribed",
        "framework_id": "f",
        "master": {"hostname": "real", "address": "10.0.0.1:5050", "version": "1.11.0"},
        "again": True,
    }
    assert subscribed_line({"framework_id": {"value": "f"}}, "10.0.0.1:5050", is_again=False)["master"] == {
        "hostname": "10.0.0.1",
        "address": "10.0.0.1:5050",
        "version": "",
    }


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    """A newline in a message must not cut it."""
    line = encode_line({"event": "error", "message": "a\nb\u2028c"})
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"event": "error", "message": "a\nb\u2028c"}
