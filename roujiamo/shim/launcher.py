"""The launcher that started this shim, and when it ends.

Runs in the shim. mpiexec does not end its agents when it is cancelled or killed, so under a launcher the shim ends with
it; started by hand it lives on, as ssh does. Trusts what /proc says about its ancestors.
"""

import posix

# By the file's name: Open MPI's, PRRTE's and Hydra's launchers and daemons (tree spawn), as installed and as packaged.
LAUNCHERS = frozenset(
    (
        b"hydra_bstrap_proxy",
        b"hydra_mpiexec",
        b"hydra_pmi_proxy",
        b"mpiexec",
        b"mpiexec.hydra",
        b"mpiexec.mpich",
        b"mpiexec.openmpi",
        b"mpirun",
        b"mpirun.mpich",
        b"mpirun.openmpi",
        b"ompirun_wrapper",
        b"orted",
        b"orterun",
        b"orterun_wrapper",
        b"oshrun",
        b"prte",
        b"prted",
        b"prterun",
        b"prterun_wrapper",
    )
)
# The name of a process has so many bytes (proc(5), /proc/pid/stat, field 2).
_COMM_LENGTH = 15
_COMMS = frozenset(name[:_COMM_LENGTH] for name in LAUNCHERS)

# Between a launcher and its agent there may be a wrapper script or two.
MAX_ANCESTORS = 16

POLL_SECONDS = 0.5

# Where a program is found on any host.
_STANDARD = (b"/bin", b"/sbin", b"/usr/bin", b"/usr/sbin", b"/usr/local/bin", b"/usr/local/sbin")


class Launcher:
    """The nearest ancestor that is a launcher. `descriptor` is readable once it has ended.

    `descriptor` is -1 where `is_gone` has to be asked. A pid is only a number that is used again: with `start`, the
    time of its start (proc(5), /proc/pid/stat, field 22), it is one process.
    """

    def __init__(self, pid: int, start: int) -> None:
        self.pid = pid
        self.start = start
        self.descriptor = -1
        # os.pidfd_open came with Python 3.9 and Linux 5.3, and a container's filter may refuse it.
        pidfd_open = getattr(posix, "pidfd_open", None)
        if pidfd_open is not None:
            try:
                descriptor = pidfd_open(pid)
            except OSError:
                return
            # Looked at once more, now that nothing can change what the descriptor means.
            if self.is_gone():
                posix.close(descriptor)
            else:
                self.descriptor = descriptor

    def complete(self, command: bytes, prefix: bytes) -> bytes:
        """Return the command with a way to the daemon, where the launcher gives only its name.

        Open MPI 4 does that when it is called as plain `mpiexec` from a folder of its own: another version's orted, or
        none, would be found on the host. What it does itself when called by its path is done here (mpirun(1),
        --prefix): with `prefix`, or the folder above the launcher's own.
        """
        if command.split(None, 1)[:1] != [b"orted"]:
            return command
        if not prefix:
            folder = self._folder()
            if folder in _STANDARD or not folder.endswith(b"/bin"):
                return command
            prefix = folder[: -len(b"/bin")]
        quoted = b"'" + prefix.replace(b"'", b"'\\''") + b"'"
        return (
            b"PATH=%b/bin:$PATH; LD_LIBRARY_PATH=%b/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}; OPAL_PREFIX=%b; "
            b"export PATH LD_LIBRARY_PATH OPAL_PREFIX; " % (quoted, quoted, quoted)
        ) + command

    def _folder(self) -> bytes:
        """The folder of the launcher's program; empty where it cannot be seen."""
        try:
            return posix.readlink(b"/proc/%d/exe" % self.pid).rpartition(b"/")[0]
        except OSError:
            return b""

    def is_gone(self) -> bool:
        """Whether it has ended, be it that another process has its pid now."""
        return read_start(self.pid) != self.start


def find_launcher() -> "Launcher | None":
    """Return the launcher or MPI daemon that this process descends from; None where a person started the shim."""
    pid = posix.getppid()
    for _ in range(MAX_ANCESTORS):
        state = _read_stat(pid)
        if state is None or pid <= 1:
            return None
        parent, start, name = state
        if _is_launcher(pid, name):
            return Launcher(pid, start)
        pid = parent
    return None


def read_start(pid: int) -> int:
    """Return when the process of that pid started, in clock ticks since the machine did; -1 where it has ended."""
    state = _read_stat(pid)
    return -1 if state is None else state[1]


def _read_stat(pid: int) -> "tuple[int, int, bytes] | None":
    """Return the parent, the start time and the name of a process; None where there is none that runs."""
    try:
        text = _read(b"/proc/%d/stat" % pid, 4096)
    except OSError:
        return None
    # The name, in parentheses, may hold blanks and parentheses itself.
    before, _, after = text.rpartition(b")")
    fields = after.split()
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[1]), int(fields[19]), before.partition(b"(")[2]


def _is_launcher(pid: int, name: bytes) -> bool:
    if name in _COMMS:
        return True
    try:
        # A link or a script may have another name than the program; another user's program cannot be looked at.
        return posix.readlink(b"/proc/%d/exe" % pid).rpartition(b"/")[2] in LAUNCHERS
    except OSError:
        return False


def _read(path: bytes, size: int) -> bytes:
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.read(descriptor, size)
    finally:
        posix.close(descriptor)
