"""Ranks that a launcher runs on the launch host by itself, outside the session's tasks, and so outside Mesos.

Runs in `roujiamo run`, beside mpiexec. A launcher does that with a host that it takes for its own (open-mpi/ompi issue
13154). The dialects' settings prevent it; this is the last net, for a configuration file or an argument that undoes
them. It looks at what descends from mpiexec: there should be nothing but launchers and shims. It trusts /proc.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

from roujiamo.system.processes import Process, children_of, read_process

# The parts of the launchers themselves: what one starts beside its agents, or is started as by a wrapper script.
_LAUNCHER = re.compile(rb"(mpiexec|mpirun|orterun|oshrun|orted|prte|prun|ompirun|hydra_|pmi_proxy)")
_SHIM = re.compile(rb"(^|/)roujiamo-rsh$|/roujiamo/shim/__main__\.py$")
FIRST_LOOK_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 5.0
MAX_LOOKED_AT = 4096


class Strays:
    """Looks at the descendants of the launcher `pid`; `found` is a sentence once one is not where it should be."""

    def __init__(self, pid: int) -> None:
        self.found: str | None = None
        self._pid = pid
        self._known: set[Process] = set()
        self._suspects: set[tuple[Process, bytes]] = set()
        self._pause = FIRST_LOOK_SECONDS

    def look(self) -> float | None:
        """Look once; return when to look again (time.monotonic()), None when it is settled."""
        suspects = set()
        for process, line in self._strangers():
            # Between fork and exec a child still shows its parent's command line, and then perhaps a shell's.
            if (process, line) in self._suspects:
                shown = b" ".join(line.split(b"\0")).decode("utf-8", "replace").strip()[:100]
                self.found = (
                    f"process {process.pid} ({shown}) ran on this machine, outside the session's tasks"
                )
                return None
            suspects.add((process, line))
        self._suspects = suspects
        if not suspects:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        return time.monotonic() + (FIRST_LOOK_SECONDS if suspects else self._pause)

    def _strangers(self) -> list[tuple[Process, bytes]]:
        """The descendants that are neither launchers nor shims, with their command lines."""
        strangers = []
        waiting = children_of(self._pid)
        is_launcher_known = _is_launcher(self._pid)
        for _ in range(MAX_LOOKED_AT):
            if not waiting:
                break
            pid = waiting.pop()
            process = read_process(pid)
            if process is None or process in self._known:
                continue
            line = b""
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            if any(_SHIM.search(word) for word in line.split(b"\0")[:5]):
                self._known.add(process)
            elif _is_launcher(pid):
                is_launcher_known = True
                waiting += children_of(pid)
            elif is_launcher_known:
                strangers.append((process, line))
            else:
                # A script around the launcher.
                waiting += children_of(pid)
        return strangers


def _is_launcher(pid: int) -> bool:
    with contextlib.suppress(OSError):
        if _LAUNCHER.match(os.path.basename(os.readlink(f"/proc/{pid}/exe")).encode()):
            return True
    with contextlib.suppress(OSError):
        return bool(_LAUNCHER.match(Path(f"/proc/{pid}/comm").read_bytes()))
    return False
