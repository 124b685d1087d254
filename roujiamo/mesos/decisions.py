"""What the allocator tells the broker to do, in terms of the scheduler API's calls.

Pure; used by the allocator, which makes them, and by the broker, which carries them out.
"""

from collections.abc import Iterable
from typing import NamedTuple

from roujiamo.mesos.offers import Offer
from roujiamo.mesos.resources import JSON
from roujiamo.session.names import natural_order


class Accept(NamedTuple):
    """Make this agent a host: launch one task with `resources`, all of these offers in one ACCEPT.

    `name` is what the host was called in `add_host`; None for a host of the gang.
    """

    agent_id: str
    hostname: str
    offer_ids: tuple[str, ...]
    slots: int
    resources: list[JSON]
    name: str | None = None


class Decline(NamedTuple):
    """Give these offers back, not to be offered again for so long (or until there is more)."""

    offer_ids: tuple[str, ...]
    refuse_seconds: float


class Suppress:
    """Ask for no more offers."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Suppress)

    __hash__ = None  # type: ignore[assignment]  # as what is compared by its content


class Revive:
    """Ask for offers again, forgetting all filters."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Revive)

    __hash__ = None  # type: ignore[assignment]  # the same


Decision = Accept | Decline | Suppress | Revive


class Batch:
    """The decisions of one step, as they are collected."""

    def __init__(self) -> None:
        self.accepts: list[Accept] = []
        self.last: list[Decision] = []
        self.declined: dict[float, list[str]] = {}

    def decline(self, offers: Iterable[Offer], refuse_seconds: float) -> None:
        """Give these offers back."""
        self.declined.setdefault(refuse_seconds, []).extend(each.id for each in offers)

    def decisions(self) -> list[Decision]:
        """Return them in order: hosts with more slots first, then by name, as they should stand in a hostfile."""
        accepts = sorted(self.accepts, key=lambda each: (-each.slots, natural_order(each.hostname)))
        declines = [Decline(tuple(ids), seconds) for seconds, ids in self.declined.items() if ids]
        return [*accepts, *declines, *self.last]
