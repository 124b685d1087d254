"""Tasks that ran under a real Mesos, run again on a local cluster's agents: each update compared, field by field.

Ids, times, addresses and the folders of the two are told apart from all else, and only that is compared.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.local.conftest import Cluster
from tests.mesos.master.replay import TRACES
from tests.support.scheduler import Scheduler, subscribed, task

# Of a session's tasks all are launched in one ACCEPT, with little for each.
SMALL = [
    {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
    {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
]


# Its environment was 120 kB, which the excerpt spares us: see test_tasks for what comes of that.
SHORTENED = {"env1"}


@dataclass
class Recorded:
    """What one recorded framework was, and did."""

    info: dict[str, Any]
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    kills: dict[str, dict[str, Any]] = field(default_factory=dict)
    updates: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def recorded(name: str) -> dict[str, Recorded]:
    """The frameworks of a recording by the tags of their streams, with the tasks that reached an agent."""
    found: dict[str, Recorded] = {}
    for line in (TRACES / f"{name}.jsonl").read_text().splitlines():
        record = json.loads(line)
        kind, _, tag = (record.get("tag") or "").rpartition(" ")
        body = record.get("body")
        if kind == "SUBSCRIBE" and isinstance(body, dict) and "id" not in body["subscribe"]["framework_info"]:
            found[tag] = Recorded(body["subscribe"]["framework_info"])
        elif kind == "ACCEPT" and isinstance(body, dict):
            for operation in body["accept"]["operations"]:
                for info in operation["launch"]["task_infos"]:
                    found[tag].tasks.setdefault(info["task_id"]["value"], info)
        elif kind == "KILL" and isinstance(body, dict):
            found[tag].kills.setdefault(body["kill"]["task_id"]["value"], body["kill"])
        elif record.get("event", {}).get("type") == "UPDATE" and record["tag"] in found:
            status = record["event"]["update"]["status"]
            if "uuid" in status and status["task_id"]["value"] not in SHORTENED:
                updates = found[record["tag"]].updates.setdefault(status["task_id"]["value"], [])
                if status not in updates:
                    updates.append(status)
    return found


def compared(status: dict[str, Any]) -> Any:
    """A status without what must differ."""
    text = json.dumps({key: value for key, value in status.items() if key not in ("timestamp", "uuid")})
    text = re.sub(r"'/[^']*'", "'PATH'", text)
    text = re.sub(r"container '[^']*'", "container 'ID'", text)
    same = json.loads(text)
    same["agent_id"] = "ID"
    container = same.get("container_status")
    if container is not None:
        container["container_id"] = "ID"
        container["network_infos"][0]["ip_addresses"][0]["ip_address"] = "IP"
        if "executor_pid" in container:
            container["executor_pid"] = 0
    return same


@pytest.mark.parametrize(
    ("name", "tag"), [("basic_life", "A"), ("bad_tasks", "A"), ("misc", "A"), ("misc", "G")]
)
def test_a_recorded_frameworks_tasks_report_the_same_again(shared: Cluster, name: str, tag: str) -> None:
    theirs = recorded(name)[tag]
    assert theirs.updates
    with subscribed(shared.address, **theirs.info) as scheduler:
        offer = scheduler.offer()
        infos = {
            task_id: {**theirs.tasks[task_id], "agent_id": offer["agent_id"], "resources": SMALL}
            for task_id in theirs.updates
        }
        scheduler.accept(offer, *infos.values())
        for task_id in theirs.updates:
            scheduler.update(task_id, (theirs.updates[task_id][0]["state"],))
        kill_those_that_were(scheduler, theirs)
        for task_id, updates in theirs.updates.items():
            scheduler.update(task_id, (updates[-1]["state"],))
        # Each once: what is acknowledged late comes again.
        statuses = {
            status.get("uuid", number): status
            for number, status in enumerate(
                event["update"]["status"] for event in scheduler.events if event["type"] == "UPDATE"
            )
        }
        ours = {
            task_id: [
                compared(status) for status in statuses.values() if status["task_id"]["value"] == task_id
            ]
            for task_id in theirs.updates
        }
        # Some were torn down while they ran, and their end was never told.
        assert {task_id: ours[task_id][: len(updates)] for task_id, updates in theirs.updates.items()} == {
            task_id: [compared(one) for one in updates] for task_id, updates in theirs.updates.items()
        }
        scheduler.call("TEARDOWN")


def kill_those_that_were(scheduler: Scheduler, theirs: Recorded) -> None:
    """KILL as recorded, a moment after their start, when their shells have set their traps."""
    killed = [task_id for task_id in theirs.updates if task_id in theirs.kills]
    if not killed:
        return
    offer = scheduler.offer()
    scheduler.accept(offer, task("moment", "sleep 0.5", offer))
    scheduler.update("moment")
    # Some kills came too late, and were about a task that was over.
    for task_id in killed:
        if theirs.updates[task_id][-1]["state"] == "TASK_KILLED":
            kill = {**theirs.kills[task_id]}
            kill.pop("agent_id", None)
            scheduler.call("KILL", kill=kill)
