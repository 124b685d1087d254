"""The demo's MPI program by itself, under an mpiexec without Mesos."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import OpenMpi, mpi_environment, open_mpis, requires_open_mpi

HELLO = Path(__file__).resolve().parents[2] / "roujiamo" / "examples" / "hello.py"


@requires_open_mpi
@pytest.mark.parametrize("mpi", open_mpis(), ids=lambda mpi: mpi.version)
def test_every_rank_prints_one_line_with_the_right_sum(mpi: OpenMpi) -> None:
    """Where no task is, it says so: the demo counts on the task's name being true."""
    pytest.importorskip("mpi4py")
    environment = {**os.environ, **mpi_environment()}
    environment.pop("MESOS_SANDBOX", None)
    answer = subprocess.run(
        [mpi.mpiexec, "--oversubscribe", "-n", "3", sys.executable, HELLO],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    lines = sorted(answer.stdout.splitlines())
    assert [line.split(" on ")[0] for line in lines] == [f"rank {rank} of 3" for rank in range(3)]
    assert all(line.endswith(", outside Mesos; all ranks add up to 3") for line in lines)


def test_without_mpi4py_it_says_how_to_get_it() -> None:
    """A user may take the program for a first try with an interpreter of their own."""
    # -S -I: no site-packages, so no mpi4py.
    answer = subprocess.run(
        [sys.executable, "-I", "-S", HELLO],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 1
    assert (
        answer.stderr
        == f"hello.py: {sys.executable} has no mpi4py; try: {sys.executable} -m pip install mpi4py\n"
    )
