"""A remote command's first process: forked, set up as sshd would, and turned into the shell.

Runs in the worker, whose one thread may do so in Python. `subprocess` does the same, but takes 10 ms and more to load,
and with it the worker is larger, with which the cost of each fork grows: 3.1 ms of CPU a command, 1.9 here (least).
"""

import errno
import os
import resource

from roujiamo.proxy.init import WATCHED_SIGNALS
from roujiamo.system import processes

MYPY = False
if MYPY:
    # The C module has no type stub.
    import signal as _signal
    from collections.abc import Mapping
    from typing import NoReturn
else:
    # `signal` makes enums of the numbers, which takes 5 ms.
    import _signal

SHELL = "/bin/sh"
# Python ignores them for itself, and what is ignored stays so in another program (execve(2)).
_IGNORED_BY_PYTHON = tuple(
    getattr(_signal, name) for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ") if hasattr(_signal, name)
)
# The limit that commands are to have: the worker raises its own.
_DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)


def keep_descriptors() -> None:
    """Keep from commands what this process was started with besides stdin, stdout and stderr; call it once.

    What Python opens itself, no other program gets (PEP 446).
    """
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                # The one with which the folder was read.
                pass


def start_shell(command: bytes, environment: "Mapping[bytes, bytes]", folder: str, pipes: "list[int]") -> int:
    """Start `sh -c COMMAND` in a process session of its own; return its pid.

    `pipes`: its stdin, stdout and stderr. Returns when the shell runs. Raises OSError, with the name of a file that is
    missing or may not be used.
    """
    worker = os.getpid()
    # Closed by the exec, or with what went wrong in it.
    report, reported = os.pipe()
    try:
        try:
            pid = os.fork()
            if pid == 0:
                _become_shell(command, environment, folder, pipes, worker, reported)
        finally:
            os.close(reported)
        problem = os.read(report, 64)
    finally:
        os.close(report)
    if problem:
        os.waitpid(pid, 0)
        number, name = int(problem[1:]), {b"f": folder, b"s": SHELL}.get(problem[:1])
        raise OSError(number, os.strerror(number), name)
    return pid


def _become_shell(
    command: bytes,
    environment: "Mapping[bytes, bytes]",
    folder: str,
    pipes: "list[int]",
    worker: int,
    reported: int,
) -> "NoReturn":
    problem = b"?"
    try:
        # A signal from now on is this process's alone, and ends it.
        _signal.set_wakeup_fd(-1)
        for number in (*WATCHED_SIGNALS, *_IGNORED_BY_PYTHON):
            _signal.signal(number, _signal.SIG_DFL)
        os.setsid()
        # Where init and worker are killed at once, nobody else could end it.
        processes.signal_at_parents_end(_signal.SIGTERM, worker)
        # One of them may have the number of another's place.
        for place, pipe in enumerate([_above(2, pipe) for pipe in pipes]):
            os.dup2(pipe, place)
        resource.setrlimit(resource.RLIMIT_NOFILE, _DESCRIPTORS)
        problem = b"f"
        os.chdir(folder)
        problem = b"s"
        os.execve(SHELL, [SHELL.encode(), b"-c", command], environment)
    except Exception as error:  # noqa: BLE001  (the process's last frame: the worker tells what it was)
        os.write(reported, problem + b"%d" % (getattr(error, "errno", None) or errno.EINVAL))
    finally:
        os._exit(255)


def _above(limit: int, descriptor: int) -> int:
    """Return a descriptor of the same file with a number above `limit`."""
    while descriptor <= limit:
        descriptor = os.dup(descriptor)
    return descriptor
