"""Calls that are none, or not for this caller: status and sentence of each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.conftest import Master
from tests.support.scheduler import PATH, authorization, request

JSON = {"Content-Type": "application/json"}
GOOD = {"user": "root", "name": "bad calls"}


def subscribe(**info: Any) -> dict[str, Any]:
    return {"type": "SUBSCRIBE", "subscribe": {"framework_info": {**GOOD, **info}}}


CONVERT = "Failed to convert JSON into Call protobuf: "
VALIDATE = "Failed to validate scheduler::Call: "
REFUSED: dict[str, tuple[Any, dict[str, str], int, str]] = {
    "empty": ("", JSON, 400, "Failed to parse body into JSON: syntax error at line 1 near: "),
    "half": ('{"type": "SUBSCR', JSON, 400, "Failed to parse body into JSON: syntax error at line 1 near: "),
    "array": ([], JSON, 400, CONVERT + "Expecting a JSON object"),
    "no type": ({}, JSON, 400, VALIDATE + "Expecting 'type' to be present"),
    "unknown type": ({"type": "NOSUCH"}, JSON, 400, VALIDATE + "Expecting 'type' to be present"),
    "type UNKNOWN": ({"type": "UNKNOWN"}, JSON, 400, VALIDATE + "Expecting 'framework_id' to be present"),
    "no content type": ({}, {}, 400, "Expecting 'Content-Type' to be present"),
    "text/plain": (
        {},
        {"Content-Type": "text/plain"},
        415,
        "Expecting 'Content-Type' of application/json or application/x-protobuf",
    ),
    "charset": (
        subscribe(),
        {"Content-Type": "application/json; charset=utf-8"},
        415,
        "Expecting 'Content-Type' of application/json or application/x-protobuf",
    ),
    "accept": (
        subscribe(),
        {**JSON, "Accept": "text/plain"},
        406,
        "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
    ),
    "no subscribe": ({"type": "SUBSCRIBE"}, JSON, 400, VALIDATE + "Expecting 'subscribe' to be present"),
    "no user": (
        {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"name": "x"}}},
        JSON,
        400,
        CONVERT + "Missing required fields: subscribe.framework_info.user",
    ),
    "no name": (
        {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root"}}},
        JSON,
        400,
        CONVERT + "Missing required fields: subscribe.framework_info.name",
    ),
    "no number": (
        subscribe(failover_timeout="abc"),
        JSON,
        400,
        CONVERT + "Failed to parse 'abc' as a JSON number for field 'failover_timeout': "
        "syntax error at line 1 near: abc",
    ),
    "subscribe with a stream": (
        subscribe(),
        {**JSON, "Mesos-Stream-Id": "11111111-2222-3333-4444-555555555555"},
        400,
        "Subscribe calls should not include the 'Mesos-Stream-Id' header",
    ),
    "two ids": (
        {**subscribe(id={"value": "b"}), "framework_id": {"value": "a"}},
        JSON,
        400,
        VALIDATE + "'framework_id' differs from 'subscribe.framework_info.id'",
    ),
    "no framework": (
        {"type": "ACCEPT", "accept": {"offer_ids": [], "operations": []}},
        {**JSON, "Mesos-Stream-Id": "x"},
        400,
        VALIDATE + "Expecting 'framework_id' to be present",
    ),
    "unknown framework": (
        {"type": "REVIVE", "framework_id": {"value": "nope"}},
        JSON,
        400,
        "Framework cannot be found",
    ),
}


def post(master: Master, body: Any, headers: dict[str, str], path: str = PATH) -> tuple[int, Any]:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return request(master.address, "POST", path, raw, {**headers, **authorization(master.credentials)})


@pytest.mark.parametrize("what", list(REFUSED))
def test_a_call_that_is_none_is_refused_in_one_sentence(master: Master, what: str) -> None:
    body, headers, status, message = REFUSED[what]
    assert post(master, body, headers) == (status, message.encode())


def test_the_endpoint_takes_post_alone(master: Master) -> None:
    status, body = request(master.address, "GET", PATH, headers=authorization(master.credentials))
    assert (status, body) == (
        405,
        b"405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'.",
    )


def test_the_endpoint_has_two_names(master: Master) -> None:
    for path in ("/master" + PATH, PATH + "/"):
        assert post(master, {}, JSON, path) == (400, (VALIDATE + "Expecting 'type' to be present").encode())
    assert post(master, {}, JSON, "/scheduler(1)/api/v1") == (404, b"404 Not Found.")
    assert post(master, {"type": "REVIVE"}, JSON, "/api/v1/nosuch") == (
        400,
        b"Failed to validate master::Call: Expecting 'type' to be present",
    )


OPERATOR: dict[str, tuple[Any, int, str]] = {
    "unknown type": (
        {"type": "NOPE"},
        400,
        "Failed to validate master::Call: Expecting 'type' to be present",
    ),
    "no content": (
        {"type": "MARK_AGENT_GONE"},
        400,
        "Failed to validate master::Call: Expecting 'mark_agent_gone' to be present",
    ),
    "half of it": (
        {"type": "UPDATE_MAINTENANCE_SCHEDULE", "update_maintenance_schedule": {}},
        400,
        CONVERT + "Missing required fields: update_maintenance_schedule.schedule",
    ),
    "no such agent": (
        {"type": "MARK_AGENT_GONE", "mark_agent_gone": {"agent_id": {"value": "nope"}}},
        404,
        "Agent 'nope' not found",
    ),
}


@pytest.mark.parametrize("what", list(OPERATOR))
def test_an_operators_call_that_is_none_is_refused_too(master: Master, what: str) -> None:
    body, status, message = OPERATOR[what]
    assert post(master, body, JSON, "/api/v1") == (status, message.encode())


MULTI_ROLE = [{"type": "MULTI_ROLE"}]
ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "roles without the capability": (
        {"roles": ["b"]},
        "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable",
    ),
    "role with the capability": (
        {"role": "a", "capabilities": MULTI_ROLE},
        "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable",
    ),
    "role twice": (
        {"roles": ["a", "a"], "capabilities": MULTI_ROLE},
        "'FrameworkInfo.roles' contains duplicate items: { a }",
    ),
    "dots": (
        {"roles": ["a/../b"], "capabilities": MULTI_ROLE},
        "'FrameworkInfo.roles' contains invalid role: Role 'a/../b' cannot include '..' as a component",
    ),
    "dash": (
        {"role": "-a"},
        "'FrameworkInfo.role' is not a valid role: Role component '-a' is invalid because it starts with a dash",
    ),
    "blank": (
        {"role": "a b"},
        (
            "'FrameworkInfo.role' is not a valid role: Role component 'a b' is invalid because it contains "
            "backspace or whitespace"
        ),
    ),
    "slash": (
        {"role": "/a"},
        "'FrameworkInfo.role' is not a valid role: Role '/a' cannot start with a slash",
    ),
    "for ever": ({"failover_timeout": 1e30}, "The framework failover_timeout (1e+30) is invalid"),
}


@pytest.mark.parametrize("what", list(ERRORS))
def test_a_framework_that_cannot_be_is_told_by_an_error_and_the_streams_end(
    master: Master, what: str
) -> None:
    info, message = ERRORS[what]
    with master.framework(**info) as framework:
        assert framework.events == [{"type": "ERROR", "error": {"message": message}}]
        framework.wait_for_end()


@pytest.mark.parametrize(
    "info",
    [
        {"capabilities": [{"type": "NOPE"}]},
        {"capabilities": [{}]},
        {"nosuch": 1},
        {"user": "nosuchuser"},
        {"user": ""},
    ],
)
def test_what_a_master_does_not_look_at_is_no_reason_to_refuse(master: Master, info: dict[str, Any]) -> None:
    with master.framework(**info) as framework:
        assert framework.events[0]["type"] == "SUBSCRIBED"


def test_a_call_must_name_its_stream(master: Master) -> None:
    with master.framework() as framework:
        call = {"type": "REVIVE", "framework_id": framework.id}
        assert post(master, call, JSON) == (
            400,
            b"All non-subscribe calls should include the 'Mesos-Stream-Id' header",
        )
        for wrong in ("11111111-2222-3333-4444-555555555555", "garbage"):
            message = (
                f"The stream ID '{wrong}' included in this request didn't match the stream ID currently "
                f"associated with framework ID {framework.id['value']}"
            )
            assert post(master, call, {**JSON, "Mesos-Stream-Id": wrong}) == (400, message.encode())


MISSING = {
    "ACCEPT": "accept",
    "DECLINE": "decline",
    "KILL": "kill",
    "ACKNOWLEDGE": "acknowledge",
    "RECONCILE": "reconcile",
    "MESSAGE": "message",
    "SHUTDOWN": "shutdown",
    "REQUEST": "request",
    "ACCEPT_INVERSE_OFFERS": "accept_inverse_offers",
    "DECLINE_INVERSE_OFFERS": "decline_inverse_offers",
    "UPDATE_FRAMEWORK": "update_framework",
}


def test_a_call_without_its_content_is_refused(master: Master) -> None:
    with master.framework() as framework:
        for kind, field in MISSING.items():
            assert framework.call(kind) == (
                400,
                f"{VALIDATE}Expecting '{field}' to be present".encode(),
            )


def test_a_bad_uuid_is_no_acknowledgement(master: Master) -> None:
    with master.framework() as framework:
        named = {"agent_id": {"value": "a"}, "task_id": {"value": "t"}}
        assert framework.call("ACKNOWLEDGE", acknowledge={**named, "uuid": "AAAA"}) == (
            400,
            f"{VALIDATE}Not a valid UUID".encode(),
        )
        status, body = framework.call("ACKNOWLEDGE", acknowledge={**named, "uuid": "?"})
        assert status == 400
        assert body.startswith(CONVERT.encode() + b"Failed to base64 decode bytes field 'uuid'")


def test_calls_about_what_is_not_there_are_accepted_and_do_nothing(master: Master) -> None:
    with master.framework() as framework:
        filters = {"refuse_seconds": 1}
        assert framework.call(
            "DECLINE", decline={"offer_ids": [{"value": "nope-O2"}], "filters": filters}
        ) == (202, b"")
        uuid = "MG/LQ5UhTGSWhgneyltiKw=="
        named = {"agent_id": {"value": "a"}, "task_id": {"value": "t"}, "uuid": uuid}
        assert framework.call("ACKNOWLEDGE", acknowledge=named) == (202, b"")
        gone = {"agent_id": {"value": "a"}, "executor_id": {"value": "e"}}
        assert framework.call("SHUTDOWN", shutdown=gone) == (202, b"")
        assert framework.call("MESSAGE", message={**gone, "data": "AAAA"}) == (202, b"")
        framework.read_what_is_there()
        assert {event["type"] for event in framework.events} <= {"SUBSCRIBED", "HEARTBEAT", "OFFERS"}
