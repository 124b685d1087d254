"""The role in which an agent is had, where it is offered in several.

Pure; part of the allocator. One ACCEPT combines offers of one role only (Mesos's docs/multi-framework-support.md and
docs/roles.md, "Frameworks with multiple roles"), so a host has one role; another host of the session may have another.
"""

from collections.abc import Iterable, Sequence

from roujiamo.mesos.demand import Demand
from roujiamo.mesos.offers import Offer
from roujiamo.mesos.resources import Resources


def in_one_role(
    offers: Sequence[Offer], roles: Sequence[str], demand: Demand, limit: int, wanted: int | None
) -> tuple[list[Offer], list[Offer], Resources]:
    """Return one agent's offers in the role in which it can do most, the others, and what is free in the former.

    It is to have up to `limit` slots of the gang, or exactly `wanted` where a host was asked for by its name. Where it
    is all the same, the role that stands first in `roles` is taken.
    """
    if len(offers) == 1:
        return list(offers), [], offers[0].free
    by_role: dict[str, list[Offer]] = {}
    for each in offers:
        by_role.setdefault(each.role, []).append(each)
    free = {role: _sum(each.free for each in of_role) for role, of_role in by_role.items()}

    def worth(role: str) -> tuple[bool, int, float, int]:
        is_enough = wanted is not None and demand.size_of(wanted).is_within(free[role])
        return is_enough, demand.slots_within(free[role], limit), free[role].cpus, -roles.index(role)

    best = max(by_role, key=worth) if len(by_role) > 1 else offers[0].role
    others = [each for role, of_role in by_role.items() if role != best for each in of_role]
    return by_role[best], others, free[best]


def _sum(amounts: Iterable[Resources]) -> Resources:
    return sum(amounts, Resources())
