"""Agents that come back: to a master that knows them, or to the next one, which knows nothing but what they tell.

Part of the local master's state. An agent's hello carries its runs: what it was told to launch, every status since, and
how many of those were acknowledged. So a master that lost its state has frameworks, tasks and unacknowledged updates
again once all agents are back; until then it answers no question about a task that may run on one of them.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from roujiamo.mesos.master import agents, frameworks, offers, quantities, tasks
from roujiamo.mesos.master.state import (
    ACTIVE,
    DISCONNECTED,
    UNREACHABLE,
    Agent,
    AgentInfo,
    MasterState,
    Task,
    ToAgent,
)
from roujiamo.mesos.task_states import TERMINAL_STATES


def lead(state: MasterState, known_agents: list[str], now: float) -> None:
    """This master leads now; `known_agents` were those of the one before it, and may come back for some time."""
    state.recovered_agents = set(known_agents)
    if known_agents:
        settings = state.settings
        # Mesos waits --agent_reregister_timeout, ten minutes, for agents that ping in vain for 75 s before they come.
        when = now + 8 * settings.agent_ping_seconds * settings.agent_ping_timeouts
        state.timers.schedule(when, "recovery")


def come_back(
    state: MasterState,
    agent_id: str,
    info: AgentInfo,
    runs: list[dict[str, Any]],
    now: float,
) -> Agent:
    """Register an agent under the id that it had; book what it runs, and end what it must not run any more."""
    state.recovered_agents.discard(agent_id)
    agent = state.agents.get(agent_id)
    if agent is None:
        agent = agents.add_as(state, agent_id, info, now)
    else:
        agent.ip, agent.port = info.ip, info.port
        if agent.standing == UNREACHABLE:
            agents.come_back(state, agent, now)
        elif agent.standing == DISCONNECTED:
            agent.standing = ACTIVE
    agent.reregistered_at = now
    agent.missed_pings = 0
    for run in runs:
        _take_run(state, agent, run, now)
    _lose_forgotten(state, agent, {_key(run) for run in runs}, now)
    offers.note_availability(state, agent)
    offers.allocate(state, now)
    return agent


def _take_run(state: MasterState, agent: Agent, run: dict[str, Any], now: float) -> None:
    framework_id, task_id = _key(run)
    if framework_id in state.completed_frameworks:
        state.act(ToAgent(agent.id, {"type": "shutdown_framework", "framework_id": framework_id}))
        return
    framework = state.frameworks.get(framework_id)
    if framework is None:
        framework = frameworks.recover(state, run["framework"]["info"], now)
    if any(task.id == task_id and task.agent_id == agent.id for task in framework.completed_tasks):
        state.act(ToAgent(agent.id, {"type": "kill", "framework_id": framework_id, "task_id": task_id}))
        return
    statuses, acknowledged = run["statuses"], run["acknowledged"]
    is_over = bool(statuses) and statuses[-1]["state"] in TERMINAL_STATES
    task = framework.tasks.get(task_id)
    if task is None:
        info = run["task"]
        task = Task(
            id=task_id,
            name=info["name"],
            framework_id=framework_id,
            agent_id=agent.id,
            role=run["framework"]["role"],
            resources=quantities.from_json(info["resources"]),
            labels=info.get("labels", {}).get("labels", []),
            statuses=statuses[:acknowledged],
            holds_resources=False,
        )
        framework.tasks[task_id] = task
        if not is_over:
            tasks.hold_again(state, framework, agent, task)
    elif is_over:
        tasks.release(state, framework, task, now)
    task.is_latest_known = True
    if statuses:
        task.state = statuses[-1]["state"]
    task.pending = deque(statuses[acknowledged:])
    if task.pending:
        tasks.send_first(state, framework, task, now)


def _lose_forgotten(state: MasterState, agent: Agent, reported: set[tuple[str, str]], now: float) -> None:
    """What was launched there and never arrived (mesos.proto, REASON_RECONCILIATION of TASK_DROPPED)."""
    for framework_id, task_id in [key for key in agent.tasks if key not in reported]:
        framework = state.frameworks.get(framework_id)
        if framework is not None:
            task = framework.tasks[task_id]
            answer = "TASK_DROPPED" if framework.is_partition_aware else "TASK_LOST"
            text = "Reconciliation: Task is unknown to the agent"
            status = tasks.master_status(task_id, answer, text, "REASON_RECONCILIATION", now, agent.id)
            tasks.lose(state, framework, task, status, now)


def _key(run: dict[str, Any]) -> tuple[str, str]:
    return run["framework"]["id"], run["task"]["task_id"]["value"]
