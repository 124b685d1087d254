"""Tasks: launching, status updates with their retries, KILL and RECONCILE.

Part of the local master's state. A task's updates queue up here until its framework acknowledges them: only the first
unacknowledged one is sent, again after 10 s, 20 s, 40 s and so on (in Mesos the agent alone keeps this queue; here it
keeps one too, for the next master, and a framework cannot see the difference). States and messages are those of the
recorded traces.

    launch -> TASK_STAGING -> (updates from the agent) -> a terminal state -> acknowledged -> completed
                  \\-> the agent is lost -> TASK_LOST, or TASK_UNREACHABLE until the agent is back
"""

from __future__ import annotations

from typing import Any

from roujiamo.mesos.master import offers, quantities
from roujiamo.mesos.master.state import (
    ACTIVE,
    UNREACHABLE,
    Agent,
    Framework,
    MasterState,
    Task,
    ToAgent,
)
from roujiamo.mesos.master.validation import nanoseconds
from roujiamo.mesos.task_states import TERMINAL_STATES

# The command executor's, where neither the task nor the KILL names one (mesos.proto, KillPolicy).
DEFAULT_GRACE_SECONDS = 3.0


def launch(state: MasterState, framework: Framework, agent: Agent, role: str, info: dict[str, Any]) -> None:
    """Start the task `info` on `agent` with resources that were taken from an accepted offer."""
    task = Task(
        id=info["task_id"]["value"],
        name=info["name"],
        framework_id=framework.id,
        agent_id=agent.id,
        role=role,
        resources=quantities.from_json(info["resources"]),
        labels=info.get("labels", {}).get("labels", []),
    )
    framework.tasks[task.id] = task
    agent.tasks[(framework.id, task.id)] = task
    offers.count_use(state, framework, role, task.resources, is_more=True)
    message = {
        "type": "launch",
        "task": info,
        "container_id": state.new_uuid(),
        "framework": {
            "id": framework.id,
            "name": framework.info["name"],
            "user": framework.info["user"],
            "role": role,
            # For a master that comes after this one.
            "info": framework.info,
            "failover_timeout": framework.info.get("failover_timeout", 0.0),
            "checkpoint": framework.is_checkpointing,
            "knows_killing": "TASK_KILLING_STATE" in framework.capabilities,
        },
    }
    state.act(ToAgent(agent.id, message))


def master_status(
    task_id: str,
    task_state: str,
    message: str,
    reason: str,
    now: float,
    agent_id: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A TaskStatus of the master's own: it has no uuid, and nobody acknowledges it."""
    status: dict[str, Any] = {
        "task_id": {"value": task_id},
        "state": task_state,
        "message": message,
        "source": "SOURCE_MASTER",
        "reason": reason,
    }
    if agent_id is not None:
        status["agent_id"] = {"value": agent_id}
    return {**status, "timestamp": now, **more}


def send_update(state: MasterState, framework: Framework, status: dict[str, Any]) -> None:
    """Queue an UPDATE event."""
    state.send(framework, {"type": "UPDATE", "update": {"status": status}})


def receive_update(
    state: MasterState, agent_id: str, framework_id: str, status: dict[str, Any], now: float
) -> None:
    """Take a TaskStatus that an agent reports."""
    framework = state.frameworks.get(framework_id)
    task = framework.tasks.get(status["task_id"]["value"]) if framework else None
    if framework is None or task is None or task.agent_id != agent_id:
        return
    if status["state"] in TERMINAL_STATES:
        release(state, framework, task, now)
    task.pending.append(status)
    if len(task.pending) == 1:
        send_first(state, framework, task, now)


def acknowledge(state: MasterState, framework: Framework, acknowledged: dict[str, Any], now: float) -> None:
    """ACKNOWLEDGE: the next update of the task may be sent; one that was never sent is nobody's."""
    task = framework.tasks.get(acknowledged["task_id"]["value"])
    if task is None or not task.pending or task.pending[0]["uuid"] != acknowledged["uuid"]:
        return
    status = task.pending.popleft()
    message = {
        "type": "acknowledged",
        "framework_id": framework.id,
        "task_id": task.id,
        "uuid": status["uuid"],
    }
    state.act(ToAgent(task.agent_id, message))
    if status["state"] in TERMINAL_STATES:
        complete(framework, task)
    elif task.pending:
        send_first(state, framework, task, now)


def retry(state: MasterState, key: str, now: float) -> None:
    """A timer: send the first unacknowledged update of a task again, if it still waits."""
    framework_id, _, task_id = key.partition("/")
    framework = state.frameworks.get(framework_id)
    task = framework.tasks.get(task_id) if framework else None
    if (
        framework is None
        or task is None
        or not task.pending
        or task.retry_at > now
        or not framework.is_connected
    ):
        return
    send_update(state, framework, task.pending[0])
    task.retry_seconds = min(task.retry_seconds * 2, state.settings.update_retry_max_seconds)
    _schedule_retry(state, task, now)


def send_pending(state: MasterState, framework: Framework, now: float) -> None:
    """A framework is back: send it what it has not acknowledged."""
    for task in framework.tasks.values():
        if task.pending:
            send_first(state, framework, task, now)


def kill(state: MasterState, framework: Framework, call: dict[str, Any], now: float) -> None:
    """KILL: pass it on to the task's agent; for a task that is not known the answer is a reconciliation."""
    task_id = call["task_id"]["value"]
    agent_id = call.get("agent_id", {}).get("value")
    task = framework.tasks.get(task_id)
    if task is None:
        reconcile(state, framework, task_id, agent_id, now)
        return
    agent = state.agents.get(task.agent_id)
    # A KILL for an agent that does not answer is accepted and lost, as recorded.
    if agent is None or agent.standing != ACTIVE or (agent_id is not None and agent_id != task.agent_id):
        return
    message: dict[str, Any] = {"type": "kill", "framework_id": framework.id, "task_id": task_id}
    grace = call.get("kill_policy", {}).get("grace_period")
    if grace is not None:
        message["grace_seconds"] = max(nanoseconds(grace), 0.0) / 1e9
    state.act(ToAgent(agent.id, message))


def reconcile_all(state: MasterState, framework: Framework, now: float) -> None:
    """RECONCILE without tasks: the latest state of every task that is not over."""
    for task_id, task in list(framework.tasks.items()):
        reconcile(state, framework, task_id, task.agent_id, now)


def reconcile(
    state: MasterState, framework: Framework, task_id: str, agent_id: str | None, now: float
) -> None:
    """RECONCILE of one task (docs/reconciliation.md of Mesos, "Algorithm")."""
    is_aware = framework.is_partition_aware
    task = framework.tasks.get(task_id)
    agent = state.agents.get(agent_id) if agent_id is not None else None
    more: dict[str, Any] = {}
    if task is not None:
        agent_id, answer, message = task.agent_id, task.state, "Latest task state"
        more = last_container(task)
    elif agent_id in state.gone_agents:
        answer, message = "TASK_GONE_BY_OPERATOR" if is_aware else "TASK_LOST", "Task is gone"
    elif agent_id in state.recovered_agents or (agent_id is None and state.recovered_agents):
        # It may well run there: a new master says nothing until it knows (recorded).
        return
    elif agent is not None and agent.standing == UNREACHABLE:
        answer, message = "TASK_UNREACHABLE" if is_aware else "TASK_LOST", "Task is unreachable"
        more["unreachable_time"] = as_time(agent.unreachable_at or now)
    elif agent is not None:
        answer, message = "TASK_GONE" if is_aware else "TASK_LOST", "Task is unknown to the agent"
    else:
        answer, message = "TASK_UNKNOWN" if is_aware else "TASK_LOST", "Task is unknown"
    status = master_status(
        task_id, answer, f"Reconciliation: {message}", "REASON_RECONCILIATION", now, agent_id, **more
    )
    send_update(state, framework, status)


def lose(state: MasterState, framework: Framework, task: Task, status: dict[str, Any], now: float) -> None:
    """A task ends by the master's word: its framework is told, and it is over."""
    release(state, framework, task, now)
    task.state = status["state"]
    task.statuses.append(status)
    task.pending.clear()
    send_update(state, framework, status)
    complete(framework, task)


def release(state: MasterState, framework: Framework, task: Task, now: float) -> None:
    """Give a task's resources back, once."""
    agent = state.agents.get(task.agent_id)
    if agent is not None:
        agent.tasks.pop((framework.id, task.id), None)
    if task.holds_resources:
        task.holds_resources = False
        offers.count_use(state, framework, task.role, task.resources, is_more=False)
        offers.give_back(state, task.agent_id, task.resources)
        offers.allocate_soon(state, now)


def hold_again(state: MasterState, framework: Framework, agent: Agent, task: Task) -> None:
    """A task that was given up runs after all: book its resources again."""
    task.holds_resources = True
    framework.tasks[task.id] = task
    agent.tasks[(framework.id, task.id)] = task
    offers.count_use(state, framework, task.role, task.resources, is_more=True)
    offers.take(state, agent, task.resources)


def complete(framework: Framework, task: Task) -> None:
    """A task is over and its framework knows."""
    framework.tasks.pop(task.id, None)
    framework.completed_tasks.append(task)


def last_container(task: Task) -> dict[str, Any]:
    """{"container_status": ...} as last reported, or {}."""
    for status in reversed(task.statuses):
        if "container_status" in status:
            return {"container_status": status["container_status"]}
    return {}


def as_time(seconds: float) -> dict[str, int]:
    """A TimeInfo."""
    return {"nanoseconds": int(seconds * 1e9)}


def send_first(state: MasterState, framework: Framework, task: Task, now: float) -> None:
    """Send the oldest update that the framework has not acknowledged, and again until it has."""
    status = task.pending[0]
    if not task.statuses or task.statuses[-1] is not status:
        task.statuses.append(status)
        task.state = task.pending[-1]["state"] if task.is_latest_known else status["state"]
    send_update(state, framework, status)
    task.retry_seconds = state.settings.update_retry_seconds
    _schedule_retry(state, task, now)


def _schedule_retry(state: MasterState, task: Task, now: float) -> None:
    task.retry_at = now + task.retry_seconds
    state.timers.schedule(task.retry_at, "update_retry", f"{task.framework_id}/{task.id}")
