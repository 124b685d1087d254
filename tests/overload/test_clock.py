"""A time of day that jumps, as an administrator's hand or a bad NTP server makes it: no deadline of ours follows it."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.conftest import Bench, bench
from tests.support import requires_open_mpi, without_open_mpis_race
from tests.test_layers import MODULES, tree_of

__all__ = ["bench"]

# Who may look at the time of day, and for what: nothing that waits.
TIME_OF_DAY = {
    "roujiamo.broker.hosts": "since when, for `roujiamo status`",
    "roujiamo.broker.moments": "moments of a timeline",
    "roujiamo.broker.session": "since when, for `roujiamo status`",
    "roujiamo.broker.tasks": "when a maintenance is planned, in words",
    "roujiamo.local.agent": "start time, as an agent's endpoints tell it",
    "roujiamo.local.executor": "timestamps of status updates",
    "roujiamo.local.master": "once at its start: timestamps go on by the monotonic clock",
    "roujiamo.local.work_folder": "the age of files, which have no other clock",
    "roujiamo.local.workload": "timestamps of status updates",
    "roujiamo.run.held_session": "moments of a timeline",
    "roujiamo.run.record": "when a run began and ended, for its reader",
    "roujiamo.status.program": "how long ago, in words",
    "roujiamo.system.runtime_folder": "the age of files, which have no other clock",
}
WALL_CLOCKS = {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime"}


def uses_the_time_of_day(module: str) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("time", name) for name in WALL_CLOCKS} | {("datetime", "now")}
        for node in ast.walk(tree_of(module))
    )


def test_only_what_is_shown_looks_at_the_time_of_day() -> None:
    """Every wait and every age of a connection is of the monotonic clock."""
    assert {module for module in MODULES if uses_the_time_of_day(module)} == set(TIME_OF_DAY)


@requires_open_mpi
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine")
def test_a_job_does_not_notice_a_clock_that_jumps_by_days(bench: Bench, tmp_path: Path) -> None:
    """Ten times a second, in wrapper, broker, driver, master, agents, shims, and MPI's own programs."""
    library = tmp_path / "jumping_clock.so"
    source = Path(__file__).with_name("jumping_clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    bench.environment["LD_PRELOAD"] = str(library)
    look = "import time; print(max(times := [time.time() for _ in range(1000) if not time.sleep(0.001)]) - min(times))"
    jumps = subprocess.run(
        [sys.executable, "-c", look], env={"LD_PRELOAD": str(library)}, capture_output=True, check=True
    )
    assert float(jumps.stdout) > 86_400, "the clock does not jump"
    result = bench.ompirun(
        "-N", "2", "-n", "4", "--timeout", "30", "--keepalive", "3", "--reconnect-grace", "1", "local",
        "sh", "-c", "echo started; sleep 4; echo finished",
    )  # fmt: skip
    assert (result.status, without_open_mpis_race(result.err)) == (0, "")
    assert (result.out.count("started"), result.out.count("finished")) == (4, 4)
