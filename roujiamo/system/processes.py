"""Processes and their trees, read from /proc: who descends from whom, who is still alive, and how to end all of them.

Runs in the proxy (Python 3.6, standard library) and on the submitting side. Trusts the kernel alone: a pid is only a
number that is used again, so a process is known by its pid and its start time together, and a signal is sent only to
the one that was meant.
"""

import errno
import os
import time

MYPY = False
if MYPY:
    # The C module has no type stub.
    import signal as _signal
    from collections.abc import Callable, Iterable
else:
    # `signal` makes enums of the numbers, which takes 5 ms.
    import _signal

# prctl(2), <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

# How long the ends of processes are waited for between two looks at /proc, in seconds: short at first, since most end
# at once, then rarer.
_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.05


class Process:
    """One process as /proc showed it. Two are equal when they are the same process, not only the same pid."""

    __slots__ = ("group", "parent", "pid", "session", "start")

    def __init__(self, pid: int, parent: int, group: int, session: int, start: int) -> None:
        """`start`: clock ticks between the machine's start and the process's (proc(5), /proc/pid/stat, field 22)."""
        self.pid = pid
        self.parent = parent
        self.group = group
        self.session = session
        self.start = start

    @property
    def identity(self) -> "tuple[int, int]":
        """(pid, start time): no two processes since the machine's start share it."""
        return self.pid, self.start

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Process) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        return "Process(%d, started at %d)" % self.identity


def read_process(pid: int) -> "Process | None":
    """Return the process of that pid; None where there is none, or where it has ended and waits to be reaped."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold blanks and parentheses itself.
    fields = text.rpartition(b")")[2].split()
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def running_processes() -> "dict[int, Process]":
    """Return all processes that run (the ended ones that wait to be reaped are left out), by pid."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            process = read_process(int(name))
            if process is not None:
                found[process.pid] = process
    return found


def descendants(pid: int, processes: "dict[int, Process]") -> "list[Process]":
    """Return the children of `pid` among `processes`, their children and so on; not `pid` itself."""
    children = {}  # type: dict[int, list[Process]]
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    found = []
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            found.append(child)
            waiting.append(child.pid)
    return found


def children_of(pid: int) -> "list[int]":
    """Return the pids of the children of one process, without a look at all others (proc(5), task/tid/children)."""
    found = []  # type: list[int]
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            try:
                with open("/proc/%d/task/%s/children" % (pid, task), "rb") as file:
                    found += [int(child) for child in file.read().split()]
            except OSError:
                # The thread has just ended, or the kernel is built without these files.
                continue
    except OSError:
        pass
    return found


def with_environment(entry: bytes, processes: "Iterable[Process]") -> "list[Process]":
    """Return those of `processes` whose environment has an entry (NAME=VALUE) that begins with `entry`.

    The ones of other users, whose environment is not to be read, are left out.
    """
    found = []
    for process in processes:
        try:
            with open("/proc/%d/environ" % process.pid, "rb") as file:
                environment = file.read()
        except OSError:
            continue
        if environment.startswith(entry) or b"\0" + entry in environment:
            found.append(process)
    return found


def send_signal(process: Process, number: int) -> bool:
    """Send a signal to this very process; return whether it was there to get it (and ours to signal)."""
    try:
        if hasattr(os, "pidfd_open") and hasattr(_signal, "pidfd_send_signal"):
            # A pidfd keeps meaning the same process, so nothing can slip in between the look and the signal.
            try:
                descriptor = os.pidfd_open(process.pid)
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EMFILE, errno.ENFILE):
                    return False
            else:
                try:
                    if read_process(process.pid) != process:
                        return False
                    _signal.pidfd_send_signal(descriptor, number)
                    return True
                finally:
                    os.close(descriptor)
        if read_process(process.pid) != process:
            return False
        os.kill(process.pid, number)
    except OSError:
        return False
    return True


def signal_all(processes: "Iterable[Process]", number: int) -> None:
    """Send a signal to each; SIGTERM is followed by SIGCONT, without which a stopped process would not get it."""
    for process in processes:
        if send_signal(process, number) and number == _signal.SIGTERM:
            send_signal(process, _signal.SIGCONT)


class Tree:
    """A remote command's processes: its first one, all that descend from it, and all of its session.

    Members stay members when their parent ends between two looks, so a SIGKILL later finds whom the SIGTERM reached.
    A process that took a session of its own and lost its parent is a daemon, and no member unless it was seen before.
    """

    def __init__(self, root: int) -> None:
        """`root`: the pid of the first process, a child that leads a session of its own and is not reaped yet."""
        self._root = root
        self._first = read_process(root)
        self._members = set()  # type: set[Process]

    def members(self) -> "list[Process]":
        """Look at /proc and return the members that run now, oldest first: parents before their children."""
        running = running_processes()
        self._members = {process for process in self._members if running.get(process.pid) == process}
        root = running.get(self._root)
        # A pid is not given again while a session is named after it, so another process there means that ours is over.
        if root is None or root == self._first:
            self._members.update(process for process in running.values() if process.session == self._root)
            if root is not None:
                self._members.add(root)
        for member in list(self._members):
            self._members.update(descendants(member.pid, running))
        return sorted(self._members, key=lambda process: (process.start, process.pid))

    def signal(self, number: int) -> bool:
        """Send a signal to all members; return whether there are any.

        Parents get it first: a shell whose child is killed before it would end by itself, with a status of its own.
        """
        members = self.members()
        signal_all(members, number)
        return bool(members)


def end_all(
    find: "Callable[[], list[Process]]",
    grace_seconds: float,
    kill_seconds: float = 5.0,
    reap: "Callable[[], object] | None" = None,
) -> "list[Process]":
    """End whatever `find` returns: SIGTERM, SIGKILL after the grace, until it returns nothing any more.

    `reap` is called between looks by the parent (or subreaper) of those processes. Blocks for at most
    `grace_seconds` + `kill_seconds`; returns who still runs then (a process that hangs in the kernel, or another
    user's).
    """
    asked = set()  # type: set[Process]
    now = time.monotonic()
    term_until = now + grace_seconds
    kill_until = term_until + kill_seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        if reap is not None:
            reap()
        left = find()
        now = time.monotonic()
        if not left or now >= kill_until:
            return left
        if now < term_until:
            signal_all([process for process in left if process not in asked], _signal.SIGTERM)
            asked.update(left)
        else:
            signal_all(left, _signal.SIGKILL)
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def become_subreaper() -> bool:
    """Make this process the new parent of all its orphaned descendants; return whether the system allows it."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def signal_at_parents_end(number: int, parent: int) -> bool:
    """Have the kernel send this process a signal when its parent (of that pid) ends; return whether it will.

    The parent is the thread that forked. Where it has ended already, the signal is sent at once.
    """
    if not _prctl(_PR_SET_PDEATHSIG, number):
        return False
    if os.getppid() != parent:
        os.kill(os.getpid(), number)
    return True


def _prctl(option: int, value: int) -> bool:
    # Some Pythons are built without it: callers have another way then. Not ctypes itself, which takes 4 ms to load.
    try:
        import _ctypes

        function = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
        return int(_ctypes.call_function(function, (option, value, 0, 0, 0))) == 0
    except (ImportError, OSError, AttributeError):
        return False


def reap_children() -> "list[tuple[int, int]]":
    """Reap the children that have ended; return their (pid, wait status)."""
    ended = []  # type: list[tuple[int, int]]
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append((pid, status))
