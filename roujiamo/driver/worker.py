"""A thread that does one thing after another, each of which may block, and says since when it has been at it.

Two run in the driver: one finds masters, one makes scheduler calls. Both are daemons; nothing waits for them.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from roujiamo.driver.inbox import Inbox
from roujiamo.pymesos_driver.trouble import INTERNAL, MasterTrouble

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class Worker:
    """`submit` from the main thread; what comes of it goes to the inbox."""

    def __init__(self, name: str, inbox: Inbox) -> None:
        self._inbox = inbox
        self._jobs: queue.SimpleQueue[Callable[[], Callable[[], None]]] = queue.SimpleQueue()
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs have not begun."""
        return self._jobs.qsize()

    def busy_seconds(self, now: float) -> float:
        """For how long the current job has been running; 0 when there is none."""
        busy_since = self._busy_since
        return 0.0 if busy_since is None else max(0.0, now - busy_since)

    def submit(self, job: Callable[[], Result], on_done: Callable[[Result | MasterTrouble], None]) -> None:
        """Run `job` in the thread, then `on_done` in the main thread with what it returned, or with its trouble."""

        def run() -> Callable[[], None]:
            try:
                result = job()
            except MasterTrouble as trouble:
                return lambda trouble=trouble: on_done(trouble)  # type: ignore[misc]  # a default binds it now
            except Exception as error:  # noqa: BLE001  # the thread must live on; this is reported as ours
                _log.exception("a job failed")
                sentence = f"the driver failed: {type(error).__name__}"
                return lambda: on_done(MasterTrouble(INTERNAL, sentence))
            return lambda: on_done(result)

        self._jobs.put(run)

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            self._busy_since = time.monotonic()
            done = job()
            self._busy_since = None
            self._inbox.put_now(done)
