"""Tasks held to the memory that they asked for: what Mesos's isolator cgroups/mem does, by looks at /proc.

Part of an agent process, with `roujiamo local --enforce-memory`. A task whose processes together hold more than its
`mem` is destroyed, and its last update says so in Mesos's words (memory.cpp among the cgroups isolator's subsystems).
A cgroup lets nobody have more; here a task may, until the next look. It trusts the kernel alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roujiamo.local.runs import Run
from roujiamo.mesos.master.quantities import Quantities, thousandths
from roujiamo.system.processes import Process, descendants, running_processes

LOOK_SECONDS = 1.0
KILOBYTE, MEGABYTE = 1 << 10, 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
# MIN_MEMORY of Mesos (src/slave/containerizer/mesos/constants.hpp): no task is held to less.
MIN_LIMIT = 32 * MEGABYTE


@dataclass(frozen=True)
class Usage:
    """Resident memory in bytes: that of the processes' own, and that of files, shared memory included."""

    rss: int = 0
    cache: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.rss + other.rss, self.cache + other.cache)

    @property
    def total(self) -> int:
        return self.rss + self.cache


class MemoryWatch:
    """A look once a second at `running`, the agent's tasks with an executor, as long as there are any."""

    def __init__(self, running: Mapping[tuple[str, str], Run]) -> None:
        self._running = running
        self._next: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """There is a task; nothing new where there was one before."""
        if self._next is None:
            self._next = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._next = None
        if not self._running:
            return
        self.begin()
        processes = running_processes()
        for run in self._running.values():
            if run.state != "TASK_RUNNING" or run.link is None:
                continue
            limit, used = limit_of(run), usage_of(descendants(run.executor_pid, processes))
            if used.total > limit:
                run.link.send({"destroyed": limitation(limit, used)})


def limit_of(run: Run) -> int:
    """What a task may hold, in bytes."""
    parts = [entry["scalar"]["value"] for entry in run.info["resources"] if entry["name"] == "mem"]
    return max(MIN_LIMIT, int(sum(parts) * MEGABYTE))


def usage_of(processes: Iterable[Process]) -> Usage:
    """What these processes hold together, each page once where the kernel tells (proc(5), smaps_rollup: Pss)."""
    return sum((usage_in(Path("/proc", str(process.pid))) for process in processes), Usage())


def limitation(limit: int, used: Usage) -> dict[str, Any]:
    """What the last update of a task says that held `used` bytes and might hold `limit` ones (TaskStatus)."""
    return {
        "message": f"Memory limit exceeded: Requested: {_in_words(limit)} Maximum Used: {_in_words(used.total)}\n"
        f"\nMEMORY STATISTICS: \ncache {used.cache}\nrss {used.rss}\n\n",
        "reason": "REASON_CONTAINER_LIMITATION_MEMORY",
        "limitation": {"resources": Quantities({"mem": thousandths(used.total / MEGABYTE)}).as_json()},
    }


def usage_in(folder: Path) -> Usage:
    """What the process of this folder of /proc holds; nothing where it has ended."""
    try:
        lines = (folder / "smaps_rollup").read_bytes().splitlines()[1:]
        sizes = {
            name: int(rest.split()[0]) * KILOBYTE for name, _, rest in (x.partition(b":") for x in lines)
        }
        return Usage(sizes[b"Pss_Anon"], sizes[b"Pss"] - sizes[b"Pss_Anon"])
    except (OSError, KeyError):
        # Another user's, or a kernel that is older than these: pages that several share are counted for each.
        return _shared_usage_in(folder)


def _shared_usage_in(folder: Path) -> Usage:
    try:
        _, resident, shared, *_ = (int(pages) * PAGE for pages in (folder / "statm").read_bytes().split())
    except OSError:
        return Usage()
    return Usage(resident - shared, shared)


def _in_words(size: int) -> str:
    """Bytes as Mesos writes them: in the largest unit without a fraction (stout/bytes.hpp)."""
    for unit, name in ((1 << 30, "GB"), (MEGABYTE, "MB"), (KILOBYTE, "KB")):
        if size and size % unit == 0:
            return f"{size // unit}{name}"
    return f"{size}B"
