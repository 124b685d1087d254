"""Gangs that need what the others hold: all of them finish, and none hoards. In simulated time, from seeds."""

import random

import pytest

from roujiamo.mesos.gang import HOLD_SECONDS, Demand, GangAllocator
from roujiamo.mesos.resources import Resources
from tests.mesos.master_model import Framework, Master

SIMULATED_LIMIT = 600.0


def session(name, hosts, now, seed, job_seconds=10.0, slots=None, roles=("*",)):
    demand = Demand(hosts, slots or 4 * hosts, Resources(cpus=1, mem=512))
    allocator = GangAllocator(demand, roles, HOLD_SECONDS, now, random.Random(seed).random)
    return Framework(name, allocator, job_seconds, roles)


def race(seed, gangs, agents, hosts, roles=("*",)):
    dice = random.Random(seed)
    master = Master(agents, dice)
    sessions = []
    for number in range(gangs):
        start = dice.random() * 3
        sessions.append(session(f"session{number}", hosts, start, f"{seed} {number}", roles=roles))
        master.join(sessions[-1], start)
    master.run(lambda: all(each.done_at is not None for each in sessions), SIMULATED_LIMIT)
    return sessions


@pytest.mark.parametrize(
    ("gangs", "agents", "hosts", "seeds"),
    [(2, 4, 4, 40), (2, 4, 3, 40), (5, 4, 4, 40), (5, 12, 8, 20), (10, 4, 4, 10)],
)
def test_gangs_that_race_for_the_same_agents_all_complete(gangs, agents, hosts, seeds):
    """Each needs more than it can get while another holds some, and then for 10 s keeps it."""
    for seed in range(seeds):
        sessions = race(seed, gangs, agents, hosts)
        assert all(each.longest_hold <= HOLD_SECONDS + 0.001 for each in sessions)


@pytest.mark.parametrize(
    ("gangs", "agents", "hosts", "seeds"), [(2, 4, 4, 40), (5, 4, 4, 20), (5, 12, 8, 10)]
)
def test_gangs_of_several_roles_all_complete(gangs, agents, hosts, seeds):
    """What is declined in one role comes in the other at once: no rest ends by that, and no agent is held in both."""
    for seed in range(seeds):
        sessions = race(seed, gangs, agents, hosts, roles=("hpc", "ml"))
        assert all(each.longest_hold <= HOLD_SECONDS + 0.001 for each in sessions)


def test_a_gang_that_cannot_complete_holds_nothing_longer_than_the_hold_time():
    """Three agents for a gang of four: between its holds the agents are everybody's."""
    for seed in range(10):
        master = Master(3, random.Random(seed))
        alone = session("alone", 4, 0.0, seed)
        master.join(alone, 0.0)
        master.run(lambda: master.now > 200, 300)
        assert alone.done_at is None
        assert 0 < alone.longest_hold <= HOLD_SECONDS + 0.001
        small = session("small", 3, master.now, seed)
        master.join(small, master.now)
        master.run(lambda: small.done_at is not None, SIMULATED_LIMIT)


def test_a_resting_gang_notices_at_once_when_the_last_agent_becomes_free():
    """Rests grow to a minute; a program that ends on the agent that is missing must not have to wait for that."""
    for seed in range(20):
        master = Master(4, random.Random(seed))
        first = session("first", 1, 0.0, seed, job_seconds=300.0)
        master.join(first, 0.0)
        second = session("second", 4, 0.5, seed)
        master.join(second, 0.5)
        master.run(lambda: second.done_at is not None, SIMULATED_LIMIT)
        assert second.done_at - (first.done_at + 300.0) <= 3.0
