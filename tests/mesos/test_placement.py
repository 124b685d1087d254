"""Which agents become hosts, and with how many slots."""

import random

import pytest

from roujiamo.errors import UsageError
from roujiamo.mesos.demand import PACK, SPREAD, Demand
from roujiamo.mesos.placement import Candidate, place_shares, place_slots
from roujiamo.mesos.resources import Resources


def candidates(*sizes, limit=100):
    return [
        Candidate(f"S{n}", f"host{n}", min(size, limit), Resources(cpus=size)) for n, size in enumerate(sizes)
    ]


def test_packing_takes_the_smallest_agents_that_fit():
    """The large ones stay free for those who need them."""
    assert place_shares(candidates(16, 4, 3, 8, limit=3), [3, 2], PACK) == [("S2", 3), ("S1", 2)]


def test_spreading_takes_the_emptiest_agents():
    """Memory bandwidth is shared by whatever else runs there."""
    assert place_shares(candidates(16, 4, 3, 8, limit=3), [3, 2], SPREAD) == [("S0", 3), ("S3", 2)]


@pytest.mark.parametrize("placement", [PACK, SPREAD])
def test_shares_are_placed_whenever_that_is_possible(placement):
    """Compared with trying every matching, on small random cases."""
    dice = random.Random(7)
    for _ in range(500):
        sizes = [dice.randint(1, 4) for _ in range(dice.randint(0, 5))]
        shares = [dice.randint(1, 4) for _ in range(dice.randint(1, 4))]
        placed = place_shares(candidates(*sizes), shares, placement)
        ranked = sorted(sizes, reverse=True)
        is_possible = len(shares) <= len(sizes) and all(
            size >= share for size, share in zip(ranked, sorted(shares, reverse=True), strict=False)
        )
        assert (placed is not None) == is_possible
        if placed is not None:
            assert sorted(each.slots for each in placed) == sorted(shares)
            assert len({each.agent_id for each in placed}) == len(shares)
            assert all(sizes[int(each.agent_id[1:])] >= each.slots for each in placed)


def test_open_slots_pack_on_the_fewest_hosts_and_end_on_the_smallest_that_will_do():
    """-n alone: 10 processes on agents of 8, 4, 2 and 2 are 8 + 2."""
    assert place_slots(candidates(2, 8, 4, 2), 10, PACK) == [("S1", 8), ("S0", 2)]


def test_open_slots_spread_over_all_that_is_offered():
    """As evenly as the sizes allow: 10 over 8, 4, 2 and 1 are 1 + 2 + 3 + 4."""
    placed = place_slots(candidates(8, 4, 2, 1), 10, SPREAD)
    assert sorted(each.slots for each in placed) == [1, 2, 3, 4]


@pytest.mark.parametrize("placement", [PACK, SPREAD])
def test_among_agents_that_are_alike_the_first_names_are_taken(placement):
    """And get the larger shares, however they are offered and whatever their ids are."""
    dice = random.Random(9)
    for _ in range(20):
        numbers = list(range(8, 14))
        dice.shuffle(numbers)
        offered = [
            Candidate(f"S{n}", f"node{number}.hpc.test", 4, Resources(cpus=4))
            for n, number in enumerate(numbers)
        ]
        names = {each.agent_id: each.hostname.partition(".")[0] for each in offered}

        def named(placed, names=names):
            return {names[agent_id]: slots for agent_id, slots in placed}

        shares = named(place_shares(offered, [2, 3, 3], placement))
        assert shares == {"node8": 3, "node9": 3, "node10": 2}
        slots = named(place_slots(offered, 9, placement))
        if placement == PACK:
            assert slots == {"node8": 4, "node9": 4, "node10": 1}
        else:
            assert slots == {f"node{n}": 2 if n < 11 else 1 for n in range(8, 14)}


@pytest.mark.parametrize("placement", [PACK, SPREAD])
def test_open_slots_add_up_and_stay_within_the_hosts(placement):
    """Never too few, never more than a host holds, no host twice or empty."""
    dice = random.Random(8)
    for _ in range(500):
        sizes = [dice.randint(1, 9) for _ in range(dice.randint(0, 8))]
        slots = dice.randint(1, 30)
        placed = place_slots(candidates(*sizes), slots, placement)
        assert (placed is None) == (sum(sizes) < slots)
        if placed is not None:
            assert sum(each.slots for each in placed) == slots
            assert len({each.agent_id for each in placed}) == len(placed)
            assert all(0 < each.slots <= sizes[int(each.agent_id[1:])] for each in placed)


def test_a_hosts_slots_are_what_is_free_less_the_overhead():
    """The proxy and the daemon need their share, too."""
    demand = Demand(None, 64, Resources(cpus=1, mem=100), Resources(cpus=0.1, mem=50))
    assert demand.slots_within(Resources(cpus=4, mem=4000), 64) == 3
    assert demand.slots_within(Resources(cpus=4.1, mem=4000), 64) == 4
    assert demand.slots_within(Resources(cpus=40, mem=250), 64) == 2
    assert demand.slots_within(Resources(cpus=1, mem=4000), 64) == 0
    assert demand.slots_within(Resources(cpus=400, mem=40000), 5) == 5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"per_slot": Resources(cpus=1, mem=1, gpus=0.5)}, "whole"),
        ({"per_slot": Resources(cpus=1)}, "some cpus and some memory"),
        ({"per_slot": Resources(cpus=1, mem=1), "placement": "any"}, "no placement 'any'"),
    ],
)
def test_a_demand_that_mesos_cannot_meet_is_a_mistake(arguments, sentence):
    """The master's own answer would be a TASK_ERROR for each host."""
    with pytest.raises(UsageError, match=sentence):
        Demand(1, 1, **arguments)
