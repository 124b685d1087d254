"""What the tests of masters need: a ZooKeeper of their own, local clusters that they may kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.conftest import bench as bench
from tests.masters.zookeeper_server import JAR, JAVA, MISSING, ZooKeeperServer, zookeeper_server


@pytest.fixture
def zookeeper(tmp_path: Path) -> Iterator[ZooKeeperServer]:
    """A ZooKeeper that nobody else uses."""
    if JAVA is None or not JAR.exists():
        pytest.skip(MISSING)
    with zookeeper_server(tmp_path) as server:
        yield server
