"""Children of a process that is the parent of all its descendants' orphans (a subreaper): reaping and ending them.

Used by master, agents and executors of the local cluster, each of which is a subreaper and owns its `waitpid`.
"""

from __future__ import annotations

import os

from roujiamo.system.processes import Process, descendants, end_all, reap_children, running_processes


def own_descendants() -> list[Process]:
    """All that this process started, directly or not, and that still runs."""
    # A subreaper without children has no descendants at all: mostly so, and no reason to read all of /proc.
    if not has_children():
        return []
    return descendants(os.getpid(), running_processes())


def has_children() -> bool:
    """True where this process has a child, running or ended."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def end_descendants(grace_seconds: float) -> None:
    """End all of them: SIGTERM, and SIGKILL after the grace (at once when it is 0)."""
    end_all(own_descendants, grace_seconds, reap=reap_children)


def adopted(known: set[int]) -> list[Process]:
    """Our children that are not `known`, which others left to us, and all that descends from them."""
    if not has_children():
        return []
    running = running_processes()
    strays = [one for one in running.values() if one.parent == os.getpid() and one.pid not in known]
    return strays + [one for stray in strays for one in descendants(stray.pid, running)]


def end_adopted(known: set[int]) -> None:
    """Kill those."""
    end_all(lambda: adopted(known), 0.0, kill_seconds=1.0, reap=reap_children)
