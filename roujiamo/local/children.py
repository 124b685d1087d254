"""Children of a process that is the parent of all its descendants' orphans (a subreaper): forked, reaped, ended.

Used by keeper, masters, agents and executors of the local cluster, each of which owns its `waitpid`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Collection
from pathlib import Path

from roujiamo.system.processes import Process, descendants, end_all, reap_children, running_processes

# TASK_COMM_LEN of the kernel, without the zero at its end.
MAX_NAME = 15


def fork(act: Callable[[], object]) -> int:
    """Fork from a process that may have an event loop; `act` runs in the child, with all signals blocked, and exits it.

    Raises OSError where no process can be had.
    """
    # A signal to the new process must not reach the parent's event loop through what they still share.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            act()
            os._exit(1)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def become(name: str, kept: Collection[int]) -> None:
    """In a new child: a session and a name (as `ps -o comm` shows it) of its own, and no descriptors but `kept`."""
    os.setsid()
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_bytes(name.encode()[:MAX_NAME])
    first = 3
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, 1 << 20)


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
