"""The offers that a master would make of its agents, if it made them now and to us alone.

Pure; for a dry run, which asks for none. Reservations that are not for our roles, and what tasks use, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roujiamo.mesos.offers import Attributes, parse_agent
from roujiamo.mesos.resources import JSON

_SCALARS = ("cpus", "mem", "disk", "gpus")


def foreseen_offers(agents: Iterable[JSON], roles: Sequence[str]) -> list[JSON]:
    """Return a v1 Offer for each active agent of the `slaves` list of GET /slaves that has something free.

    Raises ProtocolError.
    """
    offers = []
    for number, description in enumerate(agents, 1):
        agent = parse_agent(description, roles)
        allocation = {"role": roles[0]}
        resources = [
            {"name": name, "type": "SCALAR", "scalar": {"value": free}, "allocation_info": allocation}
            for name in _SCALARS
            if (free := round(getattr(agent.usable, name) - getattr(agent.used, name), 3)) > 0
        ]
        if agent.is_active and resources:
            offers.append(
                {
                    "id": {"value": f"dry-run-{number}"},
                    "agent_id": {"value": agent.id},
                    "hostname": agent.hostname,
                    "allocation_info": allocation,
                    "resources": resources,
                    "attributes": _attributes(agent.attributes),
                }
            )
    return offers


def _attributes(attributes: Attributes) -> list[JSON]:
    described: list[JSON] = []
    for name, values in attributes.items():
        for value in values:
            if isinstance(value, str):
                described.append({"name": name, "type": "TEXT", "text": {"value": value}})
            elif isinstance(value, tuple):
                ranges = [{"begin": low, "end": high} for low, high in value]
                described.append({"name": name, "type": "RANGES", "ranges": {"range": ranges}})
            else:
                described.append({"name": name, "type": "SCALAR", "scalar": {"value": value}})
    return described
