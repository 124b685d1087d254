"""`roujiamo doctor` against masters, and with --trial: what a real task and a real mpiexec find on each agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local.conftest import cluster
from tests.support import mpi_environment, open_mpis, requires_open_mpi, scaled
from tests.support.no_python import cluster_without_python3

ROOT = Path(__file__).resolve().parents[2]


def examined(folder: Path, *arguments: str) -> tuple[int, dict[str, list[str]]]:
    """The exit status, and for each check `verdict: text` of what was found, in order."""
    done = subprocess.run(
        [sys.executable, "-m", "roujiamo", "doctor", "--json", *arguments],
        cwd=folder,
        env={**os.environ, **mpi_environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=scaled(120),
    )
    assert done.stdout, done.stderr
    found: dict[str, list[str]] = {}
    for each in json.loads(done.stdout):
        found.setdefault(each["check"], []).append(f"{each['verdict']}: {each['text']}")
    return done.returncode, found


@requires_open_mpi
def test_a_trial_runs_a_task_and_an_mpiexec_on_each_agent(tmp_path: Path) -> None:
    """Only then is it known that a run would work."""
    with cluster("--agents", "2", "--attributes", "zone:a") as shared:
        mpiexec = open_mpis()[0].mpiexec
        status, found = examined(tmp_path, "--trial", "--mpiexec", mpiexec, "--master", shared.address)
    assert status == 0, found
    assert "Mesos" in found["master"][0]
    for agent in ("agent1", "agent2"):
        offer, task, folders, launch = found[agent]
        assert "zone=a" in offer
        assert "called back to 127.0.0.1" in task
        assert "can be written to" in folders
        assert "started a process there" in launch
    assert list(tmp_path.iterdir()) == []


@requires_open_mpi
def test_an_agent_without_the_mpi_is_bad_and_the_remedy_is_told(tmp_path: Path) -> None:
    """Of the agents that were asked for only; the look and the launch say the same thing."""
    status, found = examined(
        tmp_path,
        "--trial",
        "--host",
        "agent2",
        "--prefix",
        "/no/such",
        "--mpiexec",
        open_mpis()[0].mpiexec,
        "--master",
        "local:2",
    )
    assert status == 1, found
    bad = [text for text in found["agent2"] if text.startswith("bad: ")]
    assert any("orted is not in /no/such/bin" in text or "prted is not in" in text for text in bad), bad
    assert any("--prefix" in text for text in bad)
    assert "agent1" not in found


def test_an_agent_without_a_python3_is_told_at_once(tmp_path: Path) -> None:
    """Not when the time for offers is over."""
    with cluster_without_python3(tmp_path, 1) as master:
        status, found = examined(tmp_path, "--trial", "--mpiexec", "true", "--master", master)
    assert status == 1
    assert any("bad: " in text and "needs a python3" in text for text in found["agent1"]), found
    assert "no task was seen to run" in found["trial"][0]


@pytest.mark.parametrize(
    ("principal", "secret", "verdict", "word"),
    [
        (None, None, "bad", "wants credentials (401 Unauthorized)"),
        ("hpc", "wrong", "bad", "does not know the principal 'hpc' with this secret"),
        ("hpc", "right", "good", "takes hpc"),
    ],
)
def test_whether_the_master_lets_us_in_is_known_without_a_task(
    tmp_path: Path, principal: str | None, secret: str | None, verdict: str, word: str
) -> None:
    """And nothing is subscribed for it."""
    known = tmp_path / "known.json"
    known.write_text(json.dumps({"credentials": [{"principal": "hpc", "secret": "right"}]}))
    options: list[str] = []
    if principal is not None:
        file = tmp_path / "secret"
        file.touch(0o600)
        file.write_text(str(secret))
        options = ["--principal", principal, "--secret-file", str(file)]
    with cluster("--agents", "1", "--credentials", str(known)) as locked:
        status, found = examined(tmp_path, "--mpiexec", "true", "--master", locked.address, *options)
    assert found["principal"][0].startswith(f"{verdict}: "), found
    assert word in found["principal"][0]
    assert status == int(verdict == "bad")
