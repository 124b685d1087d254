"""Masters to test the driver against: the local cluster, and a real Mesos where one is named."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.support import real_mesos, running


@pytest.fixture(scope="module", params=["local", "real"])
def master(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a good master (host:port)."""
    if request.param == "real":
        address = real_mesos()
        if address is None:
            pytest.skip("no real Mesos named (ROUJIAMO_TEST_MASTER=host:port)")
        yield address
        return
    argv = [sys.executable, "-m", "roujiamo.local", "--port", "0", "--agents", "2"]
    with running(argv, ready="local cluster") as program:
        yield program.ready_line.partition("master ")[2].partition(",")[0]
