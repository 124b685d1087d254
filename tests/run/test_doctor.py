"""`roujiamo doctor`: a verdict for each check, and 0 only when a run would work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import (
    mpi_environment,
    open_mpis,
    real_mesos,
    requires_open_mpi,
    requires_real_mesos,
    scaled,
)

ROOT = Path(__file__).resolve().parents[2]


def doctor(*arguments: str, **variables: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit status, and the findings by their check."""
    done = subprocess.run(
        [sys.executable, "-m", "roujiamo", "doctor", "--json", *arguments],
        cwd=ROOT,
        env={**os.environ, **mpi_environment(), **variables},
        capture_output=True,
        text=True,
        timeout=scaled(60),
    )
    assert done.stdout, done.stderr
    return done.returncode, {each["check"]: each for each in json.loads(done.stdout)}


@requires_open_mpi
def test_all_is_well_with_an_mpi_and_a_local_cluster(tmp_path: Path) -> None:
    """And the limits of the mode without a wrapper are said."""
    folder = tmp_path / "roujiamo-sessions"
    status, found = doctor(
        "--master", "local", "--mpiexec", open_mpis()[0].mpiexec, ROUJIAMO_RUNTIME_DIR=str(folder)
    )
    assert (status, found["mpiexec"]["verdict"]) == (0, "good"), found
    assert "Open MPI 4" in found["mpiexec"]["text"]
    assert "one by one" in found["no wrapper"]["text"]
    assert not folder.exists(), "looking leaves nothing"


def test_no_mpiexec_and_no_master_are_told_with_a_remedy() -> None:
    """Each by itself: one failure hides no other."""
    status, found = doctor("--master", "127.0.0.1:1", "--mpiexec", "/no/such/mpiexec")
    assert status == 1
    assert (found["mpiexec"]["verdict"], found["master"]["verdict"]) == ("bad", "bad")
    assert "--mpiexec" in found["mpiexec"]["text"]
    assert "127.0.0.1:1" in found["master"]["text"]


def test_a_program_of_no_known_mpi_is_noted() -> None:
    """A run would go on with it, so it is not bad."""
    _, found = doctor("--master", "local", "--mpiexec", "true")
    assert found["mpiexec"]["verdict"] == "note"


@requires_real_mesos
def test_the_agents_of_a_master_are_shown() -> None:
    """How much there is in all, and what each has left."""
    _, found = doctor("--master", str(real_mesos()))
    assert found["master"]["verdict"] == "good"
    assert re.match(r"[0-9]+, with [0-9]+ cpus", found["agents"]["text"])
    assert re.search(r"of [0-9]+ MB free", found["agent1"]["text"])


@pytest.mark.parametrize("master", ["http://[", "zk://"])
def test_a_master_that_cannot_be_meant_is_a_finding(master: str) -> None:
    """No traceback, and the other checks are there."""
    status, found = doctor("--master", master)
    assert status == 1
    assert found["master"]["verdict"] == "bad"
