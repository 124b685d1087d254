"""How many processes go on how many hosts: what -N and -n mean, alone and together.

Pure; used by `roujiamo run` and the broker. Its input is the user's, so its errors are one sentence for the user.
"""

from typing import NamedTuple

from roujiamo.errors import UsageError


class SlotPlan(NamedTuple):
    """`hosts` is None where the allocator takes as many hosts as the processes need."""

    hosts: int | None
    slots: int


def split_evenly(slots: int, hosts: int) -> list[int]:
    """Return the slots of each host, the larger shares first: 8 over 3 are [3, 3, 2]; they always add up to `slots`."""
    share, rest = divmod(slots, hosts)
    return [share + 1] * rest + [share] * (hosts - rest)


def plan_slots(hosts: int | None, processes: int | None, max_slots_per_host: int | None = None) -> SlotPlan:
    """Return what to ask Mesos for.

    -N and -n: n processes over N hosts, as evenly as it goes. -N alone: one process a host. -n alone: as many hosts
    as are needed for n. Neither: one process on one host.
    """
    for option, count in (("-N", hosts), ("-n", processes), ("--max-slots-per-host", max_slots_per_host)):
        if count is not None and count < 1:
            raise UsageError(f"{option} must be at least 1, not {count}")
    if processes is None:
        return SlotPlan(hosts or 1, hosts or 1)
    if hosts is None:
        return SlotPlan(None, processes)
    if processes < hosts:
        raise UsageError(
            f"-n {processes} leaves some of -N {hosts} hosts without a process: ask for at most {processes} hosts"
        )
    if max_slots_per_host is not None and hosts * max_slots_per_host < processes:
        needed = -(-processes // max_slots_per_host)
        raise UsageError(
            f"-N {hosts} hosts of at most {max_slots_per_host} slots cannot hold -n {processes} processes:"
            f" ask for at least {needed} hosts"
        )
    return SlotPlan(hosts, processes)
