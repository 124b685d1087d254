"""Which agents a job gets, and how many processes on each, as its options say; on each master there is."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.jobs.conftest import Bench
from tests.jobs.test_run import WHERE, hosts_of
from tests.local.conftest import cluster
from tests.support import real_mesos, scaled, until
from tests.support.scheduler import request as http_request


class Placing:
    """A master with three idle agents, and jobs on it."""

    def __init__(self, bench: Bench, address: str) -> None:
        self.address = address
        self._bench = bench
        with urllib.request.urlopen(f"http://{address}/slaves", timeout=scaled(10)) as answer:
            self.agents: list[dict[str, Any]] = json.load(answer)["slaves"]
        self.names = sorted(agent["hostname"] for agent in self.agents)

    def hosts(self, *options: str) -> Counter[str]:
        """Run a job; return how many ranks ran on which agent."""
        result = self._bench.ompirun("--timeout", "60", *options, self.address, *WHERE)
        assert result.status == 0, result.err
        return hosts_of(result.out)

    def assert_waits(self, sentence: str, *options: str) -> None:
        """A job with these options waits, and says why; it is interrupted then."""
        with self._bench.started("-v", "--timeout", "120", *options, self.address, "true") as job:
            until(lambda: sentence in job.errors(), 40, f"the sentence {sentence!r}")
            job.process.send_signal(signal.SIGINT)
            assert job.wait(40) == 130, job.errors()


@pytest.fixture
def placing(bench: Bench, three_agents: str) -> Placing:
    """Jobs on that master."""
    return Placing(bench, three_agents)


def test_processes_are_packed_on_few_hosts_or_spread_over_many(placing: Placing) -> None:
    """Without -N the number of hosts is free: as few as will do, or as many as there are."""
    assert sorted(placing.hosts("-n", "3").values()) == [3]
    assert sorted(placing.hosts("-n", "3", "--spread").values()) == [1, 1, 1]


def test_a_host_gets_no_more_processes_than_allowed(placing: Placing) -> None:
    """--max-slots-per-host makes a job that would fit on one host take several."""
    assert sorted(placing.hosts("-n", "5", "--max-slots-per-host", "2").values()) == [1, 2, 2]


def test_named_hosts_are_taken_and_excluded_ones_are_not(placing: Placing) -> None:
    """By --host, --exclude, or a constraint on the name."""
    first, second, third = placing.names
    assert set(placing.hosts("-N", "2", "-n", "2", "--host", f"{first},{third}")) == {first, third}
    assert set(placing.hosts("-N", "1", "--exclude", first, "--constraint", f"hostname!={third}")) == {second}
    placing.assert_waits("2 are needed", "-N", "2", "--host", first)


def test_attributes_decide(placing: Placing) -> None:
    """`zone==a`, `rack~r[12]`; where too few agents match, how many is said."""
    if any("zone" not in agent["attributes"] for agent in placing.agents):
        pytest.skip("the master's agents have no attributes zone and rack")
    assert len(placing.hosts("-N", "3", "--constraint", "zone==a", "--constraint", "rack~r[12]")) == 3
    placing.assert_waits("none of the 3 agents matches zone==b", "--constraint", "zone==b")


def test_cpus_of_a_host_may_be_given_instead_of_those_of_a_process(placing: Placing) -> None:
    """Six processes that share half a cpu and 600 MB, however many cpus the agent has."""
    options = [
        "-N",
        "1",
        "-n",
        "6",
        "--cpus-per-host",
        "0.5",
        "--mem-per-host",
        "600",
        "--disk-per-host",
        "10",
    ]
    assert sorted(placing.hosts(*options).values()) == [6]


def test_a_whole_agent_is_one_that_nobody_else_uses(placing: Placing, bench: Bench) -> None:
    """Also where its offer comes before the master's list of agents, which alone says how large it is."""
    name = placing.names[0]
    busy = ["-N", "1", "--host", name, placing.address, "sh", "-c", "echo up; read end"]
    with bench.started(*busy, stdin=subprocess.PIPE) as job:
        until(lambda: "up" in job.output(), 30, "the first job's start")
        placing.assert_waits("1 shared with others", "-N", "1", "--host", name, "--exclusive")
        job.process.stdin.write(b"\n")
        job.process.stdin.flush()
        assert job.wait(30) == 0
    assert set(placing.hosts("-N", "1", "--host", name, "--exclusive")) == {name}


def test_gpus_that_nobody_has_are_said_to_be_missing(placing: Placing) -> None:
    """An impossible request is told at once, and waited for until the time is up."""
    placing.assert_waits("no agent has 1 GPU", "--gpus", "1")
    placing.assert_waits("no agent has 2 GPUs", "--gpus-per-host", "2")


@contextlib.contextmanager
def maintained(placing: Placing, agent: dict[str, Any]) -> Iterator[None]:
    """The agent is scheduled for maintenance in ten minutes, for the time of a with-block."""
    machine = {"hostname": agent["hostname"], "ip": agent["pid"].partition("@")[2].rpartition(":")[0]}
    unavailability = {
        "start": {"nanoseconds": int((time.time() + 600) * 1e9)},
        "duration": {"nanoseconds": 3_600_000_000_000},
    }
    window = {"machine_ids": [machine], "unavailability": unavailability}
    try:
        assert _schedule(placing.address, [window]) == 200
        yield
    finally:
        assert _schedule(placing.address, []) == 200


def _schedule(address: str, windows: list[dict[str, Any]]) -> int:
    body = json.dumps({"windows": windows}).encode()
    headers = {"Content-Type": "application/json"}
    return http_request(address, "POST", "/master/maintenance/schedule", body, headers)[0]


def test_an_agent_that_is_to_be_maintained_is_avoided_and_said_so(placing: Placing) -> None:
    """A job that starts now would be ended there soon."""
    agent = placing.agents[0]
    with maintained(placing, agent):
        assert agent["hostname"] not in placing.hosts("-N", "2")
        placing.assert_waits("1 scheduled for maintenance", "-N", "3")


def test_a_running_job_is_told_that_its_host_is_to_be_maintained(placing: Placing, bench: Bench) -> None:
    """The master makes an inverse offer; the user learns of it, and the job goes on."""
    agent = placing.agents[0]
    rank = ["sh", "-c", "echo up; read end; echo down"]
    line = ["-N", "1", "--host", agent["hostname"], placing.address, *rank]
    with bench.started(*line, stdin=subprocess.PIPE) as job:
        until(lambda: "up" in job.output(), 30, "the rank's first word")
        with maintained(placing, agent):
            until(lambda: "is scheduled for maintenance from 20" in job.errors(), 15, "the user's being told")
            job.process.stdin.write(b"go\n")
            job.process.stdin.flush()
            assert job.wait(30) == 0
        assert "down" in job.output()


def test_a_master_that_withdraws_held_offers_ends_no_wait(bench: Bench) -> None:
    """--offer_timeout: what was held is offered again, and a gang that waits for a host that is in use gets it."""
    with cluster("--agents", "3", "--offer-timeout", "0.4") as one:
        first = ["-N", "1", "--exclusive", one.address, "sh", "-c", "echo up; sleep 4"]
        with bench.started(*first) as job:
            until(lambda: "up" in job.output(), 30, "the first job's start")
            result = bench.ompirun("-N", "3", "--exclusive", "--timeout", "60", one.address, *WHERE)
            assert result.status == 0, result.err
            assert len(hosts_of(result.out)) == 3
            assert job.wait(30) == 0


def test_reserved_resources_serve_their_role_and_its_children_only(placing: Placing) -> None:
    """docs/reservation.md: what is reserved for hpc is hpc's and hpc/team's; for others the agent is the smaller."""
    if placing.address != real_mesos():
        pytest.skip("the local cluster makes no reservations")
    agent = placing.agents[0]
    reserved = [
        {
            "name": name,
            "type": "SCALAR",
            "scalar": {"value": value},
            "reservations": [{"type": "DYNAMIC", "role": "hpc"}],
        }
        for name, value in (("cpus", 3), ("mem", 1000))
    ]
    body = {"agent_id": {"value": agent["id"]}, "resources": reserved}
    options = ["-N", "1", "-n", "4", "--host", agent["hostname"]]
    assert _operator_call(placing.address, "RESERVE_RESOURCES", body) == 202
    try:
        assert list(placing.hosts(*options, "--role", "hpc/team").values()) == [4]
        placing.assert_waits("4 cpus; the largest has 1 cpu", *options)
    finally:
        assert _operator_call(placing.address, "UNRESERVE_RESOURCES", body) == 202


def _operator_call(address: str, kind: str, body: dict[str, Any]) -> int:
    content = json.dumps({"type": kind, kind.lower(): body}).encode()
    return http_request(address, "POST", "/api/v1", content, {"Content-Type": "application/json"})[0]
