"""The broker that a run starts before it has read its own command line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from roujiamo.system.processes import running_processes, with_environment

_MARK = "ROUJIAMO_TEST_AHEAD"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--bogus", "true"), 2),
        (("--master", "m1:5050", "--mpiexec", "no-such-mpiexec", "true"), 127),
        (("--master", "m1:5050", "--dry-run", "--help"), 0),
    ],
)
def test_a_run_that_comes_to_nothing_leaves_no_broker_and_no_driver(
    words: tuple[str, ...], status: int
) -> None:
    """They are gone when it is, whatever was wrong, and had asked for nothing."""
    environment = {name: value for name, value in os.environ.items() if name != "ROUJIAMO_SOCKET"}
    done = subprocess.run(
        [sys.executable, "-m", "roujiamo", "run", *words],
        env={**environment, _MARK: str(os.getpid())},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == status, done.stderr
    mark = f"{_MARK}={os.getpid()}".encode()
    assert with_environment(mark, running_processes().values()) == []
