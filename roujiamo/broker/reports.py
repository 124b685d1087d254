"""What the owner is told of its session, event by event; what is told of the hosts one by one goes together.

Runs in the broker. Thousands of hosts have three sentences each, and an event costs broker and owner a JSON object, a
write and a read. So those of one turn of the loop are one event: nothing is late, and no sentence is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

# One event has so many sentences at most: a turn that launches all hosts takes seconds, and shows how far it is.
MAX_GATHERED = 256
COUNT_SECONDS = 0.1


class Reports:
    """Tells by `notify(event)`, in the order in which it is told.

    An event of progress has `text`, the last sentence; `before`, those since the event before, where there are more;
    and `hosts`, how far they are.
    """

    def __init__(
        self, notify: Callable[[dict[str, Any]], None], count: Callable[[], dict[str, Any] | None]
    ) -> None:
        """`count()` says how far the hosts are; None where nobody knows how many there will be."""
        self._notify = notify
        self._count = count
        self._loop = asyncio.get_running_loop()
        self._phase = ""
        self._gathered: list[str] = []
        self._counts: dict[str, Any] | None = None
        self._counted_at = 0.0

    def tell(self, event: dict[str, Any]) -> None:
        """Tell it now."""
        if self._gathered:
            self._flush()
        self._notify(event)

    def progress(self, phase: str, text: str, **more: Any) -> None:
        """Tell now what the session is at."""
        self.tell(self._of_progress(phase, text, more))

    def progress_of_host(self, phase: str, text: str) -> None:
        """Tell, with what else this turn of the loop brings, that a host has got so far."""
        if not self._gathered:
            self._loop.call_soon(self._flush)
        elif phase != self._phase or len(self._gathered) >= MAX_GATHERED:
            self._flush()
        self._phase = phase
        self._gathered.append(text)

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            *before, text = gathered
            self._notify(self._of_progress(self._phase, text, {"before": before} if before else {}))

    def _of_progress(self, phase: str, text: str, more: dict[str, Any]) -> dict[str, Any]:
        event = {"event": "progress", "phase": phase, "text": text, **more}
        now = self._loop.time()
        if now - self._counted_at >= COUNT_SECONDS:
            # To count takes a millisecond for ten thousand.
            self._counted_at = now
            self._counts = self._count()
        if self._counts is not None:
            event["hosts"] = self._counts
        return event
