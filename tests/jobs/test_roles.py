"""Jobs in several roles, and in roles with a quota: each host has one role, and a wait for a quota says so."""

from __future__ import annotations

import json
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.jobs.conftest import Bench
from tests.jobs.test_run import WHERE, hosts_of
from tests.support import until
from tests.support.scheduler import get
from tests.support.scheduler import request as http_request

# Only rank 0 has the job's stdin.
UP_AND_WAIT = ["sh", "-c", "echo up; [ $OMPI_COMM_WORLD_RANK != 0 ] || read end"]

Limit = Callable[..., str]


@pytest.fixture
def limited(three_agents: str) -> Iterator[Limit]:
    """`limited(cpus=2)` returns a new role with that quota, which it has no longer when the test is over."""
    roles: list[str] = []

    def limit(**limits: float) -> str:
        roles.append(f"jobs-{uuid.uuid4().hex[:8]}")
        _update_quota(three_agents, roles[-1], limits)
        return roles[-1]

    yield limit
    for role in roles:
        _update_quota(three_agents, role, {})


def _update_quota(address: str, role: str, limits: dict[str, float]) -> None:
    config = {"role": role, "limits": {name: {"value": value} for name, value in limits.items()}}
    call = {"type": "UPDATE_QUOTA", "update_quota": {"quota_configs": [config]}}
    headers = {"Content-Type": "application/json"}
    assert http_request(address, "POST", "/api/v1", json.dumps(call).encode(), headers)[0] == 200


def tasks_of(address: str, name: str) -> list[dict[str, Any]]:
    """The running tasks of the framework with that name."""
    frameworks = get(address, "/frameworks")[1]["frameworks"]
    return [task for each in frameworks if each["name"] == f"roujiamo {name}" for task in each["tasks"]]


def test_each_host_is_had_in_the_role_that_has_room(bench: Bench, three_agents: str, limited: Limit) -> None:
    """Two roles of two cpus each: neither alone is enough for two hosts of two cpus, together they are."""
    first, second = limited(cpus=2), limited(cpus=2)
    name = f"two-{first}"
    options = [
        "-N",
        "2",
        "-n",
        "2",
        "-c",
        "2",
        "--name",
        name,
        "--role",
        f"{first},{second}",
        "--timeout",
        "60",
        three_agents,
    ]
    with bench.started(*options, *UP_AND_WAIT, stdin=subprocess.PIPE) as job:
        until(lambda: job.output().count("up") == 2, 40, "the ranks' start")
        tasks = tasks_of(three_agents, name)
        assert sorted(task["role"] for task in tasks) == sorted([first, second])
        assert {task["resources"]["cpus"] for task in tasks} == {2.0}
        job.process.stdin.write(b"\n")
        job.process.stdin.flush()
        assert job.wait(30) == 0, job.errors()


def test_roles_without_a_quota_share_a_gang(bench: Bench, three_agents: str) -> None:
    """All agents, whole, whichever role each was offered in; nothing is left in any."""
    roles = f"a-{uuid.uuid4().hex[:8]},*"
    result = bench.ompirun(
        "-N", "3", "-n", "3", "--exclusive", "--role", roles, "--timeout", "60", three_agents, *WHERE
    )
    assert result.status == 0, result.err
    assert len(hosts_of(result.out)) == 3


def test_a_gang_beyond_its_quota_is_told_at_once_and_at_the_timeout(
    bench: Bench, three_agents: str, limited: Limit
) -> None:
    role = limited(cpus=3)
    result = bench.ompirun("-N", "2", "-n", "4", "--role", role, "--timeout", "6", three_agents, "true")
    sentence = f"the role {role} may use no more than 3 cpus (its quota); all hosts together need 4 cpus"
    assert result.status == 124
    assert f"{sentence}; waiting in case that changes" in result.err
    assert f"(--timeout): {sentence}" in result.err


def test_a_job_waits_for_what_others_have_of_the_quota(
    bench: Bench, three_agents: str, limited: Limit
) -> None:
    """It says what is left, and runs as soon as there is enough."""
    role = limited(cpus=3)
    options = ["-N", "1", "-n", "2", "--role", role, "--timeout", "120", three_agents]
    with bench.started(*options, *UP_AND_WAIT, stdin=subprocess.PIPE) as first:
        until(lambda: first.output().count("up") == 2, 40, "the first job's start")
        with bench.started("-v", *options, *WHERE) as second:
            left = f"the role {role} has 1 cpu left of its quota of 3 cpus"
            until(lambda: left in second.errors(), 40, f"the sentence {left!r}")
            first.process.stdin.write(b"\n")
            first.process.stdin.flush()
            assert first.wait(30) == 0, first.errors()
            assert second.wait(60) == 0, second.errors()


def test_a_quota_that_is_offered_whole_on_one_agent_is_told(
    bench: Bench, three_agents: str, limited: Limit
) -> None:
    """With no cpu to spare, two hosts are never offered together: Mesos puts all that is left into one offer."""
    role = limited(cpus=2)
    options = ["-v", "-N", "2", "-n", "2", "--role", role, "--timeout", "120", three_agents]
    with bench.started(*options, "true") as job:
        told = f"the quota of {role} may be offered whole on one agent, and then the other agents are offered without"
        until(lambda: told in job.errors(), 40, f"the sentence {told!r}")
        job.process.send_signal(signal.SIGINT)
        assert job.wait(40) == 130, job.errors()
