"""`--dry-run`: what it shows is what a run would do, it can be pasted into a shell, and it does nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.conftest import active_frameworks
from tests.local.conftest import Cluster, shared
from tests.support import mpi_environment, open_mpis, requires_open_mpi, scaled

__all__ = ["shared"]  # the fixture

ROOT = Path(__file__).resolve().parents[2]
SESSION = re.compile(r"\b\d+-[0-9a-f]{8}\b")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where sessions' folders lie."""
    return tmp_path / "s"


def roujiamo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the oldest Open MPI."""
    return subprocess.run(
        [sys.executable, "-m", "roujiamo", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            **mpi_environment(),
            "ROUJIAMO_RUNTIME_DIR": str(folder),
            "ROUJIAMO_MPIEXEC": open_mpis()[0].mpiexec,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=scaled(60),
    )


def tasks(text: str) -> list[dict[str, object]]:
    """The TaskInfos."""
    return [
        json.loads(each) for each in re.findall(r"<<'END_OF_TASK'\n(.*?)^END_OF_TASK$", text, re.M | re.S)
    ]


@requires_open_mpi
def test_a_run_is_shown_whole_and_nothing_is_started(shared: Cluster, folder: Path) -> None:
    """Hosts, a TaskInfo each, the hostfile, the environment, the line; and no secret."""
    line = ("run", "--dry-run", "-N", "2", "-n", "3", "--master", shared.address, "--constraint", "zone==a")
    more = (
        "--env",
        "MINE=hush",
        "--uri",
        "http://me:hush@host/x",
        "--callback-port",
        "4000",
        "--",
        "./a.out",
        "a b",
    )
    answer = roujiamo(folder, *line, *more)
    assert answer.returncode == 0, answer.stderr
    assert f"# Hosts, of 2 agents of {shared.address}" in answer.stdout
    hosts = dict(re.findall(r"^#   (\S+)  (\d) slot", answer.stdout, re.MULTILINE))
    assert (hosts.keys(), sorted(hosts.values())) == ({"agent1", "agent2"}, ["1", "2"])
    described = tasks(answer.stdout)
    assert [each["task_id"] for each in described] == [{"value": "SESSION.1"}, {"value": "SESSION.2"}]
    assert "127.0.0.1:4000" in json.dumps(described)
    assert answer.stdout.endswith(f"\n# Open MPI 4:\n{open_mpis()[0].mpiexec} -n 3 ./a.out 'a b'\n")
    assert "for the ranks: MINE\n" in answer.stdout
    assert "hush" not in answer.stdout
    assert active_frameworks(shared.address) == []
    assert not folder.exists()


@requires_open_mpi
def test_what_is_shown_is_what_an_allocation_gets(folder: Path) -> None:
    """Pasted into a shell, the hostfiles and the variables are those of a real session."""
    show = 'env -0; for file in "$(dirname "$ROUJIAMO_HOSTFILE")"/hostfile*; do cat "$file"; done'
    line = ("-N", "2", "-n", "3", "--master", "local", "--", "sh", "-c", show)
    real = roujiamo(folder, "alloc", *line)
    assert real.returncode == 0, real.stderr
    dry = roujiamo(folder, "alloc", "--dry-run", *line)
    pasted = subprocess.run(
        ["sh", "-e", "-c", dry.stdout],
        env={
            **os.environ,
            **mpi_environment(),
            "ROUJIAMO_RUNTIME_DIR": str(folder),
            "ROUJIAMO_MPIEXEC": open_mpis()[0].mpiexec,
        },
        capture_output=True,
        text=True,
        timeout=scaled(30),
    )
    assert pasted.returncode == 0, pasted.stderr

    def lines(text: str) -> set[str]:
        said = set(SESSION.sub("SESSION", text.replace("\0", "\n")).splitlines())
        return {each for each in said if not each.startswith(("_=", "PWD=", "OLDPWD=", "SHLVL="))}

    assert lines(pasted.stdout) == lines(real.stdout)


@requires_open_mpi
def test_what_cannot_be_had_now_is_told(shared: Cluster, folder: Path) -> None:
    """With the sentence of a run that waits, and a status that says no."""
    answer = roujiamo(folder, "run", "--dry-run", "-N", "3", "--master", shared.address, "true")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("roujiamo: as the agents are now, a run would wait: ")
