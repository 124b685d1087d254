"""Who a job is to its master: principals, secrets and roles, from the user's options to every request.

Against a local cluster that wants credentials; and a real Mesos that does, where ROUJIAMO_TEST_MASTER is one, with
ROUJIAMO_TEST_PRINCIPAL and ROUJIAMO_TEST_SECRET.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.driver.driver_process import driver, first_line
from tests.jobs.conftest import Bench
from tests.local.conftest import cluster
from tests.pymesos_driver.scripted_master import Request, ScriptedMaster, subscribed
from tests.support import real_mesos, until

SLEEP = ["sh", "-c", "echo started; while [ ! -e stop ]; do sleep 0.1; done"]


class Locked(NamedTuple):
    """A master that wants credentials, and the ones that it knows."""

    address: str
    principal: str
    secret: str


@pytest.fixture(scope="module", params=["local", "real"])
def locked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """Each such master there is."""
    if request.param == "real":
        principal, secret = (os.environ.get(f"ROUJIAMO_TEST_{name}") for name in ("PRINCIPAL", "SECRET"))
        address = real_mesos()
        if address is None or principal is None or secret is None:
            pytest.skip(
                "no real Mesos that wants credentials named (ROUJIAMO_TEST_MASTER, _PRINCIPAL, _SECRET)"
            )
        yield Locked(address, principal, secret)
        return
    file: Path = tmp_path_factory.mktemp("locked") / "credentials.json"
    file.write_text(json.dumps({"credentials": [{"principal": "hpc", "secret": "s3cret-of-hpc"}]}))
    with cluster("--credentials", str(file)) as one:
        yield Locked(one.address, "hpc", "s3cret-of-hpc")


def secret_file(folder: Path, secret: str) -> str:
    """A file that only we may read."""
    path = folder / "secret"
    path.touch(0o600)
    path.write_text(f"{secret}\n")
    return str(path)


def frameworks(master: Locked) -> list[dict[str, Any]]:
    """What an operator sees of our frameworks."""
    with urllib.request.urlopen(f"http://{master.address}/state", timeout=10) as answer:
        state = json.load(answer)
    return [each for each in state["frameworks"] if each["name"].startswith("roujiamo ")]


def test_a_job_with_the_right_secret_runs_and_shows_it_nowhere(
    bench: Bench, locked: Locked, tmp_path: Path
) -> None:
    """Neither in an argv nor in the environment of what we start, the user's program and its ranks included.

    And what an operator sees is who it is: the principal, the user, the host, the program, the session.
    """
    options = ["--principal", locked.principal, "--secret-file", secret_file(tmp_path, locked.secret)]
    with bench.started("-N", "2", "-n", "2", *options, locked.address, *SLEEP) as run:
        until(lambda: run.output().count("started") == 2, 60, f"two ranks; {run.errors()}")
        (ours,) = frameworks(locked)
        assert (ours["name"], ours["principal"], ours["active"]) == ("roujiamo sh", locked.principal, True)
        assert (ours["user"], ours["hostname"]) == (getpass.getuser(), socket.gethostname())
        assert not ours.get("webui_url"), "we have no page, and a wrong link is worse than none"
        assert [label["key"] for label in ours["labels"]] == ["roujiamo.session"]
        assert sorted(task["name"] for task in ours["tasks"]) == [
            "roujiamo sh, host 1",
            "roujiamo sh, host 2",
        ]
        assert showing(bench, locked.secret) == []
        assert locked.secret not in json.dumps(ours)
        (bench.folder / "stop").touch()
        assert run.wait(30) == 0, run.errors()
        (bench.folder / "stop").unlink()
    until(lambda: frameworks(locked) == [], 10, "the framework's end")


def showing(bench: Bench, secret: str) -> list[str]:
    """The processes of the job, ours and its own, whose argv or environment holds the secret."""
    found = []
    pids = [left.split()[0] for left in bench.left_processes()]
    assert pids
    for pid in pids:
        for name in ("cmdline", "environ"):
            try:
                content = Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:
                # A short-lived one has ended since.
                continue
            # A real Mesos's secret is in the environment that the tests were started with.
            if secret.encode() in content.replace(f"ROUJIAMO_TEST_SECRET={secret}".encode(), b""):
                found.append(f"{name} of {pid}: {content[:200]!r}")
    return found


def test_the_environment_may_say_who_we_are_and_the_program_does_not_inherit_the_secret(
    bench: Bench, locked: Locked
) -> None:
    """ROUJIAMO_PRINCIPAL and ROUJIAMO_SECRET: what mpiexec gets, Hydra's would pass on to the ranks."""
    bench.environment |= {"ROUJIAMO_PRINCIPAL": locked.principal, "ROUJIAMO_SECRET": locked.secret}
    program = ["sh", "-c", 'tr "\\0" "\\n" </proc/self/environ; sleep 1.$OMPI_COMM_WORLD_RANK']
    result = bench.ompirun("-N", "1", "-n", "1", locked.address, *program)
    assert result.status == 0, result.err
    assert "MESOS_SANDBOX=" in result.out
    assert locked.secret not in result.out


@pytest.mark.parametrize(
    ("principal", "secret", "sentence"),
    [
        (None, None, "wants credentials (401 Unauthorized): give --principal and --secret-file"),
        ("right", "wrong", "does not know the principal {principal!r} with this secret (401 Unauthorized)"),
        ("nobody", "right", "does not know the principal 'nobody' with this secret (401 Unauthorized)"),
    ],
)
def test_wrong_credentials_are_one_sentence_at_once(
    bench: Bench, locked: Locked, tmp_path: Path, principal: str | None, secret: str | None, sentence: str
) -> None:
    """Not after the waiting time, and without what was tried."""
    options = []
    if principal is not None:
        options += ["--principal", locked.principal if principal == "right" else principal]
        options += ["--secret-file", secret_file(tmp_path, locked.secret if secret == "right" else "wr0ng")]
    result = bench.ompirun(*options, "-n", "2", locked.address, "true", seconds=30)
    assert result.status == 1
    (line,) = result.err.splitlines()
    assert line.startswith(f"ompirun.sh: the master at {locked.address} ")
    assert sentence.format(principal=locked.principal) in line
    assert "wr0ng" not in line


def test_a_secret_file_that_others_may_read_is_refused_before_anything_is_started(
    bench: Bench, locked: Locked, tmp_path: Path
) -> None:
    """As ssh refuses such a key: status 2, and the command that mends it."""
    path = secret_file(tmp_path, locked.secret)
    os.chmod(path, 0o644)
    result = bench.ompirun(
        "--principal", locked.principal, "--secret-file", path, "-n", "2", locked.address, "true"
    )
    assert (result.status, result.out) == (2, "")
    assert result.err.rstrip().endswith(f"chmod 600 {path}")


def test_every_request_proves_who_we_are() -> None:
    """SUBSCRIBE, each call, GET /slaves (which masters may protect too), and TEARDOWN."""

    def stay(request: Request) -> None:
        request.begin_stream(subscribed())
        request.wait_for_close()

    def on_call(request: Request) -> None:
        request.answer("202 Accepted")

    with (
        ScriptedMaster(stay, on_call=on_call) as master,
        driver(first_line(master.address, principal="hpc", secret="s3cret")) as held,
    ):
        held.expect("subscribed")
        for name in ("suppress", "revive", "agents"):
            held.send({"call": name})
        held.send({"call": "kill", "task_id": "t", "agent_id": "a"})
        held.send({"call": "reconcile", "tasks": []})
        until(lambda: len(master.requests) == 6, 10, "all calls")
        held.send({"call": "teardown"})
        assert held.wait() == 0
        assert {request.headers.get("authorization") for request in master.requests} == {
            "Basic aHBjOnMzY3JldA=="
        }
        assert "/slaves" in [request.path for request in master.requests]
