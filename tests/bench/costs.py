"""What running something costs: wall-clock time, CPU time of its own and of the processes it talks to, wake-ups.

Imported by the benchmarks only. /proc and wait4(2) are the measure.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """Seconds: on the clock, and of CPU of the process and the children that it waited for."""

    wall: float
    cpu: float


def run(
    line: Sequence[str],
    environment: Mapping[str, str],
    *,
    status: int = 0,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
) -> Cost:
    """Run a command to its end; AssertionError where its exit status is another."""
    begun = time.perf_counter()
    process = subprocess.Popen(line, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=environment)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, ended, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(ended)
    process.stderr.close()
    assert process.returncode == status, (
        f"{line}: status {process.returncode}: {errors.decode(errors='replace')}"
    )
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def cpu_of(pid: int) -> float:
    """CPU seconds of a process, all its threads, so far; to a hundredth."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_of_machine() -> float:
    """CPU seconds that all of the machine has worked so far (proc(5), /proc/stat)."""
    user, nice, system, _, _, hard, soft, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + hard + soft) / _TICKS


def wake_ups(pid: int) -> int:
    """How often the threads of a process have gone to sleep so far: each ends with one wake-up."""
    count = 0
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in path.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                count += int(line.split()[1])
    return count


def memory_of(pid: int) -> int:
    """Bytes of memory that are the process's own and resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0


def name_of(pid: int) -> str:
    """What a process is, for a table: the roujiamo program, or its command."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    for word in words:
        if word.startswith("roujiamo."):
            return word
    return " ".join(words[:3])[:60].strip()
