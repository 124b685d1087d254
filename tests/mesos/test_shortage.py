"""What a user reads while waiting, or instead of waiting: the sentences themselves are the specification."""

import pytest

from roujiamo.mesos.constraints import parse_constraint
from roujiamo.mesos.gang import Demand, GangAllocator
from roujiamo.mesos.resources import Resources
from tests.mesos.master_model import offer

PER_SLOT = Resources(cpus=1, mem=512)


def agents(*cpus, mem=4096.0, **more):
    return [
        {
            "id": f"S{number}",
            "hostname": f"agent{number}",
            "active": True,
            "resources": {"cpus": each, "mem": mem, "disk": 100.0, "gpus": 0.0},
            "unreserved_resources": {"cpus": each, "mem": mem, "disk": 100.0, "gpus": 0.0},
            "reserved_resources": {},
            "attributes": {"zone": "a" if number <= 2 else "b", "rack": f"r{number}"},
            **more,
        }
        for number, each in enumerate(cpus, start=1)
    ]


def allocator(hosts, slots, **demand):
    constraints = tuple(map(parse_constraint, demand.pop("constraints", ())))
    role = demand.pop("role", "*")
    made = Demand(hosts, slots, **{"per_slot": PER_SLOT, "constraints": constraints, **demand})
    return GangAllocator(made, (role,), 4.0, 0.0, lambda: 0.5)


FOUR = agents(4, 8, 16, 16)


@pytest.mark.parametrize(
    ("gang", "cluster", "sentence"),
    [
        (
            allocator(1, 1, per_slot=Resources(cpus=64, mem=1)),
            FOUR,
            "no agent has 64 cpus; the largest has 16 cpus",
        ),
        (
            allocator(1, 1, per_slot=Resources(cpus=1, mem=10_000)),
            FOUR,
            "no agent has 10000 MB; the largest has 4096 MB",
        ),
        (
            allocator(1, 1, per_slot=Resources(cpus=1, mem=1, gpus=1)),
            FOUR,
            "no agent has 1 GPU; the largest has none",
        ),
        (
            allocator(1, 1, per_slot=Resources(cpus=16, mem=600)),
            [*agents(1, 16, mem=512), *agents(2, mem=1024)],
            "no agent has 16 cpus and 600 MB at once",
        ),
        (allocator(3, 3, constraints=["zone==a"]), FOUR, "2 of the 4 agents match zone==a; 3 are needed"),
        (allocator(1, 1, constraints=["zone==c"]), FOUR, "none of the 4 agents matches zone==c; 1 is needed"),
        (
            allocator(2, 2, constraints=["zone==a", "rack~r[13]"]),
            FOUR,
            "1 of the 4 agents matches zone==a and rack~r[13]; 2 are needed",
        ),
        (
            allocator(1, 1, constraints=["zone==c"]),
            agents(4),
            "the only agent does not match zone==c; 1 is needed",
        ),
        (
            allocator(1, 12, constraints=["zone==a"]),
            FOUR,
            "no agent that matches zone==a has 12 cpus; the largest has 8 cpus",
        ),
        (allocator(5, 5), FOUR, "the master has 4 agents; 5 are needed"),
        (allocator(3, 24), FOUR, None),
        (
            allocator(4, 32, per_slot=Resources(cpus=1, mem=64)),
            FOUR,
            "3 of the 4 agents have 8 cpus and 512 MB; 4 are needed",
        ),
        (
            allocator(2, 33, per_slot=Resources(cpus=1, mem=64)),
            agents(17, 16, 16),
            None,
        ),
        (
            allocator(2, 35, per_slot=Resources(cpus=1, mem=64)),
            agents(17, 18, 16),
            None,
        ),
        (
            allocator(2, 35, per_slot=Resources(cpus=1, mem=64)),
            agents(17, 17, 16),
            "no agent has 18 cpus; the largest has 17 cpus",
        ),
        (
            allocator(None, 64, per_slot=Resources(cpus=1, mem=64)),
            FOUR,
            "all agents together have room for 44 processes of 1 cpu and 64 MB; 64 are needed",
        ),
        (
            allocator(None, 10, per_slot=Resources(cpus=1, mem=64), max_slots_per_host=2),
            FOUR,
            "all agents together have room for 8 processes of 1 cpu and 64 MB, at most 2 a host; 10 are needed",
        ),
        (
            allocator(4, 4, exclude_hosts=("agent1",)),
            FOUR,
            "3 of the 4 agents are not excluded; 4 are needed",
        ),
        (
            allocator(2, 2, only_hosts=("agent1", "agent9", "agent10")),
            FOUR,
            "there is no agent called agent9 or agent10; the agents are agent1, agent2, agent3 and agent4",
        ),
        (allocator(2, 2, only_hosts=("agent1",)), FOUR, "1 of the 4 agents is named; 2 are needed"),
        (
            allocator(1, 1),
            agents(4, 4, resources={"cpus": 4.0, "mem": 4096.0, "gpus": 2.0}),
            "none of the 2 agents is without GPUs (those with GPUs are left to those who ask for GPUs); 1 is needed",
        ),
        (allocator(4, 4), FOUR, None),
        (allocator(99, 99), [], None),
    ],
)
def test_an_impossible_request_says_why(gang, cluster, sentence):
    """Within seconds, from /slaves, instead of waiting for ever."""
    assert gang.is_impossible(cluster) == sentence
    if sentence is not None:
        assert gang.explain(cluster) == sentence


def test_reservations_for_others_do_not_count():
    """What one may never get is no reason to wait."""
    cluster = agents(
        16, unreserved_resources={"cpus": 4.0, "mem": 4096.0}, reserved_resources={"ml": {"cpus": 12.0}}
    )
    assert allocator(1, 6).is_impossible(cluster) == "no agent has 6 cpus; the largest has 4 cpus"
    assert allocator(1, 6, role="ml").is_impossible(cluster) is None
    assert "reserved for other roles" in allocator(1, 1, exclusive=True).is_impossible(cluster)


def test_a_named_host_that_does_not_exist_is_refused_with_the_list():
    """A typing error in -H, without the wrapper."""
    gang = allocator(0, 0)
    gang.add_host("agent1", 1, 0.0)
    assert gang.is_impossible(FOUR) is None
    gang.add_host("agent7", 1, 0.0)
    assert gang.is_impossible(FOUR) == (
        "there is no agent called agent7; the agents are agent1, agent2, agent3 and agent4"
    )


def test_a_named_host_that_is_too_small_says_so():
    """The other agents are of no use to it."""
    gang = allocator(0, 0)
    gang.add_host("agent1", 6, 0.0)
    assert gang.is_impossible(FOUR) == "agent1 does not have 6 cpus; it has 4 cpus"


def test_a_host_asked_for_by_its_agents_id_is_spoken_of_by_its_name():
    """People know names; ids are for where these do not suffice."""
    gang = allocator(0, 0)
    ids = [each["id"] for each in FOUR]
    gang.add_host(ids[0], 6, 0.0)
    assert gang.is_impossible(FOUR) == "agent1 does not have 6 cpus; it has 4 cpus"
    gang.withdraw_host(ids[0], 0.0)
    gang.add_host(ids[1], 1, 0.0)
    assert gang.is_impossible(FOUR) is None
    gang.on_offers([offer(1, 1)], 0.1)
    assert gang.explain(FOUR).endswith("on agent2")


def test_a_busy_cluster_says_what_is_missing():
    """On the status line, and when the time is over."""
    gang = allocator(4, 8)
    assert gang.explain() == "the master has not offered anything yet"
    assert gang.explain([]) == "the master has no agents"
    assert gang.explain(FOUR) == (
        "the master has not offered any of its 4 agents yet: all in use, or offered to others"
    )
    gang.on_offers([offer(1, 1)], 0.0)
    assert gang.explain() == "1 of 4 hosts is free; waiting for 3 more agents with 2 cpus and 1024 MB each"
    gang.on_offers([offer(2, 2), offer(3, 3), offer(4, 4, cpus=1.0)], 0.1)
    expected = (
        "3 of 4 hosts are free; waiting for one more agent with 2 cpus and 1024 MB"
        " (of 4 agents seen: 1 with too little free)"
    )
    assert gang.explain(FOUR) == expected
    gang.on_tick(4.0)
    assert gang.explain() == expected


def test_agents_that_are_ruled_out_are_counted_by_reason():
    """The user may want to change the request."""
    gang = allocator(2, 2, constraints=["zone==a"], exclude_hosts=("agent1",))
    gang.on_offers([offer(1, 1), offer(2, 2), offer(3, 3)], 0.0)
    assert gang.explain() == (
        "0 of 2 hosts are free; waiting for 2 more agents with 1 cpu and 512 MB each"
        " (of 3 agents seen: 2 not matching zone==a, 1 excluded)"
    )


def test_open_slots_say_how_many_have_a_place():
    """With -n alone there is no number of hosts to speak of."""
    gang = allocator(None, 8)
    gang.on_offers([offer(1, 1)], 0.0)
    assert gang.explain() == (
        "there is room for 4 of 8 processes; waiting for agents with room for 4 more, 1 cpu and 512 MB each"
    )
