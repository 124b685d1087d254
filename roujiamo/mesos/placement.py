"""Which of the agents that fit become the hosts of a gang, and with how many slots each.

Pure; used by the allocator once it knows that the gang can be complete. All of it is a sort and a pass or two.

Of agents that are alike the first names are taken and get the larger shares, whatever the order in which Mesos offers
them: where the same agents are offered, rank 0 is on the same host each time.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from roujiamo.mesos.demand import SPREAD
from roujiamo.mesos.resources import Resources
from roujiamo.session.names import natural_order


class Candidate(NamedTuple):
    """An agent that could be a host of up to `capacity` slots."""

    agent_id: str
    hostname: str
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
    pool = sorted(_by_name(candidates), key=_size, reverse=placement == SPREAD)
    placed: list[Placed] = []
    for share, count in sorted(Counter(shares).items(), reverse=True):
        if placement == SPREAD:
            start = 0
        else:
            start = bisect_left(pool, share, key=lambda each: each.capacity)
        chosen = pool[start : start + count]
        if len(chosen) < count or chosen[-1].capacity < share:
            return None
        del pool[start : start + count]
        placed += [Placed(each.agent_id, share) for each in chosen]
    return placed


def place_slots(candidates: Iterable[Candidate], slots: int, placement: str) -> list[Placed] | None:
    """Place `slots` on as many hosts as it takes, or return None where the candidates do not hold so many.

    When packing these are the fewest hosts; when spreading, all that are offered, as evenly as their sizes allow.
    """
    pool = sorted(_by_name(candidates), key=_size, reverse=True)
    if sum(each.capacity for each in pool) < slots:
        return None
    if placement == SPREAD:
        return _fill_evenly(pool[:slots], slots)
    placed: list[Placed] = []
    for index, agent in enumerate(pool):
        if slots <= agent.capacity:
            # What is left fits on one host: on the smallest one that will do.
            last = min((each for each in pool[index:] if each.capacity >= slots), key=_size)
            placed.append(Placed(last.agent_id, slots))
            break
        placed.append(Placed(agent.agent_id, agent.capacity))
        slots -= agent.capacity
    return placed


def _by_name(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda each: (natural_order(each.hostname), each.agent_id))


def _size(candidate: Candidate) -> tuple[int, tuple[int, ...]]:
    return candidate.capacity, candidate.free.thousandths


def _fill_evenly(pool: Sequence[Candidate], slots: int) -> list[Placed]:
    """From the smallest on, each host an equal share of what is left: what it cannot take goes to the larger ones.

    `pool` has the largest first.
    """
    placed: list[Placed] = []
    for left in range(len(pool), 0, -1):
        agent = pool[left - 1]
        share = min(agent.capacity, slots // left)
        if share:
            placed.append(Placed(agent.agent_id, share))
            slots -= share
    return placed
