"""Starting one of our own programs as a process of its own.

Layer 2; used by the programs that start others (they never import each other). The package that runs now is the one
that is started, whether it is installed or a checkout, and whatever lies in the working directory: `python -m` would
let a user's `json.py` there take the place of the library's.
"""

from __future__ import annotations

import gc
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# The folder that the package is in. (Not by pathlib, which would take longer to load than all else here.)
_FOLDER = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
# Where Python finds modules by itself, and what setuptools puts into each virtual environment, for distutils.
_ORDINARY_FINDERS = ("_frozen_importlib", "_frozen_importlib_external", "_distutils_hack")

# As asyncio says where somebody else has reaped a child.
_UNKNOWN_STATUS = 255
# Between two looks at a child that is to end: short at first, as most end at once.
_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.05

# Of the garbage collector; Python's own are 700, 10 and 10.
_THRESHOLDS = (50_000, 20, 50)

# Python ignores these two for itself (SIGPIPE and SIGXFSZ); a child would inherit that.
IGNORED_BY_PYTHON = (13, 25)

# A principal's secret. It goes to nobody's environment; whom it concerns gets it over a connection.
SECRET_VARIABLE = "ROUJIAMO_SECRET"


def without_secret(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a program of ours inherits."""
    return {name: value for name, value in environment.items() if name != SECRET_VARIABLE}


def collect_rarely() -> None:
    """Look for cycles less often: next to none are made. What `program_command` starts does so from its start.

    With Python's own thresholds such looks take 4 to 7 ms of each program's load, which makes none at all, and in the
    broker a third of the time that 10,000 offers take: each full one goes through all that 10,000 hosts need.
    """
    gc.set_threshold(*_THRESHOLDS)


def find_program(name: str) -> str | None:
    """Return the path of the program that a shell would run by that name; None where there is none.

    As shutil.which, which takes 6 ms to load.
    """
    if os.path.dirname(name):
        folders = [""]
    else:
        folders = os.get_exec_path() if os.environ.get("PATH", os.defpath) else []
    for folder in folders:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return None


def program_command(module: str, *arguments: str) -> list[str]:
    """Return the argument list that runs `python -m module arguments…` with this package and this interpreter.

    `module`'s `__main__` has a `main(arguments)`, which returns the exit status; `module` is a word of the line, by
    which the process is known. It finds its modules where this one does, as it is told: `site`, and `runpy` for `-m`,
    would take it 6 of 23 ms of CPU before it begins.
    """
    path = [_FOLDER, *(each for each in sys.path if os.path.isabs(each) and each != _FOLDER)]
    start = (
        f"import gc, sys; gc.set_threshold{_THRESHOLDS}; sys.path[:] = {path!a}; "
        f"from {module}.__main__ import main; sys.exit(main(sys.argv[2:]))"
    )
    return [sys.executable, *([] if _needs_site() else ["-S"]), "-c", start, module, *arguments]


def start_program(
    module: str,
    *arguments: str,
    standard: Mapping[int, int | None],
    passed: Iterable[int] = (),
    environment: Mapping[str, str],
) -> int:
    """Start what `program_command` says, in a process session of its own; return its pid. Raises OSError.

    `standard`: what its standard descriptors are, None for /dev/null; the others stay ours. Of the rest it has those
    that are `passed`, under their numbers. (Not by subprocess, which takes 10 ms to load.)
    """
    actions: list[tuple[object, ...]] = [
        (os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0)
        if descriptor is None
        else (os.POSIX_SPAWN_DUP2, descriptor, number)
        for number, descriptor in standard.items()
    ]
    # What whoever started us had open, a lock perhaps, is not to be held for longer than by us.
    passed = tuple(passed)
    actions += [(os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inherited() if descriptor not in passed]
    line = program_command(module, *arguments)
    for descriptor in passed:
        os.set_inheritable(descriptor, True)
    try:
        return os.posix_spawn(sys.executable, line, environment, file_actions=actions, setsid=True)
    finally:
        for descriptor in passed:
            os.set_inheritable(descriptor, False)


def reap(pid: int, options: int = 0) -> int | None:
    """Return the exit status of a child that has ended, negative where a signal has ended it: once.

    `options` are waitpid(2)'s: None where it has not ended, with WNOHANG.
    """
    try:
        ended, status = os.waitpid(pid, options)
    except ChildProcessError:
        # Somebody else has.
        return _UNKNOWN_STATUS
    return os.waitstatus_to_exitcode(status) if ended else None


def reap_within(pid: int, seconds: float) -> int:
    """Return the exit status of a child, as `reap` does, once it has ended. Raises TimeoutError."""
    deadline, pause = time.monotonic() + seconds, _FIRST_PAUSE_SECONDS
    while (status := reap(pid, os.WNOHANG)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} has not ended within {seconds:g} s")
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
    return status


def kill_child(pid: int, *, with_group: bool = False) -> None:
    """End a child of ours at once; nothing where it has been reaped, and the pid may be another's.

    `with_group`: all of the process group that it leads.
    """
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        os.kill(-pid if with_group else pid, 9)
    except (ChildProcessError, ProcessLookupError):
        return


def _inherited() -> list[int]:
    """Return the descriptors behind the standard ones that a child would inherit."""
    inherited = []
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            if descriptor > 2 and os.get_inheritable(descriptor):
                inherited.append(descriptor)
        except OSError:
            # The one that has read the folder.
            continue
    return inherited


def _needs_site() -> bool:
    """Tell if there are modules that are found by more than a path: `site` puts that in place (an editable install)."""
    return any(finder.__module__ not in _ORDINARY_FINDERS for finder in sys.meta_path)
