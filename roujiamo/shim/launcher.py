"""The launcher that started this shim, and when it ends.

Runs in the shim. mpiexec does not end its agents when it is cancelled or killed, so under a launcher the shim ends with
its parent; started by hand it lives on, as ssh does. Trusts what /proc says about the parent.
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
# /proc/PID/comm holds so many bytes (proc(5)).
_COMM_LENGTH = 15
_COMMS = frozenset(name[:_COMM_LENGTH] for name in LAUNCHERS)

POLL_SECONDS = 0.5

# Where a program is found on any host.
_STANDARD = (b"/bin", b"/sbin", b"/usr/bin", b"/usr/sbin", b"/usr/local/bin", b"/usr/local/sbin")


class Launcher:
    """The parent process. `descriptor` is readable once it has ended; -1 where `is_gone` has to be asked."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.descriptor = -1
        # os.pidfd_open came with Python 3.9 and Linux 5.3, and a container's filter may refuse it.
        pidfd_open = getattr(posix, "pidfd_open", None)
        if pidfd_open is not None:
            try:
                self.descriptor = pidfd_open(pid)
            except OSError:
                pass

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
            return posix.readlink(b"/proc/%d/exe" % self._pid).rpartition(b"/")[0]
        except OSError:
            return b""

    def is_gone(self) -> bool:
        """Whether it has ended; this process then has another parent."""
        return posix.getppid() != self._pid


def find_launcher() -> "Launcher | None":
    """Return the parent where it is an MPI launcher or daemon; None where a person or a script started the shim."""
    parent = posix.getppid()
    return Launcher(parent) if _is_launcher(parent) else None


def _is_launcher(pid: int) -> bool:
    try:
        descriptor = posix.open("/proc/%d/comm" % pid, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            comm = posix.read(descriptor, 64).rstrip(b"\n")
        finally:
            posix.close(descriptor)
        if comm in _COMMS:
            return True
        # A link or a script may have another name than the program; another user's program cannot be looked at.
        return posix.readlink(b"/proc/%d/exe" % pid).rpartition(b"/")[2] in LAUNCHERS
    except OSError:
        return False
