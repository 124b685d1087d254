"""JSON that is no call is refused in a real master's words (seen on Mesos 1.11.0, each line of them)."""

from __future__ import annotations

import json
import random

import pytest

from roujiamo.mesos.master.messages import MalformedCall, parse_call

PARSE = "Failed to parse body into JSON: "
CONVERT = "Failed to convert JSON into Call protobuf: "
TASK = {"name": "x", "task_id": {"value": "v"}, "agent_id": {"value": "v"}}


def accept(*tasks: object) -> str:
    launch = {"type": "LAUNCH", "launch": {"task_infos": tasks}}
    return json.dumps({"type": "ACCEPT", "accept": {"operations": [launch]}})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("", PARSE + "syntax error at line 1 near: "),
        ('{"type": bogus}', PARSE + "syntax error at line 1 near: bogus}"),
        ('{"type": "SUBSCR', PARSE + "syntax error at line 1 near: "),
        ('{"a":\n\n[1,2,,3]}', PARSE + "syntax error at line 3 near: ,3]}"),
        ('{"type":"REVIVE"} x', PARSE + "Parsed JSON included non-whitespace trailing characters:  x"),
        ("3", CONVERT + "Expecting a JSON object"),
        ('{"type":3}', CONVERT + "Not expecting a JSON number for field 'type'"),
        ('{"framework_id":"x"}', CONVERT + "Not expecting a JSON string for field 'framework_id'"),
        ('{"framework_id":{}}', CONVERT + "Missing required fields: framework_id.value"),
        ('{"framework_id":{"value":5}}', CONVERT + "Not expecting a JSON number for field 'value'"),
        ('{"subscribe":[]}', CONVERT + "Not expecting a JSON array for field 'subscribe'"),
        ('{"accept":{"offer_ids":"x"}}', CONVERT + "Not expecting a JSON string for field 'offer_ids'"),
        (
            '{"subscribe":{"framework_info":{}}}',
            CONVERT + "Missing required fields: subscribe.framework_info.user, subscribe.framework_info.name",
        ),
        (
            accept({**TASK, "resources": [{"name": "cpus", "type": "NOPE"}]}),
            CONVERT + "Failed to find enum for 'NOPE'",
        ),
        (
            accept({**TASK, "command": {"shell": "yes"}}),
            CONVERT
            + "Failed to parse 'yes' as a JSON boolean for field 'shell': syntax error at line 1 near: yes",
        ),
        (
            '{"acknowledge":{"agent_id":{"value":"v"},"task_id":{"value":"v"},"uuid":"!!!"}}',
            CONVERT + "Failed to base64 decode bytes field 'uuid': Invalid character '!'",
        ),
    ],
)
def test_the_sentence_is_the_masters(body: str, sentence: str) -> None:
    with pytest.raises(MalformedCall) as problem:
        parse_call(body.encode())
    assert str(problem.value) == sentence


def test_what_a_master_forgives_is_forgiven() -> None:
    """Nulls are absent, numbers may be strings, one value stands for a list, unknown optional enums are unset."""
    call = parse_call(
        b'{"type":"NOSUCH","kill":null,"accept":{"offer_ids":{"value":"x"},"filters":{"refuse_seconds":"2"}}}'
    )
    assert call == {"accept": {"offer_ids": [{"value": "x"}], "filters": {"refuse_seconds": 2.0}}}


@pytest.mark.parametrize("text", ["1e999", "-1e999", '"inf"', '"1e400"'])
def test_numbers_beyond_all_bounds_are_bounded(text: str) -> None:
    ports = {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 4711, "end": 1}]}}
    body = accept({**TASK, "resources": [ports]}).replace("4711", text)
    call = parse_call(body.encode())
    resource = call["accept"]["operations"][0]["launch"]["task_infos"][0]["resources"][0]
    assert abs(resource["ranges"]["range"][0]["begin"]) == 2**63


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"labels":' * 50_000, b"1" * 10_000, b"NaN", b"\xff\xfe{"]
)
def test_strange_json_is_refused_not_raised(body: bytes) -> None:
    with pytest.raises(MalformedCall):
        parse_call(body)


def test_mutated_calls_are_calls_or_malformed() -> None:
    """Whatever becomes of a real call by chance, nothing but MalformedCall comes out."""
    chance = random.Random(7)
    cpus = {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}
    original = bytearray(accept({**TASK, "resources": [cpus]}).encode())
    refused = 0
    for _ in range(3000):
        body = bytearray(original)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(body))
            body[place : place + chance.randint(0, 2)] = bytes([chance.randrange(256)])
        try:
            parse_call(bytes(body))
        except MalformedCall:
            refused += 1
    assert refused > 1000
