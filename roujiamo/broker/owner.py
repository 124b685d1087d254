"""The process that a session belongs to: when it ends, the session does.

Runs in the broker. A pid is only a number that is used again, so where the request says when the owner started it is
compared; where the system has no pidfd (pidfd_open(2), Linux 5.3), /proc is looked at now and again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from roujiamo.system.processes import read_process

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5


class Owner:
    """Calls `on_ended` once when the process has ended, be it before this begins."""

    def __init__(self, pid: int, start: int, on_ended: Callable[[], None]) -> None:
        """`start`: its start time in clock ticks, or 0 where that is not known."""
        self._pid = pid
        self._start = start
        self._on_ended = on_ended
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._descriptor = -1
        try:
            self._descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._loop.call_soon(on_ended)
            return
        except (AttributeError, OSError) as error:
            log.info("no pidfd for the owner: %s", error)
        # Compared after the pidfd is there: from now on it means the process that was looked at.
        if not self._is_there():
            self._loop.call_soon(on_ended)
        elif self._descriptor >= 0:
            self._loop.add_reader(self._descriptor, self._on_readable)
        else:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _is_there(self) -> bool:
        process = read_process(self._pid)
        return process is not None and self._start in (0, process.start)

    def _on_readable(self) -> None:
        # It stays readable from now on.
        self._loop.remove_reader(self._descriptor)
        self._on_ended()

    def _look(self) -> None:
        if self._is_there():
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        else:
            self._timer = None
            self._on_ended()

    def close(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
