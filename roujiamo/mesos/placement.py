"""Which of the agents that fit become the hosts of a gang, and with how many slots each.

Pure; used by the allocator once it knows that the gang can be complete. All of it is a sort and a pass or two.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from roujiamo.mesos.demand import SPREAD
from roujiamo.mesos.resources import Resources


class Candidate(NamedTuple):
    """An agent that could be a host of up to `capacity` slots."""

    agent_id: str
    capacity: int
    free: Resources


class Placed(NamedTuple):
    """An agent that becomes a host."""

    agent_id: str
    slots: int


def place_shares(
    candidates: Iterable[Candidate], shares: Sequence[int], placement: str
) -> list[Placed] | None:
    """Give each of `shares` an agent of its own, or return None where the candidates do not suffice.

    When packing, a share gets the smallest agent that holds it, so that the large ones stay free for others; when
    spreading, the emptiest agents get the largest shares.
    """
    pool = _smallest_first(candidates)
    placed: list[Placed] = []
    if placement == SPREAD:
        for share in sorted(shares, reverse=True):
            if not pool or pool[-1].capacity < share:
                return None
            placed.append(Placed(pool.pop().agent_id, share))
        return placed
    # Smallest share first: an agent that is passed over is too small for every later share as well.
    remaining = iter(pool)
    for share in sorted(shares):
        agent = next((each for each in remaining if each.capacity >= share), None)
        if agent is None:
            return None
        placed.append(Placed(agent.agent_id, share))
    return placed


def place_slots(candidates: Iterable[Candidate], slots: int, placement: str) -> list[Placed] | None:
    """Place `slots` on as many hosts as it takes, or return None where the candidates do not hold so many.

    When packing these are the fewest hosts; when spreading, all that are offered, as evenly as their sizes allow.
    """
    pool = _smallest_first(candidates)
    if sum(each.capacity for each in pool) < slots:
        return None
    if placement == SPREAD:
        return _fill_evenly(pool[-slots:], slots)
    placed: list[Placed] = []
    while slots > 0:
        if slots <= pool[-1].capacity:
            # What is left fits on one host: on the smallest one that will do.
            last = next(each for each in pool if each.capacity >= slots)
            placed.append(Placed(last.agent_id, slots))
            break
        agent = pool.pop()
        placed.append(Placed(agent.agent_id, agent.capacity))
        slots -= agent.capacity
    return placed


def _smallest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda each: (each.capacity, each.free.thousandths, each.agent_id))


def _fill_evenly(pool: Sequence[Candidate], slots: int) -> list[Placed]:
    """Each host an equal share; what a small one cannot take goes to the larger ones after it."""
    placed: list[Placed] = []
    for index, agent in enumerate(pool):
        share = min(agent.capacity, slots // (len(pool) - index))
        if share:
            placed.append(Placed(agent.agent_id, share))
            slots -= share
    return placed
