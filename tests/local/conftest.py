"""Local clusters for the tests of this folder: real processes, on free ports of the loopback address."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import Program, children_called, running

READY = "roujiamo local cluster (for trying and testing, not for production): master "


class Cluster:
    """A running cluster."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.address = program.ready_line.removeprefix(READY).partition(",")[0]

    def master_pid(self) -> int:
        """The process of the one master."""
        (pid,) = children_called(self.program.pid, "master")
        return pid

    def agent_pid(self, hostname: str) -> int:
        """The process of an agent."""
        (pid,) = children_called(self.program.pid, hostname)
        return pid


@contextlib.contextmanager
def cluster(*options: str, **popen: Any) -> Iterator[Cluster]:
    """A cluster for the time of a with-block."""
    command = [sys.executable, "-m", "roujiamo.local", "--port", "0", *options]
    with running(command, ready=READY, **popen) as program:
        yield Cluster(program)


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """One cluster for all tests of a module that do it no harm."""
    with cluster("--agents", "2", "--attributes", "zone:a;rack:7", "--update-retry", "0.3") as one:
        yield one
