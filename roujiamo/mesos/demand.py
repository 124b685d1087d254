"""What a session asks of the cluster: so many hosts, so many slots, each slot and each host so much, and where.

Pure; made by the broker from the user's options, read by the allocator and by what explains a wait.
"""

from functools import cached_property

from roujiamo.errors import UsageError
from roujiamo.mesos.constraints import Constraint
from roujiamo.mesos.resources import Resources

PACK = "pack"
SPREAD = "spread"


_NOTHING = Resources()


class Demand:
    """The gang that is to be had at once or not at all.

    `hosts` N and `slots` n: n slots over N hosts, evenly. `hosts` None: as many hosts as the slots need, of at most
    `max_slots_per_host`. Both 0: no gang, hosts are asked for one by one (`GangAllocator.add_host`).
    `placement`: PACK takes the smallest agents that fit (or, with `hosts` None, the fewest hosts), SPREAD the
    emptiest (or all that are offered). `exclusive` takes whole agents. `only_hosts` and `exclude_hosts` name agents.
    """

    def __init__(
        self,
        hosts: int | None,
        slots: int,
        per_slot: Resources,
        per_host: Resources = _NOTHING,
        max_slots_per_host: int | None = None,
        exclusive: bool = False,
        placement: str = PACK,
        constraints: tuple[Constraint, ...] = (),
        only_hosts: tuple[str, ...] = (),
        exclude_hosts: tuple[str, ...] = (),
    ) -> None:
        """`per_host` is what a host needs besides: the proxy, the daemon, GPUs per host. Raises UsageError."""
        self.hosts = hosts
        self.slots = slots
        self.per_slot = per_slot
        self.per_host = per_host
        self.max_slots_per_host = max_slots_per_host
        self.exclusive = exclusive
        self.placement = placement
        self.constraints = constraints
        self.only_hosts = only_hosts
        self.exclude_hosts = exclude_hosts
        if self.placement not in (PACK, SPREAD):
            raise UsageError(f"there is no placement {self.placement!r}: it is {PACK} or {SPREAD}")
        if any(each.thousandths[3] % 1000 for each in (self.per_slot, self.per_host)):
            raise UsageError("GPUs are given out whole: ask for a whole number of them")
        if not (self.per_slot.cpus or self.per_host.cpus) or not (self.per_slot.mem or self.per_host.mem):
            raise UsageError("a host needs some cpus and some memory: neither can be 0")

    @cached_property
    def wants_gpus(self) -> bool:
        """False: agents with GPUs are left to those who need them."""
        return bool(self.per_slot.gpus or self.per_host.gpus)

    @property
    def is_flexible(self) -> bool:
        """True where the number of hosts is left open."""
        return self.hosts is None

    @cached_property
    def slot_limit(self) -> int:
        """The most slots that one host of the gang may get."""
        if self.hosts is None:
            return min(self.slots, self.max_slots_per_host or self.slots)
        return -(-self.slots // self.hosts) if self.hosts else 0

    @property
    def least(self) -> Resources:
        """What the gang takes in all, on as few hosts as may be."""
        return self.per_host * (self.hosts or 1) + self.per_slot * self.slots if self.slots else _NOTHING

    @cached_property
    def smallest_host(self) -> Resources:
        """What a host of one slot takes; asked for each of thousands of agents."""
        return self.size_of(1)

    def size_of(self, slots: int) -> Resources:
        """Return what a host of so many slots takes."""
        return self.per_host + self.per_slot * slots

    def slots_within(self, free: Resources, limit: int) -> int:
        """Return how many slots, up to `limit`, a host with so much free can have; 0 where it cannot be a host."""
        if not self.smallest_host.is_within(free):
            return 0
        slots = self.per_slot.times_within(free - self.per_host)
        return limit if slots is None else min(limit, slots)
