"""Machines that the operator takes down for maintenance, and brings up again (START_MAINTENANCE, STOP_MAINTENANCE).

Part of the local master's state (Mesos's docs/maintenance.md); what it answers was seen on a real 1.11.

    up --in a schedule--> draining --down--> down --up--> up, and in no schedule any more
                             '--out of the schedule--> up

A machine that goes down has its agents removed at once, whatever runs there. On a real cluster the operator starts them
again when the work is done; here the cluster does, as there is nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from roujiamo.mesos.master import agents
from roujiamo.mesos.master.maintenance import machine_key, shown_machine
from roujiamo.mesos.master.messages import MalformedCall, parse_message
from roujiamo.mesos.master.state import MasterState, StartMachine


def parse_machines(value: Any) -> list[dict[str, Any]]:
    """The machines in the body of /machine/down and /machine/up; raises MalformedCall with the master's sentence."""
    if not isinstance(value, list):
        raise MalformedCall("Unexpected JSON type parsed")
    return [parse_message("Machine", one) for one in value]


def bring_down(state: MasterState, machines: list[dict[str, Any]], now: float) -> str | None:
    """Take machines down, all or none; return what is wrong with that, in the master's words."""
    problem = _problem(
        state, machines, is_right=lambda key: _is_draining(state, key), mode="DRAINING", way="down"
    )
    if problem is not None:
        return problem
    for machine in machines:
        key = machine_key(machine)
        state.down_machines[key] = None
        for agent in [one for one in state.agents.values() if (one.hostname.lower(), one.ip) == key]:
            agents.shut_down(state, agent, now)
    return None


def bring_up(state: MasterState, machines: list[dict[str, Any]]) -> str | None:
    """Bring machines up, all or none; return what is wrong with that, in the master's words."""
    problem = _problem(state, machines, is_right=state.down_machines.__contains__, mode="DOWN", way="up")
    if problem is not None:
        return problem
    keys = {machine_key(machine) for machine in machines}
    windows = []
    for window in state.schedule.get("windows", []):
        left = [machine for machine in window["machine_ids"] if machine_key(machine) not in keys]
        if left:
            windows.append({**window, "machine_ids": left})
    state.schedule = {"windows": windows} if windows else {}
    for key in keys:
        del state.down_machines[key]
        state.act(StartMachine(key[0]))
    return None


def _problem(
    state: MasterState,
    machines: list[dict[str, Any]],
    is_right: Callable[[tuple[str, str]], bool],
    mode: str,
    way: str,
) -> str | None:
    if not machines:
        return "List of machines is empty"
    seen = set()
    for machine in machines:
        if not machine.get("hostname") and not machine.get("ip"):
            return "Both 'hostname' and 'ip' for a machine are empty"
        if machine_key(machine) in seen:
            return f"Machine '{shown_machine(machine)}' appears more than once in the schedule"
        seen.add(machine_key(machine))
    known = {(agent.hostname.lower(), agent.ip) for agent in state.agents.values()} | state.scheduled_machines
    for machine in machines:
        key = machine_key(machine)
        if key not in known:
            return f"Machine '{shown_machine(machine)}' is not part of a maintenance schedule"
        if not is_right(key):
            return f"Machine '{shown_machine(machine)}' is not in {mode} mode and cannot be brought {way}"
    return None


def _is_draining(state: MasterState, key: tuple[str, str]) -> bool:
    scheduled = {
        machine_key(one) for window in state.schedule.get("windows", []) for one in window["machine_ids"]
    }
    return key in scheduled and key not in state.down_machines
