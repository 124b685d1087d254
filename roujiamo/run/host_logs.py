"""The hosts' logs for the record: what the tasks have written in their sandboxes, read while these are still there.

Runs in `roujiamo run` and `roujiamo alloc`, in threads that nobody waits for at the end: an agent that does not answer
costs its own logs and no others. Agents are not trusted to answer, nor to answer what is asked.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from roujiamo.errors import RoujiamoError
from roujiamo.system.sandboxes import STREAMS, Sandbox

AT_ONCE = 16

# What an answer that is not as it should be may raise.
_WRONG = (RoujiamoError, OSError, KeyError, TypeError, ValueError, AttributeError)


class HostLogs:
    """Reads the logs into a folder. `find(complain)` returns the sandboxes, and may take its time."""

    def __init__(self, find: Callable[[Callable[[str], None]], Sequence[Sandbox]], folder: Path) -> None:
        """Begin. Raises RuntimeError where the system has no thread left."""
        self._find = find
        self._folder = folder
        self._failures: list[str] = []
        self._left: queue.SimpleQueue[tuple[str, Sandbox]] = queue.SimpleQueue()
        self._pending: dict[str, None] | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def goes_on(self) -> bool:
        """Whether there is something to wait for."""
        return self._thread.is_alive()

    def stop(self) -> str | None:
        """Keep nothing from now on; return what is missing, or None where all is there."""
        self._is_over = True
        if self._pending is None:
            return self._failures[0] if self._failures else "the master has not told in time where they are"
        missing = [*self._failures, *(f"{name}: not read in time" for name in list(self._pending))]
        if not missing:
            return None
        return missing[0] + (f"; and those of {len(missing) - 1} more" if len(missing) > 1 else "")

    def _run(self) -> None:
        try:
            sandboxes = list(self._find(self._failures.append))
            self._folder.mkdir(0o700)
        except _WRONG as error:
            self._failures.append(_sentence(error))
            return
        names = file_names([sandbox.host for sandbox in sandboxes])
        self._pending = dict.fromkeys(names)
        for pair in zip(names, sandboxes, strict=True):
            self._left.put(pair)
        others = [
            threading.Thread(target=self._work, daemon=True) for _ in range(min(AT_ONCE, len(names)) - 1)
        ]
        started = []
        for thread in others:
            # This one thread reads them all, if need be.
            with contextlib.suppress(RuntimeError):
                thread.start()
                started.append(thread)
        self._work()
        for thread in started:
            thread.join()

    def _work(self) -> None:
        assert self._pending is not None
        while not self._is_over:
            try:
                name, sandbox = self._left.get_nowait()
            except queue.Empty:
                return
            try:
                for log in sandbox.logs(STREAMS):
                    data = log.read()
                    if not self._is_over:
                        (self._folder / f"{name}.{log.stream}").write_bytes(data)
            except _WRONG as error:
                self._failures.append(f"{sandbox.host}: {_sentence(error)}")
            del self._pending[name]


def _sentence(error: Exception) -> str:
    if isinstance(error, RoujiamoError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    return f"an answer of Mesos is not as it should be ({type(error).__name__} {error})"


def file_names(hosts: Sequence[str]) -> list[str]:
    """Return the name under which each host's logs are kept: hosts' names come from Mesos, and may come twice."""
    names: list[str] = []
    for host in hosts:
        safe = "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in host)
        name, number = safe, 1
        while name in names:
            number += 1
            name = f"{safe}.{number}"
        names.append(name)
    return names
