"""The gang allocator, one decision at a time: what it does with an offer, and when."""

import pytest

from roujiamo.mesos.constraints import parse_constraint
from roujiamo.mesos.gang import (
    LONG_REFUSAL_SECONDS,
    SPREAD,
    Accept,
    Decline,
    Demand,
    GangAllocator,
    Revive,
    Suppress,
)
from roujiamo.mesos.resources import Resources, sum_scalars
from tests.mesos.master_model import offer, scalars

PER_SLOT = Resources(cpus=1, mem=512)
GPUS = {"name": "gpus", "type": "SCALAR", "scalar": {"value": 2.0}, "allocation_info": {"role": "*"}}


def allocator(hosts=2, slots=4, *, role="*", hold=4.0, random=lambda: 0.5, **demand):
    return GangAllocator(
        Demand(hosts, slots, **{"per_slot": PER_SLOT, **demand}), role.split(","), hold, 0.0, random
    )


def accepted(decisions):
    return {each.hostname: each.slots for each in decisions if isinstance(each, Accept)}


def declined(decisions):
    return {
        offer_id: each.refuse_seconds
        for each in decisions
        if isinstance(each, Decline)
        for offer_id in each.offer_ids
    }


def test_nothing_is_accepted_until_all_hosts_are_there():
    """All or none: half a gang would hold agents for nothing."""
    gang = allocator(hosts=3, slots=8)
    assert gang.on_offers([offer(1, 1), offer(2, 2)], 0.0) == []
    decisions = gang.on_offers([offer(3, 3)], 1.0)
    assert sorted(accepted(decisions)) == ["agent1", "agent2", "agent3"]
    assert sorted(accepted(decisions).values()) == [2, 3, 3]
    assert [type(each) for each in decisions] == [Accept, Accept, Accept, Suppress]
    assert gang.is_satisfied
    assert gang.next_deadline() is None
    assert gang.explain() == "all hosts are there"


def test_a_host_takes_what_its_slots_and_the_overhead_need_and_no_more():
    """The rest of the offer is the master's again with the ACCEPT."""
    gang = allocator(1, 2, per_host=Resources(cpus=0.1, mem=64))
    (accept, _) = gang.on_offers([offer(1, 1)], 0.0)
    assert accept == Accept("S1", "agent1", ("O1",), 2, scalars(2.1, 1088.0))


def test_each_host_is_had_in_the_role_of_its_offer():
    """What a task of a role uses must be said to be allocated to it (mesos.proto, AllocationInfo)."""
    gang = allocator(2, 4, role="hpc,ml")
    decisions = gang.on_offers([offer(1, 1, role="hpc"), offer(2, 2, role="ml")], 0.0)
    assert decisions[0] == Accept("S1", "agent1", ("O1",), 2, scalars(2.0, 1024.0, "hpc"))
    assert decisions[1] == Accept("S2", "agent2", ("O2",), 2, scalars(2.0, 1024.0, "ml"))


def test_of_an_agent_in_two_roles_the_one_that_does_more_is_kept():
    """One ACCEPT is for one role; what is declined in the other comes in this one, where nobody else wants it."""
    gang = allocator(1, 4, role="hpc,ml")
    both = [offer(1, 1, 1.0, 1024.0, role="hpc"), offer(2, 1, 3.0, 2048.0, role="ml")]
    assert declined(gang.on_offers(both, 0.0)) == {"O1": LONG_REFUSAL_SECONDS, "O2": LONG_REFUSAL_SECONDS}
    gang = allocator(None, 4, role="hpc,ml")
    assert declined(gang.on_offers(both, 0.0)) == {"O1": LONG_REFUSAL_SECONDS}
    decisions = gang.on_offers([offer(3, 1, 1.0, 1024.0, role="ml")], 1.0)
    assert decisions[0] == Accept("S1", "agent1", ("O2", "O3"), 4, scalars(4.0, 2048.0, "ml"))


def test_what_is_declined_in_one_role_is_waited_for_in_the_other():
    """Of two roles with a quota each, a master may offer both shares on one agent: the second comes elsewhere next."""
    gang = allocator(2, 4, role="hpc,ml")
    both = [offer(1, 1, 2.0, 1024.0, role="hpc"), offer(2, 1, 2.0, 1024.0, role="ml")]
    assert list(declined(gang.on_offers(both, 0.0))) == ["O2"]
    assert gang.next_deadline() >= 1.0
    decisions = gang.on_offers([offer(3, 2, 2.0, 1024.0, role="ml")], 0.9)
    assert accepted(decisions) == {"agent1": 2, "agent2": 2}


def test_where_roles_are_alike_the_first_named_is_taken():
    gang = allocator(1, 1, role="hpc,ml")
    (accept, decline, _) = gang.on_offers([offer(1, 1, role="ml"), offer(2, 1, role="hpc")], 0.0)
    assert (accept.offer_ids, decline.offer_ids) == (("O2",), ("O1",))


def test_a_host_asked_for_by_name_is_had_in_the_role_that_is_enough():
    gang = GangAllocator(Demand(0, 0, PER_SLOT), ("hpc", "ml"), 4.0, 0.0, lambda: 0.5)
    gang.add_host("agent1", 3, 0.0)
    (accept, *_) = gang.on_offers([offer(1, 1, 2.0, role="hpc"), offer(2, 1, 3.0, role="ml")], 0.0)
    assert accept == Accept("S1", "agent1", ("O2",), 3, scalars(3.0, 1536.0, "ml"), "agent1")


def test_hosts_with_more_slots_come_first_then_by_number():
    """The order of the hostfile is the order of the ranks."""
    gang = allocator(3, 4)
    decisions = gang.on_offers([offer(1, 10, 1.0), offer(2, 9, 4.0), offer(3, 2, 1.0)], 0.0)
    assert list(accepted(decisions).items()) == [("agent9", 2), ("agent2", 1), ("agent10", 1)]


def test_several_offers_of_one_agent_are_one_host():
    """A master may split an agent's resources over several offers; one ACCEPT takes them all."""
    gang = allocator(1, 4)
    (accept, _) = gang.on_offers([offer(1, 1, 2.0, 1024.0), offer(2, 1, 2.0, 1024.0)], 0.0)
    assert accept == Accept("S1", "agent1", ("O1", "O2"), 4, scalars(4.0, 2048.0))


def test_a_later_offer_of_a_held_agent_adds_to_it():
    """Another framework's task ended there meanwhile; the agent counts once, with both offers."""
    gang = allocator(None, 8)
    assert gang.on_offers([offer(1, 1, 3.0), offer(2, 2, 2.0)], 0.0) == []
    decisions = gang.on_offers([offer(3, 1, 3.0)], 1.0)
    assert accepted(decisions) == {"agent1": 6, "agent2": 2}
    assert decisions[0].offer_ids == ("O1", "O3")


def test_one_agent_is_never_two_hosts():
    """Two daemons of an MPI on one host would get in each other's way."""
    gang = allocator(2, 2)
    assert gang.on_offers([offer(1, 1, 16.0), offer(2, 1, 16.0)], 0.0) == []
    assert not gang.is_satisfied


def test_an_offer_that_is_too_small_is_declined_at_once_with_a_long_filter():
    """Mesos offers the agent again by itself once it has more."""
    gang = allocator(2, 8)
    assert declined(gang.on_offers([offer(1, 1, cpus=3.0), offer(2, 2, mem=100.0)], 0.0)) == {
        "O1": LONG_REFUSAL_SECONDS,
        "O2": LONG_REFUSAL_SECONDS,
    }
    # It listens on, and there is nothing to do until it hears something.
    assert gang.next_deadline() is None


def test_what_is_over_when_the_gang_is_complete_goes_back():
    """Held for nothing from here on."""
    gang = allocator(1, 1)
    decisions = gang.on_offers([offer(1, 1), offer(2, 2)], 0.0)
    assert len(accepted(decisions)) == len(declined(decisions)) == 1
    assert declined(gang.on_offers([offer(3, 3)], 1.0)) == {"O3": LONG_REFUSAL_SECONDS}


def test_a_part_goes_back_after_a_moment_and_is_asked_for_again_at_random():
    """Gangs that listen together get an agent each, and none is complete: one that asks alone gets all at once."""
    asked = set()
    for chance in (0.0, 0.25, 0.75):
        gang = allocator(2, 2, random=lambda chance=chance: chance)
        assert gang.on_offers([offer(1, 1)], 0.0) == []
        until = gang.next_deadline()
        assert 0 < until < 0.1
        decline, suppress = gang.on_tick(until)
        ask_at = gang.next_deadline()
        assert (decline, suppress) == (Decline(("O1",), pytest.approx(ask_at - until)), Suppress())
        assert 0.5 <= ask_at - until <= 1.5
        assert gang.on_tick(ask_at) == [Revive()]
        assert len(accepted(gang.on_offers([offer(2, 1), offer(3, 2)], ask_at + 0.01))) == 2
        asked.add(ask_at)
    assert len(asked) == 3


def test_most_of_a_gang_is_held_while_more_comes_and_never_longer_than_the_hold_time():
    """Others may be quicker to take what is free than all of it is there at once."""
    gang = allocator(8, 8, hold=4.0)
    assert gang.on_offers([offer(number, number) for number in range(5)], 0.0) == []
    assert 1.0 <= gang.next_deadline() <= 1.5
    assert gang.on_offers([offer(5, 5)], 1.0) == []
    assert 2.0 <= gang.next_deadline() <= 2.5
    assert gang.on_offers([offer(6, 6)], 2.0) == []
    assert gang.next_deadline() == 3.0
    assert len(declined(gang.on_tick(3.0))) == 7


def test_most_of_a_gang_is_not_held_twice_in_a_row():
    """What came together for one of two gangs that hold each other up is the other's then."""
    gang = allocator(3, 3)
    three = [offer(1, 1), offer(2, 2)]
    gang.on_offers(three, 0.0)
    gang.on_tick(gang.next_deadline())
    assert gang.on_tick(gang.next_deadline()) == [Revive()]
    now = 3.0
    gang.on_offers(three, now)
    assert gang.next_deadline() - now < 0.1


def test_what_comes_while_a_gang_rests_goes_back_unless_it_is_enough():
    """It was on its way when the gang gave back."""
    gang = allocator(2, 2)
    gang.on_offers([offer(1, 1)], 0.0)
    gang.on_tick(gang.next_deadline())
    ask_at = gang.next_deadline()
    assert list(declined(gang.on_offers([offer(2, 2)], 0.2))) == ["O2"]
    assert gang.next_deadline() == ask_at
    assert len(accepted(gang.on_offers([offer(3, 1), offer(4, 2)], 0.3))) == 2


def test_an_asking_without_an_answer_is_over_soon_and_in_the_end_the_gang_listens():
    """All is held by others or in use; an allocator that is slow has its time too; and asking for ever helps nobody."""
    gang = allocator(2, 2)
    gang.on_offers([offer(1, 1)], 0.0)
    gang.on_tick(gang.next_deadline())
    listened = []
    while (now := gang.next_deadline()) is not None:
        assert gang.on_tick(now) == [Revive()]
        if (until := gang.next_deadline()) is not None:
            assert gang.on_tick(until) == [Suppress()]
            listened.append(until - now)
    assert listened == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2])
    assert now is None or now < 30


def test_an_asking_that_brings_much_comes_seldom():
    """Each costs the master and the session something for every agent that is offered."""
    gang = allocator(9000, 9000)
    gang.on_offers([offer(number, number) for number in range(2000)], 0.0)
    gang.on_tick(now := gang.next_deadline())
    assert gang.next_deadline() - now == pytest.approx(10.0)


def test_a_gang_that_no_agents_could_complete_holds_nothing_and_waits_for_more_agents():
    """Three agents are no four; the fourth is heard of, and looked up in the list before it is believed in."""
    listed = [
        {"id": f"S{number}", "hostname": f"agent{number}", "resources": {"cpus": 4, "mem": 4096}}
        for number in range(4)
    ]
    gang = allocator(4, 4)
    assert gang.on_offers([offer(1, 0)], 0.0) == []
    gang.learn_agents(listed[:3])
    assert declined(gang.reconsider(0.01)) == {"O1": LONG_REFUSAL_SECONDS}
    assert declined(gang.on_offers([offer(2, 1), offer(3, 2)], 0.02)) == {
        "O2": LONG_REFUSAL_SECONDS,
        "O3": LONG_REFUSAL_SECONDS,
    }
    assert gang.next_deadline() is None
    assert not gang.is_list_outdated
    assert declined(gang.on_offers([offer(4, 3)], 60.0)) == {"O4": LONG_REFUSAL_SECONDS}
    assert gang.is_list_outdated
    gang.learn_agents(listed)
    assert gang.reconsider(61.0) == [Revive()]
    assert not gang.is_list_outdated
    offers = [offer(10 + number, number) for number in range(4)]
    assert len(accepted(gang.on_offers(offers, 61.1))) == 4


def test_a_gang_that_rests_when_its_agents_go_hears_of_new_ones():
    """While it rested it had its offers suppressed."""
    listed = [
        {"id": f"S{number}", "hostname": f"agent{number}", "resources": {"cpus": 4, "mem": 4096}}
        for number in range(2)
    ]
    gang = allocator(2, 2)
    gang.learn_agents(listed)
    assert gang.reconsider(0.0) == []
    gang.on_offers([offer(1, 1)], 0.0)
    assert Suppress() in gang.on_tick(gang.next_deadline())
    gang.learn_agents(listed[:1])
    assert gang.reconsider(0.5) == [Revive()]
    assert gang.next_deadline() is None


def test_a_rescinded_offer_does_not_count():
    """The master took it back: naming it in an ACCEPT would lose the task."""
    gang = allocator(2, 2)
    gang.on_offers([offer(1, 1)], 0.0)
    assert gang.on_rescind("O1", 1.0) == []
    assert gang.on_rescind("O99", 1.0) == []
    assert gang.next_deadline() is None
    assert gang.on_offers([offer(2, 2)], 2.0) == []


def test_a_new_subscription_forgets_the_offers_of_the_old():
    """They are void; and the master has forgotten that we wanted no more."""
    gang = allocator(2, 2)
    gang.on_offers([offer(1, 1)], 0.0)
    assert gang.on_subscribed(1.0) == []
    assert gang.on_offers([offer(2, 2)], 1.0) == []
    assert len(accepted(gang.on_offers([offer(3, 1)], 2.0))) == 2
    assert gang.on_subscribed(3.0) == [Suppress()]


def test_a_gang_that_rests_asks_again_on_a_new_subscription():
    """The driver repeats the last SUPPRESS there, and without a REVIVE behind it no offer would come any more."""
    gang = allocator(2, 2)
    gang.on_subscribed(0.0)
    gang.on_offers([offer(1, 1)], 0.0)
    assert Suppress() in gang.on_tick(gang.next_deadline())
    assert gang.on_subscribed(0.2) == [Revive()]
    # Nothing is free: it rests, and asks on.
    asked = 0
    while asked < 3:
        asked += Revive() in gang.on_tick(gang.next_deadline())
    assert len(accepted(gang.on_offers([offer(2, 1), offer(3, 2)], 60.0))) == 2


def test_a_host_that_failed_is_replaced_by_another_agent():
    """With the same number of slots; REVIVE, since the agents were declined for long."""
    gang = allocator(2, 3)
    lost = next(each for each in gang.on_offers([offer(1, 1), offer(2, 2)], 0.0) if isinstance(each, Accept))
    assert gang.replace(lost.agent_id, 10.0) == [Revive()]
    assert not gang.is_satisfied
    again = int(lost.agent_id[1:])
    assert accepted(gang.on_offers([offer(3, again), offer(4, 3)], 11.0)) == {"agent3": lost.slots}


def test_the_agent_that_failed_is_taken_again_where_there_is_no_other():
    """After a hold time, and not a third time."""
    gang = allocator(1, 1)
    gang.on_offers([offer(1, 1)], 0.0)
    gang.replace("S1", 10.0)
    assert gang.on_offers([offer(2, 1)], 11.0) == []
    assert accepted(gang.on_tick(gang.next_deadline())) == {"agent1": 1}
    gang.replace("S1", 20.0)
    assert declined(gang.on_offers([offer(3, 1)], 21.0)) == {"O3": LONG_REFUSAL_SECONDS}
    assert "1 given up after failures" in gang.explain()


def test_an_agent_that_is_not_at_fault_is_taken_again_at_once():
    """The offer was rescinded while the ACCEPT was on its way."""
    gang = allocator(1, 1)
    gang.on_offers([offer(1, 1)], 0.0)
    assert gang.replace("S1", 10.0, is_agents_fault=False) == [Revive()]
    assert accepted(gang.on_offers([offer(2, 1)], 11.0)) == {"agent1": 1}
    assert gang.replace("S9", 12.0) == []


def test_several_replacements_share_one_revive():
    """A REVIVE makes the master go through all agents."""
    gang = allocator(3, 3)
    gang.on_offers([offer(n, n) for n in range(3)], 0.0)
    assert gang.replace("S0", 10.0) == [Revive()]
    assert gang.replace("S1", 10.1) == []
    assert gang.on_tick(gang.next_deadline()) == [Revive()]
    assert gang.on_tick(gang.next_deadline()) == [Suppress()]
    assert len(accepted(gang.on_offers([offer(n + 10, n + 10) for n in range(2)], 11.0))) == 2


@pytest.mark.parametrize(
    ("demand", "unfit"),
    [
        ({"constraints": (parse_constraint("zone==a"),)}, {}),
        ({"constraints": (parse_constraint("hostname!=agent1"),)}, {}),
        ({"exclude_hosts": ("agent1.example.org",)}, {}),
        ({"only_hosts": ("agent2",)}, {}),
        ({}, {"resources": [*scalars(4.0, 4096.0), GPUS]}),
        ({}, {"unavailability": {"start": {"nanoseconds": 1}}}),
        ({}, {"allocation_info": {"role": "ml"}}),
    ],
)
def test_agents_that_are_not_wanted_are_declined_at_once(demand, unfit):
    """Attributes, names, GPUs that others need, maintenance, an offer to another role of the framework."""
    gang = allocator(1, 1, **demand)
    assert declined(gang.on_offers([offer(1, 1, **unfit)], 0.0)) == {"O1": LONG_REFUSAL_SECONDS}


def test_gpus_are_taken_when_asked_for():
    """Per host and per slot."""
    gang = allocator(1, 1, per_slot=Resources(cpus=1, mem=512, gpus=1))
    (accept, _) = gang.on_offers([offer(1, 1, resources=[*scalars(4.0, 4096.0), GPUS])], 0.0)
    assert sum_scalars(accept.resources, "*") == Resources(cpus=1, mem=512, gpus=1)


def test_a_gpu_agent_is_left_alone_even_while_its_gpus_are_in_use():
    """Its offers show none then; /slaves does."""
    gang = allocator(1, 1)
    gang.learn_agents([{"id": "S1", "hostname": "agent1", "resources": {"cpus": 4, "mem": 4096, "gpus": 2}}])
    assert declined(gang.on_offers([offer(1, 1)], 0.0)) == {"O1": LONG_REFUSAL_SECONDS}


def test_exclusive_takes_the_whole_agent():
    """Whatever the slots need, nobody else gets anything there."""
    gang = allocator(1, 1, exclusive=True)
    gang.learn_agents(
        [{"id": f"S{n}", "hostname": f"agent{n}", "resources": {"cpus": 8, "mem": 4096}} for n in (1, 2)]
    )
    assert declined(gang.on_offers([offer(1, 1, cpus=4.0)], 0.0)) == {"O1": LONG_REFUSAL_SECONDS}
    (accept, _) = gang.on_offers([offer(2, 2, cpus=8.0)], 0.0)
    assert accept.resources == scalars(8.0, 4096.0)


def test_slots_alone_take_as_many_hosts_as_they_need():
    """-n without -N."""
    offers = [offer(1, 1, 4.0), offer(2, 2, 4.0), offer(3, 3, 2.0)]
    assert accepted(allocator(None, 6).on_offers(offers, 0.0)) == {"agent1": 4, "agent3": 2}
    assert accepted(allocator(None, 6, max_slots_per_host=2).on_offers(offers, 0.0)) == {
        "agent1": 2,
        "agent2": 2,
        "agent3": 2,
    }
    assert accepted(allocator(None, 6, placement=SPREAD).on_offers(offers, 0.0)) == {
        "agent1": 2,
        "agent2": 2,
        "agent3": 2,
    }


def test_the_roles_own_reservations_are_used_first():
    """And named in the ACCEPT as they were offered."""
    info = {"allocation_info": {"role": "hpc"}}
    resources = [{**each, **info} for each in scalars(4.0, 4096.0)]
    reserved = {**resources[0], "scalar": {"value": 1.0}, "reservations": [{"type": "STATIC", "role": "hpc"}]}
    gang = allocator(1, 2, role="hpc")
    (accept, _) = gang.on_offers([offer(1, 1, resources=[*resources, reserved], **info)], 0.0)
    assert accept.resources == [
        reserved,
        {**resources[0], "scalar": {"value": 1.0}},
        {**resources[1], "scalar": {"value": 1024.0}},
    ]


def test_hosts_can_be_asked_for_one_by_one():
    """Without the wrapper the launcher names them, one shim each; each is had as soon as it is offered."""
    gang = allocator(0, 0)
    assert gang.on_subscribed(0.0) == [Suppress()]
    assert gang.add_host("agent7", 2, 1.0) == [Revive()]
    decisions = gang.on_offers([offer(1, 6), offer(2, 7)], 1.1)
    assert [(each.name, each.hostname, each.slots) for each in decisions if isinstance(each, Accept)] == [
        ("agent7", "agent7", 2)
    ]
    assert declined(decisions) == {"O1": LONG_REFUSAL_SECONDS}
    assert gang.is_satisfied
    gang.add_host("agent6", 1, 1.2)
    assert gang.on_tick(gang.next_deadline()) == [Revive()]
    assert accepted(gang.on_offers([offer(3, 6), offer(4, 5)], 2.0)) == {"agent6": 1}


def test_a_host_may_be_asked_for_by_its_agents_id():
    """Several agents may share a name; only one of them is meant."""
    gang = allocator(0, 0)
    gang.add_host("S2", 1, 0.0)
    twin = {**offer(2, 2), "hostname": "agent1"}
    decisions = gang.on_offers([offer(1, 1), twin], 0.1)
    assert [(each.agent_id, each.name) for each in decisions if isinstance(each, Accept)] == [("S2", "S2")]
    assert declined(decisions) == {"O1": LONG_REFUSAL_SECONDS}


def test_a_named_host_that_failed_is_asked_for_again_by_name():
    """No other agent will do."""
    gang = allocator(0, 0)
    gang.add_host("agent1", 1, 0.0)
    gang.on_offers([offer(1, 1)], 0.1)
    assert gang.replace("S1", 5.0) == [Revive()]
    assert accepted(gang.on_offers([offer(2, 2), offer(3, 1)], 5.1)) == {"agent1": 1}


def test_a_named_host_can_be_given_up():
    """Its shim has waited long enough."""
    gang = allocator(0, 0)
    gang.add_host("agent9", 1, 0.0)
    assert gang.explain() == "the master has not offered anything yet"
    gang.on_offers([offer(1, 1)], 0.1)
    assert gang.explain() == "waiting for 1 cpu and 512 MB on agent9"
    assert gang.withdraw_host("agent9", 1.0) == [Suppress()]
    assert gang.is_satisfied


def test_ten_thousand_offers_one_by_one_are_counted_not_searched():
    """The work per offer does not grow with what is held: the candidates are looked at once, at the end."""
    gang = allocator(5000, 20_000, constraints=tuple(parse_constraint(f"a{n}!=x{n}") for n in range(100)))
    for number in range(4999):
        assert gang.on_offers([offer(number, number)], 0.0) == []
    assert len(accepted(gang.on_offers([offer(9999, 9999)], 0.0))) == 5000
