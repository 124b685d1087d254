"""What the tasks of a session use, for those that run on this machine.

Runs in `roujiamo status`. A host tells its broker the pid of its proxy; whether that is a process of this machine, and
of that very task, its environment tells (Mesos gives each task MESOS_SANDBOX, and a command task's has its id in it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from roujiamo.errors import MissingDependency


@dataclass(frozen=True)
class Usage:
    """Of a task's processes together: how many, resident memory in MB, cpu time in seconds."""

    processes: int
    mem: float
    cpu_seconds: float


def usage_of(host: dict[str, Any]) -> Usage | None:
    """Return what the task of `host` (as the broker's status tells it) uses; None where it does not run here.

    Raises MissingDependency.
    """
    try:
        import psutil
    except ImportError as error:
        raise MissingDependency("psutil is not installed; install it with: pip install psutil") from error
    pid = str(host["facts"].get("pid", ""))
    if not pid.isdigit():
        return None
    try:
        proxy = psutil.Process(int(pid))
        sandbox = proxy.environ().get("MESOS_SANDBOX", "")
        if sandbox != host["facts"].get("sandbox") or host["task_id"] not in sandbox:
            return None
        tree = [proxy, *proxy.children(recursive=True)]
    except psutil.Error:
        return None
    mem = cpu_seconds = 0.0
    for process in tree:
        try:
            with process.oneshot():
                mem += process.memory_info().rss / 1e6
                times = process.cpu_times()
        except psutil.Error:
            continue
        cpu_seconds += times.user + times.system
    return Usage(len(tree), mem, cpu_seconds)
