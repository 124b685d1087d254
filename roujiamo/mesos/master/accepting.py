"""ACCEPT and DECLINE: offers become tasks, or go back.

Part of the local master's state. A wrong ACCEPT is answered as a right one (202); its framework learns of the error by
an UPDATE for each task, as from a real master.
"""

from __future__ import annotations

from typing import Any

from roujiamo.mesos.master import offers, quantities, tasks
from roujiamo.mesos.master.quantities import Quantities
from roujiamo.mesos.master.state import Framework, MasterState, Offer
from roujiamo.mesos.master.validation import operation_problem, task_problem


def accept(state: MasterState, framework: Framework, call: dict[str, Any], now: float) -> None:
    """Launch the tasks of an ACCEPT on its offers and give the rest back with the call's filter."""
    ids = [one["value"] for one in call.get("offer_ids", [])]
    problem = _offers_problem(framework, ids)
    accepted = [framework.offers[offer_id] for offer_id in dict.fromkeys(ids) if offer_id in framework.offers]
    for offer in accepted:
        offers.remove_offer(state, offer)
    operations = call.get("operations", [])
    if problem is not None:
        _lose_tasks(state, framework, operations, f"Task launched with invalid offers: {problem}", now)
        offers.allocate_soon(state, now)
        return
    agent = state.agents[accepted[0].agent_id]
    role = accepted[0].role
    left = quantities.total(offer.resources for offer in accepted)
    for operation in operations:
        kind = operation.get("type")
        if kind == "LAUNCH":
            infos = operation.get("launch", {}).get("task_infos", [])
            invalid = operation_problem(infos)
            for info in infos:
                if invalid is not None:
                    _error(state, framework, info, invalid, now)
                else:
                    left = _launch(state, framework, agent.id, role, info, left, now)
        elif kind == "LAUNCH_GROUP":
            _refuse_group(state, framework, operation, now)
        # Other operations (reservations, volumes) are dropped, as a master drops those that it cannot do.
    offers.refuse(state, framework, agent.id, role, left, call.get("filters", {}), now)


def decline(state: MasterState, framework: Framework, call: dict[str, Any], now: float) -> None:
    """Give offers back with the call's filter; ids that are not offers any more are ignored."""
    for one in call.get("offer_ids", []):
        offer = framework.offers.get(one["value"])
        if offer is not None:
            offers.remove_offer(state, offer)
            filters = call.get("filters", {})
            offers.refuse(state, framework, offer.agent_id, offer.role, offer.resources, filters, now)


def _offers_problem(framework: Framework, ids: list[str]) -> str | None:
    if not ids:
        return "No offers specified"
    seen: set[str] = set()
    first: Offer | None = None
    for offer_id in ids:
        if offer_id in seen:
            return f"Duplicate offer {offer_id} in offer list"
        seen.add(offer_id)
    for offer_id in ids:
        offer = framework.offers.get(offer_id)
        if offer is None:
            return f"Offer {offer_id} is no longer valid"
        if first is None:
            first = offer
        elif offer.agent_id != first.agent_id:
            return (
                f"Aggregated offers must belong to one single agent. Offer {offer_id} uses agent {offer.agent_id} "
                f"and agent {first.agent_id}"
            )
        elif offer.role != first.role:
            return (
                f"Aggregated offers must be allocated to the same role. Offer {offer_id} uses role {offer.role} "
                f"but another is using role {first.role}"
            )
    return None


def _launch(
    state: MasterState,
    framework: Framework,
    agent_id: str,
    role: str,
    info: dict[str, Any],
    left: Quantities,
    now: float,
) -> Quantities:
    """Launch one task out of `left`; return what is left then."""
    problem = task_problem(info, framework.tasks, agent_id, left, role)
    if problem is not None:
        _error(state, framework, info, problem, now)
        return left
    agent = state.agents[agent_id]
    needed = quantities.from_json(info["resources"])
    offers.take(state, agent, needed)
    tasks.launch(state, framework, agent, role, info)
    return left - needed


def _error(state: MasterState, framework: Framework, info: dict[str, Any], problem: str, now: float) -> None:
    task_id, agent_id = info["task_id"]["value"], info["agent_id"]["value"]
    status = tasks.master_status(task_id, "TASK_ERROR", problem, "REASON_TASK_INVALID", now, agent_id)
    tasks.send_update(state, framework, status)


def _refuse_group(state: MasterState, framework: Framework, operation: dict[str, Any], now: float) -> None:
    problem = "The local cluster does not run task groups: use LAUNCH with command tasks"
    for info in operation.get("launch_group", {}).get("task_group", {}).get("tasks", []):
        task_id, agent_id = info["task_id"]["value"], info["agent_id"]["value"]
        status = tasks.master_status(
            task_id, "TASK_ERROR", problem, "REASON_TASK_GROUP_INVALID", now, agent_id
        )
        tasks.send_update(state, framework, status)


def _lose_tasks(
    state: MasterState, framework: Framework, operations: list[dict[str, Any]], problem: str, now: float
) -> None:
    for operation in operations:
        infos = operation.get("launch", {}).get("task_infos", [])
        infos = infos + operation.get("launch_group", {}).get("task_group", {}).get("tasks", [])
        for info in infos:
            task_id, agent_id = info["task_id"]["value"], info["agent_id"]["value"]
            status = tasks.master_status(
                task_id, "TASK_LOST", problem, "REASON_INVALID_OFFERS", now, agent_id
            )
            tasks.send_update(state, framework, status)
