"""The offers that a session holds while its gang is not complete, by agent.

Pure; part of the allocator. It counts as it goes, so that "would this be enough?" costs nothing per held agent.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from roujiamo.mesos.offers import Offer
from roujiamo.mesos.placement import Candidate
from roujiamo.mesos.resources import Resources


class HeldAgent(NamedTuple):
    """All held offers of one agent; `capacity` in slots, `is_last_resort` where a host failed there before."""

    agent_id: str
    hostname: str
    offers: tuple[Offer, ...]
    free: Resources
    capacity: int
    is_last_resort: bool


class Capacities:
    """How many agents there are of each capacity (of which there are few different ones), and their slots in all."""

    def __init__(self) -> None:
        self._numbers: Counter[int] = Counter()
        self.slots = 0

    def add(self, capacity: int, agents: int = 1) -> None:
        """Count so many agents more (or fewer)."""
        self._numbers[capacity] += agents
        self.slots += capacity * agents

    def count(self, slots: int) -> int:
        """Return how many agents have at least so many slots."""
        return sum(number for capacity, number in self._numbers.items() if capacity >= slots)


class HeldOffers:
    """Held agents by id; `capacities` leaves the last resorts out."""

    def __init__(self) -> None:
        self._agents: dict[str, HeldAgent] = {}
        self._agent_of: dict[str, str] = {}  # offer id -> agent id
        self.capacities = Capacities()

    def __bool__(self) -> bool:
        return bool(self._agents)

    def __len__(self) -> int:
        return len(self._agents)

    def __contains__(self, agent_id: str) -> bool:
        return agent_id in self._agents

    def __iter__(self) -> Iterator[str]:
        """The ids of the held agents, as they are now: they may be dropped meanwhile."""
        return iter(list(self._agents))

    def agent_of(self, offer_id: str) -> str | None:
        """Return the agent whose offer this is, if it is held."""
        return self._agent_of.get(offer_id)

    def keep(self, agent: HeldAgent) -> None:
        """Hold the offers of an agent of which none was held."""
        self._agents[agent.agent_id] = agent
        self._agent_of.update((each.id, agent.agent_id) for each in agent.offers)
        self._count(agent, 1)

    def drop(self, agent_id: str) -> HeldAgent:
        """Hold an agent's offers no longer; it is for the caller to accept or to decline them."""
        agent = self._agents.pop(agent_id)
        for each in agent.offers:
            del self._agent_of[each.id]
        self._count(agent, -1)
        return agent

    def candidates(self, *, with_last_resort: bool) -> list[Candidate]:
        """Return what the hosts can be chosen from."""
        return [
            Candidate(each.agent_id, each.hostname, each.capacity, each.free)
            for each in self._agents.values()
            if with_last_resort or not each.is_last_resort
        ]

    def _count(self, agent: HeldAgent, agents: int) -> None:
        if not agent.is_last_resort:
            self.capacities.add(agent.capacity, agents)
