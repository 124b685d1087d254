"""What a session's processes hold: memory, descriptors, threads, children; looked up from outside (proc(5)).

Imported by the test process only.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

from tests.support import children_of, is_alive, until


class Figures(NamedTuple):
    """Of one process."""

    rss_kib: int
    descriptors: int
    threads: int


def figures(pid: int) -> Figures:
    """Look one process up."""
    status = Path(f"/proc/{pid}/status").read_text()

    def value(name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
        assert found is not None
        return int(found[1])

    return Figures(value("VmRSS"), len(list(Path(f"/proc/{pid}/fd").iterdir())), value("Threads"))


def parts_of(broker: int, hosts: list[dict[str, object]]) -> dict[str, int]:
    """The lasting processes of a session by name: the broker, its driver, each host's proxy (worker and init)."""
    found = {"broker": broker}
    for pid in children_of(broker):
        with contextlib.suppress(OSError):
            if b"roujiamo.driver" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") and is_alive(pid):
                found["driver"] = pid
    for host in hosts:
        facts = host["facts"]
        assert isinstance(facts, dict)
        worker = int(facts["pid"])
        found[f"proxy of {host['name']}"] = worker
        status = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
        found[f"init of {host['name']}"] = int(status[1])
    return found


def table(parts: dict[str, int]) -> dict[str, Figures]:
    """Look all of them up."""
    return {name: figures(pid) for name, pid in parts.items()}


def settled(parts: dict[str, int], before: dict[str, Figures]) -> dict[str, Figures]:
    """Look all of them up once what the last command held is closed, or after some seconds in which it is not."""
    with contextlib.suppress(AssertionError):
        until(
            lambda: all(now.descriptors <= before[name].descriptors for name, now in table(parts).items()), 5
        )
    return table(parts)


def assert_flat(before: dict[str, Figures], after: dict[str, Figures], slack_kib: int = 2048) -> None:
    """No descriptor and no thread more than before, and no more memory than an allocator's whims explain."""
    told = "\n".join(f"{name}: {before[name]} -> {after[name]}" for name in before)
    for name, was in before.items():
        now = after[name]
        assert now.descriptors <= was.descriptors, told
        assert now.threads <= was.threads, told
        assert now.rss_kib - was.rss_kib <= slack_kib, told
