"""What holds for every test: it leaves no process, thread or file descriptor behind.

Run by pytest. The test process is a child subreaper (prctl(2)): whatever a test's programs leave, daemons with a
session of their own too, becomes its descendant and is seen here.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import children_of, is_alive, keep_settings_away, scaled

PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 5


def pytest_configure() -> None:
    """Adopt orphans, and keep settings of the caller's shell away from the tests."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    keep_settings_away()


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Fail a test that leaves a process, a thread or a file descriptor, after a grace, and end what it left.

    The same for the mode of the machine's temporary folder.

    What a fixture of a wider scope holds was there before, and so do its processes' children: those are looked at
    when the whole run ends.
    """
    processes = children_of(os.getpid())
    threads = set(threading.enumerate())
    descriptors = _descriptors()
    shared_folder = Path(tempfile.gettempdir())
    mode = stat.S_IMODE(shared_folder.stat().st_mode)
    yield

    def kept() -> set[int]:
        return set().union(processes, *map(children_of, processes & children_of(os.getpid())))

    def left() -> list[str]:
        return [
            *_left_processes(kept()),
            *(f"thread {thread.name}" for thread in set(threading.enumerate()) - threads),
            *(f"descriptor {fd} ({target})" for fd, target in _descriptors() - descriptors),
        ]

    leftovers = _after_grace(left)
    if leftovers:
        _end_processes(kept())
    # Root may change what the whole machine relies on, and all that comes after would suffer for it.
    changed = stat.S_IMODE(shared_folder.stat().st_mode)
    if changed != mode:
        shared_folder.chmod(mode)
        leftovers.append(f"mode {changed:o} of {shared_folder}, which was {mode:o}")
    if leftovers:
        pytest.fail("the test left behind: " + "; ".join(leftovers))


@pytest.fixture(autouse=True, scope="session")
def run_leaves_nothing_behind() -> Iterator[None]:
    """The same for fixtures of wider scope, once, at the end of the run."""
    yield
    leftovers = _after_grace(lambda: _left_processes(set()))
    if leftovers:
        _end_processes(set())
        pytest.fail("the run left behind: " + "; ".join(leftovers))


def _after_grace(left: Callable[[], list[str]]) -> list[str]:
    deadline = time.monotonic() + scaled(GRACE_SECONDS)
    leftovers = left()
    if leftovers:
        # What only waits for the garbage collector (a socket in a reference cycle) is no leftover.
        gc.collect()
    while (leftovers := left()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return leftovers


def _left_processes(kept: set[int]) -> list[str]:
    leftovers = []
    for pid in sorted(children_of(os.getpid()) - kept):
        if is_alive(pid):
            leftovers.append(f"process {pid} ({_command_line(pid)})")
        else:
            # An orphan that ended: it is ours to reap, and no leftover.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    return leftovers


def _end_processes(kept: set[int]) -> None:
    for pid in children_of(os.getpid()) - kept:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return "ended"


def _descriptors() -> set[tuple[int, str]]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        # The listing's own descriptor is gone when it is looked at.
        with contextlib.suppress(FileNotFoundError):
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
    return found
