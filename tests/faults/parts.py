"""The parts of a job under fault, found among the machine's processes.

Imported by the harness. A job's processes are descendants of this one (a subreaper, prctl(2)), those of a real
cluster's tasks are not: all carry the job's mark in their environment, or its session's name in their task's id.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tests.support import children_of, is_alive

MARKER = "ROUJIAMO_TEST_RUN"
VICTIMS = ("wrapper", "broker", "driver", "mpiexec", "shim", "proxy", "daemon", "rank", "agent", "master")
# Only a cluster of the job's own has them to be hurt.
CLUSTER = ("agent", "master")
# What a rank's command line begins with (see `job`).
RANK = b"echo started;"
_EXECUTOR_ID = b"MESOS_EXECUTOR_ID="


class Parts:
    """The processes of the job with that mark, whose temporary folder is `folder`.

    `is_near`: all of its tasks are descendants of this process.
    """

    def __init__(self, mark: str, folder: Path, *, is_near: bool) -> None:
        self._mark = f"{MARKER}={mark}".encode()
        self._folder = folder
        self._is_near = is_near
        self._sessions: set[str] = set()
        self._known = self._candidates()

    def _candidates(self) -> set[int]:
        if self._is_near:
            return children_of(os.getpid())
        return {int(name) for name in os.listdir("/proc") if name.isdigit()}

    def descendants(self) -> set[int]:
        """What is below this process since the job was started, unreaped ones too."""
        return children_of(os.getpid()) - self._known

    def carries_mark(self, environment: bytes) -> bool:
        """Whether a process with that environment, as proc(5) shows it, is of this job."""
        self._sessions |= {path.name for path in self._folder.glob("roujiamo-*/*-*")}
        variables = environment.split(b"\0")
        tasks = tuple(_EXECUTOR_ID + session.encode() + b"." for session in self._sessions)
        return self._mark in variables or any(each.startswith(tasks) for each in variables)

    def living(self) -> dict[str, list[int]]:
        """The pids of the living parts, by the names of VICTIMS."""
        found: dict[str, list[int]] = {victim: [] for victim in VICTIMS}
        tasks: set[int] = set()
        proxies: list[tuple[int, int]] = []
        for pid in sorted(self._candidates() - self._known):
            with contextlib.suppress(OSError, IndexError):
                process = Path(f"/proc/{pid}")
                environment = (process / "environ").read_bytes()
                is_task = _EXECUTOR_ID in environment
                if not is_alive(pid) or not (self._is_near or self.carries_mark(environment)):
                    continue
                words = (process / "cmdline").read_bytes().split(b"\0")
                victim = _part(words, (process / "comm").read_text().strip())
                if victim == "executor":
                    continue
                if is_task:
                    tasks.add(pid)
                if victim is not None:
                    found[victim].append(pid)
                elif is_task:
                    proxies.append((pid, _parent_of(pid)))
        # A task's first process is the proxy's init; what is below it is the proxy's, or a command's.
        found["proxy"] = [pid for pid, parent in proxies if parent not in tasks]
        return found


def _part(words: list[bytes], comm: str) -> str | None:
    name = os.path.basename(words[0])
    if name in (b"orted", b"prted"):
        return "daemon"
    if name in (b"mpiexec", b"orterun", b"prterun"):
        return "mpiexec"
    if any(word.endswith(b"ompirun_main())") for word in words):
        return "wrapper"
    if b"roujiamo.broker" in words:
        return "broker"
    if b"roujiamo.driver" in words:
        return "driver"
    if b"roujiamo.local" in words:
        return "agent" if comm.startswith("agent") else comm if comm in ("master", "executor") else None
    if any(word.endswith(b"/mesos-executor") for word in words):
        return "executor"
    if any(word.endswith((b"/shim/__main__.py", b"/shim.pyc")) for word in words):
        return "shim"
    if words[:2] == [b"sh", b"-c"] and words[2].startswith(RANK):
        return "rank"
    return None


def own_children(pid: int) -> list[int]:
    """The pids of a process's children."""
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _parent_of(pid: int) -> int:
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return int(text.rpartition(")")[2].split()[1])
