"""The allocator: who is offered which agent, how long a refusal holds, and what is withdrawn.

Part of the local master's state. An agent's free resources go to one framework at a time, to the one with the smallest
dominant share (as Mesos's default sorter has it), unless it refused as much a short while ago, and no more of them
than its role's quota allows. Frameworks that
subscribe or revive, and agents that come, are served at once; resources that come back wait for the allocation
interval. One pass costs (agents with free resources) x (frameworks).
"""

from __future__ import annotations

from typing import Any

from roujiamo.mesos.master import quantities
from roujiamo.mesos.master.quantities import Quantities
from roujiamo.mesos.master.state import ACTIVE, Agent, Filter, Framework, MasterState, Offer

# The refusal of a call that names none (mesos.proto, Filters.refuse_seconds).
DEFAULT_REFUSE_SECONDS = 5.0
# A year: Mesos takes at most that, and 0 for a negative number.
MAX_REFUSE_SECONDS = 365 * 86_400.0


def allocate(state: MasterState, now: float) -> None:
    """Offer what is free to whoever may have it, one OFFERS event for each framework that gets something."""
    candidates = [
        (framework, role)
        for framework in state.frameworks.values()
        if framework.is_connected
        for role in framework.roles
        if role not in framework.suppressed
    ]
    if not candidates:
        return
    if state.schedule:
        # Inverse offers go out at the beats, as long as there is maintenance to come.
        allocate_soon(state, now)
    agents = [agent for agent in state.free_agents.values() if agent.available.is_allocatable]
    state.shuffle(agents)
    granted: dict[str, list[dict[str, Any]]] = {}
    for agent in agents:
        order = (
            sorted(candidates, key=lambda pair: _shares(state, *pair)) if len(candidates) > 1 else candidates
        )
        for framework, role in order:
            free = _within_quota(state, role, agent.available)
            if free.is_allocatable and not _is_filtered(framework, agent, role, free, now):
                offer = _make_offer(state, framework, agent, role, free, now)
                granted.setdefault(framework.id, []).append(offer_as_json(state, offer))
                # Beyond a role's quota there may be something left for another one.
                if not agent.available.is_allocatable:
                    break
    for framework_id, offers in granted.items():
        state.send(state.frameworks[framework_id], {"type": "OFFERS", "offers": {"offers": offers}})


def allocate_soon(state: MasterState, now: float) -> None:
    """Have an allocation happen at the next beat of the allocation interval."""
    interval = state.settings.allocation_interval_seconds
    beats = int((now - state.started_at) / interval) + 1
    when = state.started_at + beats * interval
    if state.allocation_at is None or state.allocation_at <= now:
        state.allocation_at = when
        state.timers.schedule(when, "allocation")


def remove_offer(state: MasterState, offer: Offer, is_rescinded: bool = False) -> None:
    """Take `offer` away and give its resources back to its agent; the framework is told if it is `is_rescinded`."""
    framework = state.frameworks[offer.framework_id]
    del framework.offers[offer.id]
    framework.offered = framework.offered - offer.resources.scalars
    agent = state.agents.get(offer.agent_id)
    if agent is not None:
        agent.offers.discard(offer.id)
    _count(state, offer.role, offer.resources, is_more=False)
    give_back(state, offer.agent_id, offer.resources)
    if is_rescinded:
        state.send(framework, {"type": "RESCIND", "rescind": {"offer_id": {"value": offer.id}}})


def remove_all_offers(state: MasterState, framework: Framework) -> None:
    """Take all offers of a framework away without a word."""
    for offer in list(framework.offers.values()):
        remove_offer(state, offer)


def give_back(state: MasterState, agent_id: str, resources: Quantities) -> None:
    """Let `resources` of an agent be free again (nothing happens where the agent is gone)."""
    agent = state.agents.get(agent_id)
    if agent is not None:
        agent.available = agent.available + resources
        note_availability(state, agent)


def take(state: MasterState, agent: Agent, resources: Quantities) -> None:
    """Let free `resources` of an agent be used."""
    agent.available = agent.available - resources
    note_availability(state, agent)


def note_availability(state: MasterState, agent: Agent) -> None:
    """Keep the index of agents that have something to offer."""
    if agent.standing == ACTIVE and agent.available and agent.id in state.agents:
        state.free_agents[agent.id] = agent
    else:
        state.free_agents.pop(agent.id, None)


def count_use(
    state: MasterState, framework: Framework, role: str, resources: Quantities, is_more: bool
) -> None:
    """Book resources that a framework's task starts or stops using."""
    framework.used = framework.used + resources.scalars if is_more else framework.used - resources.scalars
    _count(state, role, resources, is_more)


def refuse(
    state: MasterState,
    framework: Framework,
    agent_id: str,
    role: str,
    resources: Quantities,
    filters: dict[str, Any],
    now: float,
) -> None:
    """Remember that a framework does not want `resources` of that agent, nor less, for the call's `refuse_seconds`.

    A filter holds at least until the next allocation (mesos.proto, Filters).
    """
    seconds = refuse_seconds(filters)
    if seconds and resources:
        expires = now + max(seconds, state.settings.allocation_interval_seconds)
        entries = framework.filters.setdefault((agent_id, role), [])
        entries[:] = [one for one in entries if one.expires_at > now]
        entries.append(Filter(resources, expires))
        state.timers.schedule(expires, "filter")
    allocate_soon(state, now)


def refuse_seconds(filters: dict[str, Any]) -> float:
    """For how long a call's filters refuse."""
    return float(min(max(filters.get("refuse_seconds", DEFAULT_REFUSE_SECONDS), 0.0), MAX_REFUSE_SECONDS))


def clear_filters(framework: Framework, roles: tuple[str, ...]) -> None:
    """REVIVE: forget what was refused for `roles`."""
    for key in [key for key in framework.filters if key[1] in roles]:
        del framework.filters[key]


def drop_filters_of_agent(state: MasterState, agent_id: str) -> None:
    """An agent is gone: nobody needs to refuse it any more."""
    for framework in state.frameworks.values():
        for role in framework.roles:
            framework.filters.pop((agent_id, role), None)


def offer_as_json(state: MasterState, offer: Offer) -> dict[str, Any]:
    """The v1 Offer object. Only MULTI_ROLE frameworks are shown allocation_info."""
    agent = state.agents[offer.agent_id]
    is_multi_role = state.frameworks[offer.framework_id].is_multi_role
    entry: dict[str, Any] = {
        "id": {"value": offer.id},
        "framework_id": {"value": offer.framework_id},
        "agent_id": {"value": offer.agent_id},
        "hostname": agent.hostname,
        "url": url_of(agent),
        "resources": offer.resources.as_json(offer.role if is_multi_role else None),
    }
    if agent.attributes:
        entry["attributes"] = agent.attributes
    unavailability = unavailability_of(state, agent)
    if unavailability is not None:
        entry["unavailability"] = unavailability
    if is_multi_role:
        entry["allocation_info"] = {"role": offer.role}
    return entry


def url_of(agent: Agent) -> dict[str, Any]:
    """Where an agent's own endpoints are."""
    return {
        "scheme": "http",
        "address": {"hostname": agent.hostname, "ip": agent.ip, "port": agent.port},
        "path": "/slave(1)",
    }


def unavailability_of(state: MasterState, agent: Agent) -> dict[str, Any] | None:
    """When the maintenance schedule has this agent's machine be away, or None."""
    for window in state.schedule.get("windows", []):
        for machine in window["machine_ids"]:
            if (
                machine.get("hostname", "").lower() == agent.hostname.lower()
                and machine.get("ip") == agent.ip
            ):
                unavailability: dict[str, Any] = window["unavailability"]
                return unavailability
    return None


def withdraw(state: MasterState, offer_id: str, now: float) -> None:
    """A timer: an offer that nobody has used for --offer_timeout is withdrawn, if it still is there."""
    for framework in state.frameworks.values():
        if offer_id in framework.offers:
            remove_offer(state, framework.offers[offer_id], is_rescinded=True)
            allocate_soon(state, now)


def limits_of(state: MasterState, role: str) -> dict[str, int]:
    """The limits of a role's quota in thousandths; a resource without one is not in it."""
    limits = state.quotas.get(role, {}).get("limits", {})
    return {name: quantities.thousandths(scalar["value"]) for name, scalar in limits.items()}


def is_within(role: str, parent: str) -> bool:
    """True where a role is `parent` or a child of it."""
    return role == parent or role.startswith(f"{parent}/")


def allocated_to(state: MasterState, role: str) -> Quantities:
    """What a role and its children are offered or use."""
    return quantities.total(one for name, one in state.role_allocations.items() if is_within(name, role))


def _within_quota(state: MasterState, role: str, free: Quantities) -> Quantities:
    """So much of an agent's free resources as the role's quota allows."""
    limits = limits_of(state, role)
    if not limits:
        return free
    allocated = allocated_to(state, role)
    return free.at_most({name: max(0, value - allocated.scalar(name)) for name, value in limits.items()})


def _make_offer(
    state: MasterState, framework: Framework, agent: Agent, role: str, free: Quantities, now: float
) -> Offer:
    offer = Offer(state.new_offer_id(), framework.id, agent.id, role, free.in_offer_order())
    framework.offers[offer.id] = offer
    framework.offered = framework.offered + offer.resources.scalars
    agent.offers.add(offer.id)
    _count(state, role, offer.resources, is_more=True)
    take(state, agent, offer.resources)
    if state.settings.offer_timeout_seconds is not None:
        state.timers.schedule(now + state.settings.offer_timeout_seconds, "offer_timeout", offer.id)
    return offer


def _is_filtered(framework: Framework, agent: Agent, role: str, free: Quantities, now: float) -> bool:
    entries = framework.filters.get((agent.id, role), ())
    return any(one.expires_at > now and one.resources.contains(free) for one in entries)


def _count(state: MasterState, role: str, resources: Quantities, is_more: bool) -> None:
    counted = state.role_allocations.get(role, Quantities())
    state.role_allocations[role] = counted + resources.scalars if is_more else counted - resources.scalars


def _shares(state: MasterState, framework: Framework, role: str) -> tuple[float, float, float]:
    """Sort key: the role's dominant share, then the framework's, then who came first."""
    in_role = _dominant(state, state.role_allocations.get(role, Quantities()))
    own = _dominant(state, framework.used + framework.offered)
    return in_role, own, framework.registered_at


def _dominant(state: MasterState, allocated: Quantities) -> float:
    shares = [allocated.scalar(name) / value for name, value in state.total if isinstance(value, int)]
    return max(shares, default=0.0)
