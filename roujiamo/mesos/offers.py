"""What a master says about an agent, in an offer or in its /slaves, brought into one shape.

Pure; used by the broker. The master is trusted, but a field that is missing or of the wrong type is a ProtocolError
that names it, never an exception from deep inside.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from roujiamo.errors import ProtocolError
from roujiamo.mesos.resources import JSON, UNRESERVED, Resources, is_for_role, sum_scalars

# One value of an attribute: a text, a scalar, or ranges of numbers ((1, 3), (8, 8)). A name may have several.
AttributeValue = str | float | tuple[tuple[float, float], ...]
Attributes = Mapping[str, tuple[AttributeValue, ...]]

_RANGES = re.compile(r"\[\s*(\d+-\d+(?:\s*,\s*\d+-\d+)*)\s*\]")

T = TypeVar("T")


class Offer(NamedTuple):
    """One offer: `free` is what a task of `role` can use of `resources`, the offer's own JSON."""

    id: str
    agent_id: str
    hostname: str
    role: str
    attributes: Attributes
    resources: tuple[JSON, ...]
    free: Resources
    has_gpus: bool
    is_in_maintenance: bool  # a window is scheduled or open


class Agent(NamedTuple):
    """One agent of GET /slaves: `total` is what it has at all, `usable` what a task of ours may ever have of it."""

    id: str
    hostname: str
    attributes: Attributes
    total: Resources
    usable: Resources
    used: Resources
    is_active: bool
    address: str = ""  # where its process listens


def parse_offer(offer: JSON, role: str = UNRESERVED) -> Offer:
    """Read one v1 Offer; `role` is supposed where the master names none (it knows no MULTI_ROLE)."""
    return _checked(lambda value: _read_offer(value, role), offer, "an offer")


def parse_agent(agent: JSON, roles: Sequence[str] = (UNRESERVED,)) -> Agent:
    """Read one element of the `slaves` list of GET /slaves, as a framework of `roles` sees it."""
    return _checked(lambda value: _read_agent(value, roles), agent, "an agent in its /slaves")


def maintenance_start(inverse_offer: JSON) -> float:
    """Return when the maintenance of an inverse offer's agent begins, in seconds since the epoch."""
    return _checked(
        lambda offer: _seconds(offer["unavailability"]["start"]), inverse_offer, "an inverse offer"
    )


def _seconds(time_info: JSON) -> float:
    return int(time_info["nanoseconds"]) / 1e9


def _checked(read: Callable[[JSON], T], value: JSON, what: str) -> T:
    try:
        return read(value)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ProtocolError(f"the master described {what} in a way that cannot be read: {error!r}") from error


def _read_offer(offer: JSON, role: str) -> Offer:
    resources = tuple(offer.get("resources", ()))
    role = offer.get("allocation_info", {}).get("role", role)
    return Offer(
        id=str(offer["id"]["value"]),
        agent_id=str(offer["agent_id"]["value"]),
        hostname=str(offer["hostname"]),
        role=str(role),
        attributes=_offer_attributes(offer.get("attributes", ())),
        resources=resources,
        free=sum_scalars(resources, role),
        has_gpus=_has_gpus(resources),
        is_in_maintenance="unavailability" in offer,
    )


def _has_gpus(resources: Iterable[JSON]) -> bool:
    return any(each["name"] == "gpus" and each["scalar"]["value"] > 0 for each in resources)


def _read_agent(agent: JSON, roles: Sequence[str]) -> Agent:
    # A task is of one role: with several, the most that one of them can have of each kind.
    usable = Resources()
    for role in roles:
        in_role = _amounts(
            agent["unreserved_resources"] if "unreserved_resources" in agent else agent["resources"]
        )
        for reserved_for, amounts in agent.get("reserved_resources", {}).items():
            if is_for_role(reserved_for, role):
                in_role += _amounts(amounts)
        usable = usable.largest(in_role)
    return Agent(
        id=str(agent["id"]),
        hostname=str(agent["hostname"]),
        attributes=_agent_attributes(agent.get("attributes", {})),
        total=_amounts(agent["resources"]),
        usable=usable,
        used=_amounts(agent.get("used_resources", {})),
        is_active=bool(agent.get("active", True)) and not agent.get("deactivated", False),
        address=str(agent.get("pid", "")).rpartition("@")[2].rpartition(":")[0].strip("[]"),
    )


def _amounts(amounts: Mapping[str, Any]) -> Resources:
    return Resources(
        cpus=amounts.get("cpus", 0),
        mem=amounts.get("mem", 0),
        disk=amounts.get("disk", 0),
        gpus=amounts.get("gpus", 0),
    )


def _offer_attributes(attributes: Iterable[JSON]) -> Attributes:
    found: dict[str, tuple[AttributeValue, ...]] = {}
    for attribute in attributes:
        value: AttributeValue
        if "text" in attribute:
            value = str(attribute["text"]["value"])
        elif "scalar" in attribute:
            value = float(attribute["scalar"]["value"])
        elif "ranges" in attribute:
            value = tuple(
                (float(each["begin"]), float(each["end"])) for each in attribute["ranges"].get("range", ())
            )
        else:
            continue
        name = attribute["name"]
        found[name] = (*found[name], value) if name in found else (value,)
    return found


def _agent_attributes(attributes: Mapping[str, Any]) -> Attributes:
    """/slaves gives an attribute as a JSON number, as text, or its ranges as the text "[1-3, 8-8]"."""
    found: dict[str, tuple[AttributeValue, ...]] = {}
    for name, value in attributes.items():
        if not isinstance(value, str):
            found[name] = (float(value),)
        elif match := _RANGES.fullmatch(value):
            pairs = (each.split("-") for each in match.group(1).split(","))
            found[name] = (tuple((float(low), float(high)) for low, high in pairs),)
        else:
            found[name] = (value,)
    return found
