"""Whatever a client sends, the master answers: no call, however bent, raises or unbalances it."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from roujiamo.mesos.master.http_api import HttpApi
from roujiamo.mesos.master.http_messages import Request
from roujiamo.mesos.master.state import Framework, ToAgent
from tests.mesos.master.test_state import UUID, Bench, task

ODD: list[Any] = [
    None, True, 0, -1, 3.7, 1e400, 2**70, "", "x", "*", "..", "a/b", "\0", "\ud800", "ü" * 300,
    [], [[]], {}, {"value": "x"},
]  # fmt: skip


def calls(framework: Framework) -> list[dict[str, Any]]:
    """One good call of each kind, with the offers and tasks that there are now."""
    offers = [{"value": offer_id} for offer_id in framework.offers] or [{"value": "gone"}]
    agent_id = next((offer.agent_id for offer in framework.offers.values()), "gone")
    task_id = {"value": next(iter(framework.tasks), "none")}
    info = {
        **task(f"t{len(framework.tasks)}", agent_id),
        "container": {"type": "MESOS", "mesos": {"image": {"type": "DOCKER"}}},
        "kill_policy": {"grace_period": {"nanoseconds": 5}},
        "max_completion_time": {"nanoseconds": 5},
        "labels": {"labels": [{"key": "k", "value": "v"}]},
    }
    info["command"] = {
        "value": "true",
        "uris": [{"value": "file:///x", "executable": True}],
        "environment": {"variables": [{"name": "A", "value": "b"}]},
        "arguments": ["x"],
    }
    reserved = {**info["resources"][0], "reservations": [{"type": "DYNAMIC", "role": "r"}]}
    ports = {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31000, "end": 31002}]}}
    odd = {**info, "task_id": {"value": "odd"}, "resources": [reserved, ports]}
    launch = {"type": "LAUNCH", "launch": {"task_infos": [info, odd]}}
    group = {
        "type": "LAUNCH_GROUP",
        "launch_group": {"executor": {"executor_id": {"value": "e"}}, "task_group": {"tasks": [info]}},
    }
    bodies: dict[str, dict[str, Any]] = {
        "ACCEPT": {"offer_ids": offers[:1], "operations": [launch, group], "filters": {"refuse_seconds": 1}},
        "DECLINE": {"offer_ids": offers, "filters": {"refuse_seconds": 0}},
        "KILL": {"task_id": task_id, "agent_id": {"value": agent_id}, "kill_policy": info["kill_policy"]},
        "ACKNOWLEDGE": {"task_id": task_id, "agent_id": {"value": agent_id}, "uuid": UUID},
        "RECONCILE": {"tasks": [{"task_id": task_id, "agent_id": {"value": agent_id}}]},
        "REVIVE": {"roles": ["*"]},
        "SUPPRESS": {"roles": ["*"]},
        "SHUTDOWN": {"executor_id": task_id, "agent_id": {"value": agent_id}},
        "MESSAGE": {"executor_id": task_id, "agent_id": {"value": agent_id}, "data": "aGk="},
        "UPDATE_FRAMEWORK": {"framework_info": framework.info, "suppressed_roles": []},
    }
    found = [
        {"type": kind, "framework_id": {"value": framework.id}, kind.lower(): body}
        for kind, body in bodies.items()
    ]
    subscribe = {
        "framework_info": {**framework.info, "capabilities": [{"type": "MULTI_ROLE"}], "roles": ["r"]}
    }
    return [*found, {"type": "SUBSCRIBE", "framework_id": framework.info["id"], "subscribe": subscribe}]


def bend(value: Any, chance: random.Random) -> Any:
    """The same JSON with one thing in it replaced, removed or doubled."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        if chance.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: bend(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        if chance.random() < 0.1:
            return value + value
        return [*value[:place], bend(value[place], chance), *value[place + 1 :]]
    return copy.deepcopy(chance.choice(ODD))


@pytest.mark.parametrize("seed", range(8))
def test_bent_calls_are_answered(seed: int) -> None:
    """Each answer has a status of the API, each message to an agent is JSON, and the read endpoints still answer."""
    chance = random.Random(seed)
    bench = Bench(count=3)
    api = HttpApi(bench.state, None, {})
    framework = bench.subscribe(failover_timeout=60)
    statuses = set()
    for _ in range(400):
        call = chance.choice(calls(framework))
        if chance.random() < 0.8:
            call = bend(call, chance)
        headers = {"content-type": "application/json"}
        if not isinstance(call, dict) or call.get("type") != "SUBSCRIBE":
            headers["mesos-stream-id"] = framework.stream_id or ""
        request = Request("POST", "/api/v1/scheduler", {}, headers, json.dumps(call).encode())
        answer = api.answer(request, bench.now)
        statuses.add(answer.status)
        for action in bench.state.take_actions():
            json.dumps(action.message if isinstance(action, ToAgent) else str(action)).encode()
        if framework.id not in bench.state.frameworks or framework.stream_id is None:
            framework = bench.subscribe(failover_timeout=60)
        bench.wait(chance.random())
        for path in ("/state", "/state-summary", "/slaves", "/tasks", "/roles"):
            assert api.answer(Request("GET", path), bench.now).status == 200
    assert {200, 202, 400} <= statuses <= {200, 202, 400, 403}
