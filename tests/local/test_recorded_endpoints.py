"""A recorded tour of a real master's and agent's endpoints, made again on a local cluster: the answers compared.

With one task running and one that failed, as when it was recorded. Status, type and text must be the recorded ones;
JSON must have the same names, nested alike, with values of the same types, and files the same content. What a local
cluster does not offer is named here.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.local.conftest import cluster
from tests.mesos.master.replay import TRACES
from tests.mesos.master.test_views import SHAPES, shape, without
from tests.support import until
from tests.support.scheduler import get, subscribed

RECORDS = [json.loads(line) for line in (TRACES / "endpoints.jsonl").read_text().splitlines()]
# A long past, quota, and what only this machine or another one has.
ABSENT = {"reregistered_time", "quota", "attributes", "flags", "completed_frameworks"}
NOT_OFFERED = {
    "master": {
        "/metrics/snapshot", "/system/stats.json", "/help", "/", "GET_AGENTS", "GET_TASKS", "GET_FRAMEWORKS",
        "GET_FLAGS", "GET_STATE", "GET_ROLES",
    },
    "agent": {
        "/containers", "/monitor/statistics", "/flags", "/metrics/snapshot", "GET_VERSION", "GET_CONTAINERS",
        "GET_STATE", "GET_TASKS", "GET_AGENT", "READ_FILE", "LIST_FILES",
    },
}  # fmt: skip


@dataclass
class Tour:
    """Where the endpoints are, and what stands for the recording's names of things."""

    addresses: dict[str, str]
    names: dict[str, str]

    def named(self, value: Any) -> Any:
        text = json.dumps(value)
        for name, meaning in self.names.items():
            text = text.replace(name, meaning)
        return json.loads(text)


@pytest.fixture(scope="module")
def tour() -> Iterator[Tour]:
    with cluster("--agents", "1") as one, subscribed(one.address, name="endp") as scheduler:
        # The recorded one went on to count.
        count = "echo héllo; echo err >&2; for i in 0 1 2; do echo line $i; done; sleep 1000"
        scheduler.launch("e1", count)
        scheduler.update("e1", ("TASK_RUNNING",))
        # Later, since the newest comes first in an answer.
        offer = scheduler.launch("e2", "printf abc; exit 7", labels={"labels": [{"key": "k", "value": "v"}]})
        scheduler.update("e2")
        # As in the recording, the rest of that agent is on offer too.
        scheduler.offers(1)
        agent = next(
            one for one in get(one.address, "/slaves")[1]["slaves"] if one["id"] == offer["agent_id"]["value"]
        )
        address = agent["pid"].partition("@")[2]
        (known,) = get(address, "/state")[1]["frameworks"]
        sandboxes = {
            f"{{{each['id']}}}": each["directory"]
            for each in (*known["executors"], *known["completed_executors"])
        }
        until(lambda: get(address, f"/files/read?path={sandboxes['{e1}']}/stdout")[1]["offset"] == 28)
        yield Tour(
            {"master": one.address, "agent": address},
            {
                "{framework}": known["id"],
                "{agent}": agent["id"],
                "{work}": sandboxes["{e1}"].partition("/slaves/")[0],
                **sandboxes,
            },
        )
        scheduler.call("TEARDOWN")


@pytest.mark.parametrize("record", RECORDS, ids=lambda one: f"{one['to']} {one['request']}")
def test_an_endpoint_answers_as_recorded(tour: Tour, record: dict[str, Any]) -> None:
    method, _, path = tour.named(record["request"]).partition(" ")
    host, _, port = tour.addresses[record["to"]].rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        body = json.dumps(tour.named(record["body"])) if "body" in record else None
        connection.request(method, path.replace(" ", "%20"), body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if record.get("body", {}).get("type", path) in NOT_OFFERED[record["to"]]:
        assert response.status in (404, 501)
        return
    assert response.status == record["status"], content
    assert response.headers.get("Content-Type") == record.get("type")
    if "location" in record:
        assert response.headers["Location"] == f"//{tour.addresses['master']}"
    if "text" in record:
        assert content.decode() == record["text"]
    if "json" in record:
        assert json.loads(content) == record["json"]
    if "shape" in record:
        recorded = (
            SHAPES[record["shape"]] if isinstance(record["shape"], str) else tour.named(record["shape"])
        )
        assert without(shape(json.loads(content)), ABSENT) == without(recorded, ABSENT)
