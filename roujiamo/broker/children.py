"""The launchers of the runs in an allocation, which end with those.

Runs in the broker.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roujiamo.broker.owner import Owner
from roujiamo.system.processes import Process, send_signal
from roujiamo.system.runtime_folder import RUN_PREFIX

log = logging.getLogger(__name__)

# Two descriptors each.
MAX_CHILDREN = 256


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
            # Seldom needed, and it brings bz2 and lzma.
            import shutil

            shutil.rmtree(self._folder / folder, ignore_errors=True)

    def close(self) -> None:
        """Follow none any longer."""
        for watches in self._followed.values():
            for watch in watches:
                watch.close()
        self._followed.clear()
