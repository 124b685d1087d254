"""A sample of the chaos runs, from a fixed seed. The whole: `python -m tests.chaos --runs 1000`.

Only with ROUJIAMO_TEST_FAULTS=1: it takes minutes, and needs a machine that has nothing else to do.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import on_demand, real_mesos, requires_open_mpi, scaled

SEED = 20300


@on_demand
@requires_open_mpi
@pytest.mark.parametrize(
    ("master", "runs"),
    [
        ("local:2", 6),
        pytest.param(
            real_mesos(),
            3,
            marks=pytest.mark.skipif(real_mesos() is None, reason="no real Mesos (ROUJIAMO_TEST_MASTER)"),
        ),
    ],
    ids=["local", "real"],
)
def test_jobs_under_random_faults_end_and_leave_nothing(master: str, runs: int) -> None:
    """Any part, any moment: no hang, no leftover, no success that is none."""
    line = [sys.executable, "-m", "tests.chaos", "--seed", str(SEED), "--runs", str(runs), "--master", master]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=scaled(300), cwd=Path(__file__).resolve().parents[2]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"{runs} runs, \d+ faults, 0 leftovers, 0 hangs, 0 failed", done.stdout)
