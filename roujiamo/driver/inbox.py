"""Where the driver's threads leave work for its main thread.

Two ways in. `put` is for a master's events, kept in order and bounded: while the broker does not read, pymesos's I/O
thread waits in it, TCP fills up, and the master keeps what it has to say; nothing here grows. `put_now` is for the
answers of our own threads, which are few; they must not wait behind events that nobody reads.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

Work = Callable[[], None]

# Several offer cycles of a large cluster; one item is always let in, however large it is.
MAX_WAITING_BYTES = 8 << 20


class Inbox:
    """Work for the main thread; its `fileno` is readable when there may be some."""

    def __init__(self, limit: int = MAX_WAITING_BYTES) -> None:
        self._limit = limit
        self._events: deque[tuple[Work, int]] = deque()
        self._answers: deque[Work] = deque()
        self._waiting_bytes = 0
        self._is_closed = False
        self._changed = threading.Condition()
        self._wake_read, self.wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        # A full wake-up pipe wakes as well as one byte does.
        os.set_blocking(self.wake_write, False)

    def fileno(self) -> int:
        """For `poll`."""
        return self._wake_read

    @property
    def is_full(self) -> bool:
        """Whether `put` makes its caller wait."""
        return self._waiting_bytes > self._limit

    def put(self, work: Work, size: int) -> None:
        """Add an event's work, of about `size` bytes; waits while there is too much already. Dropped once closed."""
        with self._changed:
            self._changed.wait_for(lambda: not self.is_full or self._is_closed)
            if self._is_closed:
                return
            self._events.append((work, size))
            self._waiting_bytes += size
        self.wake()

    def put_now(self, work: Work) -> None:
        """Add an answer's work."""
        self._answers.append(work)
        self.wake()

    def take(self, with_events: bool) -> Work | None:
        """Return the next work, an answer's first; an event's only where they are wanted."""
        if self._answers:
            return self._answers.popleft()
        if not with_events:
            return None
        with self._changed:
            if not self._events:
                return None
            work, size = self._events.popleft()
            self._waiting_bytes -= size
            self._changed.notify_all()
            return work

    def wake(self) -> None:
        """Make `fileno` readable."""
        with suppress(BlockingIOError):
            os.write(self.wake_write, b"\0")

    def clear_wake(self) -> None:
        """Make `fileno` unreadable until the next work comes; call it before `take`."""
        with suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass

    def release(self) -> None:
        """Let every thread that waits in `put` go, and drop what it brings."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
