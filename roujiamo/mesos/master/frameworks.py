"""A framework's life: SUBSCRIBE, the stream's end, the failover timeout, TEARDOWN.

Part of the local master's state.

    SUBSCRIBE -> connected --stream ends--> waiting for failover_timeout --over--> removed (its tasks are killed)
                  ^   |                          |                                   ^
                  |   '--SUBSCRIBE with its id---|---------(the old stream gets ERROR)
                  '------SUBSCRIBE with its id---'             TEARDOWN -------------'
"""

from __future__ import annotations

import ipaddress
from typing import Any

from roujiamo.mesos.master import maintenance, offers, tasks
from roujiamo.mesos.master.state import (
    MAX_COMPLETED_FRAMEWORKS,
    CloseStream,
    Event,
    Framework,
    MasterState,
    ToAgent,
)
from roujiamo.mesos.master.validation import (
    capabilities_of,
    framework_problem,
    principal_change,
    roles_of,
    update_problem,
)

# What the recorded master was.
VERSION = "1.11.0"


def subscribe(state: MasterState, call: dict[str, Any], principal: str | None, now: float) -> str:
    """SUBSCRIBE: return the id of the new stream. What the framework gets on it is queued; an ERROR ends it."""
    info = call["framework_info"]
    stream_id = state.new_uuid()
    framework_id = info.get("id", {}).get("value", "")
    problem = framework_problem(info)
    framework = state.frameworks.get(framework_id)
    if problem is None and framework_id in state.completed_frameworks:
        problem = "Framework has been removed"
    if problem is None and framework is not None:
        problem = principal_change(framework.info, info)
    if problem is not None:
        _refuse(state, stream_id, problem)
        return stream_id
    if framework is None:
        framework = Framework(
            id=framework_id or state.new_framework_id(),
            info=info,
            principal=principal,
            roles=(),
            registered_at=now,
            capabilities=frozenset(),
        )
        state.frameworks[framework.id] = framework
    else:
        # Whatever it says: these two never change (recorded).
        info = {
            **info,
            **{key: value for key, value in framework.info.items() if key in ("user", "checkpoint")},
        }
        if "checkpoint" not in framework.info:
            info.pop("checkpoint", None)
        framework.reregistered_at = now
        framework.is_recovered = False
        if framework.stream_id is not None:
            _refuse(state, framework.stream_id, "Framework failed over")
            del state.streams[framework.stream_id]
        maintenance.forget_framework(framework)
        offers.remove_all_offers(state, framework)
    _update(framework, info, call.get("suppressed_roles", []))
    framework.stream_id = stream_id
    framework.failover_at = None
    framework.filters.clear()
    state.streams[stream_id] = framework.id
    _welcome(state, framework)
    state.timers.schedule(now + state.settings.heartbeat_interval_seconds, "heartbeat", stream_id)
    offers.allocate(state, now)
    tasks.send_pending(state, framework, now)
    return stream_id


def recover(state: MasterState, info: dict[str, Any], now: float) -> Framework:
    """A framework that an agent tells of, which a master before this one knew: it has its failover timeout to come."""
    framework = Framework(
        id=info["id"]["value"],
        info=info,
        principal=info.get("principal"),
        roles=roles_of(info),
        registered_at=now,
        capabilities=capabilities_of(info),
        is_recovered=True,
    )
    state.frameworks[framework.id] = framework
    _wait_for_return(state, framework, now)
    return framework


def update_framework(
    state: MasterState, framework: Framework, call: dict[str, Any], now: float
) -> str | None:
    """UPDATE_FRAMEWORK: take a new FrameworkInfo, or return what is wrong with it."""
    info = call["framework_info"]
    problem = update_problem(framework.info, info)
    if problem is not None:
        return problem
    _update(framework, info, call.get("suppressed_roles", []))
    for offer in [one for one in framework.offers.values() if one.role not in framework.roles]:
        offers.remove_offer(state, offer, is_rescinded=True)
    offers.allocate(state, now)
    return None


def heartbeat(state: MasterState, stream_id: str, now: float) -> None:
    """A timer: a stream's next HEARTBEAT is due, if the stream still is."""
    if stream_id in state.streams:
        state.act(Event(stream_id, {"type": "HEARTBEAT"}))
        state.timers.schedule(now + state.settings.heartbeat_interval_seconds, "heartbeat", stream_id)


def stream_closed(state: MasterState, stream_id: str, now: float) -> None:
    """The framework closed its stream, or it broke."""
    framework_id = state.streams.pop(stream_id, None)
    framework = state.frameworks.get(framework_id) if framework_id is not None else None
    if framework is None:
        return
    framework.stream_id = None
    maintenance.forget_framework(framework)
    offers.remove_all_offers(state, framework)
    _wait_for_return(state, framework, now)
    failover(state, framework.id, now)
    offers.allocate_soon(state, now)


def failover(state: MasterState, framework_id: str, now: float) -> None:
    """A timer: a framework that has not come back in time is removed."""
    framework = state.frameworks.get(framework_id)
    if framework is not None and framework.failover_at is not None and framework.failover_at <= now:
        remove(state, framework, now)


def remove(state: MasterState, framework: Framework, now: float) -> None:
    """TEARDOWN and the like: kill the framework's tasks, take its offers, end its stream; its id is used up."""
    offers.remove_all_offers(state, framework)
    # The real master sends one message to each agent, and counts the tasks as killed at once.
    for agent_id in dict.fromkeys(task.agent_id for task in framework.tasks.values()):
        state.act(ToAgent(agent_id, {"type": "shutdown_framework", "framework_id": framework.id}))
    for task in list(framework.tasks.values()):
        is_over = not task.holds_resources
        tasks.release(state, framework, task, now)
        if not is_over:
            task.state = "TASK_KILLED"
            task.statuses.append({"state": "TASK_KILLED", "timestamp": now})
        tasks.complete(framework, task)
    if framework.stream_id is not None:
        state.act(CloseStream(framework.stream_id))
        del state.streams[framework.stream_id]
        framework.stream_id = None
    framework.unregistered_at = now
    del state.frameworks[framework.id]
    state.completed_frameworks[framework.id] = framework
    if len(state.completed_frameworks) > MAX_COMPLETED_FRAMEWORKS:
        state.completed_frameworks.popitem(last=False)
    offers.allocate_soon(state, now)


def suppress(framework: Framework, call: dict[str, Any]) -> None:
    """SUPPRESS: no offers until revived, for the call's roles or all."""
    framework.suppressed.update(_roles_in(framework, call))


def revive(state: MasterState, framework: Framework, call: dict[str, Any], now: float) -> None:
    """REVIVE: forget refusals and suppression, for the call's roles or all, and offer at once."""
    roles = _roles_in(framework, call)
    framework.suppressed.difference_update(roles)
    offers.clear_filters(framework, roles)
    offers.allocate(state, now)


def master_info(state: MasterState) -> dict[str, Any]:
    """The MasterInfo of SUBSCRIBED."""
    hostname = state.ip
    try:
        # MasterInfo.ip is the address in network order, read as a little-endian number.
        number = int.from_bytes(ipaddress.IPv4Address(state.ip).packed, "little")
    except ValueError:
        number = 0
    return {
        "id": state.id,
        "ip": number,
        "port": state.port,
        "pid": state.pid,
        "hostname": hostname,
        "version": VERSION,
        "address": {"hostname": hostname, "ip": state.ip, "port": state.port},
        "capabilities": [{"type": "AGENT_UPDATE"}, {"type": "AGENT_DRAINING"}, {}],
    }


def _welcome(state: MasterState, framework: Framework) -> None:
    subscribed = {
        "framework_id": {"value": framework.id},
        "heartbeat_interval_seconds": state.settings.heartbeat_interval_seconds,
        "master_info": master_info(state),
    }
    state.send(framework, {"type": "SUBSCRIBED", "subscribed": subscribed})
    state.send(framework, {"type": "HEARTBEAT"})


def _update(framework: Framework, info: dict[str, Any], suppressed: list[str]) -> None:
    framework.info = {**info, "id": {"value": framework.id}}
    framework.roles = roles_of(info)
    framework.capabilities = capabilities_of(info)
    framework.suppressed = set(suppressed)


def _wait_for_return(state: MasterState, framework: Framework, now: float) -> None:
    framework.failover_at = now + max(0.0, framework.info.get("failover_timeout", 0.0))
    state.timers.schedule(framework.failover_at, "failover", framework.id)


def _refuse(state: MasterState, stream_id: str, message: str) -> None:
    state.act(Event(stream_id, {"type": "ERROR", "error": {"message": message}}))
    state.act(CloseStream(stream_id))


def _roles_in(framework: Framework, call: dict[str, Any]) -> tuple[str, ...]:
    named = call.get("roles", [])
    return tuple(role for role in framework.roles if role in named) if named else framework.roles
