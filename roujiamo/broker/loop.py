"""The broker's loop: asyncio's, and beside it the selector by which its connections are served.

A byte on its way from a shim to a proxy passes here, and asyncio's transports take longer over it than all that the
broker does with it. So connections belong to a `Selector`, and what asyncio itself waits for is one more descriptor of
that. Connections are served one after another while asyncio waits, which has its turn when it has something to do: a
turn of its own for each byte would be 4 of the broker's 50 µs.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from roujiamo.system.selector import READ, Selector

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class Loop(asyncio.SelectorEventLoop):
    """What is registered with `connections` is served while the loop waits.

    An action of it may do what a handle may, except that `stop` waits for the loop's next turn.
    """

    def __init__(self) -> None:
        self.connections = Selector()
        self._waiting = _Waiting(self.connections)
        super().__init__(self._waiting)

    def call_soon(self, *arguments: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]
        """Have a turn after what is being served now."""
        self._waiting.is_over = True
        return super().call_soon(*arguments, **options)

    def call_at(self, *arguments: Any, **options: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        """Have a turn, in which it is seen how long the next wait may be."""
        self._waiting.is_over = True
        return super().call_at(*arguments, **options)

    def close(self) -> None:
        """Close it; nothing is served any more."""
        super().close()
        self.connections.close()


class _Waiting(selectors.EpollSelector):
    """What asyncio waits with: for its own descriptors and for the connections at once."""

    def __init__(self, connections: Selector) -> None:
        super().__init__()
        self._connections = connections
        self._is_ready = False
        self.is_over = False
        connections.register(self, READ, self._on_ready)

    def _on_ready(self, mask: int) -> None:
        self._is_ready = self.is_over = True

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._is_ready = self.is_over = False
        until = None if timeout is None else time.monotonic() + timeout
        try:
            while not self.is_over:
                self._connections.serve(timeout)
                if until is not None:
                    timeout = until - time.monotonic()
                    if timeout <= 0:
                        break
        except Exception:
            # A fault of ours that no connection has taken on itself ends none of them, and not the session.
            log.exception("a connection could not be served")
        return super().select(0) if self._is_ready else []


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run `work` to its end in a loop of this kind, as asyncio.run does."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(work)


def connections() -> Selector:
    """Return the running loop's selector."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop), "for a loop of `roujiamo.broker.loop`"
    return loop.connections
