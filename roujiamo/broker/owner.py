"""The process that a session belongs to: when it ends, the session does; and the launchers of the runs in it.

Runs in the broker. A pid is only a number that is used again, so where the request says when the owner started it is
compared; where the system has no pidfd (pidfd_open(2), Linux 5.3), /proc is looked at now and again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from roujiamo.system.processes import Process, read_process, send_signal
from roujiamo.system.runtime_folder import RUN_PREFIX

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
# Two descriptors each.
MAX_CHILDREN = 256


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


class Children:
    """The launchers of the runs in an allocation. A run that is killed cannot end its own: that is done here."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the session's; each run has one in it."""
        self._folder = folder
        self._followed: dict[Process, tuple[Owner, Owner]] = {}
        self._orphans: set[Process] = set()

    def follow(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Follow the process `pid` (started at `start`) of the run `owner` (`owner_start`) with `folder`; answer."""
        try:
            child = Process(int(request["pid"]), 0, 0, 0, int(request["start"]))
            owner = Process(int(request["owner"]), 0, 0, 0, int(request["owner_start"]))
            folder = str(request["folder"])
        except (KeyError, TypeError, ValueError):
            return {"error": "a child is told by pid, start, owner, owner_start and folder"}
        if min(child.pid, child.start, owner.pid, owner.start) < 1 or (
            os.path.basename(folder) != folder or not folder.startswith(RUN_PREFIX)
        ):
            return {"error": "a child that cannot be, or a folder that is no run's"}
        if child in self._followed or len(self._followed) >= MAX_CHILDREN:
            return {"error": f"followed already, or {MAX_CHILDREN} others are"}
        self._followed[child] = (
            Owner(owner.pid, owner.start, lambda: self._on_owner_ended(child)),
            Owner(child.pid, child.start, lambda: self._on_ended(child, folder)),
        )
        return {"followed": True}

    def _on_owner_ended(self, child: Process) -> None:
        if send_signal(child, signal.SIGKILL):
            log.info("a run in the session was killed; its launcher, process %d, is ended", child.pid)
            self._orphans.add(child)

    def _on_ended(self, child: Process, folder: str) -> None:
        for watch in self._followed.pop(child, ()):
            watch.close()
        if child in self._orphans:
            self._orphans.remove(child)
            shutil.rmtree(self._folder / folder, ignore_errors=True)

    def close(self) -> None:
        """Follow none any longer."""
        for watches in self._followed.values():
            for watch in watches:
                watch.close()
        self._followed.clear()
