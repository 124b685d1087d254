"""The read endpoints: what /state, /slaves, /frameworks, /tasks and the like show of the master's state.

Part of the local master's state. Shapes and names are those of the recorded Mesos 1.11. A real master knows a thousand
more things; what is left out here is left out, not invented.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from roujiamo.mesos.master import quantities, quota
from roujiamo.mesos.master.frameworks import VERSION
from roujiamo.mesos.master.quantities import Quantities
from roujiamo.mesos.master.state import ACTIVE, UNREACHABLE, Agent, Framework, MasterState, Offer, Task

# `build_user` tells whoever wonders that this is no Mesos.
BUILD = {
    "build_date": "2020-11-24 15:38:37",
    "build_time": 1606232317.0,
    "build_user": "roujiamo local cluster",
    "git_sha": "",
    "git_tag": VERSION,
    "version": VERSION,
}

AGENT_CAPABILITIES = [
    "MULTI_ROLE",
    "HIERARCHICAL_ROLE",
    "RESERVATION_REFINEMENT",
    "RESOURCE_PROVIDER",
    "RESIZE_VOLUME",
    "AGENT_OPERATION_FEEDBACK",
    "AGENT_DRAINING",
    "TASK_RESOURCE_LIMITS",
]

COUNTED_STATES = (
    "TASK_STAGING",
    "TASK_STARTING",
    "TASK_RUNNING",
    "TASK_KILLING",
    "TASK_FINISHED",
    "TASK_KILLED",
    "TASK_FAILED",
    "TASK_LOST",
    "TASK_ERROR",
    "TASK_UNREACHABLE",
)

# How many tasks /tasks shows where the query does not say (Mesos's TASK_LIMIT).
TASK_LIMIT = 100


def whole_state(state: MasterState, flags: dict[str, str]) -> dict[str, Any]:
    """/state."""
    standings = Counter(agent.standing for agent in state.agents.values())
    return {
        **{
            key: BUILD[key]
            for key in ("version", "git_sha", "git_tag", "build_date", "build_time", "build_user")
        },
        "start_time": state.started_at,
        "elected_time": state.started_at,
        "id": state.id,
        "pid": state.pid,
        "hostname": state.ip,
        "capabilities": ["AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"],
        "activated_slaves": float(standings[ACTIVE]),
        "deactivated_slaves": float(len(state.agents) - standings[ACTIVE] - standings[UNREACHABLE]),
        "unreachable_slaves": float(standings[UNREACHABLE]),
        "leader": state.pid,
        "leader_info": {"id": state.id, "pid": state.pid, "port": state.port, "hostname": state.ip},
        "flags": flags,
        "slaves": [_agent(state, agent) for agent in _registered(state)],
        "recovered_slaves": [],
        **all_frameworks(state),
        "orphan_tasks": [],
    }


def state_summary(state: MasterState) -> dict[str, Any]:
    """/state-summary."""
    agents = []
    for agent in _registered(state):
        mine = [task for framework in _all(state) for task in _tasks(framework) if task.agent_id == agent.id]
        ids = sorted({task.framework_id for task in mine if task.framework_id in state.frameworks})
        agents.append({**_agent(state, agent), **_counts(mine), "framework_ids": ids})
    frameworks = []
    for framework in state.frameworks.values():
        tasks = list(_tasks(framework))
        entry = _framework(state, framework)
        kept = "id name used_resources offered_resources capabilities hostname webui_url active connected recovered"
        agent_ids = sorted({task.agent_id for task in tasks})
        frameworks.append(
            {**{key: entry[key] for key in kept.split()}, **_counts(tasks), "slave_ids": agent_ids}
        )
    return {"hostname": state.ip, "slaves": agents, "frameworks": frameworks}


def agents(state: MasterState, agent_id: str | None = None) -> dict[str, Any]:
    """/slaves, of all agents or one."""
    shown = []
    for agent in _registered(state):
        if agent_id is not None and agent.id != agent_id:
            continue
        full = {
            "reserved_resources_full": {},
            "unreserved_resources_full": agent.total.as_json(),
            "used_resources_full": _used(agent).as_json("*"),
            "offered_resources_full": _offered(state, agent).in_offer_order().as_json("*"),
        }
        shown.append({**_agent(state, agent), **full})
    return {"slaves": shown, "recovered_slaves": []}


def all_frameworks(state: MasterState, framework_id: str | None = None) -> dict[str, Any]:
    """/frameworks, all or one."""

    def shown(frameworks: Iterable[Framework]) -> list[dict[str, Any]]:
        return [_framework(state, one) for one in frameworks if framework_id in (None, one.id)]

    return {
        "frameworks": shown(state.frameworks.values()),
        "completed_frameworks": shown(state.completed_frameworks.values()),
        "unregistered_frameworks": [],
    }


def all_tasks(state: MasterState, query: dict[str, str]) -> dict[str, Any]:
    """/tasks: newest first, with the query's framework_id, task_id, order, limit and offset."""
    framework_id, task_id = query.get("framework_id"), query.get("task_id")
    tasks = [
        task
        for framework in _all(state)
        if framework_id in (None, framework.id)
        for task in _tasks(framework)
        if task_id in (None, task.id)
    ]
    tasks.sort(key=_started_at, reverse=query.get("order", "desc") != "asc")
    offset, limit = _whole(query.get("offset"), 0), _whole(query.get("limit"), TASK_LIMIT)
    return {"tasks": [task_as_json(task) for task in tasks[offset : offset + limit]]}


def roles(state: MasterState) -> dict[str, Any]:
    """/roles."""
    members: dict[str, list[Framework]] = {role: [] for role in state.quotas}
    for framework in state.frameworks.values():
        for role in framework.roles:
            members.setdefault(role, []).append(framework)
    shown = []
    for role, frameworks in sorted(members.items()):
        used = quantities.total(
            task.resources
            for framework in frameworks
            for task in framework.tasks.values()
            if task.role == role and task.holds_resources
        )
        offered = quantities.total(
            offer.resources
            for framework in frameworks
            for offer in framework.offers.values()
            if offer.role == role
        )
        shown.append(
            {
                "name": role,
                "weight": 1.0,
                "resources": (used + offered).numbers(),
                "allocated": used.numbers(),
                "offered": offered.numbers(),
                "reserved": {},
                "quota": quota.of_role(state, role),
                "frameworks": [framework.id for framework in frameworks],
            }
        )
    return {"roles": shown}


def task_as_json(task: Task) -> dict[str, Any]:
    """A task as all the endpoints show it."""
    entry: dict[str, Any] = {
        "id": task.id,
        "name": task.name,
        "framework_id": task.framework_id,
        "executor_id": "",
        "slave_id": task.agent_id,
        "state": task.state,
        "resources": task.resources.summary(),
        "role": task.role,
        "statuses": [status_as_json(status) for status in task.statuses],
    }
    if task.labels:
        entry["labels"] = task.labels
    return entry


def status_as_json(status: dict[str, Any]) -> dict[str, Any]:
    """A status as the endpoints show it."""
    entry = {"state": status["state"], "timestamp": status["timestamp"]}
    if "container_status" in status:
        container = {key: value for key, value in status["container_status"].items() if key != "executor_pid"}
        entry["container_status"] = container
    return entry


def agent_resources(total: Quantities) -> dict[str, Any]:
    """The resource fields that a master and the agent itself show alike."""
    return {
        "resources": total.summary(),
        "reserved_resources": {},
        "unreserved_resources": total.summary(),
    }


def attributes_as_json(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """Attributes as the endpoints show them: name to value."""
    return {
        one["name"]: one["text"]["value"] if "text" in one else one["scalar"]["value"] for one in attributes
    }


def _agent(state: MasterState, agent: Agent) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": agent.id,
        "hostname": agent.hostname,
        "port": agent.port,
        "attributes": attributes_as_json(agent.attributes),
        "pid": agent.pid,
        "registered_time": agent.registered_at,
    }
    if agent.reregistered_at is not None:
        entry["reregistered_time"] = agent.reregistered_at
    return {
        **entry,
        **agent_resources(agent.total),
        "used_resources": _used(agent).summary(),
        "offered_resources": _offered(state, agent).summary(),
        "active": agent.standing == ACTIVE,
        "deactivated": False,
        "version": VERSION,
        "capabilities": AGENT_CAPABILITIES,
    }


def _framework(state: MasterState, framework: Framework) -> dict[str, Any]:
    info = framework.info
    used = quantities.total(task.resources for task in framework.tasks.values() if task.holds_resources)
    offered = quantities.total(offer.resources for offer in framework.offers.values())
    entry: dict[str, Any] = {
        "id": framework.id,
        "name": info["name"],
        "used_resources": used.summary(),
        "offered_resources": offered.summary(),
        "capabilities": [one["type"] for one in info.get("capabilities", []) if "type" in one],
        "hostname": info.get("hostname", ""),
        "webui_url": info.get("webui_url", ""),
        "active": framework.is_connected,
        "connected": framework.is_connected,
        "recovered": framework.is_recovered,
        "user": info["user"],
        "failover_timeout": float(info.get("failover_timeout", 0.0)),
        "checkpoint": framework.is_checkpointing,
        "registered_time": framework.registered_at,
        "unregistered_time": framework.unregistered_at,
        "resources": (used + offered).summary(),
    }
    if info.get("principal"):
        entry["principal"] = info["principal"]
    if framework.reregistered_at is not None:
        entry["reregistered_time"] = framework.reregistered_at
    if framework.is_multi_role:
        entry["roles"] = list(framework.roles)
    else:
        entry["role"] = info.get("role", "*")
    if "labels" in info:
        entry["labels"] = info["labels"].get("labels", [])
    return {
        **entry,
        "tasks": [task_as_json(task) for task in framework.tasks.values()],
        "unreachable_tasks": [task_as_json(task) for task in framework.unreachable_tasks.values()],
        "completed_tasks": [task_as_json(task) for task in framework.completed_tasks],
        "offers": [_offer(offer) for offer in framework.offers.values()],
        "executors": [],
        "offer_constraints": {},
    }


def _offer(offer: Offer) -> dict[str, Any]:
    return {
        "id": offer.id,
        "framework_id": offer.framework_id,
        "allocation_info": {"role": offer.role},
        "slave_id": offer.agent_id,
        "resources": offer.resources.summary(),
    }


def _registered(state: MasterState) -> list[Agent]:
    return [agent for agent in state.agents.values() if agent.standing != UNREACHABLE]


def _all(state: MasterState) -> list[Framework]:
    return [*state.frameworks.values(), *state.completed_frameworks.values()]


def _tasks(framework: Framework) -> Iterable[Task]:
    yield from framework.tasks.values()
    yield from framework.unreachable_tasks.values()
    yield from framework.completed_tasks


def _used(agent: Agent) -> Quantities:
    return quantities.total(task.resources for task in agent.tasks.values() if task.holds_resources)


def _offered(state: MasterState, agent: Agent) -> Quantities:
    return agent.total - agent.available - _used(agent) if agent.offers else Quantities()


def _counts(tasks: Iterable[Task]) -> dict[str, int]:
    counted = Counter(task.state for task in tasks)
    return {name: counted[name] for name in COUNTED_STATES}


def _started_at(task: Task) -> float:
    return float(task.statuses[0]["timestamp"]) if task.statuses else 0.0


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else otherwise
