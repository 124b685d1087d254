"""Reports: what is told of the hosts goes together, in order, and none of it is lost."""

import asyncio
from collections.abc import Callable
from typing import Any

from roujiamo.broker.reports import MAX_GATHERED, Reports

Event = dict[str, Any]


def _told(told: Callable[[Reports], None], counts: Event | None = None) -> list[Event]:
    """Return the events of what `told` tells in one turn of the loop, and of the turn after it."""
    events: list[Event] = []

    async def tell() -> None:
        told(Reports(events.append, lambda: counts))
        await asyncio.sleep(0)

    asyncio.run(tell())
    return events


def test_what_one_turn_tells_of_hosts_is_one_event() -> None:
    """Ten thousand hosts become ready within two seconds, and each event wakes the owner."""

    def tell(reports: Reports) -> None:
        for number in range(3):
            reports.progress_of_host("callback", f"agent{number} is ready")

    [event] = _told(tell, {"ready": 3})
    assert event == {
        "event": "progress",
        "phase": "callback",
        "text": "agent2 is ready",
        "before": ["agent0 is ready", "agent1 is ready"],
        "hosts": {"ready": 3},
    }


def test_a_single_sentence_is_an_event_as_any_other() -> None:
    """And where nobody knows how many hosts there will be, none are counted."""
    [event] = _told(lambda reports: reports.progress_of_host("tasks", "agent1: task launched"))
    assert event == {"event": "progress", "phase": "tasks", "text": "agent1: task launched"}


def test_the_order_is_kept() -> None:
    """What is told after the hosts comes after them, also within a turn, and each phase is an event of its own."""

    def tell(reports: Reports) -> None:
        reports.progress_of_host("tasks", "agent1: task launched")
        reports.progress_of_host("callback", "agent2 is ready")
        reports.tell({"event": "ready"})
        reports.progress_of_host("callback", "agent3 is ready")
        reports.progress("tasks", "agent1 failed", trouble=True)

    told = [event.get("text", event["event"]) for event in _told(tell)]
    assert told == ["agent1: task launched", "agent2 is ready", "ready", "agent3 is ready", "agent1 failed"]


def test_a_long_turn_shows_how_far_it_is() -> None:
    """All hosts are launched in one."""
    many = 2 * MAX_GATHERED + 1

    def tell(reports: Reports) -> None:
        for number in range(many):
            reports.progress_of_host("tasks", str(number))

    events = _told(tell)
    sentences = [sentence for event in events for sentence in (*event.get("before", ()), event["text"])]
    assert sentences == [str(number) for number in range(many)]
    assert len(events) == 3
