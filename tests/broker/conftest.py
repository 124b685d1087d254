"""Sessions without an mpiexec: a real broker over a real cluster, and shims that use it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roujiamo.session.request import SessionRequest
from roujiamo.system.broker_client import SessionClient
from roujiamo.system.session_client import current_user
from tests.support import MASTERS, real_mesos, scaled

ROOT = Path(__file__).resolve().parents[2]
SHIM = ROOT / "bin" / "roujiamo-rsh"


class Session:
    """A started broker, and what it has said."""

    def __init__(self, request: SessionRequest) -> None:
        self.request = request
        self.client = SessionClient()
        self.client.ask_for(request)
        self.client.control.settimeout(scaled(60))
        self._lines = self.client.control.makefile("rb")
        self.events: list[dict[str, Any]] = []
        self.hosts: list[dict[str, Any]] = []

    def next(self, kind: str) -> dict[str, Any]:
        """The next event of that kind; AssertionError when the broker ends without one."""
        for line in self._lines:
            event: dict[str, Any] = json.loads(line)
            self.events.append(event)
            if event["event"] == kind:
                return event
            if event["event"] == "failed":
                break
        raise AssertionError(f"no event {kind}: {self.events}")

    def wait_until_ready(self) -> None:
        self.hosts = self.next("ready")["hosts"]

    def environment(self) -> dict[str, str]:
        """What a shim needs."""
        return {**os.environ, "ROUJIAMO_SOCKET": self.request.folder + "/socket"}

    def rsh(self, *arguments: str, **popen: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a shim to its end."""
        return subprocess.run(
            [SHIM, *arguments],
            env=self.environment(),
            timeout=scaled(60),
            **{"capture_output": True, **popen},
        )

    def end(self) -> list[dict[str, Any]]:
        """End the session; return the events of its end."""
        self.client.end()
        rest = [json.loads(line) for line in self._lines]
        self.client.wait(scaled(30))
        return rest

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.client.end()
        self._lines.close()
        self.client.control.close()
        self.client.wait(scaled(30))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path for a session's folder: a unix socket's address must fit."""
    with tempfile.TemporaryDirectory(prefix="rj-") as path:
        yield Path(path)


@contextlib.contextmanager
def session_with(place: Path, **wanted: Any) -> Iterator[Session]:
    """A session as `wanted`, in a folder of `place`, ended at the end."""
    values: dict[str, Any] = {
        "master": "local",
        "name": "test",
        "user": current_user(),
        "folder": str(place / "s"),
        "owner_pid": os.getpid(),
        "nodes": 2,
        "processes": 2,
        "timeout_seconds": scaled(60),
    }
    session = Session(SessionRequest(**{**values, **wanted}))
    try:
        yield session
    finally:
        session.close()
        assert not Path(session.request.folder).exists(), "the session's folder is left"


@pytest.fixture(scope="module", params=MASTERS)
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """A ready session of two hosts, for all tests of a module."""
    master = real_mesos() if request.param == "real" else request.param
    with (
        tempfile.TemporaryDirectory(prefix="rj-") as path,
        session_with(Path(path), master=master) as session,
    ):
        session.wait_until_ready()
        yield session


PYTHON = sys.executable
