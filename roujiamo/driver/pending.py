"""Calls that wait for the next subscription. Pure.

Runs in the driver's main thread. REVIVE and SUPPRESS say how things should be, so that the last one counts; a KILL or
RECONCILE that is asked for twice is made once.
"""

from __future__ import annotations

from roujiamo.driver.lines import Request

MAX_PENDING = 10_000

_REVIVE, _SUPPRESS = ("revive", ""), ("suppress", "")


class PendingCalls:
    """Requests in the order in which they came."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str], Request] = {}

    def add(self, request: Request) -> bool:
        """Keep `request`; False where there are too many already."""
        if request.name in ("revive", "suppress"):
            self._requests.pop(_REVIVE, None)
            self._requests.pop(_SUPPRESS, None)
            self._requests[request.name, ""] = request
            return True
        key = (request.name, repr(request.body))
        if key not in self._requests and len(self._requests) >= MAX_PENDING:
            return False
        self._requests[key] = request
        return True

    def take_all(self, is_suppressed: bool) -> list[Request]:
        """Return what waits, and forget it. Where offers are `is_suppressed`, SUPPRESS is among it.

        A new subscription gets offers, whatever the one before it had asked.
        """
        requests, self._requests = self._requests, {}
        if is_suppressed and _SUPPRESS not in requests:
            return [Request("suppress", "SUPPRESS", None), *requests.values()]
        return list(requests.values())
