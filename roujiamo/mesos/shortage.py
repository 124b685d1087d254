"""Why a session still waits, or waits in vain, in one sentence.

Pure; used by the allocator. It knows what the offers showed (`seen`: agent id -> one of the reasons below, or "") and,
where the broker has asked for it, the master's list of agents.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from roujiamo.mesos.constraints import Constraint
from roujiamo.mesos.demand import Demand
from roujiamo.mesos.offers import Agent
from roujiamo.mesos.resources import SCALARS, Resources, amount_of
from roujiamo.mesos.split import split_evenly
from roujiamo.session.names import HostNames, natural_order

# Why an agent cannot be a host, as "2 ..." continues.
IS_HOST = "in use by this session"
FAILED = "given up after failures"
EXCLUDED = "excluded"
NOT_NAMED = "not among the hosts named"
MAINTENANCE = "scheduled for maintenance"
HAS_GPUS = "with GPUs, left to those who ask for GPUs"
SHARED = "shared with others"
TOO_SMALL = "with too little free"
UNMET = "not matching "

_MAX_NAMES = 8


def is_whole(agent: Agent, free: Resources) -> bool:
    """True where `free` is all of the agent's cpus and memory, so that nobody else runs there."""
    return Resources(cpus=agent.total.cpus, mem=agent.total.mem).is_within(free)


def impossible(demand: Demand, agents: Sequence[Agent], wants: Mapping[str, int]) -> str | None:
    """Return why these agents, were they all idle, could not satisfy the demand; None where they could.

    An empty list proves nothing. Agents in maintenance or disconnected count: they may come back.
    """
    if not agents:
        return None
    return _impossible_names(demand, agents, wants) or _impossible_gang(demand, agents)


def waiting(
    demand: Demand,
    shares: Sequence[int],
    slots: int,
    wants: Mapping[str, int],
    hosts: int,
    held: int,
    seen: Mapping[str, str],
    agents: Sequence[Agent] | None,
) -> str:
    """Return what is waited for: `shares` or `slots` are missing, `held` of them are free, `hosts` are there."""
    if not seen:
        if agents is None:
            return "the master has not offered anything yet"
        if not agents:
            return "the master has no agents"
        return f"the master has not offered any of its {_agents(len(agents))} yet: all in use, or offered to others"
    sentences = []
    if shares:
        wanted, there = hosts + len(shares), hosts + min(held, len(shares))
        # Held agents may all be right for the smaller shares: then it is a larger one that is missing.
        more = max(1, wanted - there)
        each = " each" if more > 1 else ""
        alone = ", and used by nobody else" if demand.exclusive else ""
        sentences.append(
            f"{min(there, wanted - 1)} of {_hosts(wanted)} {_are(min(there, wanted - 1))} free;"
            f" waiting for {_more_agents(more)} with {demand.size_of(max(shares))}{each}{alone}"
        )
    elif slots:
        there = min(held, slots)
        sentences.append(
            f"there is room for {there} of {_processes(slots)};"
            f" waiting for agents with room for {max(1, slots - there)} more, {demand.per_slot} each"
        )
    if wants:
        hostnames = {agent.id: agent.hostname for agent in agents or ()}
        names = sorted((hostnames.get(name, name) for name in wants), key=natural_order)
        largest = max(wants.values())
        sentences.append(f"waiting for {demand.size_of(largest)} on {_names(names)}")
    reasons = Counter(reason for reason in seen.values() if reason not in ("", IS_HOST))
    return "; ".join(sentences) + _seen_suffix(reasons, len(seen))


def _seen_suffix(reasons: Counter[str], count: int) -> str:
    if not reasons:
        return ""
    listed = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common(4))
    return f" (of {_agents(count)} seen: {listed})"


def _impossible_names(demand: Demand, agents: Sequence[Agent], wants: Mapping[str, int]) -> str | None:
    existing = HostNames(agent.hostname for agent in agents)
    ids = {agent.id for agent in agents}
    unknown = [
        name for name in (*demand.only_hosts, *wants) if name not in ids and existing.find(name) is None
    ]
    if unknown:
        return (
            f"there is no agent called {_names(unknown, 'or')}; the agents are {_names(_hostnames(agents))}"
        )
    wanted = HostNames(wants)
    for agent in agents if wants else ():
        name = agent.id if agent.id in wants else wanted.find(agent.hostname)
        if name is not None and (lack := _lack(demand.size_of(wants[name]), [agent])):
            amount, largest = lack
            return f"{agent.hostname} does not have {amount}" + (f"; it has {largest}" if largest else "")
    return None


def _impossible_gang(demand: Demand, agents: Sequence[Agent]) -> str | None:
    if demand.hosts == 0:
        return None
    shares = split_evenly(demand.slots, demand.hosts) if demand.hosts else [1]
    needed = len(shares)
    if len(agents) < needed:
        return f"the master has {_agents(len(agents))}; {_needed(needed)}"
    left: list[Agent] = list(agents)
    which = ""
    for keeps, verb, qualifier in _filters(demand):
        left = [agent for agent in left if keeps(agent)]
        if len(left) < needed:
            return f"{_some(len(left), len(agents), verb)}; {_needed(needed)}"
        which = f" {qualifier}" if qualifier else which
    for share in sorted(set(shares)):
        size = demand.size_of(share)
        lack = _lack(size, left)
        if lack is not None:
            amount, largest = lack
            return f"no agent{which} has {amount}" + (f"; the largest has {largest}" if largest else "")
        fitting = sum(size.is_within(agent.usable) for agent in left)
        at_least = sum(each >= share for each in shares)
        if fitting < at_least:
            return f"{_some(fitting, len(left), ('has', 'have', f'{size}'), which)}; {_needed(at_least)}"
    if demand.is_flexible:
        room = sum(demand.slots_within(agent.usable, demand.slot_limit) for agent in left)
        if room < demand.slots:
            limit = f", at most {demand.max_slots_per_host} a host" if demand.max_slots_per_host else ""
            return (
                f"all agents{_plural(which)} together have room for {_processes(room)} of {demand.per_slot}{limit};"
                f" {_needed(demand.slots)}"
            )
    return None


_Verb = tuple[str, str, str]  # singular, plural, the rest


def _filters(demand: Demand) -> Iterable[tuple[Callable[[Agent], bool], _Verb, str]]:
    """Each way in which agents are ruled out: what keeps one in, how to say so, and how to speak of the rest."""
    if demand.only_hosts:
        only = HostNames(demand.only_hosts)
        yield (lambda agent: only.find(agent.hostname) is not None), ("is", "are", "named"), "that is named"
    if demand.exclude_hosts:
        excluded = HostNames(demand.exclude_hosts)
        yield (lambda agent: excluded.find(agent.hostname) is None), ("is", "are", "not excluded"), ""
    if not demand.wants_gpus:
        verb = ("is", "are", "without GPUs (those with GPUs are left to those who ask for GPUs)")
        yield (lambda agent: not agent.total.gpus), verb, ""
    if demand.exclusive:
        verb = ("is", "are", "for one framework alone (parts of the others are reserved for other roles)")
        yield (lambda agent: is_whole(agent, agent.usable)), verb, ""
    texts: list[str] = []
    for constraint in demand.constraints:
        texts.append(constraint.text)
        listed = " and ".join(texts)
        yield partial(_is_met, constraint), ("matches", "match", listed), f"that matches {listed}"


def _is_met(constraint: Constraint, agent: Agent) -> bool:
    return constraint.is_met_by(agent.hostname, agent.attributes)


def _lack(size: Resources, agents: Iterable[Agent]) -> tuple[str, str] | None:
    """Return an amount that none of the agents has, and the most that one has of it; None where one has all of it.

    Where each kind is there but not together, the second is empty.
    """
    agents = list(agents)
    if any(size.is_within(agent.usable) for agent in agents):
        return None
    for index, name in enumerate(SCALARS):
        largest = max((agent.usable.thousandths[index] for agent in agents), default=0)
        if largest < size.thousandths[index]:
            return amount_of(name, size.thousandths[index]), amount_of(name, largest) if largest else "none"
    return f"{size} at once", ""


def _some(count: int, total: int, verb: _Verb, which: str = "") -> str:
    """Return "2 of the 4 agents match zone==a"."""
    singular, plural, rest = verb
    which = _plural(which)
    if total == 1:
        negated = {"is": "is not", "has": "does not have"}.get(singular, f"does not {plural}")
        return f"the only agent {singular if count else negated} {rest}"
    if count == 0:
        return f"none of the {total} agents{which} {singular} {rest}"
    return f"{count} of the {total} agents{which} {singular if count == 1 else plural} {rest}"


def _plural(which: str) -> str:
    return which.replace(" that matches", " that match").replace(" that is", " that are")


def _needed(count: int) -> str:
    return f"{count} {_are(count)} needed"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _agents(count: int) -> str:
    return f"{count} agent" if count == 1 else f"{count} agents"


def _hosts(count: int) -> str:
    return f"{count} host" if count == 1 else f"{count} hosts"


def _processes(count: int) -> str:
    return f"{count} process" if count == 1 else f"{count} processes"


def _more_agents(count: int) -> str:
    return "one more agent" if count == 1 else f"{count} more agents"


def _hostnames(agents: Iterable[Agent]) -> list[str]:
    return sorted({agent.hostname for agent in agents}, key=natural_order)


def _names(names: Collection[str], conjunction: str = "and") -> str:
    listed = list(names)
    if len(listed) > _MAX_NAMES:
        return ", ".join(listed[:_MAX_NAMES]) + f" {conjunction} {len(listed) - _MAX_NAMES} more"
    return listed[0] if len(listed) == 1 else ", ".join(listed[:-1]) + f" {conjunction} {listed[-1]}"
