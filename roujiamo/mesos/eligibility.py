"""Whether an agent may be a host of a session at all, whatever its slots.

Pure; part of the allocator. What it answers are the reasons of shortage.py, so that a wait can be explained.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from roujiamo.mesos import shortage
from roujiamo.mesos.constraints import Matcher
from roujiamo.mesos.demand import Demand
from roujiamo.mesos.offers import Agent, Offer
from roujiamo.mesos.resources import Resources
from roujiamo.session.names import HostNames

MAX_FAILURES = 2


class Eligibility:
    """Judges agents by the demand, by what /slaves said, and by how often a host failed there."""

    def __init__(self, demand: Demand) -> None:
        self._demand = demand
        self._matcher = Matcher(demand.constraints)
        self._only = HostNames(demand.only_hosts)
        self._excluded = HostNames(demand.exclude_hosts)
        self._known: dict[str, Agent] = {}
        self._failures: Counter[str] = Counter()

    def learn(self, agents: Iterable[Agent]) -> None:
        """Take in what the master knows of all its agents now."""
        self._known = {each.id: each for each in agents}

    @property
    def known(self) -> list[Agent]:
        """The agents in the list that was learnt last."""
        return list(self._known.values())

    def is_known(self, agent_id: str) -> bool:
        """Tell whether the agent was in the list that was learnt last."""
        return agent_id in self._known

    def count_failure(self, agent_id: str) -> None:
        """A host failed on this agent."""
        self._failures[agent_id] += 1

    def is_last_resort(self, agent_id: str) -> bool:
        """True where a host failed, but not often enough to give the agent up."""
        return self._failures[agent_id] > 0

    def objection(self, offers: Sequence[Offer], free: Resources) -> str:
        """Return why the agent of these offers, `free` in all, cannot be a host, or ""."""
        offer, demand = offers[0], self._demand
        known = self._known.get(offer.agent_id)
        if self._failures and self._failures[offer.agent_id] >= MAX_FAILURES:
            return shortage.FAILED
        if self._excluded.find(offer.hostname):
            return shortage.EXCLUDED
        if demand.only_hosts and not self._only.find(offer.hostname):
            return shortage.NOT_NAMED
        for each in offers:
            if each.is_in_maintenance:
                return shortage.MAINTENANCE
            if each.has_gpus and not demand.wants_gpus:
                return shortage.HAS_GPUS
        # An agent whose GPUs are all in use offers none, and yet is a GPU agent: /slaves tells.
        if known is not None and known.total.gpus and not demand.wants_gpus:
            return shortage.HAS_GPUS
        if unmet := self._matcher.first_unmet(offer.hostname, offer.attributes):
            return shortage.UNMET + unmet.text
        if demand.exclusive and known is not None and not shortage.is_whole(known, free):
            return shortage.SHARED
        return ""
