"""Sessions that need what the others hold, on one cluster: all of them get it in the end, and nothing stays."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.jobs.conftest import Bench
from tests.local.conftest import cluster
from tests.support import real_mesos


@pytest.fixture(scope="module", params=["local", "real"])
def three_agents(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a master with three agents."""
    if request.param == "local":
        with cluster("--agents", "3") as one:
            yield one.address
        return
    address = real_mesos()
    if address is None:
        pytest.skip("no real Mesos (ROUJIAMO_TEST_MASTER)")
    yield address


@pytest.mark.parametrize("sessions", [2, 5])
def test_sessions_that_race_for_all_agents_all_complete(
    bench: Bench, three_agents: str, sessions: int
) -> None:
    """Each takes every agent whole; whoever has only a part gives it back."""
    rank = ["sh", "-c", 'echo "done $OMPI_COMM_WORLD_RANK"; sleep 0.3']
    options = ["-N", "3", "-n", "3", "--exclusive", "--timeout", "120", three_agents, *rank]
    with contextlib.ExitStack() as stack:
        racing = [stack.enter_context(bench.started(*options)) for _ in range(sessions)]
        for one in racing:
            assert one.wait(120) == 0, one.errors()
            assert sorted(one.output().split("\n")) == ["", "done 0", "done 1", "done 2"]
