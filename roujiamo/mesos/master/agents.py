"""Agents: how they come, answer, go silent, and go; and the master's clock, which finds the silent ones.

Part of the local master's state. The messages come from our own agent processes.

    add -> active --connection breaks--> disconnected --removal time--> unreachable
             ^ \\---pings unanswered----------------------------------------^  |
             '---------------- a message from it (it was only stopped) --------'
"""

from __future__ import annotations

from typing import Any

from roujiamo.mesos.master import frameworks, maintenance, offers, tasks
from roujiamo.mesos.master.state import (
    ACTIVE,
    DISCONNECTED,
    UNREACHABLE,
    Agent,
    AgentInfo,
    Framework,
    MasterState,
    Task,
    ToAgent,
)


def add(state: MasterState, info: AgentInfo, now: float) -> Agent:
    """Register an agent; its resources are offered at once."""
    agent = add_as(state, state.new_agent_id(), info, now)
    offers.allocate(state, now)
    return agent


def add_as(state: MasterState, agent_id: str, info: AgentInfo, now: float) -> Agent:
    """Register an agent under an id; nothing is offered yet."""
    agent = Agent(
        id=agent_id,
        hostname=info.hostname,
        ip=info.ip,
        port=info.port,
        total=info.total,
        attributes=info.attributes,
        registered_at=now,
        available=info.total,
    )
    state.agents[agent.id] = agent
    state.total = state.total + agent.total.scalars
    offers.note_availability(state, agent)
    state.timers.schedule(now + state.settings.agent_ping_seconds, "ping", agent.id)
    return agent


def receive(state: MasterState, agent_id: str, message: dict[str, Any], now: float) -> None:
    """Take a message of an agent: "pong", "update" (with framework_id and status), or "unregister"."""
    agent = state.agents.get(agent_id)
    if agent is None:
        return
    agent.missed_pings = 0
    if agent.standing == UNREACHABLE:
        come_back(state, agent, now)
    if message["type"] == "update":
        tasks.receive_update(state, agent_id, message["framework_id"], message["status"], now)
    elif message["type"] == "unregister":
        _unregister(state, agent, now)


def disconnected(state: MasterState, agent_id: str, now: float) -> None:
    """An agent's connection broke: its process is gone. Tasks of frameworks that do not checkpoint are lost now."""
    agent = state.agents.get(agent_id)
    if agent is None or agent.standing == DISCONNECTED:
        return
    if agent.standing == ACTIVE:
        agent.standing = DISCONNECTED
        _rescind_offers(state, agent)
        for framework, task in _tasks_of(state, agent):
            if not framework.is_checkpointing:
                message = f"Agent {agent.hostname} disconnected"
                _lose(state, framework, task, "TASK_LOST", message, "REASON_AGENT_DISCONNECTED", now)
        offers.note_availability(state, agent)
        agent.removal_at = now + state.settings.agent_removal_seconds
        state.timers.schedule(agent.removal_at, "agent_removal", agent.id)


def tick(state: MasterState, now: float) -> None:
    """Do what is due. The next time anything is due is `state.timers.next_deadline`."""
    is_allocation_due = False
    for kind, key in list(state.timers.due(now)):
        if kind == "allocation":
            state.allocation_at = None
            is_allocation_due = True
        elif kind == "filter":
            offers.allocate_soon(state, now)
        elif kind == "heartbeat":
            frameworks.heartbeat(state, key, now)
        elif kind == "update_retry":
            tasks.retry(state, key, now)
        elif kind == "failover":
            frameworks.failover(state, key, now)
        elif kind == "ping":
            _ping(state, key, now)
        elif kind == "offer_timeout":
            offers.withdraw(state, key, now)
        elif kind == "recovery":
            state.recovered_agents.clear()
        elif kind == "agent_removal":
            agent = state.agents.get(key)
            if agent is not None and agent.standing == DISCONNECTED and agent.removal_at <= now:
                _mark_unreachable(state, agent, now)
    if is_allocation_due:
        offers.allocate(state, now)
        maintenance.send_inverse_offers(state, now)


def _ping(state: MasterState, agent_id: str, now: float) -> None:
    agent = state.agents.get(agent_id)
    if agent is None:
        return
    if agent.standing != DISCONNECTED:
        agent.missed_pings += 1
        if agent.missed_pings > state.settings.agent_ping_timeouts and agent.standing == ACTIVE:
            _mark_unreachable(state, agent, now)
        state.act(ToAgent(agent.id, {"type": "ping"}))
    state.timers.schedule(now + state.settings.agent_ping_seconds, "ping", agent.id)


def _mark_unreachable(state: MasterState, agent: Agent, now: float) -> None:
    agent.standing = UNREACHABLE
    agent.unreachable_at = now
    for framework, task in _tasks_of(state, agent):
        task_state = "TASK_UNREACHABLE" if framework.is_partition_aware else "TASK_LOST"
        tasks.release(state, framework, task, now)
        framework.tasks.pop(task.id, None)
        framework.unreachable_tasks[task.id] = task
        task.state = task_state
        task.pending.clear()
        status = tasks.master_status(
            task.id,
            task_state,
            "health check timed out",
            "REASON_AGENT_REMOVED",
            now,
            agent.id,
            unreachable_time=tasks.as_time(now),
        )
        task.statuses.append(status)
        tasks.send_update(state, framework, status)
    _rescind_offers(state, agent)
    offers.note_availability(state, agent)
    offers.drop_filters_of_agent(state, agent.id)
    state.total = state.total - agent.total.scalars
    _announce_failure(state, agent)


def come_back(state: MasterState, agent: Agent, now: float) -> None:
    """An agent that was given up speaks again: what it runs is back, what was torn down meanwhile is to end."""
    agent.standing = ACTIVE
    agent.reregistered_at = now
    agent.unreachable_at = None
    state.total = state.total + agent.total.scalars
    for framework in state.frameworks.values():
        for task in [one for one in framework.unreachable_tasks.values() if one.agent_id == agent.id]:
            del framework.unreachable_tasks[task.id]
            tasks.hold_again(state, framework, agent, task)
            container = tasks.last_container(task)
            status = tasks.master_status(
                task.id,
                "TASK_RUNNING",
                "Unreachable agent re-reregistered",
                "REASON_AGENT_REREGISTERED",
                now,
                agent.id,
                **container,
            )
            task.state = "TASK_RUNNING"
            task.statuses.append(status)
            tasks.send_update(state, framework, status)
    known = sorted({key[0] for key in agent.tasks})
    state.act(ToAgent(agent.id, {"type": "keep_frameworks", "framework_ids": known}))
    offers.note_availability(state, agent)
    offers.allocate(state, now)


def mark_gone(state: MasterState, agent: Agent, now: float) -> None:
    """The operator's MARK_AGENT_GONE: an agent will never come back, and what is left of it is to stop."""
    state.act(ToAgent(agent.id, {"type": "stop"}))
    state.gone_agents.add(agent.id)
    _remove(state, agent, "TASK_GONE_BY_OPERATOR", "Agent has been marked gone", now)


def shut_down(state: MasterState, agent: Agent, now: float) -> None:
    """The operator's START_MAINTENANCE: the agent's machine is down; PARTITION_AWARE or not, its tasks are lost."""
    state.act(ToAgent(agent.id, {"type": "stop"}))
    message = f"Agent {agent.hostname} removed: Operator initiated 'Machine DOWN'"
    _remove(state, agent, "TASK_LOST", message, now)


def _unregister(state: MasterState, agent: Agent, now: float) -> None:
    _remove(state, agent, "TASK_LOST", f"Agent {agent.hostname} removed: the agent unregistered", now)


def _remove(state: MasterState, agent: Agent, task_state: str, message: str, now: float) -> None:
    """`task_state` is what frameworks are told that are PARTITION_AWARE; the others lose their tasks."""
    for framework, task in _tasks_of(state, agent):
        told = task_state if framework.is_partition_aware else "TASK_LOST"
        _lose(state, framework, task, told, message, "REASON_AGENT_REMOVED", now)
    _rescind_offers(state, agent)
    _announce_failure(state, agent)
    del state.agents[agent.id]
    state.free_agents.pop(agent.id, None)
    state.total = state.total - agent.total.scalars
    offers.drop_filters_of_agent(state, agent.id)


def _lose(
    state: MasterState,
    framework: Framework,
    task: Task,
    task_state: str,
    message: str,
    reason: str,
    now: float,
) -> None:
    status = tasks.master_status(task.id, task_state, message, reason, now, task.agent_id)
    tasks.lose(state, framework, task, status, now)


def _tasks_of(state: MasterState, agent: Agent) -> list[tuple[Framework, Task]]:
    return [
        (state.frameworks[framework_id], task)
        for (framework_id, _), task in agent.tasks.items()
        if framework_id in state.frameworks
    ]


def _rescind_offers(state: MasterState, agent: Agent) -> None:
    for framework in state.frameworks.values():
        for offer_id in [one for one in agent.offers if one in framework.offers]:
            offers.remove_offer(state, framework.offers[offer_id], is_rescinded=True)
    maintenance.rescind_of_agent(state, agent)


def _announce_failure(state: MasterState, agent: Agent) -> None:
    for framework in state.frameworks.values():
        state.send(framework, {"type": "FAILURE", "failure": {"agent_id": {"value": agent.id}}})
