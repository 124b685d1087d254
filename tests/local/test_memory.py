"""Tasks held to their memory: what an agent with Mesos's isolator cgroups/mem does to one that uses more."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from roujiamo.local.memory import PAGE, Usage, limitation, usage_in
from tests.local.conftest import cluster
from tests.support import until
from tests.support.scheduler import subscribed

KILLED = ("TASK_KILLED", "TASK_FAILED")


def python(program: str) -> str:
    return f"exec {shlex.quote(sys.executable)} -c {shlex.quote(program)}"


def mem(megabytes: float) -> list[dict[str, Any]]:
    amounts = {"cpus": 0.1, "mem": megabytes}
    return [{"name": name, "type": "SCALAR", "scalar": {"value": amount}} for name, amount in amounts.items()]


def test_a_task_that_uses_more_memory_than_it_asked_for_is_destroyed(tmp_path: Path) -> None:
    """Mesos's words and reason, and what it used; a second process that shares the memory does not count it again."""
    ready = tmp_path / "ready"
    shares = (
        f"import os, time; held = b'x' * (80 << 20); os.fork(); open({str(ready)!r}, 'w'); time.sleep(60)"
    )
    fills = "import os, time; os.fork() or os.setsid(); held = b'x' * (80 << 20); time.sleep(60)"
    with cluster("--agents", "1", "--enforce-memory") as one, subscribed(one.address) as scheduler:
        scheduler.launch("within", python(shares), resources=mem(120))
        until(ready.exists, 10, "the task that shares its memory")
        scheduler.launch("beyond", python(fills), resources=mem(120))
        status = scheduler.update("beyond")
        assert (status["state"], status["source"]) == ("TASK_FAILED", "SOURCE_AGENT")
        assert status["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
        first, empty, title, *statistics = status["message"].splitlines()
        assert first.startswith("Memory limit exceeded: Requested: 120MB Maximum Used: ")
        assert (empty, title) == ("", "MEMORY STATISTICS: ")
        counted = dict(line.split() for line in statistics if line)
        assert counted.keys() == {"cache", "rss"}
        (used,) = status["limitation"]["resources"]
        assert used["name"] == "mem"
        # Two times 80 MB and two interpreters; the look may have come before all was filled.
        assert 120 < used["scalar"]["value"] < 200
        total = int(counted["cache"]) + int(counted["rss"])
        assert used["scalar"]["value"] == pytest.approx(total / (1 << 20), abs=0.001)
        # The look that found the one has seen the other, too: what it says now is what it was told first.
        agent_id, task_id = status["agent_id"], {"value": "within"}
        scheduler.call("KILL", kill={"agent_id": agent_id, "task_id": task_id})
        assert scheduler.update("within", KILLED)["state"] == "TASK_KILLED"
        scheduler.call("TEARDOWN")


def test_what_a_task_used_is_told_in_the_units_of_mesos() -> None:
    """The largest one without a fraction."""
    told = limitation(1 << 30, Usage(rss=1 << 30, cache=5 << 20))["message"]
    assert told.splitlines()[0] == "Memory limit exceeded: Requested: 1GB Maximum Used: 1029MB"
    assert "Used: 1048577KB" in limitation(1, Usage(1 << 30, 1 << 10))["message"]


def test_where_the_kernel_does_not_tell_shares_whole_pages_count(tmp_path: Path) -> None:
    """No smaps_rollup, or not for us: statm (proc(5)) has size, resident, and of these the shared pages."""
    (tmp_path / "statm").write_text("900 50 20 1 0 30 0\n")
    assert usage_in(tmp_path) == Usage(rss=30 * PAGE, cache=20 * PAGE)
    assert usage_in(tmp_path / "ended") == Usage()
