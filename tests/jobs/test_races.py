"""Sessions that need what the others hold, on one cluster: all of them get it in the end, and nothing stays."""

from __future__ import annotations

import contextlib

import pytest

from tests.jobs.conftest import Bench
from tests.local.conftest import cluster
from tests.support import until
from tests.support.scheduler import get


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


def test_a_session_that_can_never_be_complete_holds_no_agent_up(bench: Bench, three_agents: str) -> None:
    """It waits for new agents until its --timeout, and holds no offer meanwhile: another has all three agents."""
    told = "the master has 3 agents; 9 are needed"
    with bench.started("-N", "9", "-n", "9", "--timeout", "12", three_agents, "true") as vain:
        until(lambda: told in vain.errors(), what="the warning")
        until(lambda: cpus_offered(three_agents) == 0, 1, "all offers' return")
        options = ["-N", "3", "-n", "3", "--exclusive", "--timeout", "60", three_agents]
        result = bench.ompirun(*options, "sh", "-c", "echo done")
        assert result.status == 0, result.err
        assert vain.process.poll() is None
        assert vain.wait(60) == 124
        assert f"(--timeout): {told}" in vain.errors()


def test_a_session_gets_its_hosts_where_offers_are_withdrawn_early(bench: Bench) -> None:
    """An operator's --offer_timeout shorter than the wait for the last host: what is withdrawn is offered again."""
    with cluster("--agents", "3", "--offer-timeout", "0.3") as one:
        busy = ["-N", "1", "-n", "1", "--exclusive", one.address, "sleep", "3"]
        whole = ["-N", "3", "-n", "3", "--exclusive", "--timeout", "60", one.address, "sh", "-c", "sleep 0.3"]
        with bench.started(*busy) as first:
            until(lambda: cpus_in_use(one.address) == 4.0, what="the first session's host")
            with bench.started(*whole) as second:
                assert first.wait(60) == 0, first.errors()
                assert second.wait(60) == 0, second.errors()


def cpus_in_use(address: str) -> float:
    return float(sum(agent["used_resources"]["cpus"] for agent in get(address, "/slaves")[1]["slaves"]))


def cpus_offered(address: str) -> float:
    return float(sum(agent["offered_resources"]["cpus"] for agent in get(address, "/slaves")[1]["slaves"]))
