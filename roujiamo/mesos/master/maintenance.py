"""Maintenance: the operator's schedule, and inverse offers, which ask frameworks to leave an agent in time.

Part of the local master's state (Mesos's docs/maintenance.md). The schedule names machines by hostname and address
together, as agents do. A new schedule withdraws all offers (recorded); offers of an agent that is to be maintained then
carry its `unavailability`, and who has anything of it gets an inverse offer, again and again, whatever it answers: the
answers are for the operator to see. Taking machines down is in `machines`.
"""

from __future__ import annotations

from typing import Any

from roujiamo.mesos.master import offers
from roujiamo.mesos.master.http_messages import compact
from roujiamo.mesos.master.messages import MalformedCall, parse_message
from roujiamo.mesos.master.state import ACTIVE, Agent, Framework, MasterState


def schedule_problem(schedule: dict[str, Any]) -> str | None:
    """What is wrong with a schedule, in the master's words."""
    seen: set[str] = set()
    for window in schedule.get("windows", []):
        if not window.get("machine_ids"):
            return "List of machines in the maintenance window is empty"
        if window["unavailability"].get("duration", {}).get("nanoseconds", 0) < 0:
            return "Unavailability 'duration' is negative"
        for machine in window["machine_ids"]:
            if not machine.get("hostname") and not machine.get("ip"):
                return "Both 'hostname' and 'ip' for a machine are empty"
            shown = shown_machine(machine)
            if shown in seen:
                return f"Machine '{shown}' appears more than once in the schedule"
            seen.add(shown)
    return None


def parse_schedule(value: Any) -> dict[str, Any]:
    """The schedule that JSON stands for; raises MalformedCall with the master's sentence."""
    schedule = parse_message("Schedule", value)
    problem = schedule_problem(schedule)
    if problem is not None:
        raise MalformedCall(problem)
    return schedule


def down_problem(state: MasterState, schedule: dict[str, Any]) -> str | None:
    """What is wrong with a schedule while machines are down: they must stand in it."""
    scheduled = {machine_key(one) for window in schedule.get("windows", []) for one in window["machine_ids"]}
    for key in state.down_machines:
        if key not in scheduled:
            return f"Machine '{shown_machine(_machine(*key))}' is deactivated and cannot be removed from the schedule"
    return None


def update_schedule(state: MasterState, schedule: dict[str, Any], now: float) -> None:
    """Take a new schedule instead of the one before."""
    windows = schedule.get("windows", [])
    state.scheduled_machines.update(machine_key(one) for window in windows for one in window["machine_ids"])
    state.schedule = {"windows": windows} if windows else {}
    state.inverse_answers.clear()
    for framework in state.frameworks.values():
        for inverse_id in list(framework.inverse_offers):
            _rescind(state, framework, inverse_id)
        framework.inverse_filters.clear()
        for offer in list(framework.offers.values()):
            offers.remove_offer(state, offer, is_rescinded=True)
    offers.allocate_soon(state, now)


def status(state: MasterState) -> dict[str, Any]:
    """Which machines are down or being drained, and what their frameworks answered."""
    shown: dict[str, Any] = {}
    if state.down_machines:
        shown["down_machines"] = [_machine(*key) for key in state.down_machines]
    draining = []
    for window in state.schedule.get("windows", []):
        for machine in window["machine_ids"]:
            if machine_key(machine) in state.down_machines:
                continue
            entry: dict[str, Any] = {"id": _machine(machine.get("hostname", ""), machine.get("ip", ""))}
            answers = [
                answer
                for agent in state.agents.values()
                if _machine(agent.hostname, agent.ip) == entry["id"]
                for answer in state.inverse_answers.get(agent.id, {}).values()
            ]
            if answers:
                entry["statuses"] = answers
            draining.append(entry)
    if draining:
        shown["draining_machines"] = draining
    return shown


def send_inverse_offers(state: MasterState, now: float) -> None:
    """With each allocation: ask whoever has something of an agent that is to be maintained, and was not asked yet."""
    if not state.schedule:
        return
    draining = [agent for agent in state.agents.values() if offers.unavailability_of(state, agent)]
    for framework in state.frameworks.values():
        if not framework.is_connected:
            continue
        asked = set(framework.inverse_offers.values())
        new = [
            _make(state, framework, agent)
            for agent in draining
            if agent.standing == ACTIVE
            and agent.id not in asked
            and framework.inverse_filters.get(agent.id, 0.0) <= now
            and _has_something(framework, agent)
        ]
        if new:
            state.send(framework, {"type": "INVERSE_OFFERS", "inverse_offers": {"inverse_offers": new}})


def answer(state: MasterState, framework: Framework, kind: str, call: dict[str, Any], now: float) -> None:
    """ACCEPT_INVERSE_OFFERS and DECLINE_INVERSE_OFFERS; ids that are no inverse offers any more are ignored."""
    seconds = offers.refuse_seconds(call.get("filters", {}))
    for one in call.get("inverse_offer_ids", []):
        agent_id = framework.inverse_offers.pop(one["value"], None)
        if agent_id is None:
            continue
        state.inverse_answers.setdefault(agent_id, {})[framework.id] = {
            "framework_id": {"value": framework.id},
            "status": kind,
            "timestamp": {"nanoseconds": int(now * 1e9)},
        }
        expires = now + seconds
        framework.inverse_filters[agent_id] = expires
        state.timers.schedule(expires, "filter")
    offers.allocate_soon(state, now)


def forget_framework(framework: Framework) -> None:
    """A framework's stream has ended."""
    framework.inverse_offers.clear()
    framework.inverse_filters.clear()


def rescind_of_agent(state: MasterState, agent: Agent) -> None:
    """An agent is gone: nobody needs to leave it any more."""
    for framework in state.frameworks.values():
        for inverse_id in [key for key, value in framework.inverse_offers.items() if value == agent.id]:
            _rescind(state, framework, inverse_id)


def _rescind(state: MasterState, framework: Framework, inverse_id: str) -> None:
    del framework.inverse_offers[inverse_id]
    event = {"inverse_offer_id": {"value": inverse_id}}
    state.send(framework, {"type": "RESCIND_INVERSE_OFFER", "rescind_inverse_offer": event})


def _make(state: MasterState, framework: Framework, agent: Agent) -> dict[str, Any]:
    inverse_id = state.new_offer_id()
    framework.inverse_offers[inverse_id] = agent.id
    return {
        "id": {"value": inverse_id},
        "url": offers.url_of(agent),
        "framework_id": {"value": framework.id},
        "agent_id": {"value": agent.id},
        "unavailability": offers.unavailability_of(state, agent),
    }


def _has_something(framework: Framework, agent: Agent) -> bool:
    return any(key[0] == framework.id for key in agent.tasks) or bool(agent.offers & framework.offers.keys())


def machine_key(machine: dict[str, Any]) -> tuple[str, str]:
    """The hostname and the address that a machine is known by."""
    return machine.get("hostname", "").lower(), machine.get("ip", "")


def shown_machine(machine: dict[str, Any]) -> str:
    """A machine as a master writes it in its sentences."""
    return compact(machine).decode()


def _machine(hostname: str, ip: str) -> dict[str, str]:
    machine = {"hostname": hostname.lower(), "ip": ip}
    return {key: value for key, value in machine.items() if value}
