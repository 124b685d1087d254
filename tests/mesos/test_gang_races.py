"""Gangs that need what the others hold: all finish, soon, and none hoards. In simulated time, from seeds."""

import random
import statistics

import pytest

from roujiamo.mesos.gang import HOLD_SECONDS, Demand, GangAllocator
from roujiamo.mesos.resources import Resources
from tests.mesos.master_model import ALLOCATION_INTERVAL, Framework, Master

SIMULATED_LIMIT = 600.0
JOB_SECONDS = 4.0
# From when hosts are free for somebody who waits until a gang has them: an allocation interval until the master looks,
# one more to sort out who it is, and the same again where two or three were unlucky.
MOST_INTERVALS = 8.0
USUAL_INTERVALS = 3.0


def session(name, hosts, now, seed, job_seconds=JOB_SECONDS, slots=None, roles=("*",)):
    demand = Demand(hosts, slots or 4 * hosts, Resources(cpus=1, mem=512))
    allocator = GangAllocator(demand, roles, HOLD_SECONDS, now, random.Random(seed).random)
    return Framework(name, demand, allocator, job_seconds, roles)


def race(seed, gangs, agents, hosts, roles=("*",), slots=None, job_seconds=JOB_SECONDS):
    """Let gangs race that start within 3 s; return the master when all of them have had their hosts."""
    dice = random.Random(seed)
    master = Master(agents, dice)
    sessions = []
    for number in range(gangs):
        start = dice.random() * 3
        name = f"session{number}"
        sessions.append(session(name, hosts, start, f"{seed} {number}", job_seconds, slots, roles))
        master.join(sessions[-1], start)
    master.run(lambda: all(each.done_at is not None for each in sessions), SIMULATED_LIMIT)
    return master


@pytest.mark.parametrize(
    ("gangs", "agents", "hosts", "seeds"),
    [
        *[(2, 3, 2, 40), (2, 4, 4, 40), (2, 10, 7, 20)],
        *[(5, 3, 3, 40), (5, 4, 4, 20), (5, 10, 7, 10), (5, 10, 4, 10)],
        *[(10, 3, 2, 10), (10, 4, 4, 10), (10, 10, 4, 8), (10, 10, 10, 8)],
    ],
)
@pytest.mark.parametrize("roles", [("*",), ("hpc", "ml")])
def test_gangs_that_race_for_the_same_agents_follow_each_other_at_once(gangs, agents, hosts, seeds, roles):
    """Each needs more than it can get while another has some: no agents lie idle that would do for one of them."""
    turns = -(-gangs // (agents // hosts))
    wastes, overheads = [], []
    for seed in range(seeds):
        master = race(seed, gangs, agents, hosts, roles)
        assert all(each.longest_hold <= HOLD_SECONDS + 0.1 for each in master.frameworks)
        wastes.append(master.longest_waste)
        # The first starts within 3 s.
        last = max(each.done_at for each in master.frameworks)
        overheads.append((last - 3.0 - (turns - 1) * JOB_SECONDS) / turns)
    assert statistics.median(wastes) <= USUAL_INTERVALS * ALLOCATION_INTERVAL
    assert max(wastes) <= MOST_INTERVALS * ALLOCATION_INTERVAL
    assert statistics.median(overheads) <= USUAL_INTERVALS / 2 * ALLOCATION_INTERVAL


@pytest.mark.parametrize(("gangs", "agents", "seeds"), [(5, 3, 40), (10, 6, 20)])
def test_small_gangs_that_come_together_where_there_is_room_for_all_start_at_once(gangs, agents, seeds):
    """Offers are whole agents, and a task takes little of one: what holds a gang up is the others' offers alone."""
    for seed in range(seeds):
        master = race(seed, gangs, agents, 2, slots=2)
        assert max(each.done_at - each.joined_at for each in master.frameworks) <= MOST_INTERVALS


def test_a_gang_whose_connection_is_lost_while_it_rests_has_what_is_free_later():
    """The driver repeats its SUPPRESS on the new one: the gang would be deaf if it did not ask again."""
    for seed in range(20):
        dice = random.Random(seed)
        master = Master(2, dice)
        for number in range(2):
            master.join(session(f"single{number}", 1, number, f"{seed} {number}", job_seconds=20.0), number)
        gang = session("gang", 2, 0.5, f"{seed} gang")
        master.join(gang, 0.5)
        lost_at = 3 + dice.random() * 3
        master.at(lost_at, lambda master=master, gang=gang: master.subscribe_again(gang))
        master.run(lambda gang=gang: gang.done_at is not None, SIMULATED_LIMIT)
        assert gang.done_at - 21.0 <= MOST_INTERVALS


def test_a_gang_that_cannot_complete_leaves_the_agents_to_others():
    """Three agents for a gang of four, and nobody has told it so: one that needs three has them in a moment."""
    for seed in range(10):
        master = Master(3, random.Random(seed))
        alone = session("alone", 4, 0.0, seed)
        master.join(alone, 0.0)
        master.run(lambda: master.now > 200, 300)
        assert alone.done_at is None
        assert 0 < alone.longest_hold <= HOLD_SECONDS + 0.1
        small = session("small", 3, master.now, seed)
        master.join(small, master.now)
        master.run(lambda: small.done_at is not None, SIMULATED_LIMIT)
        assert small.done_at - small.joined_at <= MOST_INTERVALS


def test_a_gang_that_has_waited_for_long_notices_soon_when_the_last_agent_becomes_free():
    """A program ends on the agent that is missing; whoever asks seldom by then asks every few seconds all the same."""
    for seed in range(20):
        master = Master(4, random.Random(seed))
        first = session("first", 1, 0.0, seed, job_seconds=300.0)
        master.join(first, 0.0)
        second = session("second", 4, 0.5, seed)
        master.join(second, 0.5)
        master.run(lambda: second.done_at is not None, SIMULATED_LIMIT)
        assert second.done_at - (first.done_at + 300.0) <= MOST_INTERVALS
