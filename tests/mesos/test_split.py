"""What -N and -n mean."""

import pytest

from roujiamo.errors import UsageError
from roujiamo.mesos.split import SlotPlan, plan_slots, split_evenly


def test_eight_processes_on_three_hosts_are_three_three_two():
    """Rounding down would leave two ranks without a slot, and mpiexec would refuse to start."""
    assert split_evenly(8, 3) == [3, 3, 2]


def test_every_split_adds_up_and_differs_by_at_most_one():
    """Never too few slots, and no host with two more than another."""
    for hosts in range(1, 20):
        for slots in range(hosts, 60):
            split = split_evenly(slots, hosts)
            assert (len(split), sum(split)) == (hosts, slots)
            assert max(split) - min(split) <= 1
            assert split == sorted(split, reverse=True)


@pytest.mark.parametrize(
    ("hosts", "processes", "plan"),
    [(3, 8, (3, 8)), (3, None, (3, 3)), (None, 8, (None, 8)), (None, None, (1, 1)), (2, 2, (2, 2))],
)
def test_each_option_alone_and_both_together(hosts, processes, plan):
    """-N alone is one process a host, -n alone leaves the hosts to the allocator."""
    assert plan_slots(hosts, processes) == SlotPlan(*plan)


def test_fewer_processes_than_hosts_is_a_mistake_that_names_the_remedy():
    """A host without a process would be held for nothing."""
    with pytest.raises(UsageError, match=r"-n 2 leaves some of -N 3 .* at most 2 hosts"):
        plan_slots(3, 2)


def test_more_processes_than_the_hosts_may_hold_is_a_mistake_that_names_the_remedy():
    """It could never be had, however long one waits."""
    with pytest.raises(UsageError, match="ask for at least 3 hosts"):
        plan_slots(2, 9, max_slots_per_host=3)
    assert plan_slots(3, 9, max_slots_per_host=3) == (3, 9)


@pytest.mark.parametrize(("hosts", "processes", "option"), [(0, None, "-N"), (None, -1, "-n")])
def test_a_count_below_one_is_a_mistake(hosts, processes, option):
    """The sentence names the option as the user typed it."""
    with pytest.raises(UsageError, match=f"^{option} must be at least 1"):
        plan_slots(hosts, processes)
