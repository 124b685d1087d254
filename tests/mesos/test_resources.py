"""Resources of a master's offers: counting them, taking pieces, leaving alone what is not ours to use."""

import pytest

from roujiamo.errors import UsageError
from roujiamo.mesos.resources import Resources, subtract, sum_scalars, take, take_all


def scalar(name, value, **more):
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, **more}


def reserved(name, value, role):
    return scalar(
        name,
        value,
        allocation_info={"role": "hpc"},
        reservations=[{"type": "DYNAMIC", "role": role, "principal": "ops"}],
    )


def unreserved(name, value):
    return scalar(name, value, allocation_info={"role": "hpc"})


PORTS = {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31000, "end": 32000}]}}


def test_amounts_are_exact_to_a_thousandth_as_the_master_counts():
    """Ten times 0.1 cpus is one cpu for the master; were it less for us, an agent that fits would be declined."""
    assert sum_scalars([scalar("cpus", 0.1)] * 10, "*") == Resources(cpus=1)
    assert Resources(cpus=0.1) * 3 == Resources(cpus=0.3)
    assert Resources(cpus=0.0004) == Resources()
    assert Resources(cpus=0.0005) == Resources(cpus=0.001)


def test_subtraction_stops_at_zero():
    """What is missing is no debt to be paid by the next agent."""
    assert Resources(cpus=1, mem=100) - Resources(cpus=3, mem=40) == Resources(mem=60)


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf")])
def test_an_amount_that_is_none_is_the_users_mistake(amount):
    """Options and configuration arrive here as numbers."""
    with pytest.raises(UsageError, match="mem must be a number of at least 0"):
        Resources(mem=amount)


def test_times_within_counts_by_the_scarcest_kind():
    """The slots of a host are bounded by whichever of cpus, mem, disk and gpus runs out first."""
    free = Resources(cpus=8, mem=1000, disk=50)
    assert Resources(cpus=1, mem=300).times_within(free) == 3
    assert Resources(cpus=1, gpus=1).times_within(free) == 0
    assert Resources().times_within(free) is None


def test_amounts_read_as_a_sentence_part():
    """They stand in messages such as "waiting for one more agent with ..."."""
    assert str(Resources(cpus=2, mem=1024)) == "2 cpus and 1024 MB"
    assert str(Resources(cpus=0.5, mem=64, gpus=2)) == "0.5 cpus, 64 MB and 2 GPUs"
    assert str(Resources(cpus=1, mem=2_500_000)) == "1 cpu and 2500000 MB"
    assert str(Resources()) == "nothing"


def test_what_is_reserved_for_the_role_is_taken_first():
    """The unreserved rest is what other roles can use, so it is spared."""
    offered = [unreserved("cpus", 4.0), reserved("cpus", 2.0, "hpc"), unreserved("mem", 512.0)]
    assert take(offered, Resources(cpus=3, mem=128), "hpc") == [
        reserved("cpus", 2.0, "hpc"),
        unreserved("cpus", 1.0),
        unreserved("mem", 128.0),
    ]


def test_a_parent_roles_reservation_serves_and_a_strangers_does_not():
    """docs/roles.md: reservations to an ancestor may be offered to the whole subtree."""
    offered = [reserved("cpus", 2.0, "eng"), reserved("cpus", 4.0, "ops"), reserved("cpus", 8.0, "engine")]
    assert sum_scalars(offered, "eng/hpc") == Resources(cpus=2)


def test_the_older_form_of_a_reservation_is_read_too():
    """A framework without RESERVATION_REFINEMENT is sent `role` and `reservation` instead of `reservations`."""
    old = scalar("cpus", 2.0, role="hpc", reservation={"principal": "ops"})
    assert sum_scalars([old, scalar("cpus", 1.0, role="*")], "hpc") == Resources(cpus=3)
    assert sum_scalars([old, scalar("cpus", 1.0, role="*")], "ml") == Resources(cpus=1)
    assert take([scalar("cpus", 1.0, role="*"), old], Resources(cpus=1), "hpc") == [
        scalar("cpus", 1.0, role="hpc", reservation={"principal": "ops"})
    ]


def test_volumes_shared_and_revocable_resources_are_left_alone():
    """A rank on revocable cpus may be killed at any moment, and a persistent volume is somebody's data."""
    offered = [
        unreserved("cpus", 1.0),
        {**unreserved("cpus", 7.0), "revocable": {}},
        {**unreserved("disk", 100.0), "disk": {"persistence": {"id": "v"}, "volume": {"mode": "RW"}}},
        {**unreserved("disk", 100.0), "disk": {"source": {"type": "MOUNT"}}},
        {**unreserved("mem", 100.0), "shared": {}},
        {**unreserved("disk", 5.0), "provider_id": {"value": "csi"}},
    ]
    assert sum_scalars(offered, "hpc") == Resources(cpus=1)
    assert take_all(offered, "hpc") == [unreserved("cpus", 1.0)]


def test_the_pieces_of_several_offers_come_back_as_one():
    """Two offers of one agent hold the same kind of cpus; the task's list reads as one amount."""
    offered = [unreserved("cpus", 1.5), unreserved("mem", 64.0), unreserved("cpus", 1.5)]
    assert take(offered, Resources(cpus=2.5), "hpc") == [unreserved("cpus", 2.5)]


def test_the_offer_itself_stays_as_it_was():
    """It may still be given back, or be taken from for another host."""
    offered = [unreserved("cpus", 4.0)]
    take(offered, Resources(cpus=1), "hpc")[0]["scalar"]["value"] = 99
    assert offered == [unreserved("cpus", 4.0)]


def test_taking_more_than_there_is_is_the_callers_bug():
    """It is found at once, not by a TASK_ERROR from the master."""
    with pytest.raises(ValueError, match="1 cpu more"):
        take([unreserved("cpus", 1.0)], Resources(cpus=2), "hpc")


def test_a_whole_agent_includes_its_ports():
    """With --exclusive nobody else is to get anything there."""
    assert take_all([unreserved("cpus", 4.0), PORTS], "hpc") == [unreserved("cpus", 4.0), PORTS]


def test_what_is_taken_and_what_is_left_make_up_the_offer():
    """Nothing is lost or doubled in the sum."""
    offered = [unreserved("cpus", 4.0), reserved("cpus", 2.0, "hpc"), PORTS, unreserved("mem", 100.0)]
    taken = take(offered, Resources(cpus=3.25, mem=100), "hpc")
    left = subtract(offered, taken)
    assert left == [unreserved("cpus", 2.75), PORTS]
    assert sum_scalars(taken, "hpc") + sum_scalars(left, "hpc") == sum_scalars(offered, "hpc")
    assert subtract(offered, offered) == []
