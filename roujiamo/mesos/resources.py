"""Mesos resources: how much there is for our role, and which pieces of an offer to take.

Pure; used by the broker. The input is the v1 JSON of a master (trusted for its word, not for its shape: see offers.py).
Mesos counts scalars in thousandths (docs/mesos-resources.md, "Fixed point"), so does this module; a float that went
through it compares equal to what the master computes.

Two forms of a reservation are read: `reservations` (a framework with RESERVATION_REFINEMENT, and always in what the
allocator sends to one) and the older `role` beside `reservation`. What is taken keeps every field but the amount,
since an ACCEPT must name a resource exactly as it was offered. Persistent volumes, mounted or shared disks, resources
of a provider and revocable resources are nothing an MPI rank can count on: they are left alone.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from roujiamo.errors import UsageError

JSON = dict[str, Any]

SCALARS = ("cpus", "mem", "disk", "gpus")
_PLACES = {name: place for place, name in enumerate(SCALARS)}
UNRESERVED = "*"

_NOT_PLAIN = frozenset(("revocable", "shared", "disk", "provider_id"))
# A resource with none of these keys anybody may use.
_MARKS = _NOT_PLAIN | {"reservations", "role"}

_UNITS = {
    "cpus": ("cpu", "cpus"),
    "mem": ("MB", "MB"),
    "disk": ("MB of disk", "MB of disk"),
    "gpus": ("GPU", "GPUs"),
}


def to_fixed(value: float) -> int:
    """Return `value` in thousandths, rounded as the master rounds (half away from zero)."""
    return math.floor(value * 1000 + 0.5)


def amount_of(name: str, thousandths: int) -> str:
    """Return "16 cpus", "1 GPU", "512 MB of disk"."""
    return f"{thousandths / 1000:.12g} {_UNITS[name][thousandths != 1000]}"


def from_fixed(thousandths: int) -> float:
    """Return thousandths as the float that stands in JSON."""
    return thousandths / 1000


class Resources:
    """Immutable amounts of cpus, mem (MB), disk (MB) and gpus, exact to a thousandth.

    They add up, multiply by whole numbers, and subtract down to zero (never below: what is missing is not a debt).
    """

    __slots__ = ("_fixed",)

    def __init__(self, cpus: float = 0, mem: float = 0, disk: float = 0, gpus: float = 0) -> None:
        amounts = (cpus, mem, disk, gpus)
        for name, amount in zip(SCALARS, amounts, strict=True):
            if not 0 <= amount < 1e12:  # false for NaN too
                raise UsageError(f"{name} must be a number of at least 0, not {amount:g}")
        self._fixed = tuple(to_fixed(amount) for amount in amounts)

    @classmethod
    def from_thousandths(cls, amounts: Iterable[int]) -> "Resources":
        """Return the resources of four whole numbers in the order of SCALARS."""
        made = cls.__new__(cls)
        made._fixed = tuple(amounts)
        return made

    @property
    def thousandths(self) -> tuple[int, ...]:
        """The amounts in the order of SCALARS."""
        return self._fixed

    @property
    def cpus(self) -> float:
        """Processors, fractions allowed."""
        return self._fixed[0] / 1000

    @property
    def mem(self) -> float:
        """Memory in MB."""
        return self._fixed[1] / 1000

    @property
    def disk(self) -> float:
        """Disk in MB."""
        return self._fixed[2] / 1000

    @property
    def gpus(self) -> float:
        """GPUs; Mesos hands out whole ones only."""
        return self._fixed[3] / 1000

    # Written out, as these run several times for each of thousands of agents: half the cost of a generator.

    def __add__(self, other: "Resources") -> "Resources":
        a, b = self._fixed, other._fixed
        return Resources.from_thousandths((a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]))

    def __sub__(self, other: "Resources") -> "Resources":
        if not any(other._fixed):
            return self
        a, b = self._fixed, other._fixed
        return Resources.from_thousandths(
            (max(0, a[0] - b[0]), max(0, a[1] - b[1]), max(0, a[2] - b[2]), max(0, a[3] - b[3]))
        )

    def largest(self, other: "Resources") -> "Resources":
        """Return the larger of the two amounts of each kind."""
        return Resources.from_thousandths(max(a, b) for a, b in zip(self._fixed, other._fixed, strict=True))

    def __mul__(self, count: int) -> "Resources":
        a = self._fixed
        return Resources.from_thousandths((a[0] * count, a[1] * count, a[2] * count, a[3] * count))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resources) and self._fixed == other._fixed

    def __hash__(self) -> int:
        return hash(self._fixed)

    def __bool__(self) -> bool:
        return any(self._fixed)

    def __repr__(self) -> str:
        return f"Resources(cpus={self.cpus:g}, mem={self.mem:g}, disk={self.disk:g}, gpus={self.gpus:g})"

    def __str__(self) -> str:
        parts = [amount_of(name, amount) for name, amount in zip(SCALARS, self._fixed, strict=True) if amount]
        if not parts:
            return "nothing"
        return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]

    def is_within(self, other: "Resources") -> bool:
        """True where `other` has at least this much of everything."""
        a, b = self._fixed, other._fixed
        return a[0] <= b[0] and a[1] <= b[1] and a[2] <= b[2] and a[3] <= b[3]

    def times_within(self, other: "Resources") -> int | None:
        """Return how often this fits into `other`; None means without end, where this is nothing at all."""
        counts = [b // a for a, b in zip(self._fixed, other._fixed, strict=True) if a]
        return min(counts) if counts else None


def reservation_role(resource: Mapping[str, Any]) -> str:
    """Return the role for which `resource` is reserved, or "*"."""
    reservations = resource.get("reservations")
    if reservations:
        return str(reservations[-1].get("role", UNRESERVED))
    return str(resource.get("role", UNRESERVED))


def is_for_role(reserved_for: str, role: str) -> bool:
    """True where a framework in `role` may use what is reserved for `reserved_for`.

    A reservation of a parent role serves its children too (docs/roles.md, "Hierarchical roles").
    """
    return reserved_for in (UNRESERVED, role) or role.startswith(reserved_for + "/")


def is_plain(resource: Mapping[str, Any]) -> bool:
    """True for what a task can simply use up: not revocable, shared, a volume, a mounted disk or a provider's."""
    return _NOT_PLAIN.isdisjoint(resource)


def _is_usable(resource: Mapping[str, Any], role: str) -> bool:
    return _MARKS.isdisjoint(resource) or (
        is_plain(resource) and is_for_role(reservation_role(resource), role)
    )


def sum_scalars(resources: Iterable[Mapping[str, Any]], role: str) -> Resources:
    """Return the amounts of the four scalars that a task of `role` can use of these resources."""
    totals = [0, 0, 0, 0]
    for resource in resources:
        place = _PLACES.get(resource["name"])
        if place is not None and "scalar" in resource and _is_usable(resource, role):
            totals[place] += to_fixed(resource["scalar"]["value"])
    return Resources.from_thousandths(totals)


def take(offered: Iterable[JSON], wanted: Resources, role: str) -> list[JSON]:
    """Return the pieces of `offered` that make up `wanted`: what is reserved for the role first, then the rest.

    `offered` may be the resources of several offers of one agent; equal pieces come back as one. ValueError where
    there is not enough, which the caller was to find out before (`sum_scalars`).
    """
    pool = [resource for resource in offered if "scalar" in resource and _is_usable(resource, role)]
    pool.sort(key=lambda resource: reservation_role(resource) == UNRESERVED)
    taken: list[JSON] = []
    for name, missing in zip(SCALARS, wanted.thousandths, strict=True):
        if not missing:
            continue
        for resource in pool:
            if missing and resource["name"] == name:
                part = min(missing, to_fixed(resource["scalar"]["value"]))
                missing -= part
                if part:
                    _put(taken, resource, part)
        if missing:
            raise ValueError(f"{amount_of(name, missing)} more were to be taken than there are")
    return taken


def take_all(offered: Iterable[JSON], role: str) -> list[JSON]:
    """Return everything in `offered` that a task can use, ports and sets included (a whole agent)."""
    taken: list[JSON] = []
    for resource in offered:
        if _is_usable(resource, role):
            if "scalar" in resource:
                if part := to_fixed(resource["scalar"]["value"]):
                    _put(taken, resource, part)
            else:
                taken.append(resource)
    return taken


def subtract(offered: Iterable[JSON], taken: Iterable[JSON]) -> list[JSON]:
    """Return what is left of `offered` once the scalars of `taken` are used up; other types go whole or stay."""
    rest = list(taken)
    left: list[JSON] = []
    for resource in offered:
        if "scalar" not in resource:
            if resource not in rest:
                left.append(resource)
            continue
        amount = to_fixed(resource["scalar"]["value"])
        for index, used in enumerate(rest):
            if "scalar" in used and _is_same_but_amount(resource, used):
                part = min(amount, to_fixed(used["scalar"]["value"]))
                amount -= part
                rest[index] = _with_amount(used, to_fixed(used["scalar"]["value"]) - part)
        if amount:
            left.append(_with_amount(resource, amount))
    return left


def _put(taken: list[JSON], resource: JSON, part: int) -> None:
    for index, earlier in enumerate(taken):
        if "scalar" in earlier and _is_same_but_amount(earlier, resource):
            taken[index] = _with_amount(earlier, to_fixed(earlier["scalar"]["value"]) + part)
            return
    taken.append(_with_amount(resource, part))


def _with_amount(resource: JSON, thousandths: int) -> JSON:
    return {**resource, "scalar": {"value": from_fixed(thousandths)}}


def _is_same_but_amount(one: JSON, other: JSON) -> bool:
    return one["name"] == other["name"] and {**one, "scalar": None} == {**other, "scalar": None}
