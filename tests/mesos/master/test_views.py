"""The read endpoints show what those of the recorded Mesos 1.11 showed: the same names, nested alike, of one type."""

from __future__ import annotations

import json
from typing import Any

import pytest

from roujiamo.mesos.master import accepting, tasks
from roujiamo.mesos.master.http_api import HttpApi
from roujiamo.mesos.master.http_messages import Request
from tests.mesos.master.replay import TRACES
from tests.mesos.master.test_state import UUID, Bench, task

SHAPES: dict[str, Any] = json.loads((TRACES / "shapes.json").read_text())

# What only appears in a cluster with a longer past (agents registered with this master for the second time), or what
# a local cluster has none of (quota).
ABSENT = {"reregistered_time", "quota"}


def shape(value: Any) -> Any:
    """`value` with a type's name in place of each number and text, and one element of each list."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"


def without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: without(item, names) for key, item in value.items() if key not in names}
    return [without(item, names) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def bench() -> Bench:
    """As in the recording: three agents, a framework with one task running, one with a label failed, and offers."""
    bench = Bench(count=3)
    framework = bench.subscribe()
    offer = next(iter(framework.offers.values()))
    labelled = {**task("e2", offer.agent_id), "labels": {"labels": [{"key": "k", "value": "v"}]}}
    launch = {"task_infos": [task("e1", offer.agent_id), labelled]}
    call = {
        "offer_ids": [{"value": offer.id}],
        "operations": [{"type": "LAUNCH", "launch": launch}],
        "filters": {"refuse_seconds": 0},
    }
    accepting.accept(bench.state, framework, call, bench.now)
    for task_id, state in (("e1", "TASK_RUNNING"), ("e2", "TASK_FAILED")):
        bench.wait(0.1)
        bench.report(framework, offer.agent_id, task_id, state)
        acknowledged = {"task_id": {"value": task_id}, "uuid": UUID}
        tasks.acknowledge(bench.state, framework, acknowledged, bench.now)
        for one in (*framework.tasks.values(), *framework.completed_tasks):
            address = {"ip_addresses": [{"protocol": "IPv4", "ip_address": "127.0.1.3"}]}
            container = {"container_id": {"value": "c"}, "network_infos": [address], "executor_pid": 1}
            for status in one.statuses:
                status["container_status"] = container
    bench.wait(1)
    return bench


@pytest.mark.parametrize("endpoint", [name for name in SHAPES if name.startswith("master ")])
def test_the_masters_endpoints_have_the_recorded_shape(bench: Bench, endpoint: str) -> None:
    path = endpoint.partition(" ")[2]
    answer = HttpApi(bench.state, None, {}).answer(Request("GET", path), bench.now)
    ours = without(shape(json.loads(answer.body)), ABSENT)
    assert ours == without(SHAPES[endpoint], ABSENT)
