"""The masters of the suite: `local`, a cluster with credentials, and `real`, the one of ROUJIAMO_TEST_MASTER."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.local.conftest import Cluster, cluster
from tests.support import real_mesos
from tests.support.scheduler import Scheduler, authorization, request

CREDENTIALS = "hpc:s3cret"


@dataclass(frozen=True)
class Master:
    """A master, and what the tests may do with it."""

    address: str
    credentials: str | None
    # How long an update waits to be sent again (the agents' --status_update... of Mesos: 10 s, not to be chosen).
    update_retry_seconds: float
    # The processes behind it, where they are ours to kill.
    cluster: Cluster | None = None

    @property
    def principal(self) -> str | None:
        return self.credentials.partition(":")[0] if self.credentials is not None else None

    def get(self, target: str) -> Any:
        """A read endpoint's JSON."""
        status, body = request(
            self.address, "GET", f"/master{target}", headers=authorization(self.credentials)
        )
        assert status == 200, (target, status, body)
        return body

    def operator(self, kind: str, **fields: Any) -> tuple[int, Any]:
        """A call of the v1 operator API."""
        headers = {"Content-Type": "application/json", **authorization(self.credentials)}
        body = json.dumps({"type": kind, **fields}).encode()
        return request(self.address, "POST", "/api/v1", body, {**headers, "Accept": "application/json"})

    @contextlib.contextmanager
    def framework(self, **options: Any) -> Iterator[Scheduler]:
        """A framework of this test, with a name of its own; torn down at the end, whoever holds its stream then."""
        options.setdefault("name", f"conformance {uuid.uuid4().hex[:8]}")
        if self.principal is not None:
            options.setdefault("principal", self.principal)
        scheduler = Scheduler(self.address, credentials=self.credentials, **options)
        try:
            yield scheduler
        finally:
            scheduler.close()
            if scheduler.id:
                self.tear_down(scheduler.id["value"])

    @property
    def has_stand_in_executor(self) -> bool:
        """Whether its agents run a command executor that is not Mesos's own: a script, as ../shared/real-mesos has."""
        if self.cluster is not None:
            return False
        agent = self.get("/slaves")["slaves"][0]
        name, _, address = agent["pid"].partition("@")
        flags = request(address, "GET", f"/{name}/flags")[1]["flags"]
        executor = Path(flags["launcher_dir"]) / "mesos-executor"
        return executor.exists() and executor.read_bytes().startswith(b"#!")

    def tear_down(self, framework_id: str) -> None:
        """The operator's way; a framework that is gone already is no error here."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", **authorization(self.credentials)}
        request(self.address, "POST", "/master/teardown", f"frameworkId={framework_id}".encode(), headers)

    def state_of(self, framework_id: str) -> dict[str, Any] | None:
        """A framework among those of /frameworks that are not over."""
        frameworks = self.get("/frameworks")["frameworks"]
        return next((one for one in frameworks if one["id"] == framework_id), None)


@pytest.fixture(scope="session", params=["local", "real"])
def master(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Master]:
    """Each master in turn."""
    if request.param == "real":
        address = real_mesos()
        if address is None:
            pytest.skip("no real Mesos named (ROUJIAMO_TEST_MASTER=host:port)")
        principal, secret = (os.environ.get(f"ROUJIAMO_TEST_{name}") for name in ("PRINCIPAL", "SECRET"))
        yield Master(address, f"{principal}:{secret}" if principal else None, update_retry_seconds=10)
        return
    principal, _, secret = CREDENTIALS.partition(":")
    path: Path = tmp_path_factory.mktemp("conformance") / "credentials.json"
    path.write_text(json.dumps({"credentials": [{"principal": principal, "secret": secret}]}))
    options = (
        "--agents",
        "3",
        "--allocation-interval",
        "0.2",
        "--update-retry",
        "0.5",
        "--heartbeat-interval",
        "1",
    )
    with cluster(*options, "--credentials", str(path), "--restart-agents", "0.3") as one:
        yield Master(one.address, CREDENTIALS, 0.5, one)


def needs_mesos_executor(master: Master) -> None:
    """Skip a test of what the command executor does where that is another one."""
    if master.has_stand_in_executor:
        pytest.skip("this master's agents run a stand-in for Mesos's command executor, which does less")


def unique(name: str) -> str:
    """A task id that was never used before: a real agent does not outlive the same one twice (MESOS-9657)."""
    return f"{name}-{uuid.uuid4().hex[:8]}"
