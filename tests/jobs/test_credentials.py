"""Jobs on a master that asks who one is: with the right secret, a wrong one, and none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.jobs.conftest import Bench
from tests.local.conftest import cluster
from tests.support import real_mesos


@dataclass(frozen=True)
class Locked:
    """A master, and the one principal that it knows."""

    address: str
    principal: str
    secret: str


@pytest.fixture(scope="module", params=["local", "real"])
def locked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """Each such master."""
    if request.param == "real":
        principal, secret = (os.environ.get(f"ROUJIAMO_TEST_{name}") for name in ("PRINCIPAL", "SECRET"))
        address = real_mesos()
        if not address or not principal or not secret:
            pytest.skip("no real Mesos with credentials (ROUJIAMO_TEST_MASTER, _PRINCIPAL, _SECRET)")
        yield Locked(address, principal, secret)
        return
    path: Path = tmp_path_factory.mktemp("locked") / "credentials.json"
    path.write_text(json.dumps({"credentials": [{"principal": "hpc", "secret": "s3cret"}]}))
    with cluster("--agents", "2", "--credentials", str(path)) as one:
        yield Locked(one.address, "hpc", "s3cret")


def run(bench: Bench, locked: Locked, tmp_path: Path, secret: str) -> tuple[int, str, str]:
    file = tmp_path / "secret"
    file.write_text(secret + "\n")
    file.chmod(0o600)
    options = ["--principal", locked.principal, "--secret-file", str(file), "--timeout", "60"]
    rank = ["sh", "-c", 'echo "rank $OMPI_COMM_WORLD_RANK"; sleep 0.3']
    result = bench.ompirun(*options, "-N", "2", "-n", "2", locked.address, *rank)
    return result.status, result.out, result.err


def test_who_knows_the_secret_gets_hosts(bench: Bench, locked: Locked, tmp_path: Path) -> None:
    status, out, err = run(bench, locked, tmp_path, locked.secret)
    assert (status, sorted(out.split("\n"))) == (0, ["", "rank 0", "rank 1"]), err
    assert locked.secret not in err


def test_who_does_not_is_told_so_at_once(bench: Bench, locked: Locked, tmp_path: Path) -> None:
    status, out, err = run(bench, locked, tmp_path, "nope")
    assert (status, out) == (1, "")
    assert f"the master at {locked.address} wants credentials that it knows (401 Unauthorized)" in err
    assert "nope" not in err


def test_who_says_nothing_of_himself_is_told_what_to_say(bench: Bench, locked: Locked) -> None:
    result = bench.ompirun("--timeout", "60", "-N", "1", locked.address, "true")
    assert result.status == 1
    assert f"the master at {locked.address} wants credentials" in result.err
