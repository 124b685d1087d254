"""`roujiamo status` and `roujiamo cancel`: looked at and ended from another shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.conftest import SHIM, Session, folder, session_with
from tests.support import Program, running, scaled, until

ROOT = Path(__file__).resolve().parents[2]
__all__ = ["folder"]


class Shell:
    """A user's shell with a folder for sessions of its own."""

    def __init__(self, runtime: Path) -> None:
        self.environment = {**os.environ, "ROUJIAMO_RUNTIME_DIR": str(runtime)}

    def roujiamo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "roujiamo", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=scaled(90),
        )


@pytest.fixture
def shell(folder: Path) -> Shell:
    return Shell(folder)


@pytest.fixture
def session(folder: Path) -> Iterator[Session]:
    """A ready session, in the folder where the shell's commands look."""
    with session_with(folder, folder=str(folder / "12345-0123abcd"), name="hello") as session:
        session.wait_until_ready()
        yield session


@pytest.fixture
def sleeper(session: Session) -> Iterator[Program]:
    """A remote command that runs on agent1."""
    with running(
        [SHIM, "agent1", "echo up; exec sleep 100"], environment=session.environment(), ready="up"
    ) as it:
        yield it


def test_status_shows_hosts_commands_and_use(shell: Shell, session: Session, sleeper: Program) -> None:
    """What runs where, in a table for people and as JSON for programs."""
    shown = shell.roujiamo("status")
    assert shown.returncode == 0, shown.stderr
    assert "12345-0123abcd  hello  ready  2      2" in shown.stdout
    assert "exec sleep 100" in shown.stdout
    (told,) = json.loads(shell.roujiamo("status", "--json", "hello").stdout)
    hosts = {host["name"]: host for host in told["hosts"]}
    assert [each["command"] for each in hosts["agent1"]["commands"]] == ["echo up; exec sleep 100"]
    assert hosts["agent2"]["commands"] == []
    # init, worker, and the sleep; on agent2 no sleep.
    assert hosts["agent1"]["usage"]["processes"] == hosts["agent2"]["usage"]["processes"] + 1
    assert hosts["agent1"]["usage"]["mem"] > 1


def test_no_session_is_said_on_stderr_and_is_no_failure(shell: Shell, folder: Path) -> None:
    """stdout stays empty for programs; looking leaves nothing."""
    shown = shell.roujiamo("status")
    assert (shown.returncode, shown.stdout) == (0, "")
    assert "no session" in shown.stderr
    assert list(folder.iterdir()) == []


def test_cancel_ends_the_session_and_waits_for_it(shell: Shell, session: Session, sleeper: Program) -> None:
    """When it returns, nothing is left; who waits there is told why."""
    done = shell.roujiamo("cancel", "12345")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not Path(session.request.folder).exists()
    assert session.next("failed")["message"] == "the session was cancelled (`roujiamo cancel`)"
    assert session.end()[-1]["clean"]
    assert sleeper.wait() == 255
    assert "cancelled" in sleeper.errors()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "which session?"),
        (["nosuch"], 1, "there is no session nosuch; there are 12345-0123abcd (hello)"),
        (["--all", "hello"], 2, "give one of them"),
    ],
)
def test_cancel_ends_nothing_that_was_not_meant(
    shell: Shell, session: Session, arguments: list[str], status: int, words: str
) -> None:
    """Each mistake is one sentence, and the session goes on."""
    done = shell.roujiamo("cancel", *arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert session.rsh("agent1", "true").returncode == 0


def test_cancel_all_ends_every_session(shell: Shell, folder: Path) -> None:
    """Both of two."""
    with (
        session_with(folder, folder=str(folder / "1-0123abcd"), name="one") as one,
        session_with(folder, folder=str(folder / "2-0123abcd"), name="two") as two,
    ):
        for each in (one, two):
            each.wait_until_ready()
        assert shell.roujiamo("cancel", "--all").returncode == 0
        until(lambda: not list(folder.glob("*-*")), 10, "no session folder")
