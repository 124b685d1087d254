"""Quota: how much of the cluster a role may use at most (UPDATE_QUOTA, GET_QUOTA, GET /quota).

Part of the local master's state (Mesos's docs/quota.md); what it answers was seen on a real 1.11. Limits only: what a
role is guaranteed, other roles would have to be kept from, which this allocator does not do.

A limit bounds what is offered: the free part of an agent is cut down to what the role may still have, and what is left
of the agent goes to other roles. What a role's children have counts against its limit, and yet does not bound them.
"""

from __future__ import annotations

from typing import Any

from roujiamo.mesos.master import offers, quantities
from roujiamo.mesos.master.quantities import Quantities
from roujiamo.mesos.master.state import MasterState
from roujiamo.mesos.master.validation import role_problem

# Mesos's own bound for a scalar (src/master/quota.cpp says a trillion).
MAX_AMOUNT = 1e12

GUARANTEES = "The local cluster keeps no guarantees: give limits only"


def update(state: MasterState, call: dict[str, Any], now: float) -> str | None:
    """UPDATE_QUOTA: take the configurations, all or none; return what is wrong, in the master's words."""
    configs = call.get("quota_configs", [])
    for config in configs:
        problem = _problem(state, config, is_forced=call.get("force", False))
        if problem is not None:
            return problem
    for config in configs:
        kept = {key: config[key] for key in ("role", "limits") if config.get(key)}
        state.quotas[config["role"]] = kept
        _withdraw(state, config["role"])
    offers.allocate_soon(state, now)
    return None


def as_json(state: MasterState) -> dict[str, Any]:
    """GET_QUOTA's status, and /quota."""
    if not state.quotas:
        return {}
    return {"infos": [{"role": role} for role in state.quotas], "configs": list(state.quotas.values())}


def of_role(state: MasterState, role: str) -> dict[str, Any]:
    """What /roles shows of a role's quota."""
    limits = offers.limits_of(state, role)
    shown = {name: value / 1000 for name, value in limits.items()}
    return {"role": role, "guarantee": {}, "limit": shown, "consumed": _consumed(state, role).numbers()}


def _problem(state: MasterState, config: dict[str, Any], is_forced: bool) -> str | None:
    role = config["role"]
    if "/" in role:
        return f"Updating quota on nested role '{role}' is not supported yet"
    if problem := role_problem(role):
        return f"Invalid QuotaConfig: Invalid 'QuotaConfig.role': {problem}"
    if config.get("guarantees"):
        return GUARANTEES
    limits = {name: scalar["value"] for name, scalar in config.get("limits", {}).items()}
    for name, value in limits.items():
        if value < 0:
            shown = quantities.number_text(quantities.thousandths(value))
            return (
                f"Invalid QuotaConfig: Invalid limit configuration {{'{name}': {shown}}}:"
                " Negative values not supported"
            )
        if value > MAX_AMOUNT:
            return (
                f"Invalid QuotaConfig: Invalid 'QuotaConfig.limits': {{'{name}': {value:g}}} is invalid:"
                f" values greater than 1 trillion (1000000000000) are not supported"
            )
    consumed = _consumed(state, role)
    wanted = {name: quantities.thousandths(value) for name, value in limits.items()}
    if not is_forced and any(consumed.scalar(name) > value for name, value in wanted.items()):
        limit = "; ".join(f"{name}:{quantities.number_text(value)}" for name, value in sorted(wanted.items()))
        return (
            f"Invalid QuotaConfig: Role '{role}' is already consuming '{consumed.text()}'; this is more than the"
            f" requested limits '{limit}' (use 'force' flag to bypass this check)"
        )
    return None


def _consumed(state: MasterState, role: str) -> Quantities:
    """What tasks of a role and of its children have."""
    used = quantities.total(
        task.resources.scalars
        for framework in state.frameworks.values()
        for task in framework.tasks.values()
        if task.holds_resources and offers.is_within(task.role, role)
    )
    return Quantities(dict(sorted(used)))


def _withdraw(state: MasterState, role: str) -> None:
    """Take offers of a role and its children back while they and its tasks are beyond the limit."""
    limits = offers.limits_of(state, role)
    for framework in state.frameworks.values():
        for offer in [one for one in framework.offers.values() if offers.is_within(one.role, role)]:
            allocated = offers.allocated_to(state, role)
            if all(allocated.scalar(name) <= value for name, value in limits.items()):
                return
            offers.remove_offer(state, offer, is_rescinded=True)
