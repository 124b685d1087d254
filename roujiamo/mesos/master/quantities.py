"""Resources and their arithmetic, exact as the master's own: scalars in thousandths, ranges of whole numbers.

Part of the local master's state. Values come from a framework's calls and were checked by `messages`; names are
anything a framework likes to ask for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Ranges = tuple[tuple[int, int], ...]
Value = int | Ranges

# The master's --min_allocatable_resources of Mesos 1.11: less of both is not offered.
MIN_CPUS = 10
MIN_MEM = 32_000

# The order in which a master lists an offer's resources.
OFFER_ORDER = ("ports", "cpus", "mem", "disk", "gpus")


class Quantities:
    """An immutable set of resources: name to thousandths, or to ranges. Nothing of a resource is no entry."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Value] | None = None) -> None:
        self._values = {name: value for name, value in (values or {}).items() if value}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantities) and self._values == other._values

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Quantities({self.text() or 'nothing'})"

    def __bool__(self) -> bool:
        return bool(self._values)

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        return iter(self._values.items())

    def __add__(self, other: Quantities) -> Quantities:
        if not self._values:
            return other
        values = dict(self._values)
        for name, value in other._values.items():
            mine = values.get(name)
            if mine is None:
                values[name] = value
            elif isinstance(mine, int) and isinstance(value, int):
                values[name] = mine + value
            else:
                values[name] = _merge((*_as_ranges(mine), *_as_ranges(value)))
        return Quantities(values)

    def __sub__(self, other: Quantities) -> Quantities:
        """What is left; `other` must be contained."""
        values = dict(self._values)
        for name, value in other._values.items():
            mine = values.get(name, 0)
            if isinstance(mine, int) and isinstance(value, int):
                values[name] = mine - value
            else:
                values[name] = _subtract(_as_ranges(mine), _as_ranges(value))
        return Quantities(values)

    def contains(self, other: Quantities) -> bool:
        """True where `other` could be taken from this."""
        for name, value in other._values.items():
            mine = self._values.get(name, 0)
            if isinstance(mine, int) and isinstance(value, int):
                if mine < value:
                    return False
            elif _subtract(_as_ranges(value), _as_ranges(mine)):
                return False
        return True

    def scalar(self, name: str) -> int:
        """Thousandths of a scalar resource; 0 where there is none."""
        value = self._values.get(name, 0)
        return value if isinstance(value, int) else 0

    @property
    def scalars(self) -> Quantities:
        """Without ranges: the form in which sums over many agents are kept, whose ports are the same numbers."""
        return Quantities({name: value for name, value in self._values.items() if isinstance(value, int)})

    @property
    def is_allocatable(self) -> bool:
        """True where this is enough to be offered."""
        return self.scalar("cpus") >= MIN_CPUS or self.scalar("mem") >= MIN_MEM

    def at_most(self, limits: dict[str, int]) -> Quantities:
        """The same, no scalar above its limit; where there is no limit for one, all of it."""
        return Quantities(
            {
                name: min(value, limits[name]) if name in limits and isinstance(value, int) else value
                for name, value in self._values.items()
            }
        )

    def numbers(self) -> dict[str, float]:
        """Each resource as a number: a scalar's value, and how many numbers its ranges hold."""
        return {
            name: value / 1000
            if isinstance(value, int)
            else float(sum(end - begin + 1 for begin, end in value))
            for name, value in self._values.items()
        }

    def in_offer_order(self) -> Quantities:
        """The same, listed as an offer lists it."""
        rank = {name: place for place, name in enumerate(OFFER_ORDER)}
        return Quantities(dict(sorted(self._values.items(), key=lambda item: rank.get(item[0], len(rank)))))

    def as_json(self, allocated_to: str | None = None, role: str | None = "*") -> list[dict[str, Any]]:
        """The list of v1 Resource objects; `allocated_to` is the role in allocation_info, None for none."""
        resources = []
        for name, value in self._values.items():
            entry: dict[str, Any] = {"name": name}
            if isinstance(value, int):
                entry.update(type="SCALAR", scalar={"value": value / 1000})
            else:
                ranges = [{"begin": begin, "end": end} for begin, end in value]
                entry.update(type="RANGES", ranges={"range": ranges})
            if role is not None:
                entry["role"] = role
            if allocated_to is not None:
                entry["allocation_info"] = {"role": allocated_to}
            resources.append(entry)
        return resources

    def summary(self) -> dict[str, Any]:
        """The object that the read endpoints show, with zeros for what every agent has."""
        shown: dict[str, Any] = {name: self.scalar(name) / 1000 for name in ("disk", "mem", "gpus", "cpus")}
        for name, value in self._values.items():
            shown[name] = value / 1000 if isinstance(value, int) else _ranges_text(value)
        return shown

    def text(self, allocated_to: str | None = None) -> str:
        """As a master writes resources in its messages: `cpus(allocated: *):1.5; ports(allocated: *):[1-2]`."""
        allocation = f"(allocated: {allocated_to})" if allocated_to is not None else ""
        parts = []
        for key, value in self._values.items():
            name, mark, reservation = key.partition("(")
            shown = number_text(value) if isinstance(value, int) else _ranges_text(value)
            parts.append(f"{name}{allocation}{mark}{reservation}:{shown}")
        return "; ".join(parts)


def total(quantities: Iterable[Quantities]) -> Quantities:
    """The sum."""
    result = Quantities()
    for one in quantities:
        result = result + one
    return result


def thousandths(value: float) -> int:
    """A scalar resource as Mesos keeps it: fixed point, three digits, halves rounded away from zero."""
    return int(value * 1000 + (0.5 if value >= 0 else -0.5))


def number_text(value: int) -> str:
    """Thousandths as C++ prints the number."""
    return f"{value / 1000:.6g}" if value % 1000 else str(value // 1000)


def from_json(resources: list[dict[str, Any]]) -> Quantities:
    """The sum of v1 Resource objects. A reserved resource is another thing than an unreserved one of its name."""
    result = Quantities()
    for resource in resources:
        result = result + Quantities({_key(resource): _value(resource)})
    return result


def invalid_reason(resource: dict[str, Any]) -> str | None:
    """The master's sentence about a v1 Resource that means nothing, or None."""
    kind = resource["type"]
    if kind == "SCALAR":
        if "scalar" not in resource:
            return f"Resource '{resource['name']}:0' is invalid: Invalid scalar resource"
        number = resource["scalar"]["value"]
        if number < 0 or (number and thousandths(number) == 0):
            shown = f"{resource['name']}:{number_text(thousandths(number))}"
            return f"Resource '{shown}' is invalid: Invalid scalar resource: value <= 0"
    elif kind == "RANGES":
        ranges = resource.get("ranges", {}).get("range", [])
        if any(one["begin"] > one["end"] for one in ranges):
            shown = _ranges_text(tuple((one["begin"], one["end"]) for one in ranges))
            return f"Resource '{resource['name']}:{shown}' is invalid: Invalid ranges resource: begin > end"
    return None


def _key(resource: dict[str, Any]) -> str:
    role = resource.get("role", "*")
    if role != "*":
        return f"{resource['name']}(reservations: [(STATIC,{role})])"
    if resource.get("reservations"):
        stack = ",".join(f"({one.get('type')},{one.get('role')})" for one in resource["reservations"])
        return f"{resource['name']}(reservations: [{stack}])"
    return str(resource["name"])


def _value(resource: dict[str, Any]) -> Value:
    if resource["type"] == "SCALAR":
        return thousandths(resource.get("scalar", {}).get("value", 0))
    if resource["type"] == "RANGES":
        ranges = resource.get("ranges", {}).get("range", [])
        return _merge(tuple((one["begin"], one["end"]) for one in ranges))
    # Sets: no agent here has any, so one counts as a scalar that nobody can give.
    return 1000 * len(resource.get("set", {}).get("item", []))


def _as_ranges(value: Value) -> Ranges:
    # A number where ranges are expected (or the other way round) can never be given: a range below all ports.
    return value if not isinstance(value, int) else ((-1, -1),) if value else ()


def _merge(ranges: Ranges) -> Ranges:
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if merged and begin <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple(merged)


def _subtract(ranges: Ranges, taken: Ranges) -> Ranges:
    left = list(ranges)
    for begin, end in taken:
        rest: list[tuple[int, int]] = []
        for low, high in left:
            if high < begin or low > end:
                rest.append((low, high))
                continue
            if low < begin:
                rest.append((low, begin - 1))
            if high > end:
                rest.append((end + 1, high))
        left = rest
    return tuple(left)


def _ranges_text(ranges: Ranges) -> str:
    return "[" + ", ".join(f"{begin}-{end}" for begin, end in ranges) + "]"
