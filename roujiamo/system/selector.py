"""The selector: tells which descriptors are ready, and calls who waits for them.

Layer 2; the worker's loop, and the broker's for its connections. It is what `selectors` would be, over epoll(7) alone
and with as much as these need. That module takes 4 ms of CPU to load, at each host's start; and an event costs a broker
a tenth of what it does by way of asyncio's loop.
"""

import select

MYPY = False
if MYPY:
    from collections.abc import Callable
    from typing import Protocol

    class HasDescriptor(Protocol):
        """A socket."""

        def fileno(self) -> int:
            """Its descriptor."""


READ = select.EPOLLIN
WRITE = select.EPOLLOUT

# Of one turn, so that others who share the loop have theirs; what is ready stays so.
MAX_EVENTS = 256


class Selector:
    """Register a descriptor, or what has one, with an action; `serve` calls that with what it is ready for."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        # A new tuple at each change: that is how what has changed within one round is told from what was ready.
        self._registered = {}  # type: dict[int, tuple[int, Callable[[int], None]]]

    def register(self, file: "int | HasDescriptor", events: int, action: "Callable[[int], None]") -> None:
        """Watch for `events` (READ, WRITE or both)."""
        descriptor = _descriptor(file)
        self._poll.register(descriptor, events)
        self._registered[descriptor] = (events, action)

    def modify(self, file: "int | HasDescriptor", events: int, action: "Callable[[int], None]") -> None:
        """Watch for others from now on."""
        descriptor = _descriptor(file)
        self._poll.modify(descriptor, events)
        self._registered[descriptor] = (events, action)

    def unregister(self, file: "int | HasDescriptor") -> None:
        """Watch no longer; before it is closed."""
        descriptor = _descriptor(file)
        del self._registered[descriptor]
        self._poll.unregister(descriptor)

    def serve(self, seconds: "float | None") -> None:
        """Wait for at most so long (None: as long as it takes), and call the actions of what is ready.

        Once more it looks when nothing came: a process that was stopped for long finds its time over before it has
        looked.
        """
        ready = self._poll.poll(seconds, MAX_EVENTS)
        if not ready and seconds != 0:
            ready = self._poll.poll(0, MAX_EVENTS)
        if len(ready) == 1:
            # Most turns of a loop that one byte after another goes through: there is nothing that it could close.
            descriptor, got = ready[0]
            self._act(got, *self._registered[descriptor])
            return
        found = [(descriptor, got, self._registered[descriptor]) for descriptor, got in ready]
        for descriptor, got, registered in found:
            # What an earlier event of this round closed is not to be served any more.
            if self._registered.get(descriptor) is registered:
                self._act(got, *registered)

    @staticmethod
    def _act(got: int, events: int, action: "Callable[[int], None]") -> None:
        # An error or a hang-up is for whoever reads or writes next.
        if got != READ:
            got = events & ((READ if got & ~WRITE else 0) | (WRITE if got & ~READ else 0))
        action(got)

    def close(self) -> None:
        """Watch nothing any more."""
        self._registered.clear()
        self._poll.close()


def _descriptor(file: "int | HasDescriptor") -> int:
    return file if isinstance(file, int) else file.fileno()
