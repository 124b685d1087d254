"""`roujiamo logs`: the sandboxes' files, from the local cluster's agents and from a real Mesos's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from roujiamo.system.sessions import ask
from tests.broker.conftest import Session, folder, session_with
from tests.status.test_status import ROOT, Shell
from tests.support import MASTERS, real_mesos, running

__all__ = ["folder"]
READY = "ready for the broker at"


@pytest.fixture(params=MASTERS)
def session(request: pytest.FixtureRequest, folder: Path) -> Iterator[Session]:
    """A ready session on each master there is."""
    master = real_mesos() if request.param == "real" else request.param
    with session_with(folder, folder=str(folder / "12345-0123abcd"), master=master) as session:
        session.wait_until_ready()
        yield session


@pytest.fixture
def logging_session(session: Session) -> Session:
    """A session whose proxies' output lies in their sandboxes."""
    if not (Path(session.hosts[0]["facts"]["sandbox"]) / "stderr").read_text():
        pytest.skip("this Mesos does not put its tasks' output into their sandboxes")
    return session


def test_logs_of_all_hosts_are_told_apart(logging_session: Session, folder: Path) -> None:
    """Each line says whose it is, where there is more than one file."""
    shown = Shell(folder).roujiamo("logs", "--stderr")
    assert shown.returncode == 0, shown.stderr
    names = [host["name"] for host in logging_session.hosts]
    assert sorted(line.split()[0] for line in shown.stdout.splitlines() if READY in line) == sorted(names)


def test_the_log_of_one_host_is_shown_as_it_is(logging_session: Session, folder: Path) -> None:
    """--host and one stream: nothing is put before the lines."""
    name = logging_session.hosts[0]["name"]
    shown = Shell(folder).roujiamo("logs", "--stderr", "--host", name, "--lines", "1")
    assert shown.stdout.startswith("roujiamo-proxy:"), shown.stderr
    assert len(shown.stdout.splitlines()) == 1


def test_a_followed_log_ends_with_its_session(session: Session, folder: Path) -> None:
    """What is written later is shown, and nobody has to press Ctrl-C."""
    sandbox = Path(session.hosts[0]["facts"]["sandbox"])
    line = [sys.executable, "-m", "roujiamo", "logs", "-f", "--stdout"]
    with running(line, environment=Shell(folder).environment, cwd=ROOT) as follower:
        with (sandbox / "stdout").open("ab") as stdout:
            stdout.write("später: ü\n".encode())
        follower.wait_for_line("später: ü")
        ask(Path(session.request.folder), {"request": "end"})
        assert follower.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--host", "agent99"], "no host agent99"), (["nosuch"], "there is no session nosuch")],
)
def test_what_is_not_there_is_said(session: Session, folder: Path, arguments: list[str], words: str) -> None:
    """And what is."""
    shown = Shell(folder).roujiamo("logs", *arguments)
    assert shown.returncode == 1
    assert words in shown.stderr
