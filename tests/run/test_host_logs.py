"""The hosts' logs of a record: each host's for itself, and never waited for at the end."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from roujiamo.errors import MasterError
from roujiamo.run.host_logs import HostLogs
from tests.support import until


def sandbox(host: str, read: Callable[[], bytes]) -> Any:
    """A sandbox with one log."""
    return SimpleNamespace(host=host, logs=lambda streams: [SimpleNamespace(stream="stdout", read=read)])


def fail() -> bytes:
    raise MasterError("no way to it")


def test_a_host_that_fails_or_hangs_costs_its_own_logs_alone(tmp_path: Path) -> None:
    """What is there is kept, what comes too late is not, and what is missing is told."""
    released = threading.Event()

    def hang() -> bytes:
        released.wait()
        return b"late"

    def find(complain: Callable[[str], None]) -> Sequence[Any]:
        complain("lost: the master does not know its agent any more")
        reads = {"slow": hang, "bad": fail, "a/b": lambda: b"one", "a_b": lambda: b"two"}
        return [sandbox(host, read) for host, read in reads.items()]

    logs = HostLogs(find, tmp_path / "hosts")
    until(lambda: len(list(tmp_path.glob("hosts/*"))) == 2, 10, "two hosts' logs")
    until(lambda: any("bad" in each for each in logs._failures), 10, "the failure")
    assert logs.goes_on
    assert logs.stop() == "lost: the master does not know its agent any more; and those of 2 more"
    released.set()
    until(lambda: not logs.goes_on, 10, "the end of the threads")
    kept = {path.name: path.read_bytes() for path in (tmp_path / "hosts").iterdir()}
    assert kept == {"a_b.stdout": b"one", "a_b.2.stdout": b"two"}


def test_a_master_that_does_not_answer_is_told(tmp_path: Path) -> None:
    """There is no host to name then."""
    logs = HostLogs(lambda complain: [sandbox("a", fail)] if fail() else [], tmp_path / "hosts")
    until(lambda: not logs.goes_on, 10, "the end of the thread")
    assert logs.stop() == "no way to it"


def test_nothing_is_said_where_all_is_kept(tmp_path: Path) -> None:
    """As it is nearly always."""
    logs = HostLogs(lambda complain: [sandbox("a", lambda: b"one")], tmp_path / "hosts")
    until(lambda: not logs.goes_on, 10, "the end of the thread")
    assert logs.stop() is None
