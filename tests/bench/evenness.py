"""The same machine for all that is compared: one scheduling group, and memory that is there.

Imported by the benchmarks only.

Hosts that are namespaces of one machine share its processors, and Linux shares those out by process sessions first
(sched(7), "The autogroup feature"). Who yields in a session that others are in too hands the processor on; who is alone
in its session gets it back at once. UCX yields for a fixed time as each daemon and each rank starts (20 ms of CPU), and
every agent for more than one machine gives its daemons a session each: ssh and roujiamo do, an agent that only enters a
namespace does not. Between hosts with processors of their own there is no such difference. In a control group of one's
own there is none either: that goes before the sessions.

A virtual machine may give memory that has been free for seconds back to its host (free page reporting). Who needs more
than the case before then waits for it, page by page: jobs over 64 hosts, of which each shim and each sshd has some
megabytes, by 0.5 s.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from tests.support import until

_SWITCH = Path("/proc/sys/kernel/sched_autogroup_enabled")


def have_memory(size: int) -> None:
    """Have so many bytes of memory, or half of what is free, and give them back to the system at once."""
    # By a child: where a group's limit is lower, it is that which is killed.
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        mmap.mmap(-1, min(size, free // 2), flags)
    finally:
        os._exit(0)


@contextlib.contextmanager
def one_group() -> Iterator[str]:
    """Be in a control group of our own for processors; yield "", or why sessions make a difference all the same."""
    if not _SWITCH.exists() or _SWITCH.read_text().strip() == "0":
        yield ""
        return
    places = _places()
    if places is None:
        yield "no control groups for processors here"
        return
    place, before = places
    group = place / f"rj-bench-{os.getpid()}"
    try:
        group.mkdir()
        _enter(group)
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        yield f"no control group can be made in {place}: {error.strerror}"
        return
    try:
        yield ""
    finally:
        _enter(before)
        until(lambda: _is_removed(group), 10, f"the end of all processes in {group}")


def _places() -> tuple[Path, Path] | None:
    """Return where a control group for processors can be made, and the one that we are in (cgroups(7))."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        root, mount = fields.split()[3:5]
        kind, _, options = rest.split(" ", 2)
        if kind == "cgroup" and "cpu" in options.split(",") and "cpu" in own:
            group = Path(mount) / os.path.relpath(own["cpu"], root)
            return group, group
        if kind == "cgroup2" and "cpu" in _read(Path(mount) / "cgroup.subtree_control").split():
            # Only the top may have processes and groups with controllers, too.
            return Path(mount), Path(mount) / os.path.relpath(own.get("", "/"), root)
    return None


def _enter(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _is_removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return False
    return True
