"""A sample of the chaos runs, from a fixed seed. The whole: `python -m tests.chaos --runs 1000`.

Only with ROUJIAMO_TEST_FAULTS=1: `.ci/run` plays more of them by itself.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import on_demand, real_mesos, requires_open_mpi, requires_real_mesos, scaled

SEED = 20300


@on_demand
@requires_open_mpi
@pytest.mark.parametrize(
    ("where", "runs"),
    [
        pytest.param([], 6, id="local"),
        pytest.param(["--master", real_mesos()], 3, id="real", marks=requires_real_mesos),
    ],
)
def test_jobs_under_random_faults_end_and_leave_nothing(where: list[str], runs: int) -> None:
    """Any part, any moment: no hang, no leftover, no success that is none."""
    line = [sys.executable, "-m", "tests.chaos", "--seed", str(SEED), "--runs", str(runs), *where]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=scaled(300), cwd=Path(__file__).resolve().parents[2]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* faults, 0 leftovers, 0 hangs, 0 failed", done.stdout)
